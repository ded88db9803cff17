"""Exchange of smoke between neighboring cells: a positive share evens out, a negative one sharpens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fluidsr.models.padding import wrap

_TINY = 1e-12


def exchange(scalar: Tensor, share: Tensor, open_faces: Tensor, periodic: Sequence[bool]) -> Tensor:
    """The change of `scalar [B, C, *S]` by fluxes across its cells' faces, limited (Zalesak 1979, "Fully
    multidimensional flux-corrected transport algorithms for fluids").

        flux = (mean of the two cells' share) * open * (difference of the two cells)

    Args:
        share: `[B, dim, *S]`, along each axis; a positive share evens a difference out, a negative one enlarges it.
        open_faces: `[B, dim, *S]`, the open share of the upper face of each cell along each axis. What is beyond the
            domain's last cell is closed unless the axis is periodic.
        periodic: for each axis.

    Invariants: the sum of each channel's change is zero; a constant scalar does not change; no value leaves the
    range of its 3^dim neighborhood.
    """
    dim = share.shape[1]
    fluxes = []
    for axis, wraps in enumerate(periodic):
        mean = 0.5 * (share[:, axis] + share[:, axis].roll(-1, axis + 1)) * open_faces[:, axis]
        if not wraps:
            last = share.shape[axis + 2] - 1
            mean = mean.index_fill(axis + 1, torch.tensor([last], device=mean.device), 0.0)
        fluxes.append(mean[:, None] * (scalar.roll(-1, axis + 2) - scalar))
    rise, fall = torch.zeros_like(scalar), torch.zeros_like(scalar)
    for axis, flux in enumerate(fluxes, start=2):  # into the cell across its upper face, and out of it
        into, out = flux.clamp(min=0), -flux.clamp(max=0)
        rise, fall = rise + into + out.roll(1, axis), fall + out + into.roll(1, axis)
    low, high = _bounds(scalar, dim, periodic)
    up = ((high - scalar) / (rise + _TINY)).clamp(max=1.0)
    down = ((scalar - low) / (fall + _TINY)).clamp(max=1.0)
    change = torch.zeros_like(scalar)
    for axis, flux in enumerate(fluxes):
        to_lower = torch.minimum(up, down.roll(-1, axis + 2))
        to_upper = torch.minimum(down, up.roll(-1, axis + 2))
        limited = torch.where(flux > 0, to_lower, to_upper) * flux
        change = change + limited - limited.roll(1, axis + 2)
    return change


def _bounds(scalar: Tensor, dim: int, periodic: Sequence[bool]) -> tuple[Tensor, Tensor]:
    max_pool = F.max_pool2d if dim == 2 else F.max_pool3d
    halos = [int(wraps) for wraps in periodic]
    around = wrap(scalar, halos)
    high, low = max_pool(around, 3, stride=1, padding=1), -max_pool(-around, 3, stride=1, padding=1)
    for axis, halo in enumerate(halos, start=2):
        high = high.narrow(axis, halo, scalar.shape[axis])
        low = low.narrow(axis, halo, scalar.shape[axis])
    return low, high


def open_between(air: Tensor, periodic: Sequence[bool]) -> Tensor:
    """`[B, dim, *S]`: 1 for upper faces between two cells of `air [B, 1, *S]` that are 1, else 0."""
    axes = range(2, air.dim())
    return torch.cat([air * air.roll(-1, axis) for axis in axes], dim=1)
