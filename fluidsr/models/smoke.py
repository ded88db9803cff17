"""SmokeGenerator, ours: coarse density and velocity in, fine density out. See docs/adr/0005-generator.md."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from fluidsr.models.blocks import (
    BalancedRise,
    Convolution,
    Cut,
    ResidualBlock,
    ResizedRise,
    activate,
    memory_format,
    trim,
)
from fluidsr.models.fields import REACH, Inputs, vorticity
from fluidsr.models.generator import GATE_RADIUS, Generator, Options, gate, gate_multiply_adds
from fluidsr.models.resample import upsample


class SmokeOptions(Options):
    """Channels (`width`, `rise_width`) and residual blocks; velocity is divided by `velocity_unit` inside.

    `inputs` are the fields that it reads; vorticity is that of the divided velocity, one component in 2-D.
    `last` is what makes the finest grid: a `balanced` sub-pixel convolution, which is cheap, or `resized`,
    interpolation and two convolutions on the finest grid, which favours no phase of it.
    """

    inputs: Inputs = "density velocity"
    width: int = Field(default=48, ge=1, le=1024)
    blocks: int = Field(default=3, ge=0, le=128)
    rise_width: int = Field(default=16, ge=1, le=1024)
    velocity_unit: float = Field(default=4.0, gt=0)
    last: Literal["balanced", "resized"] = "balanced"


class SmokeGenerator(Generator):
    """`coarse [B, 1 + dim, *S]` to fine density `[B, 1, *(S * factor)]`, for `dim` 2 or 3.

    Channel 0 is density (non-negative), the others are velocity in coarse cells per frame. The trunk works at
    coarse resolution: one convolution to `width` channels and `blocks` residual blocks. Then the resolution
    doubles `log2(factor)` times by balanced sub-pixel convolutions, with one residual convolution of
    `rise_width` channels at each resolution in between. The result corrects cubic upsampling:

        fine = max(0, cubic(density) + gate * residual)
        gate = linear(min(1, maxpool3(density) / 0.02))

    Invariants: the output is never negative; it is exactly zero farther than `support_radius` coarse cells
    from any density, whatever the velocity; a voxel depends only on coarse cells within `receptive_radius`;
    a constant input gives, away from the border, no difference between the phases of the fine grid.

    Raises ValueError for options that `SmokeOptions` does not allow.
    """

    architecture = "SmokeGenerator"
    schema = SmokeOptions
    options: SmokeOptions

    def __init__(self, dim: int, factor: int = 4, **sizes: Any) -> None:
        super().__init__(SmokeOptions(dim=dim, factor=factor, **sizes))  # type: ignore[arg-type]
        options = self.options
        width, rise_width = options.width, options.rise_width
        self.head = Convolution(dim, _channels(dim, options.inputs), width)
        self.trunk = nn.ModuleList(ResidualBlock(dim, width) for _ in range(options.blocks))
        stages = factor.bit_length() - 1
        inputs = [width] + [rise_width] * (stages - 1)
        last = BalancedRise if options.last == "balanced" else ResizedRise
        # The last rise starts near zero: training begins at cubic upsampling.
        self.rises = nn.ModuleList(
            [BalancedRise(dim, n, rise_width) for n in inputs[:-1]] + [last(dim, inputs[-1], 1, gain=0.01)]
        )
        self.refinements = nn.ModuleList(
            Convolution(dim, rise_width, rise_width, gain=0.3) for _ in range(stages - 1)
        )

    def forward(self, coarse: Tensor) -> Tensor:
        return self._answer(coarse, None)

    def inside(self, coarse: Tensor, cut: Cut) -> Tensor:
        """`forward(coarse)` less `receptive_radius` coarse cells at each of the `cut` sides, up to rounding."""
        return self._answer(coarse, cut)

    def _answer(self, coarse: Tensor, cut: Cut | None) -> Tensor:
        # Every layer leaves out the cells at the cut sides that would need more than there is; in the end none
        # is left but what `finish` reads.
        kept = trim(coarse, cut, self.receptive_radius - self.finish_radius)
        density = trim(coarse[:, :1], cut, self.receptive_radius - self.finish_radius - GATE_RADIUS)
        spoilt = GATE_RADIUS * self.factor
        detail = trim(gate(density, self.factor), cut, spoilt) * self.residual(coarse, cut)
        fine = torch.relu(trim(upsample(density, self.factor, "cubic"), cut, spoilt) + detail)
        return trim(self.finish(fine, kept), cut, self.finish_radius * self.factor)

    def residual(self, coarse: Tensor, cut: Cut | None = None) -> Tensor:
        """What the network would add to cubic upsampling where smoke is, `[B, 1, *(S * factor)]`.

        At `cut` sides it ends `finish_radius` coarse cells before the halo does.
        """
        reach = REACH[self.options.inputs]
        x = trim(self._read(coarse), cut, reach).contiguous(memory_format=memory_format(self.dim))
        x = self.head(x, cut)
        halo = self.receptive_radius - reach - 1  # cells of the present grid that are left of it
        for block in self.trunk:
            x = block(x, cut)
            halo -= 2
        for rise, refine in zip(self.rises, self.refinements, strict=False):
            x = rise(activate(x, inplace=True), cut)
            x = trim(x, cut, 1) + refine(activate(x), cut)
            halo = 2 * (halo - 1) - 1
        last = self.rises[-1]
        x = last(activate(x, inplace=True), cut)
        halo = 2 * halo - 1 - last.reach if isinstance(last, ResizedRise) else 2 * (halo - 1)
        return trim(x, cut, halo - self.finish_radius * self.factor)

    def _read(self, coarse: Tensor) -> Tensor:
        """The fields that the network sees, `[B, channels, *S]`: density as it is, velocity in its unit."""
        inputs, density = self.options.inputs, coarse[:, :1]
        if inputs == "density":
            return density
        fields = [density, coarse[:, 1:] / self.options.velocity_unit]
        if inputs == "density velocity vorticity":
            fields.append(vorticity(fields[1])[:, -_turns(self.dim) :])
        return torch.cat(fields, dim=1)

    def fold(self) -> SmokeGenerator:
        """Make ready for inference: eval mode, balanced weights stored as such. Returns itself."""
        self.eval()
        for rise in self.rises:
            if isinstance(rise, BalancedRise):
                rise.fold()
        return self

    @property
    def inputs(self) -> Inputs:
        """The fields it reads."""
        return self.options.inputs

    @property
    def receptive_radius(self) -> int:
        """Coarse cells, in each direction, that a fine voxel's value may depend on beside its own."""
        radius = 0
        for stage in reversed(range(len(self.rises))):
            # A cell of the finer grid reads `reach` cells of that grid to either side before it was raised;
            # ceil(reach / 2) of the next coarser grid, one more for the rise's own kernel, and one for the
            # refinement on that grid.
            rise = self.rises[stage]
            reach = radius + (rise.reach if isinstance(rise, ResizedRise) else 0)
            radius = (reach + 1) // 2 + 1 + (1 if stage > 0 else 0)
        radius += 2 * self.options.blocks + 1 + REACH[self.options.inputs]
        return max(radius, self.support_radius) + self.finish_radius

    @property
    def paid_radius(self) -> int:
        """Coarse cells of a halo that would cost, computed by every layer, what the whole halo costs `inside`.

        A third of it, the mean over the layers of what each computes, by their cost: most layers, and the
        dearest, compute little of it.
        """
        return self.receptive_radius // 3

    @property
    def support_radius(self) -> int:
        """Coarse cells beyond which empty density gives exactly zero output.

        The gate is the wider of the two supports; cubic upsampling reaches two cells as well.
        """
        return GATE_RADIUS

    @property
    def multiply_adds(self) -> float:
        """Multiply-adds per fine voxel, exactly (a fraction, since most are done per coarse cell)."""
        options, dim = self.options, self.dim
        kernel, fine = 3**dim, self.factor**dim
        total = (
            kernel * _channels(dim, options.inputs) * options.width
            + 2 * options.blocks * kernel * options.width**2
        )
        for stage, rise in enumerate(self.rises):
            assert isinstance(rise, (BalancedRise, ResizedRise))
            here = rise.multiply_adds
            if stage > 0:
                here += kernel * options.rise_width**2
            total += here * 2 ** (stage * dim)
        cubic = sum(4 / self.factor**axis for axis in range(dim))
        return total / fine + cubic + gate_multiply_adds(dim, self.factor) + self.finish_multiply_adds


def _turns(dim: int) -> int:
    """Components of vorticity: planes to turn in, the one of 2-D being `fields.vorticity`'s last."""
    return dim * (dim - 1) // 2


def _channels(dim: int, inputs: Inputs) -> int:
    return {
        "density": 1,
        "density velocity": 1 + dim,
        "density velocity vorticity": 1 + dim + _turns(dim),
    }[inputs]
