"""A temporal discriminator on several scales: many frames at low resolution, few at full (Saito et al. 2020, TGANv2).

A discriminator of all frames at full resolution would be expensive. Each level doubles the resolution and keeps every
`stride`-th frame of the level before it, so with a stride of `2**dim` all levels cost about the same.
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
    """The selection and the resolution of frames on each level.

    Attributes:
        frames: consecutive frames of a sample, all of which level 0 sees.
        levels: number of levels; the last one has the full resolution.
        stride: each level sees every `stride`-th frame of the level before it.
    """

    frames: int
    levels: int
    stride: int

    def frames_at(self, level: int) -> int:
        """The number of frames on a level (TGANv2, equation 8: `x[stride * t + offset]`, level by level)."""
        return self.frames // self.stride**level

    def reduction_at(self, level: int) -> int:
        """The number of fine cells along the edge of a cell of a level."""
        return 1 << (self.levels - 1 - level)

    def width_at(self, level: int, width: int) -> int:
        """The channels of the first layer of the discriminator of a level.

        For three frames these are `width`; for other numbers they are proportional to the number of frames, rounded up
        to a multiple of 4. The cost then grows with the number of voxels.
        """
        count = self.frames_at(level)
        return width if count == 3 else 4 * -(-width * count // 12)

    def offsets(self, number: int) -> tuple[int, ...]:
        """The index of the first frame on each level.

        Each level starts at a random frame among the first `stride` frames of the level before it. The offsets are a
        function of the `number` of the batch, so they are the same for real and generated frames.
        """
        drawn = random.Random(number)  # noqa: S311 - not for secrets
        offsets = [0]
        for level in range(1, self.levels):
            offsets.append(offsets[-1] + self.stride ** (level - 1) * drawn.randrange(self.stride))
        return tuple(offsets)

    def views(self, frames: Tensor, number: int) -> list[Tensor]:
        """The input of each level, `[B, frames_at(level), *(S / reduction_at(level))]`, from `frames [B, T, *S]`."""
        views = []
        for level, offset in enumerate(self.offsets(number)):
            chosen = frames[:, offset :: self.stride**level][:, : self.frames_at(level)]
            views.append(downsample(chosen, self.reduction_at(level)))
        return views

    def input(self, frames: Tensor, number: int) -> Tensor:
        """The input of a `PyramidDiscriminator`, `[B, N]`: the flattened `views`, one after the other."""
        return torch.cat([view.flatten(1) for view in self.views(frames, number)], 1)


class PyramidDiscriminator(nn.Module):
    """Maps `x [B, N]` of `TemporalPyramid.input` to logits `[B, 1]` and the features of all levels.

    Each level has its own discriminator; the logits are the sum of theirs (TGANv2, equation 7). All levels are in one
    input, so a gradient penalty is taken over all levels together (equation 10).
    """

    def __init__(self, levels: Sequence[Discriminator]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(levels)
        self.shapes = [(level.channels_in, *(level.tile,) * level.dim) for level in levels]

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        sizes = [torch.Size(shape).numel() for shape in self.shapes]
        logits, features = [], []
        for level, shape, part in zip(self.levels, self.shapes, x.split(sizes, dim=1), strict=True):
            level_logits, level_features = level(part.unflatten(1, shape))
            logits.append(level_logits)
            features += level_features
        return torch.stack(logits).sum(0), features

    @property
    def num_parameters(self) -> int:
        """The number of weights and biases, without those of normalization layers."""
        return count_parameters(self)
