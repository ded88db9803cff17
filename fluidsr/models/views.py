"""What the discriminators are shown: densities as published, or what upsampling leaves out of them."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from fluidsr.models.resample import upsample
from fluidsr.models.warp import Alignment

View = Literal["raw", "residual"]

SPATIAL_CHANNELS = 2  # of what Ds sees: the coarse density, raised, and the fine one
TEMPORAL_CHANNELS = 3  # of what Dt sees: three frames
# Residuals of smoke are some hundredths; so scaled they are of the size of densities. Discriminators learn twice as
# fast with 20 as with 5 (docs/adr/0009-adversary.md).
RESIDUAL_SCALE = 20.0


def spatial(density: Tensor, fine: Tensor, factor: int, view: View = "raw", thin: float = 0.0) -> Tensor:
    """What Ds sees of `fine [B, 1, *(S * factor)]` and its coarse `density [B, 1, *S]`: `[B, 2, *(S * factor)]`.

    `raw`, as published: the coarse density by nearest upsampling, beside the fine one. `residual`: the coarse
    density by cubic upsampling, beside `20 (fine - that)`. On raw density a discriminator stays at chance for
    hundreds of steps, low frequencies drown the difference; on residuals it tells in a hundred. Where the raised
    density is below `thin`, residuals fade in proportion, those of real frames alike.
    """
    if view == "raw":
        return torch.cat([upsample(density, factor, "nearest"), fine], dim=1)
    return torch.cat(_residual(density, fine, factor, thin), dim=1)


def temporal(
    density: Tensor,
    fine: Tensor,
    factor: int,
    alignment: Alignment | None,
    view: View = "raw",
    thin: float = 0.0,
) -> Tensor:
    """What Dt sees of three frames: `[B, 3, *(S * factor)]`, the outer ones carried onto the middle one.

    `fine [B, 3, 1, *(S * factor)]`, `density [B, 3, 1, *S]`. `alignment` None leaves the frames where they
    are (equation 3.6), else it is that of equation 3.5. With `residual` it is `20 (fine - upsampled density)`
    that is carried: subtracted first, then warped. Dt is not shown the coarse frame.
    """
    if view == "residual":
        residual = _residual(density.flatten(0, 1), fine.flatten(0, 1), factor, thin)[1]
        fine = residual.unflatten(0, density.shape[:2])
    return fine[:, :, 0] if alignment is None else alignment(fine)


def _residual(density: Tensor, fine: Tensor, factor: int, thin: float) -> tuple[Tensor, Tensor]:
    """The raised density and what it lacks of `fine`, scaled, and faded where it is thin."""
    raised = upsample(density, factor, "cubic")
    residual = RESIDUAL_SCALE * (fine - raised)
    return raised, residual * (raised / thin).clamp(0.0, 1.0) if thin > 0 else residual
