"""Upscaling: a coarse frame of any size through a trained generator, in tiles laid around the smoke."""

from fluidsr.upscaling.network_input import VelocityScale
from fluidsr.upscaling.pieces import Piece
from fluidsr.upscaling.precision import PRECISIONS
from fluidsr.upscaling.statistics import Cost, Statistics
from fluidsr.upscaling.tiles import Box, Tile, plan
from fluidsr.upscaling.upscaler import Upscaler, load

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
