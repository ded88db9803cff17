"""Upscaling: upsampling of coarse frames of any size by a trained generator, in tiles that cover the smoke."""

from typing import TYPE_CHECKING

from fluidsr.deprecation import renamed
from fluidsr.upscaling.in_order import InOrder
from fluidsr.upscaling.last_frame import LastFrameStore
from fluidsr.upscaling.network_input import Detail, VelocityScale
from fluidsr.upscaling.statistics import Cost, Statistics
from fluidsr.upscaling.tiles import Box, FieldBlock, Tile, plan
from fluidsr.upscaling.upscaler import PRECISIONS, Upscaler, load

__all__ = [
    "PRECISIONS",
    "Box",
    "Cost",
    "Detail",
    "FieldBlock",
    "InOrder",
    "LastFrameStore",
    "Statistics",
    "Tile",
    "Upscaler",
    "VelocityScale",
    "load",
    "plan",
]

if not TYPE_CHECKING:
    __getattr__ = renamed(__name__, {"Piece": "FieldBlock"})
