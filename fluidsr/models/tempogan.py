"""TempoGAN: the generator of Xie et al. 2018 with the published layers. See docs/models.md."""

from __future__ import annotations

import math
from typing import Any

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
from fluidsr.models.initialization import INIT_DESCRIPTION, Init, initialize
from fluidsr.models.resample import upsample

KERNEL = 5
# Channels within and after each residual block; all but the last have batch norms.
BLOCKS = ((8, 32), (128, 128), (32, 8), (2, 1))


class TempoGANArchitecture(ArchitectureOptions):
    """Inputs of a TempoGAN; its sizes are the published ones."""

    inputs: Inputs = Field(default="density velocity", description=INPUTS_DESCRIPTION)
    gated: bool = Field(
        default=False,
        description="Whether the output is exactly 0 far from any smoke; the published generator is "
        "not gated",
    )
    init: Init = Field(default="kaiming", description=INIT_DESCRIPTION)


class TempoGANOptions(TempoGANArchitecture, Options):
    """All hyperparameters of a TempoGAN."""


class TempoGAN(CroppingGenerator):
    """Maps `coarse [B, 1 + dim, *S]` to fine density `[B, 1, *(S * factor)]` by nearest upsampling and residual blocks.

    | NI x factor | |
    |---|---|
    | RB0 | C5,8 BN ReLU C5,32 BN + C1,32 BN, ReLU |
    | RB1 | C5,128 BN ReLU C5,128 BN + C1,128 BN, ReLU |
    | RB2 | C5,32 BN ReLU C5,8 BN + C1,8 BN, ReLU |
    | RB3 | C5,2 ReLU C5,1 + C1,1, ReLU |

    These are the layers of the thesis, appendix A.1. With density and velocity as inputs it has 634,214 weights in 2-D
    and 3,148,014 in 3-D. Eight consecutive 5-wide convolutions reach 16 fine voxels, which are 4 coarse cells at a
    factor of 4, so tiles need a halo of 4 cells instead of the published 3. `forward` treats everything beyond the
    border as zero. The output is never negative.

    Raises ValueError for options that `TempoGANOptions` does not allow.
    """

    architecture = "TempoGAN"
    schema = TempoGANOptions
    scales_detail = True
    options: TempoGANOptions

    def __init__(self, dim: int, factor: int = 4, **choices: Any) -> None:
        super().__init__(TempoGANOptions(dim=dim, factor=factor, **choices))  # type: ignore[arg-type]
        channels = CHANNELS[self.options.inputs]
        self.blocks = nn.ModuleList()
        for inner, outer in BLOCKS:
            self.blocks.append(TempoGANBlock(dim, channels, inner, outer, normed=outer > 1))
            channels = outer
        initialize(self, self.options.init)

    def _forward(self, coarse: Tensor, cropped: CroppedSides | None, detail: Tensor | float | None) -> Tensor:
        reach, factor = REACH[self.options.inputs], self.factor
        x = upsample(trim(gather_fields(coarse, self.options.inputs), cropped, reach), factor, "nearest")
        x = x.contiguous(memory_format=memory_format(self.dim))
        for block in self.blocks:
            x = block(x, cropped)
        remaining = (self.receptive_radius - reach) * factor - 2 * len(BLOCKS) * (KERNEL // 2)
        x = trim(x, cropped, remaining - self.consistency_radius * factor)
        if self.options.gated:
            unread = self.receptive_radius - self.consistency_radius  # halo beyond what `finish` reads
            mask = detail_mask(trim(coarse[:, :1], cropped, unread - DETAIL_RADIUS), factor)
            x = x * trim(mask, cropped, DETAIL_RADIUS * factor)
        return self.finish(x, coarse, detail, cropped)

    def fold(self) -> TempoGAN:
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
        fine = 2 * len(BLOCKS) * (KERNEL // 2)
        network = math.ceil(fine / self.factor) + REACH[self.options.inputs]
        return max(network, self.support_radius or 0) + self.consistency_radius

    @property
    def effective_halo(self) -> int:
        """See `Generator.effective_halo`: half of the halo, the mean over the layers weighted by their cost.

        The most expensive layer, the second one of RB1, is in the middle.
        """
        return self.receptive_radius // 2

    @property
    def support_radius(self) -> int | None:
        """None unless gated, as biases give empty air a value of its own."""
        return DETAIL_RADIUS if self.options.gated else None

    @property
    def macs_per_voxel(self) -> float:
        """The multiply-adds per fine voxel."""
        total = float(sum(m.weight.numel() for m in self.modules() if isinstance(m, NormedConvolution)))
        total += detail_mask_macs(self.dim, self.factor) if self.options.gated else 0.0
        return total + self.consistency_macs


class TempoGANBlock(nn.Module):
    """`ReLU(CB(ReLU(CA(x))) + CS(x))`: two 5-wide convolutions and a 1-wide shortcut, with batch norms if `normed`."""

    def __init__(self, dim: int, inputs: int, inner: int, outer: int, normed: bool) -> None:
        super().__init__()
        self.a = NormedConvolution(dim, inputs, inner, KERNEL, normed)
        self.b = NormedConvolution(dim, inner, outer, KERNEL, normed)
        self.shortcut = NormedConvolution(dim, inputs, outer, 1, normed)

    def forward(self, x: Tensor, cropped: CroppedSides | None = None) -> Tensor:
        y = self.b(F.relu(self.a(x, cropped)), cropped)
        return F.relu(y + self.shortcut(trim(x, cropped, 2 * (KERNEL // 2))))
