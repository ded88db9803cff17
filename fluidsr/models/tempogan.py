"""TempoGAN, the reference: the generator of Xie et al. 2018 to the letter. See docs/models.md."""

from __future__ import annotations

import math
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from fluidsr.models.blocks import Cut, NormedConvolution, fold, memory_format, trim
from fluidsr.models.fields import CHANNELS, REACH, Inputs, gather
from fluidsr.models.generator import GATE_RADIUS, Generator, Options, gate, gate_multiply_adds
from fluidsr.models.resample import upsample

KERNEL = 5
# Channels within and after each residual block; all but the last have batch norms.
BLOCKS = ((8, 32), (128, 128), (32, 8), (2, 1))


class TempoGANOptions(Options):
    """`inputs` are the fields that it reads; `gated` multiplies its answer by the gate around smoke.

    The published generator is not gated; with the gate, air far from smoke is exactly empty.
    """

    inputs: Inputs = "density velocity"
    gated: bool = False


class TempoGAN(Generator):
    """`coarse [B, 1 + dim, *S]` to fine density `[B, 1, *(S * factor)]`: nearest upsampling, four residual blocks.

    | NI x factor | |
    |---|---|
    | RB0 | C5,8 BN ReLU C5,32 BN + C1,32 BN, ReLU |
    | RB1 | C5,128 BN ReLU C5,128 BN + C1,128 BN, ReLU |
    | RB2 | C5,32 BN ReLU C5,8 BN + C1,8 BN, ReLU |
    | RB3 | C5,2 ReLU C5,1 + C1,1, ReLU |

    (thesis, appendix A.1): 634,214 weights in 2-D and 3,148,014 in 3-D, for the inputs density and velocity.
    Eight 5-wide convolutions in a row reach 16 fine voxels, so 4 coarse cells at a factor of 4: that is the
    halo, not the published 3. Zeros beyond the border. The output is never negative.

    Raises ValueError for options that `TempoGANOptions` does not allow.
    """

    architecture = "TempoGAN"
    schema = TempoGANOptions
    options: TempoGANOptions

    def __init__(self, dim: int, factor: int = 4, **choices: Any) -> None:
        super().__init__(TempoGANOptions(dim=dim, factor=factor, **choices))  # type: ignore[arg-type]
        channels = CHANNELS[self.options.inputs]
        self.blocks = nn.ModuleList()
        for inner, outer in BLOCKS:
            self.blocks.append(ResidualBlock(dim, channels, inner, outer, normed=outer > 1))
            channels = outer

    def forward(self, coarse: Tensor) -> Tensor:
        return self._answer(coarse, None)

    def inside(self, coarse: Tensor, cut: Cut) -> Tensor:
        """`forward(coarse)` less `receptive_radius` coarse cells at each of the `cut` sides, up to rounding."""
        return self._answer(coarse, cut)

    def _answer(self, coarse: Tensor, cut: Cut | None) -> Tensor:
        reach, factor = REACH[self.options.inputs], self.factor
        x = upsample(trim(gather(coarse, self.options.inputs), cut, reach), factor, "nearest")
        x = x.contiguous(memory_format=memory_format(self.dim))
        for block in self.blocks:
            x = block(x, cut)
        left = (self.receptive_radius - reach) * factor - 2 * len(BLOCKS) * (KERNEL // 2)
        x = trim(x, cut, left - self.finish_radius * factor)
        kept = (
            self.receptive_radius - self.finish_radius
        )  # coarse cells of the halo that `finish` does not read
        if self.options.gated:
            near = gate(trim(coarse[:, :1], cut, kept - GATE_RADIUS), factor)
            x = x * trim(near, cut, GATE_RADIUS * factor)
        return trim(self.finish(x, trim(coarse, cut, kept)), cut, self.finish_radius * factor)

    def fold(self) -> TempoGAN:
        """Eval mode, every batch norm multiplied into its convolution; the stored weights stay. Returns itself."""
        fold(self.eval())
        return self

    @property
    def inputs(self) -> Inputs:
        """The fields it reads."""
        return self.options.inputs

    @property
    def receptive_radius(self) -> int:
        """Coarse cells: two convolutions a block at fine resolution; vorticity reads one cell more."""
        fine = 2 * len(BLOCKS) * (KERNEL // 2)
        own = math.ceil(fine / self.factor) + REACH[self.options.inputs]
        return max(own, self.support_radius or 0) + self.finish_radius

    @property
    def paid_radius(self) -> int:
        """Coarse cells of a halo that would cost, computed by every layer, what the whole halo costs `inside`.

        Half of it, the mean over the layers of what each computes, by their cost: the dearest, RB1's second,
        lies in the middle.
        """
        return self.receptive_radius // 2

    @property
    def support_radius(self) -> int | None:
        """None unless gated: biases give empty air an answer of its own."""
        return GATE_RADIUS if self.options.gated else None

    @property
    def multiply_adds(self) -> float:
        """Multiply-adds per fine voxel: every convolution is at fine resolution."""
        total = float(sum(m.weight.numel() for m in self.modules() if isinstance(m, NormedConvolution)))
        total += gate_multiply_adds(self.dim, self.factor) if self.options.gated else 0.0
        return total + self.finish_multiply_adds


class ResidualBlock(nn.Module):
    """`ReLU(CB(ReLU(CA(x))) + CS(x))`: two 5-wide convolutions and a 1-wide shortcut, with batch norms if `normed`."""

    def __init__(self, dim: int, inputs: int, inner: int, outer: int, normed: bool) -> None:
        super().__init__()
        self.a = NormedConvolution(dim, inputs, inner, KERNEL, normed)
        self.b = NormedConvolution(dim, inner, outer, KERNEL, normed)
        self.shortcut = NormedConvolution(dim, inputs, outer, 1, normed)

    def forward(self, x: Tensor, cut: Cut | None = None) -> Tensor:
        y = self.b(F.relu(self.a(x, cut)), cut)
        return F.relu(y + self.shortcut(trim(x, cut, 2 * (KERNEL // 2))))
