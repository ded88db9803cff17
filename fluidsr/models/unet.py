"""UNet: a generator with skip connections between levels from the fine grid to the coarse one."""

from __future__ import annotations

import itertools
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from fluidsr.models.blocks import CroppedSides, NormedConvolution, fold, memory_format, trim
from fluidsr.models.fields import CHANNELS, INPUTS_DESCRIPTION, REACH, Inputs, gather_fields
from fluidsr.models.generator import (
    DETAIL_RADIUS,
    ArchitectureOptions,
    CroppingGenerator,
    Options,
    detail_mask,
    detail_mask_macs,
)
from fluidsr.models.resample import upsample

KERNEL = 3


class UNetArchitecture(ArchitectureOptions):
    """Sizes and inputs of a UNet."""

    inputs: Inputs = Field(default="density velocity", description=INPUTS_DESCRIPTION)
    width: int = Field(
        default=16,
        ge=1,
        le=256,
        description="Channels on the fine grid; each coarser level has twice as many",
    )
    depth: int = Field(default=4, ge=1, le=64, description="Convolutions on the coarse grid")
    gated: bool = Field(default=False, description="Whether the output is exactly 0 far from any smoke")
    norm: Literal["batch", "none"] = Field(
        default="batch",
        description="Normalization. Use `none` with few patches in a batch, where batch norms blur the level of the "
        "density",
    )


class UNetOptions(UNetArchitecture, Options):
    """All hyperparameters of a UNet."""


class UNet(CroppingGenerator):
    """Maps `coarse [B, 1 + dim, *S]` to fine density `[B, 1, *(S * factor)]` by a U-net (Ronneberger et al. 2015).

    The thesis (section 3.4) mentions U-nets as an alternative to residual networks without giving their layers, so
    these are our own:

    - the input is upsampled to the fine grid (nearest);
    - down: on each level two 3-wide convolutions, then average pooling to half the resolution;
    - on the coarse grid: `depth` convolutions with the most channels;
    - up: on each level nearest upsampling, concatenation with the output of the same level on the way down, and two
      convolutions;
    - a 1-wide convolution and a rectifier. All other convolutions have a batch norm (unless `norm` is `none`) and a
      rectifier.

    The lowest level is the coarse grid, so the pooling has the same alignment in all tiles. The output is never
    negative.

    Raises ValueError for options that `UNetOptions` does not allow.
    """

    architecture = "UNet"
    schema = UNetOptions
    scales_detail = True
    options: UNetOptions

    def __init__(self, dim: int, factor: int = 4, **choices: Any) -> None:
        super().__init__(UNetOptions(dim=dim, factor=factor, **choices))  # type: ignore[arg-type]
        options = self.options
        self.levels = factor.bit_length() - 1
        widths = [options.width * 2**level for level in range(self.levels + 1)]
        channels, normed = CHANNELS[options.inputs], options.norm == "batch"
        self.down = nn.ModuleList()
        for width in widths[:-1]:
            self.down.append(Stack(dim, [channels, width, width], normed))
            channels = width
        self.bottom = Stack(dim, [channels] + [widths[-1]] * options.depth, normed)
        self.up = nn.ModuleList(
            Stack(dim, [below + width, width, width], normed) for width, below in itertools.pairwise(widths)
        )
        self.last = NormedConvolution(dim, widths[0], 1, 1, normed=False)

    def _forward(self, coarse: Tensor, cropped: CroppedSides | None, detail: Tensor | float | None) -> Tensor:
        # All layers compute the whole halo, as if the volume ended there; it is cropped at the end.
        ends = None if cropped is None else [(False, False)] * self.dim
        pool = F.avg_pool2d if self.dim == 2 else F.avg_pool3d
        x = upsample(gather_fields(coarse, self.options.inputs), self.factor, "nearest")
        x = x.contiguous(memory_format=memory_format(self.dim))
        skipped = []
        for stack in self.down:
            x = stack(x, ends)
            skipped.append(x)
            x = pool(x, 2)
        x = self.bottom(x, ends)
        for stack in reversed(self.up):
            x = stack(torch.cat([upsample(x, 2, "nearest"), skipped.pop()], dim=1), ends)
        x = torch.relu(self.last(x))
        if self.options.gated:
            x = x * detail_mask(coarse[:, :1], self.factor)
        return trim(self.finish(x, coarse, detail), cropped, self.receptive_radius * self.factor)

    def fold(self) -> UNet:
        """Prepare for inference: eval mode, batch norms merged into copies of the kernels. Returns itself."""
        fold(self.eval())
        return self

    @property
    def inputs(self) -> Inputs:
        """The fields that it reads."""
        return self.options.inputs

    @property
    def receptive_radius(self) -> int:
        """The distance, in coarse cells, from which a coarse cell may influence a fine voxel."""
        # Followed from the output back to the input, in cells of the grid of each level.
        radius = 0
        for _ in range(self.levels):
            radius = (radius + 2 + 1) // 2  # two convolutions, then upsampling from the coarser grid
        radius += self.options.depth
        for _ in range(self.levels):
            radius = radius * 2 + 2 + 1  # pooling from a finer grid, which adds at most one cell
        network = -(-(radius - (self.factor - 1)) // self.factor) + REACH[self.options.inputs]
        return max(network, self.support_radius or 0) + self.consistency_radius

    @property
    def support_radius(self) -> int | None:
        """None unless gated, as biases give empty air a value of its own."""
        return DETAIL_RADIUS if self.options.gated else None

    @property
    def macs_per_voxel(self) -> float:
        """The multiply-adds per fine voxel, without those of the pooling."""
        total = 0.0
        for level, stack in enumerate([*self.down, self.bottom]):
            total += stack.macs_per_cell / 2 ** (level * self.dim)
        for level, stack in enumerate(self.up):
            total += stack.macs_per_cell / 2 ** (level * self.dim)
        total += self.last.weight.numel()
        total += detail_mask_macs(self.dim, self.factor) if self.options.gated else 0.0
        return total + self.consistency_macs


class Stack(nn.Module):
    """3-wide convolutions, each followed by a batch norm, if `normed`, and a rectifier.

    `widths` are the channels of the input and of the output of each convolution.
    """

    def __init__(self, dim: int, widths: list[int], normed: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            NormedConvolution(dim, a, b, KERNEL, normed) for a, b in itertools.pairwise(widths)
        )
        if not normed:
            # With the published initialization, which is for a last layer, signals would vanish in so many layers.
            for layer in self.layers:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")  # type: ignore[arg-type]

    @property
    def macs_per_cell(self) -> float:
        """The multiply-adds per cell of its grid."""
        return float(sum(m.weight.numel() for m in self.modules() if isinstance(m, NormedConvolution)))

    def forward(self, x: Tensor, cropped: CroppedSides | None = None) -> Tensor:
        for layer in self.layers:
            x = F.relu(layer(x, cropped))
        return x
