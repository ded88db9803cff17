"""What every generator is to the rest of the house."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from fluidsr.models.blocks import Cut, trim
from fluidsr.models.fields import Inputs
from fluidsr.models.resample import PROJECTION_RADIUS, project, projection_multiply_adds, upsample

PRESENT = 0.02  # density at which a gated generator may add detail at full strength
NORMS = (nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm)


class Options(BaseModel):
    """A generator's hyperparameters: strict types, bounded sizes, no unknown keys.

    With `consistent`, the last layer scales the output by what its mean over a coarse cell lacks of the
    coarse density (`fluidsr.models.resample.project`). Every architecture adds its own fields.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    dim: Literal[2, 3]
    factor: Literal[2, 4, 8] = 4
    consistent: bool = False


class Generator(nn.Module):
    """`coarse [B, 1 + dim, *S]` to fine density `[B, 1, *(S * factor)]`.

    Channel 0 of `coarse` is density (not negative), the others are velocity in coarse cells per frame. A fine
    voxel depends on coarse cells within `receptive_radius` of its own and on no other, and on no other sample
    of the batch once in eval mode; so a tile that reads so many cells more than it answers for equals the
    whole, up to rounding.
    """

    architecture: ClassVar[str]
    schema: ClassVar[type[Options]]

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.options = options
        self.dim, self.factor = options.dim, options.factor

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """What `build` needs beside the architecture's name."""
        return self.options.model_dump()

    @property
    def inputs(self) -> Inputs:
        """The fields it reads; vorticity is computed from the velocity it is given."""
        return "density velocity"

    @property
    def receptive_radius(self) -> int:
        """Coarse cells, in each direction, that a fine voxel's value may depend on beside its own."""
        raise NotImplementedError

    @property
    def paid_radius(self) -> int:
        """Coarse cells of a halo that would cost, computed by every layer, what the whole halo costs `inside`."""
        return self.receptive_radius

    @property
    def support_radius(self) -> int | None:
        """Coarse cells from any density beyond which the output is exactly zero; None: it need not be zero.

        Where it is None, empty and motionless air has an answer of its own, the same everywhere but near the
        domain's border.
        """
        raise NotImplementedError

    @property
    def multiply_adds(self) -> float:
        """Multiply-adds per fine voxel of the whole volume, exactly (fractions: most may be per coarse cell)."""
        raise NotImplementedError

    @property
    def weights(self) -> int:
        """Weights and biases of its convolutions; those of normalisations are not counted."""
        return count_weights(self)

    def inside(self, coarse: Tensor, cut: Cut) -> Tensor:
        """`forward(coarse)` less `receptive_radius` coarse cells at each of the `cut` sides, up to rounding.

        For a tile that was cut out of a volume with a halo of that size: what only the halo needs is not computed.
        (Here all of it is; architectures know better.)
        """
        return trim(self(coarse), cut, self.receptive_radius * self.factor)

    def fold(self) -> Generator:
        """Make ready for inference: eval mode, and whatever can be computed once is. Returns itself."""
        return self.eval()

    def finish(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """The last layer that all architectures share: consistency with the coarse density, if asked for."""
        return project(fine, coarse[:, :1], self.factor) if self.options.consistent else fine

    @property
    def finish_radius(self) -> int:
        """Coarse cells that `finish` reads around a voxel's own."""
        return PROJECTION_RADIUS if self.options.consistent else 0

    @property
    def finish_multiply_adds(self) -> float:
        """Multiply-adds per fine voxel of `finish`."""
        return projection_multiply_adds(self.dim, self.factor) if self.options.consistent else 0.0


def count_weights(network: nn.Module) -> int:
    """Trainable numbers of a network, biases included, those of normalisation layers excluded."""
    norms = {id(p) for m in network.modules() if isinstance(m, NORMS) for p in m.parameters()}
    return sum(p.numel() for p in network.parameters() if id(p) not in norms)


def gate(density: Tensor, factor: int) -> Tensor:
    """Where detail may appear, `[B, 1, *S]` to `[B, 1, *(S * factor)]`: 1 near density, falling to exactly 0.

    `linear(min(1, maxpool3(density) / 0.02))`: zero beyond two coarse cells from any density, one for the
    pooling and one for the interpolation.
    """
    pool = F.max_pool2d if density.dim() == 4 else F.max_pool3d
    near = (pool(density, 3, stride=1, padding=1) / PRESENT).clamp(0.0, 1.0)
    return upsample(near, factor, "linear")


GATE_RADIUS = 2


def gate_multiply_adds(dim: int, factor: int) -> float:
    """Of `gate` and its product, per fine voxel: two taps along each axis in turn, and one."""
    return sum(2 / factor**axis for axis in range(dim)) + 1
