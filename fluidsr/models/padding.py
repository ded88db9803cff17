"""Cells beyond the ends of an axis: those of the other end, or the last one repeated.

By index rather than by `torch.nn.functional.pad`, whose circular mode wraps around at most once: an axis may have fewer
cells than are added.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def wrap(x: Tensor, halos: Sequence[int]) -> Tensor:
    """`x [..., *S]` with that many cells of the other end added at either end of each axis of `S`, for which `halos`
    has a number each."""
    for axis, halo in enumerate(halos, start=-len(halos)):
        if halo:
            count = x.shape[axis]
            x = x.index_select(axis, torch.arange(-halo, count + halo, device=x.device) % count)
    return x


def replicate(x: Tensor, axis: int, low: int, high: int) -> Tensor:
    """`x` with its first value `low` times more and its last one `high` times more along `axis`; negative numbers leave
    values out."""
    index = torch.arange(-low, x.shape[axis] + high, device=x.device).clamp_(0, x.shape[axis] - 1)
    return x.index_select(axis, index)
