"""The input fields of generators, computed from coarse density and velocity."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Inputs = Literal["density", "density velocity", "density velocity vorticity"]
INPUTS_DESCRIPTION = "Fields of the coarse frame that the network reads"

CHANNELS: dict[str, int] = {"density": 1, "density velocity": 4, "density velocity vorticity": 7}
# Radius, in coarse cells, of the neighborhood that a field is computed from, for vorticity by central differences.
REACH: dict[str, int] = {"density": 0, "density velocity": 0, "density velocity vorticity": 1}


def ages_of(history: str) -> tuple[int, ...]:
    """The ages, in frames, of the earlier smoke that a generator reads, from text such as `2 6`."""
    return tuple(int(age) for age in history.split())


def typical_density(density: Tensor) -> Tensor:
    """The mean of each sample of `density [B, ...]`, weighted by the density itself: `[B]`; 0 for air."""
    smoke = density.flatten(1)
    total = smoke.sum(1)
    return torch.where(total > 0, smoke.square().sum(1) / total, 0.0)


def vorticity(velocity: Tensor) -> Tensor:
    """The curl of `velocity [B, d, *S]` (cells per frame): `[B, 3, *S]`, per frame. In 2-D, x and y are zero.

    It is computed by central differences, with the outermost values repeated beyond the border.
    """
    dim = velocity.shape[1]

    def slope(component: int, axis: int) -> Tensor:
        u = velocity[:, component]
        n = u.shape[1 + axis]
        index = torch.arange(n, device=u.device)
        after = u.index_select(1 + axis, (index + 1).clamp_(max=n - 1))
        before = u.index_select(1 + axis, (index - 1).clamp_(min=0))
        return (after - before) / 2

    z = slope(1, 0) - slope(0, 1)
    if dim == 2:
        return torch.stack([torch.zeros_like(z), torch.zeros_like(z), z], dim=1)
    return torch.stack([slope(2, 1) - slope(1, 2), slope(0, 2) - slope(2, 0), z], dim=1)


def gather_fields(coarse: Tensor, inputs: str) -> Tensor:
    """Compute the fields `inputs`, `[B, CHANNELS[inputs], *S]`, from `coarse [B, 1 + d, *S]` (density, then velocity in
    cells per frame).

    As published, velocity and vorticity have three components in 2-D as well: the third of velocity and the first two
    of vorticity are zero.
    """
    density, velocity = coarse[:, :1], coarse[:, 1:]
    if inputs == "density":
        return density
    fields = [density, velocity]
    if velocity.shape[1] == 2:
        fields.append(torch.zeros_like(density))
    if inputs == "density velocity vorticity":
        fields.append(vorticity(velocity))
    return torch.cat(fields, dim=1)
