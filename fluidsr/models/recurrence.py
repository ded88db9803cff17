"""Recurrence: a generator reads its own last fine frame, advected to the present along the coarse flow.

This follows Chu et al. 2020, *Learning temporal coherence via self-supervision for GAN-based video generation*
(TecoGAN), with the velocity of the present frame in place of an optical flow.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from fluidsr.models.resample import upsample
from fluidsr.models.trace import centres, grid_sample

_INTERPOLATED = 1  # coarse cells that linear interpolation reads around a cell


def space_to_depth(fine: Tensor, factor: int) -> Tensor:
    """Rearrange `fine [B, 1, *(S * factor)]` as `[B, factor**d, *S]`: the voxels of a coarse cell become its
    channels."""
    dim = fine.dim() - 2
    split = fine.reshape(len(fine), *itertools.chain(*((n // factor, factor) for n in fine.shape[2:])))
    phases, cells = range(2, 2 * dim + 1, 2), range(1, 2 * dim, 2)
    return split.permute(0, *phases, *cells).flatten(1, dim)


@dataclass(frozen=True)
class LastFrame:
    """The last fine frame, and the flow from it to the present frame.

    Attributes:
        density: `[*P]`, of the last frame, on the fine grid.
        velocity: `[d, *S]`, of the present frame, in coarse cells per frame.
        offset: the voxel of the last frame at the position of the present frame's fine voxel 0.
        beyond: values outside the last frame: the outermost ones ("border", if both frames cover the same box), or no
            smoke ("zeros").
    """

    density: Tensor
    velocity: Tensor
    offset: tuple[int, ...]
    beyond: Literal["border", "zeros"] = "border"

    def carried(self, low: Sequence[int], high: Sequence[int], factor: int) -> Tensor:
        """The last density, advected to the present frame's coarse cells from `low` up to but excluding `high`:
        `[1, *((high - low) * factor)]`. Each box has the values that `warp.advect` computes for the whole frame."""
        shape = self.velocity.shape[1:]
        start = [max(0, a - _INTERPOLATED) for a in low]
        end = [min(n, b + _INTERPOLATED) for b, n in zip(high, shape, strict=True)]
        window = (slice(None), *(slice(a, b) for a, b in zip(start, end, strict=True)))
        inner = (
            slice(None),
            *(slice((a - s) * factor, (b - s) * factor) for a, b, s in zip(low, high, start, strict=True)),
        )
        steps = (upsample(self.velocity[window][None], factor, "linear")[0] * factor)[inner]
        first = [a * factor + shift for a, shift in zip(low, self.offset, strict=True)]
        corner, size = (
            torch.tensor(n, device=steps.device, dtype=steps.dtype).view(-1, *(1,) * len(shape))
            for n in (first, self.density.shape)
        )
        places = centres(steps.shape[1:], steps) + corner - steps
        return grid_sample(self.density[None], ((2 * places + 1) / size - 1).flip(0), self.beyond)
