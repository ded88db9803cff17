"""Piece: a part of a fine frame."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from fluidsr.upscaling.tiles import Box


class Piece(NamedTuple):
    """The `values [*box.shape]` (`[d, *box.shape]` for velocity) of field `name` in `box`, counted in fine voxels."""

    name: str
    box: Box
    values: Tensor
