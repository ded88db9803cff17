"""Upscaling: a coarse frame of any size through a trained generator, in tiles laid around the smoke."""

from fluidsr.upscaling.network_input import VelocityScale
from fluidsr.upscaling.statistics import Cost, Statistics
from fluidsr.upscaling.tiles import Box, Piece, Tile, plan
from fluidsr.upscaling.upscaler import PRECISIONS, Upscaler, load

__all__ = [
    "PRECISIONS",
    "Box",
    "Cost",
    "Piece",
    "Statistics",
    "Tile",
    "Upscaler",
    "VelocityScale",
    "load",
    "plan",
]
