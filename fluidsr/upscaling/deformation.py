"""The deformation of texture coordinates that move with the smoke."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

LIMIT = 2.0  # more stretching or squeezing moves a texture into another octave


def stretch(displacement: Tensor, periodic: Sequence[bool]) -> tuple[Tensor, Tensor]:
    """The least and the greatest stretch, each `[x, y, z]`, of the map `c = x + displacement [x, y, z, 3]` (cells).

    They are the extreme singular values of its Jacobian, 1 without deformation (Kim et al. 2008, section 4.3).
    `periodic`: whether each axis is periodic.
    """
    jacobian = [[_slope(displacement[..., a], b, periodic[b]) for b in range(3)] for a in range(3)]
    for a in range(3):
        jacobian[a][a] = jacobian[a][a] + 1.0
    m = [
        [torch.stack([jacobian[k][a] * jacobian[k][b] for k in range(3)]).sum(0) for b in range(3)]
        for a in range(3)
    ]
    least, greatest = _eigenvalues(m)
    return least.clamp_min(0).sqrt(), greatest.clamp_min(0).sqrt()


def torn(displacement: Tensor, periodic: Sequence[bool]) -> Tensor:
    """Whether the texture is deformed by more than LIMIT in each cell, `[x, y, z]`, bool."""
    least, greatest = stretch(displacement, periodic)
    return (least < 1.0 / LIMIT) | (greatest > LIMIT)


def _slope(field: Tensor, axis: int, is_periodic: bool) -> Tensor:
    """The central difference per cell; one-sided at a border, 0 along an axis of one cell."""
    n = field.shape[axis]
    if n == 1:
        return torch.zeros_like(field)
    if is_periodic:
        return (field.roll(-1, axis) - field.roll(1, axis)) / 2
    (slope,) = torch.gradient(field, dim=axis)
    return slope


def _eigenvalues(m: Sequence[Sequence[Tensor]]) -> tuple[Tensor, Tensor]:
    """Least and greatest eigenvalue of symmetric 3 x 3 matrices given by their entries (Smith 1961)."""
    mean = (m[0][0] + m[1][1] + m[2][2]) / 3
    a, b, c = m[0][0] - mean, m[1][1] - mean, m[2][2] - mean
    d, e, f = m[0][1], m[0][2], m[1][2]
    radius = ((a * a + b * b + c * c + 2 * (d * d + e * e + f * f)) / 6).clamp_min(1e-20).sqrt()
    half = (a * (b * c - f * f) - d * (d * c - f * e) + e * (d * f - b * e)) / (2 * radius**3)
    angle = torch.acos(half.clamp(-1, 1)) / 3
    greatest = mean + 2 * radius * torch.cos(angle)
    least = mean + 2 * radius * torch.cos(angle + 2 * torch.pi / 3)
    return least, greatest
