"""UNet, the thesis's other generator: the levels of a U between the fine grid and the coarse one."""

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
    """`coarse [B, 1 + dim, *S]` to fine density `[B, 1, *(S * factor)]`: a U-net (Ronneberger et al. 2015).

    The thesis (section 3.4) names U-nets beside residual networks and gives no table; this one is ours. After
    nearest upsampling the way down has two 3-wide convolutions on each grid and halves the resolution by
    averaging, until the coarse grid, where `depth` convolutions of the most channels work; the way up doubles
    by nearest upsampling, concatenates what the way down had on that grid, and convolves twice. A 1-wide
    convolution and a rectifier end it; all other convolutions have a batch norm (unless `norm` is none) and a
    rectifier. The deepest level is the coarse grid, and so the pooling lies alike in every tile of whole coarse
    cells.

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
        # All of the halo is computed, as if the volume ended beyond it, and cut off at the end.
        ends = None if cropped is None else [(False, False)] * self.dim
        pool = F.avg_pool2d if self.dim == 2 else F.avg_pool3d
        x = upsample(gather_fields(coarse, self.options.inputs), self.factor, "nearest")
        x = x.contiguous(memory_format=memory_format(self.dim))
        kept = []
        for stack in self.down:
            x = stack(x, ends)
            kept.append(x)
            x = pool(x, 2)
        x = self.bottom(x, ends)
        for stack in reversed(self.up):
            x = stack(torch.cat([upsample(x, 2, "nearest"), kept.pop()], dim=1), ends)
        x = torch.relu(self.last(x))
        if self.options.gated:
            x = x * detail_mask(coarse[:, :1], self.factor)
        return trim(self.finish(x, coarse, detail), cropped, self.receptive_radius * self.factor)

    def fold(self) -> UNet:
        """Eval mode, every batch norm multiplied into its convolution; the stored weights stay. Returns itself."""
        fold(self.eval())
        return self

    @property
    def inputs(self) -> Inputs:
        """The fields it reads."""
        return self.options.inputs

    @property
    def receptive_radius(self) -> int:
        """Coarse cells; the way up from the output to the input, in cells of the grid at hand."""
        radius = 0
        for _ in range(self.levels):
            radius = (radius + 2 + 1) // 2  # two convolutions, then the grid below
        radius += self.options.depth
        for _ in range(self.levels):
            radius = radius * 2 + 2 + 1  # the cell's own children, of which the farthest is one more away
        own = -(-(radius - (self.factor - 1)) // self.factor) + REACH[self.options.inputs]
        return max(own, self.support_radius or 0) + self.consistency_radius

    @property
    def support_radius(self) -> int | None:
        """None unless gated: biases give empty air an answer of its own."""
        return DETAIL_RADIUS if self.options.gated else None

    @property
    def macs_per_voxel(self) -> float:
        """Multiply-adds per fine voxel; a level down has `2**dim` times fewer cells. Averages are not counted."""
        total = 0.0
        for level, stack in enumerate([*self.down, self.bottom]):
            total += stack.macs_per_cell / 2 ** (level * self.dim)
        for level, stack in enumerate(self.up):
            total += stack.macs_per_cell / 2 ** (level * self.dim)
        total += self.last.weight.numel()
        total += detail_mask_macs(self.dim, self.factor) if self.options.gated else 0.0
        return total + self.consistency_macs


class Stack(nn.Module):
    """Convolutions through the channels `widths`, each with a batch norm, if `normed`, and a rectifier."""

    def __init__(self, dim: int, widths: list[int], normed: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            NormedConvolution(dim, a, b, KERNEL, normed) for a, b in itertools.pairwise(widths)
        )
        if (
            not normed
        ):  # this many layers need more than the published initialization, which is that of the last one
            for layer in self.layers:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")  # type: ignore[arg-type]

    @property
    def macs_per_cell(self) -> float:
        """Per cell of its grid."""
        return float(sum(m.weight.numel() for m in self.modules() if isinstance(m, NormedConvolution)))

    def forward(self, x: Tensor, cropped: CroppedSides | None = None) -> Tensor:
        for layer in self.layers:
            x = F.relu(layer(x, cropped))
        return x
