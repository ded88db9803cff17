"""Differentiable semi-Lagrangian advection: one frame carried onto the next by the flow."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def advect(x: Tensor, velocity: Tensor, dt: float = 1.0) -> Tensor:
    """Carry `x [B, C, *S]` along `velocity [B, d, *S]` (cells per frame) for `dt` frames: `[B, C, *S]`.

    `result(p) = x(p - dt * velocity(p))`, multilinear between cell centres; beyond the border the last value
    is repeated. A negative `dt` carries backwards. The result never leaves the range of `x`; with zero
    velocity or `dt` it is `x`. Differentiable in both (Xie et al. 2018, section 4.2). Raises ValueError where
    shapes disagree.
    """
    dim = x.dim() - 2
    if dim not in (2, 3) or velocity.shape != (x.shape[0], dim, *x.shape[2:]):
        raise ValueError(f"velocity {tuple(velocity.shape)} does not fit a field of shape {tuple(x.shape)}")
    coordinates = []
    for axis in reversed(range(dim)):  # grid_sample counts the contiguous axis first
        n = x.shape[2 + axis]
        shape = [1] * (1 + dim)
        shape[1 + axis] = n
        index = torch.arange(n, device=x.device, dtype=velocity.dtype).view(shape)
        coordinates.append((2 * (index - dt * velocity[:, axis]) + 1) / n - 1)
    grid = torch.stack(coordinates, dim=-1)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)
