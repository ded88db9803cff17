"""The base class of all networks that upsample smoke, their options, and the layers that they share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from fluidsr.choices import Factor
from fluidsr.deprecation import RenamedAttribute
from fluidsr.models.blocks import CroppedSides, trim
from fluidsr.models.fields import Inputs
from fluidsr.models.resample import BACK_PROJECTION_RADIUS, back_project, back_projection_macs, upsample
from fluidsr.models.style import LatentOptions

FULL_DETAIL_DENSITY = 0.02  # at which `detail_mask` reaches 1
CUBIC_RADIUS = 2  # coarse cells that cubic upsampling reads around the cell of a voxel
NORMS = (nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm)


class _Strict(BaseModel):
    """Frozen, strict types, finite numbers, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class GridOptions(_Strict):
    """The grids that a generator maps between."""

    dim: Literal[2, 3]
    factor: Factor = 4


class ArchitectureOptions(_Strict):
    """The options that all architectures have in common. Subclasses add their own; recipes use the same keys.

    With `consistent`, the last layer is `fluidsr.models.resample.back_project`.
    """

    consistent: bool = Field(
        default=False,
        description="Scale the output so that, downsampled, it is closer to the coarse density",
    )

    @property
    def ages(self) -> tuple[int, ...]:
        """The ages, in frames, of the earlier smoke that the network reads as its history."""
        return ()


class Options(ArchitectureOptions, GridOptions):
    """All hyperparameters of a generator, as its model card stores them."""


class Generator(nn.Module):
    """A network that maps `coarse [B, 1 + dim, *S]` to fine density `[B, 1, *(S * factor)]`.

    Channel 0 of `coarse` is density (not negative), the others are velocity in coarse cells per frame. A fine voxel
    depends only on coarse cells within `receptive_radius` of its own and, in eval mode, on no other sample of the
    batch. Tiles with a halo of that many cells (`forward_cropped`) therefore equal the whole volume, up to rounding.
    `forward` is for patches in training and treats everything beyond their border as zero.

    Some generators take further arguments:

    - `history [B, len(ages), *(S * factor)]`, if `ages` is not empty: the detail of earlier smoke, advected to the
      present. None and zeros mean that it is unknown. `forward_cropped` takes it with `history_radius` coarse cells at
      the cropped sides.
    - `detail`, a number or `[B, 1, *S]`, if `scales_detail`: a factor on the difference between the output and cubic
      upsampling (see `finish`). None means 1.
    - `with_mask`, if `has_mask`: return the mask as a second channel.
    - `previous [B, 1, *(S * factor)]`, if `reads_previous`: the network's last output, advected to the present, for all
      cells of `coarse`. None and zeros mean that it is unknown.
    - `style` (`style.LatentStyle`), if `latent` is not None. None means the mean style.
    """

    architecture: ClassVar[str]
    schema: ClassVar[type[Options]]
    scales_detail: ClassVar[bool] = False  # whether `forward` takes `detail`
    # Options that may differ between a training and the model that it starts from (`init`): `consistent` is a layer
    # without weights, `init` says where the weights came from, and the `norm` of a folded model is gone.
    free_options: ClassVar[frozenset[str]] = frozenset({"consistent", "init", "norm"})
    # Options of parts that such a model may lack: `load_folded` then leaves them as they are.
    added_options: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.options = options
        self.dim, self.factor = options.dim, options.factor

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The arguments of `build` besides the name of the architecture."""
        return self.options.model_dump(exclude_none=True)

    @property
    def inputs(self) -> Inputs:
        """The fields that it reads; vorticity is computed from the velocity."""
        return "density velocity"

    @property
    def ages(self) -> tuple[int, ...]:
        """The ages, in frames, of the earlier smoke that it reads as its history (see `history.History`)."""
        return self.options.ages

    @property
    def history_radius(self) -> int:
        """The width, in coarse cells, of the halo of `history` at the cropped sides in `forward_cropped`."""
        return 0

    @property
    def has_mask(self) -> bool:
        """Whether it can return a mask: for each voxel the share of its correction that it adds."""
        return False

    @property
    def reads_previous(self) -> bool:
        """Whether it reads its own last fine frame (see `recurrence.LastFrame`)."""
        return False

    @property
    def latent(self) -> LatentOptions | None:
        """The options of its latent code; None if each input has only one output."""
        return None

    @property
    def receptive_radius(self) -> int:
        """The distance, in coarse cells, from which a coarse cell may influence a fine voxel."""
        raise NotImplementedError

    @property
    def effective_halo(self) -> int:
        """The width, in coarse cells, of a halo that would cost as much as the halo of `forward_cropped` does if all
        layers computed all of it."""
        return self.receptive_radius

    @property
    def support_radius(self) -> int | None:
        """The distance, in coarse cells, from any density beyond which the output is exactly zero.

        None if the output for empty, motionless air may be another value, which is the same everywhere except near the
        border of the domain.
        """
        raise NotImplementedError

    @property
    def macs_per_voxel(self) -> float:
        """The exact number of multiply-adds per fine voxel. It is a fraction, as layers may work on the coarse grid."""
        raise NotImplementedError

    @property
    def num_parameters(self) -> int:
        """The number of trainable parameters, without those of normalization layers."""
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
        """The output for a tile of a volume, `coarse` with a halo of `receptive_radius` cells at the `cropped` sides.

        The output does not include the halo. At the other sides the volume ends, and its outermost cells should be
        repeated (as `blocks.convolve` and `blocks.repeat_ends` do), because zeros beyond a floor look like the end of
        the smoke. Architectures override this method to do so, and to compute only what the output needs; this one
        computes all of `forward` and crops the result. See the class for the other arguments.
        """
        fine = self(coarse) if detail is None else self(coarse, detail=detail)
        return trim(fine, cropped, self.receptive_radius * self.factor)

    @property
    def stages(self) -> int:
        """The number of stages that a training can add one after another (see `grow`); 0 if it is trained as a
        whole."""
        return 0

    def grow(self, stages: float) -> None:
        """Use the first `stages` stages from now on. A fraction blends the last of them with the one before it, so the
        output is continuous in `stages`. Raises NotImplementedError if the architecture has no stages."""
        raise NotImplementedError(f"{self.architecture} does not grow")

    def grown_target(self, fine: Tensor) -> Tensor:
        """The reference `fine [..., *(S * factor)]`, reduced to the resolution of the stages in use; same shape."""
        return fine

    def fold(self) -> Generator:
        """Prepare for inference: eval mode, constant factors merged into the weights. Returns itself."""
        return self.eval()

    def load_folded(self, weights: Mapping[str, Tensor]) -> None:
        """Load the weights of a folded generator with the same hyperparameters."""
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

        Args:
            fine: `[B, 1, *(S * factor)]`, with a halo of `consistency_radius` coarse cells at the `cropped` sides.
            coarse: with a halo of `receptive_radius` cells there, which must be at least `consistency_radius` + 2.
            detail: not negative, a number or `[B, 1, *S]` with the halo of `coarse`. 1 leaves `fine` unchanged to the
                bit, 0 gives cubic upsampling. None means 1.
            cropped: the sides at which the tile was cut out of a larger volume.

        Returns the fine density without the halo.
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
        """The number of coarse cells that `enforce_consistency` reads around the cell of a voxel."""
        return BACK_PROJECTION_RADIUS if self.options.consistent else 0

    @property
    def consistency_macs(self) -> float:
        """The multiply-adds of `enforce_consistency` per fine voxel."""
        return back_projection_macs(self.dim, self.factor) if self.options.consistent else 0.0


class CroppingGenerator(Generator):
    """A generator that reads a single frame and computes whole volumes and tiles by the same method.

    Subclasses define `_forward`: the fine density of `coarse` without the halo of `receptive_radius` coarse cells at
    the `cropped` sides (None: `coarse` is a whole volume).
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
        """The output for a tile without its halo of `receptive_radius` coarse cells at the `cropped` sides. At the
        other sides every layer repeats the outermost cells."""
        return self._forward(coarse, cropped, detail)

    def _forward(self, coarse: Tensor, cropped: CroppedSides | None, detail: Tensor | float | None) -> Tensor:
        raise NotImplementedError


def count_parameters(network: nn.Module) -> int:
    """The number of trainable parameters of `network`, without those of normalization layers."""
    norms = {id(p) for m in network.modules() if isinstance(m, NORMS) for p in m.parameters()}
    return sum(p.numel() for p in network.parameters() if id(p) not in norms)


def detail_mask(density: Tensor, factor: int) -> Tensor:
    """The factor on detail, `[B, 1, *(S * factor)]`, for `density [B, 1, *S]`: 1 near smoke, exactly 0 far from it.

    `linear(min(1, maxpool3(density) / 0.02))`, which is zero beyond two coarse cells from any density: one for the
    pooling and one for the interpolation.
    """
    pool = F.max_pool2d if density.dim() == 4 else F.max_pool3d
    near = (pool(density, 3, stride=1, padding=1) / FULL_DETAIL_DENSITY).clamp(0.0, 1.0)
    return upsample(near, factor, "linear")


DETAIL_RADIUS = 2


def detail_mask_macs(dim: int, factor: int) -> float:
    """The multiply-adds of `detail_mask` and the product with it per fine voxel: two taps along each axis, and one."""
    return sum(2 / factor**axis for axis in range(dim)) + 1
