"""Exchange of smoke between neighboring cells: a positive share smooths, a negative one sharpens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fluidsr.models.padding import wrap

_TINY = 1e-12


def exchange(
    scalar: Tensor, share: Tensor, open_faces: Tensor, periodic: Sequence[bool], overshoot: float = 0.0
) -> Tensor:
    """The change of `scalar` by limited fluxes across the faces of its cells, `[B, C, *S]`.

        flux = (mean share of the two cells) * open * (difference of the two cells)

    The limiter is that of Zalesak 1979, "Fully multidimensional flux-corrected transport algorithms for fluids".

    Args:
        scalar: `[B, C, *S]`.
        share: `[B, dim, *S]`, along each axis. A positive share reduces the difference of two cells, a negative one
            increases it.
        open_faces: `[B, dim, *S]`, the open fraction of the upper face of each cell along each axis. The faces at the
            end of the domain are closed unless the axis is periodic.
        periodic: whether each axis is periodic.
        overshoot: how far a value may leave the range of its 3^dim neighborhood, as a fraction of that range. Without
            it nothing can restore the peak of a filament, since the whole neighborhood has faded.

    Invariants: the change of each channel sums to zero; a constant scalar does not change; no value leaves the range of
    its 3^dim neighborhood by more than `overshoot`, or the range of the whole scalar.
    """
    dim = share.shape[1]
    fluxes = []
    for axis, is_periodic in enumerate(periodic):
        mean = 0.5 * (share[:, axis] + share[:, axis].roll(-1, axis + 1)) * open_faces[:, axis]
        if not is_periodic:
            last = share.shape[axis + 2] - 1
            mean = mean.index_fill(axis + 1, torch.tensor([last], device=mean.device), 0.0)
        fluxes.append(mean[:, None] * (scalar.roll(-1, axis + 2) - scalar))
    rise, fall = torch.zeros_like(scalar), torch.zeros_like(scalar)
    for axis, flux in enumerate(fluxes, start=2):  # fluxes through the upper face of each cell
        into, out = flux.clamp(min=0), -flux.clamp(max=0)
        rise, fall = rise + into + out.roll(1, axis), fall + out + into.roll(1, axis)
    low, high = _bounds(scalar, dim, periodic, overshoot)
    up = ((high - scalar) / (rise + _TINY)).clamp(max=1.0)
    down = ((scalar - low) / (fall + _TINY)).clamp(max=1.0)
    change = torch.zeros_like(scalar)
    for axis, flux in enumerate(fluxes):
        to_lower = torch.minimum(up, down.roll(-1, axis + 2))
        to_upper = torch.minimum(down, up.roll(-1, axis + 2))
        limited = torch.where(flux > 0, to_lower, to_upper) * flux
        change = change + limited - limited.roll(1, axis + 2)
    return change


def _bounds(scalar: Tensor, dim: int, periodic: Sequence[bool], overshoot: float) -> tuple[Tensor, Tensor]:
    """The least and the greatest value that each cell may take, both of the shape of `scalar`."""
    max_pool = F.max_pool2d if dim == 2 else F.max_pool3d
    halos = [int(is_periodic) for is_periodic in periodic]
    around = wrap(scalar, halos)
    high, low = max_pool(around, 3, stride=1, padding=1), -max_pool(-around, 3, stride=1, padding=1)
    for axis, halo in enumerate(halos, start=2):
        high = high.narrow(axis, halo, scalar.shape[axis])
        low = low.narrow(axis, halo, scalar.shape[axis])
    if overshoot:
        axes, more = tuple(range(2, scalar.dim())), overshoot * (high - low)
        high = torch.minimum(high + more, scalar.amax(axes, keepdim=True))
        low = torch.maximum(low - more, scalar.amin(axes, keepdim=True))
    return low, high


def open_between(air: Tensor, periodic: Sequence[bool]) -> Tensor:
    """The `open_faces` of `exchange`: 1 where `air [B, 1, *S]` is 1 in both cells at the face, else 0.

    Faces at the ends of all axes are those of a periodic domain; `exchange` closes the others.
    """
    axes = range(2, air.dim())
    return torch.cat([air * air.roll(-1, axis) for axis in axes], dim=1)
