"""Padding by the cells of the other end of an axis, or by repeating the outermost one.

An axis may have fewer cells than are added. `torch.nn.functional.pad` wraps around only once, so cells are selected by
index.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def wrap(x: Tensor, halos: Sequence[int]) -> Tensor:
    """Extend `x [..., *S]` periodically at both ends of each axis of `S`; `halos` are the numbers of cells per axis."""
    for axis, halo in enumerate(halos, start=-len(halos)):
        if halo:
            count = x.shape[axis]
            x = x.index_select(axis, torch.arange(-halo, count + halo, device=x.device) % count)
    return x


def replicate(x: Tensor, axis: int, low: int, high: int) -> Tensor:
    """Repeat the first value of `x` along `axis` another `low` times and the last one `high` times; negative numbers
    remove values."""
    index = torch.arange(-low, x.shape[axis] + high, device=x.device).clamp_(0, x.shape[axis] - 1)
    return x.index_select(axis, index)
