"""The generator: coarse density and velocity in, fine density out. See docs/adr/0005-generator.md."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fluidsr.models.blocks import BalancedRise, Convolution, ResidualBlock, activate
from fluidsr.models.resample import upsample

PRESENT = 0.02  # density at which the generator may add detail at full strength


class SmokeGenerator(nn.Module):
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

    Raises ValueError for a dim other than 2 or 3 and a factor other than 2, 4 or 8.
    """

    architecture = "SmokeGenerator"

    def __init__(
        self,
        dim: int,
        factor: int = 4,
        width: int = 48,
        blocks: int = 3,
        rise_width: int = 16,
        velocity_unit: float = 4.0,
    ) -> None:
        super().__init__()
        if dim not in (2, 3):
            raise ValueError(f"dim {dim} is neither 2 nor 3")
        if factor not in (2, 4, 8):
            raise ValueError(f"factor {factor} is none of 2, 4, 8")
        if (
            min(width, rise_width) < 1
            or blocks < 0
            or not (velocity_unit > 0 and math.isfinite(velocity_unit))
        ):
            raise ValueError("width, rise_width and velocity_unit must be positive, blocks not negative")
        self.dim, self.factor, self.width, self.blocks = dim, factor, width, blocks
        self.rise_width, self.velocity_unit = rise_width, velocity_unit

        self.head = Convolution(dim, 1 + dim, width)
        self.trunk = nn.ModuleList(ResidualBlock(dim, width) for _ in range(blocks))
        stages = factor.bit_length() - 1
        inputs = [width] + [rise_width] * (stages - 1)
        outputs = [rise_width] * (stages - 1) + [1]
        # The last rise starts near zero: training begins at cubic upsampling.
        gains = [1.0] * (stages - 1) + [0.01]
        self.rises = nn.ModuleList(
            BalancedRise(dim, *shape_and_gain) for shape_and_gain in zip(inputs, outputs, gains, strict=True)
        )
        self.refinements = nn.ModuleList(
            Convolution(dim, rise_width, rise_width, gain=0.3) for _ in range(stages - 1)
        )

    def forward(self, coarse: Tensor) -> Tensor:
        density = coarse[:, :1]
        return torch.relu(
            upsample(density, self.factor, "cubic") + self.gate(density) * self.residual(coarse)
        )

    def residual(self, coarse: Tensor) -> Tensor:
        """What the network would add to cubic upsampling where smoke is, `[B, 1, *(S * factor)]`."""
        x = torch.cat([coarse[:, :1], coarse[:, 1:] / self.velocity_unit], dim=1)
        x = x.contiguous(memory_format=memory_format(self.dim))
        x = self.head(x)
        for block in self.trunk:
            x = block(x)
        for rise, refine in zip(self.rises, self.refinements, strict=False):
            x = rise(activate(x))
            x = x + refine(activate(x))
        return self.rises[-1](activate(x))

    def gate(self, density: Tensor) -> Tensor:
        """Where detail may appear: 1 near density, falling to exactly 0 within two coarse cells of it."""
        pool = F.max_pool2d if self.dim == 2 else F.max_pool3d
        near = (pool(density, 3, stride=1, padding=1) / PRESENT).clamp(0.0, 1.0)
        return upsample(near, self.factor, "linear")

    def fold(self) -> SmokeGenerator:
        """Make ready for inference: eval mode, balanced weights stored as such. Returns itself."""
        self.eval()
        for rise in self.rises:
            assert isinstance(rise, BalancedRise)
            rise.fold()
        return self

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "dim": self.dim,
            "factor": self.factor,
            "width": self.width,
            "blocks": self.blocks,
            "rise_width": self.rise_width,
            "velocity_unit": self.velocity_unit,
        }

    @property
    def receptive_radius(self) -> int:
        """Coarse cells, in each direction, that a fine voxel's value may depend on beside its own."""
        radius = 0
        for stage in reversed(range(len(self.rises))):
            # A cell of the finer grid reads `radius` cells to either side: ceil(radius / 2) of the next
            # coarser grid, one more for the rise's own kernel, and one for the refinement on that grid.
            radius = (radius + 1) // 2 + 1 + (1 if stage > 0 else 0)
        return max(radius + 2 * self.blocks + 1, self.support_radius)

    @property
    def support_radius(self) -> int:
        """Coarse cells beyond which empty density gives exactly zero output.

        The gate is the wider of the two supports: one cell for the pooling, one for the linear upsampling.
        Cubic upsampling reaches two cells.
        """
        return 2

    @property
    def multiply_adds(self) -> float:
        """Multiply-adds per fine voxel, exactly (a fraction, since most are done per coarse cell)."""
        kernel, fine = 3**self.dim, self.factor**self.dim
        total = kernel * (1 + self.dim) * self.width + 2 * self.blocks * kernel * self.width**2
        for stage in range(len(self.rises)):
            inputs = self.width if stage == 0 else self.rise_width
            outputs = 1 if stage == len(self.rises) - 1 else self.rise_width
            here = kernel * inputs * outputs * 2**self.dim
            if stage > 0:
                here += kernel * self.rise_width**2
            total += here * 2 ** (stage * self.dim)
        # Cubic (4 taps) and linear (2 taps) upsampling, axis by axis, and the gate's product.
        fixed = sum(6 / self.factor**axis for axis in range(self.dim)) + 1
        return total / fine + fixed


def memory_format(dim: int) -> torch.memory_format:
    """Channels last: what oneDNN and cuDNN convolve fastest."""
    return torch.channels_last if dim == 2 else torch.channels_last_3d
