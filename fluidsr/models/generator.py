"""Generator: the base class of all networks that upsample smoke, with their options and shared last layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from fluidsr.deprecation import RenamedAttribute
from fluidsr.models.blocks import CroppedSides, trim
from fluidsr.models.fields import Inputs
from fluidsr.models.resample import BACK_PROJECTION_RADIUS, back_project, back_projection_macs, upsample
from fluidsr.models.style import LatentOptions

FULL_DETAIL_DENSITY = 0.02  # at which `detail_mask` reaches 1
CUBIC_RADIUS = 2  # coarse cells that cubic upsampling reads around a voxel's own
NORMS = (nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm)


class _Strict(BaseModel):
    """Frozen, strict types, finite numbers, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class GridOptions(_Strict):
    """The grids that a generator maps between."""

    dim: Literal[2, 3]
    factor: Literal[2, 4, 8] = 4


class ArchitectureOptions(_Strict):
    """What every architecture leaves to choose; each adds its own fields. Recipes have these very keys.

    With `consistent`, the last layer is `fluidsr.models.resample.back_project`.
    """

    consistent: bool = Field(
        default=False,
        description="Scale the output so that, downsampled, it is closer to the coarse density",
    )

    @property
    def ages(self) -> tuple[int, ...]:
        """How many frames ago the smoke was that the network reads beside the present, carried here."""
        return ()


class Options(ArchitectureOptions, GridOptions):
    """All hyperparameters of a generator, as its model card keeps them."""


class Generator(nn.Module):
    """`coarse [B, 1 + dim, *S]` to fine density `[B, 1, *(S * factor)]`.

    Channel 0 of `coarse` is density (not negative), the others are velocity in coarse cells per frame. A fine voxel
    depends on coarse cells within `receptive_radius` of its own and on no other, and on no other sample of the
    batch once in eval mode; so tiles with a halo of that many cells (`forward_cropped`) equal the whole volume, up
    to rounding. `forward` itself is for patches in training, and finds nothing beyond their border. One with `ages`
    also takes `history [B, len(ages), *(S * factor)]`, the detail of smoke carried from then; without it, and where
    it is zero, it makes do with the present frame. `forward_cropped` takes it with no more than `history_radius`
    coarse cells at the cropped sides. `detail`, a number or `[B, 1, *S]`, scales what the output has beyond cubic
    upsampling (`finish`); None is 1. One that `has_mask` returns it as a second channel, `with_mask`. One that
    `reads_previous` takes `previous [B, 1, *(S * factor)]`, its own last output carried to the present, of all
    cells of `coarse`; without it, and where it is zero, it makes do with the present frame. One that has `latent`
    takes a `style` (`style.Style`), and has a mean one without.
    """

    architecture: ClassVar[str]
    schema: ClassVar[type[Options]]
    scales_detail: ClassVar[bool] = False  # whether `forward` takes `detail`
    # Options in which a training may differ from the model that it starts from (`init`): `consistent`, a layer without
    # weights; `init`, from which these had started; `norm`, which a model for use has no longer.
    free_options: ClassVar[frozenset[str]] = frozenset({"consistent", "init", "norm"})

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.options = options
        self.dim, self.factor = options.dim, options.factor

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """What `build` needs beside the architecture's name."""
        return self.options.model_dump(exclude_none=True)

    @property
    def inputs(self) -> Inputs:
        """The fields it reads; vorticity is computed from the velocity it is given."""
        return "density velocity"

    @property
    def ages(self) -> tuple[int, ...]:
        """How many frames ago the smoke was that it reads, carried to the present (`history.History`), beside it."""
        return self.options.ages

    @property
    def history_radius(self) -> int:
        """Coarse cells beyond those that are kept of which `forward_cropped` reads the history."""
        return 0

    @property
    def has_mask(self) -> bool:
        """Whether it can return, voxel by voxel, the share of its correction that it adds."""
        return False

    @property
    def reads_previous(self) -> bool:
        """Whether it reads its own last fine frame (`recurrence.LastFrame`)."""
        return False

    @property
    def latent(self) -> LatentOptions | None:
        """What of its output is a matter of style; None: it has one output for an input."""
        return None

    @property
    def receptive_radius(self) -> int:
        """Coarse cells, in each direction, that a fine voxel's value may depend on beside its own."""
        raise NotImplementedError

    @property
    def effective_halo(self) -> int:
        """Coarse cells: a halo this wide, computed by every layer, costs what `forward_cropped` spends on the halo."""
        return self.receptive_radius

    @property
    def support_radius(self) -> int | None:
        """Coarse cells from any density beyond which the output is exactly zero; None: it need not be zero.

        Where it is None, the output for empty, motionless air need not be zero; it is the same everywhere but near
        the domain's border.
        """
        raise NotImplementedError

    @property
    def macs_per_voxel(self) -> float:
        """Multiply-adds per fine voxel of the whole volume, exactly (fractions: most may be per coarse cell)."""
        raise NotImplementedError

    @property
    def num_parameters(self) -> int:
        """Weights and biases of its convolutions; those of normalisations are not counted."""
        return count_parameters(self)

    weights = RenamedAttribute("num_parameters")
    multiply_adds = RenamedAttribute("macs_per_voxel")
    paid_radius = RenamedAttribute("effective_halo")
    inside = RenamedAttribute("forward_cropped")

    def forward_cropped(
        self,
        coarse: Tensor,
        cropped: CroppedSides,
        history: Tensor | None = None,
        detail: Tensor | float | None = None,
    ) -> Tensor:
        """The output for a tile that was cut out of a volume with a halo of `receptive_radius` coarse cells, which it
        is less by at each of the `cropped` sides. At the others the volume ends, and its outermost cells should be
        extended (`blocks.convolve` and `blocks.repeat_ends` do): zeros beyond a floor look like the end of the
        smoke.

        Architectures override it to do so, and to compute only what the kept cells need; this one computes all of
        `forward`.
        """
        fine = self(coarse) if detail is None else self(coarse, detail=detail)
        return trim(fine, cropped, self.receptive_radius * self.factor)

    @property
    def stages(self) -> int:
        """Stages that a training can add one after another (`grow`); 0: the generator is trained as a whole."""
        return 0

    def grow(self, stages: float) -> None:
        """Use this many of the `stages` from here on, the last one of them mixed in by the fraction.

        Where a stage is added, at a whole number, the output does not change.
        """
        raise NotImplementedError(f"{self.architecture} does not grow")

    def grown_target(self, fine: Tensor) -> Tensor:
        """The reference `fine [..., *(S * factor)]` as the stages in use can make it, of the same shape."""
        return fine

    def fold(self) -> Generator:
        """Prepare for inference: eval mode, constant factors merged into the weights. Returns itself."""
        return self.eval()

    def load_folded(self, weights: Mapping[str, Tensor]) -> None:
        """Take the weights of a folded generator of the same hyperparameters."""
        self.load_state_dict(dict(weights))

    def finish(
        self,
        fine: Tensor,
        coarse: Tensor,
        detail: Tensor | float | None = None,
        cropped: CroppedSides | None = None,
    ) -> Tensor:
        """The last steps of all architectures: scale the detail of `fine`, then `enforce_consistency`.

            max(0, cubic(density) + linear(detail) * (fine - cubic(density)))

        `detail` is not negative: a number, or `[B, 1, *S]`. Where it is 1, `fine` stays as it is, bit for bit; where it
        is 0, that is cubic upsampling. At the `cropped` sides `fine` has `consistency_radius` coarse cells beyond what
        is kept, `coarse` and `detail` have `receptive_radius`, which must be 2 more than that.
        """
        unread = self.receptive_radius - self.consistency_radius
        if detail is not None:
            density = trim(coarse[:, :1], cropped, unread - CUBIC_RADIUS)
            cubic = trim(upsample(density, self.factor, "cubic"), cropped, CUBIC_RADIUS * self.factor)
            if isinstance(detail, Tensor):
                detail = trim(detail, cropped, unread - 1)
                detail = trim(upsample(detail, self.factor, "linear"), cropped, self.factor)
            fine = torch.lerp(cubic, fine.to(cubic.dtype), detail).relu()  # exact at 0 and at 1
        fine = self.enforce_consistency(fine, trim(coarse, cropped, unread))
        return trim(fine, cropped, self.consistency_radius * self.factor)

    def enforce_consistency(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """`back_project` onto the coarse density, if `consistent`."""
        return back_project(fine, coarse[:, :1], self.factor) if self.options.consistent else fine

    @property
    def consistency_radius(self) -> int:
        """Coarse cells that `enforce_consistency` reads around a voxel's own."""
        return BACK_PROJECTION_RADIUS if self.options.consistent else 0

    @property
    def consistency_macs(self) -> float:
        """Multiply-adds per fine voxel of `enforce_consistency`."""
        return back_projection_macs(self.dim, self.factor) if self.options.consistent else 0.0


class CroppingGenerator(Generator):
    """A generator of one frame alone whose whole volumes and tiles are made by one method.

    A subclass defines `_forward`: the fine density of `coarse`, less `receptive_radius` coarse cells at the `cropped`
    sides (None: of a whole volume).
    """

    def forward(self, coarse: Tensor, *, detail: Tensor | float | None = None) -> Tensor:
        return self._forward(coarse, None, detail)

    def forward_cropped(
        self,
        coarse: Tensor,
        cropped: CroppedSides,
        history: Tensor | None = None,
        detail: Tensor | float | None = None,
    ) -> Tensor:
        """The output for a tile, less `receptive_radius` coarse cells at each of the `cropped` sides; at the others the
        outermost cells are repeated by every layer."""
        return self._forward(coarse, cropped, detail)

    def _forward(self, coarse: Tensor, cropped: CroppedSides | None, detail: Tensor | float | None) -> Tensor:
        raise NotImplementedError


def count_parameters(network: nn.Module) -> int:
    """Trainable numbers of a network, biases included, those of normalisation layers excluded."""
    norms = {id(p) for m in network.modules() if isinstance(m, NORMS) for p in m.parameters()}
    return sum(p.numel() for p in network.parameters() if id(p) not in norms)


def detail_mask(density: Tensor, factor: int) -> Tensor:
    """Where detail may appear, `[B, 1, *S]` to `[B, 1, *(S * factor)]`: 1 near density, falling to exactly 0.

    `linear(min(1, maxpool3(density) / 0.02))`: zero beyond two coarse cells from any density, one for the
    pooling and one for the interpolation.
    """
    pool = F.max_pool2d if density.dim() == 4 else F.max_pool3d
    near = (pool(density, 3, stride=1, padding=1) / FULL_DETAIL_DENSITY).clamp(0.0, 1.0)
    return upsample(near, factor, "linear")


DETAIL_RADIUS = 2


def detail_mask_macs(dim: int, factor: int) -> float:
    """Of `detail_mask` and its product, per fine voxel: two taps along each axis in turn, and one."""
    return sum(2 / factor**axis for axis in range(dim)) + 1
