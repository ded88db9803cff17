"""Fields that no generator makes, by linear interpolation, box by box."""

from __future__ import annotations

from torch import Tensor

from fluidsr.models.blocks import trim
from fluidsr.models.resample import upsample
from fluidsr.upscaling.tiles import Box, tile_of

_REACH = 1  # coarse cells that interpolation reads beyond a cell's own


def raise_linearly(array: Tensor, box: Box, factor: int) -> Tensor:
    """The coarse cells `box` of a scalar `[*S]` or vector `[d, *S]` field at `factor` times the resolution.

    The same, bit for bit, as that part of the whole field raised at once; values and unit stay.
    """
    dim = len(box.lo)
    shape = tuple(array.shape[-dim:])
    tile = tile_of(box, shape, _REACH, factor)
    lead = tuple(array.shape[:-dim])
    fine = upsample(tile.read.of(array).reshape(1, -1, *tile.read.shape), factor, "linear")
    inside: Tensor = tile.crop.of(trim(fine, tile.cut, _REACH * factor))
    return inside.reshape(*lead, *tile.write.shape)
