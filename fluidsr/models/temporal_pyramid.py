"""Multi-scale temporal discriminator: many frames seen coarsely, few of them seen finely (Saito et al. 2020, TGANv2).

A discriminator of all frames at full resolution costs as much as both. On each level the resolution doubles, and every
`stride`-th frame of the level before is left; with a stride of `2**dim` all levels cost about the same.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fluidsr.models.discriminators import Discriminator
from fluidsr.models.generator import count_parameters
from fluidsr.models.resample import downsample


@dataclass(frozen=True)
class TemporalPyramid:
    """How `frames` consecutive frames are seen on `levels` levels; the last one has the full resolution."""

    frames: int
    levels: int
    stride: int

    def frames_at(self, level: int) -> int:
        """Frames that a level sees (TGANv2, equation 8: `x[stride * t + offset]`, level by level)."""
        return self.frames // self.stride**level

    def reduction_at(self, level: int) -> int:
        """Fine cells along the edge of a cell of a level."""
        return 1 << (self.levels - 1 - level)

    def width_at(self, level: int, width: int) -> int:
        """Channels of the first layer of a level's discriminator: `width` for three frames, and in proportion for
        others, in fours; so cost follows frames times resolution."""
        count = self.frames_at(level)
        return width if count == 3 else 4 * -(-width * count // 12)

    def offsets(self, number: int) -> tuple[int, ...]:
        """The first frame on each level: a function of the batch's `number`, so that real and generated frames are seen
        alike. Each level's own, from 0 to below `stride`, is drawn again and counts in frames of the level before."""
        drawn = random.Random(number)  # noqa: S311 - not for secrets
        offsets = [0]
        for level in range(1, self.levels):
            offsets.append(offsets[-1] + self.stride ** (level - 1) * drawn.randrange(self.stride))
        return tuple(offsets)

    def views(self, frames: Tensor, number: int) -> list[Tensor]:
        """`frames [B, T, *S]` as each level sees them, `[B, frames_at(level), *(S / reduction_at(level))]`."""
        views = []
        for level, offset in enumerate(self.offsets(number)):
            chosen = frames[:, offset :: self.stride**level][:, : self.frames_at(level)]
            views.append(downsample(chosen, self.reduction_at(level)))
        return views

    def input(self, frames: Tensor, number: int) -> Tensor:
        """`views`, one behind the other: the input of `PyramidDiscriminator`, `[B, N]`."""
        return torch.cat([view.flatten(1) for view in self.views(frames, number)], 1)


class PyramidDiscriminator(nn.Module):
    """A discriminator for each level of a `TemporalPyramid`; the logits are their sum (TGANv2, equation 7).

    `x [B, N]`, by `TemporalPyramid.input`, to (logits `[B, 1]`, all their features). One input holds all levels, so
    that gradient penalties are those of the levels together (equation 10).
    """

    def __init__(self, levels: Sequence[Discriminator]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(levels)
        self.shapes = [(level.channels_in, *(level.tile,) * level.dim) for level in levels]

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        sizes = [torch.Size(shape).numel() for shape in self.shapes]
        logits, features = [], []
        for level, shape, part in zip(self.levels, self.shapes, x.split(sizes, dim=1), strict=True):
            judged, seen = level(part.unflatten(1, shape))
            logits.append(judged)
            features += seen
        return torch.stack(logits).sum(0), features

    @property
    def num_parameters(self) -> int:
        """Weights and biases; those of normalisations are not counted."""
        return count_parameters(self)
