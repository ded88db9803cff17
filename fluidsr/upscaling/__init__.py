"""Upscaling: a coarse frame of any size through a trained generator, in tiles laid around the smoke."""

from fluidsr.upscaling.engine import Upscaler, load
from fluidsr.upscaling.statistics import Cost, Statistics
from fluidsr.upscaling.tiles import Box, Tile, plan

__all__ = ["Box", "Cost", "Statistics", "Tile", "Upscaler", "load", "plan"]
