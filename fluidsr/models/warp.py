"""Differentiable semi-Lagrangian advection: one frame carried onto the next by the flow."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fluidsr.models.resample import upsample


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
    grid = _grid(velocity, dt)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


def fine_velocity(coarse: Tensor, factor: int) -> Tensor:
    """Velocity `[B, d, *S]` in coarse cells per frame to `[B, d, *(S * factor)]` in fine cells per frame."""
    return upsample(coarse, factor, "linear") * factor


def _grid(velocity: Tensor, dt: float = 1.0) -> Tensor:
    """Where each cell's value comes from, as grid_sample wants it: `[B, *S, d]`, the contiguous axis first."""
    dim = velocity.shape[1]
    coordinates = []
    for axis in reversed(range(dim)):
        n = velocity.shape[2 + axis]
        shape = [1] * (1 + dim)
        shape[1 + axis] = n
        index = torch.arange(n, device=velocity.device, dtype=velocity.dtype).view(shape)
        coordinates.append((2 * (index - dt * velocity[:, axis]) + 1) / n - 1)
    return torch.stack(coordinates, dim=-1)


class Alignment:
    """Carries the outer frames of triplets onto the middle one, along coarse velocity (thesis, equation 3.5).

    `velocity [B, 3, d, *s]` in coarse cells per frame, `factor` fine cells along a coarse one; `dt` is the
    step between neighbours, in frames: pass the true one. Called with `x [B, 3, 1, *(s * factor)]` it gives

        {A(x[t-1], v[t-1]), x[t], A(x[t+1], -v[t+1])},   [B, 3, *(s * factor)]

    where `A` is semi-Lagrangian advection (`advect`) with the velocity raised linearly, in fine cells per
    frame. What is computed from the velocity is computed once, for all calls: for real and generated frames
    alike. The gradient flows into all three frames; none flows into the velocity, which is data.
    """

    def __init__(self, velocity: Tensor, factor: int, *, dt: float) -> None:
        dim = velocity.dim() - 3
        if dim not in (2, 3) or velocity.shape[1:3] != (3, dim):
            raise ValueError(f"velocity {tuple(velocity.shape)} is not [B, 3, d, *S]")
        outer = torch.cat([velocity[:, 0] * dt, velocity[:, 2] * -dt])
        self.grid = _grid(fine_velocity(outer.detach(), factor))

    def __call__(self, x: Tensor) -> Tensor:
        outer = torch.cat([x[:, 0], x[:, 2]])
        carried = F.grid_sample(outer, self.grid, mode="bilinear", padding_mode="border", align_corners=False)
        before, after = carried.chunk(2)
        return torch.cat([before, x[:, 1], after], dim=1)
