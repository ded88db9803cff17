"""Differentiable semi-Lagrangian advection of a frame to the next one.

Interpolation uses torch's grid_sample. A custom implementation, eight gathers and seven interpolations with a scatter
for the gradient, was only a tenth faster on a CPU (64³, one thread), which is not worth a second code path.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fluidsr.models.resample import upsample


def advect(x: Tensor, velocity: Tensor, dt: float = 1.0) -> Tensor:
    """Advect `x [B, C, *S]` along `velocity [B, d, *S]` (cells per frame) by `dt` frames. Returns `[B, C, *S]`.

    `result(p) = x(p - dt * velocity(p))`, interpolated multilinearly between cell centers (Xie et al. 2018, section
    4.2). Outside the domain `x` has the value of the nearest cell. A negative `dt` advects backwards in time. The
    result never leaves the range of `x`, and equals `x` if the velocity or `dt` is zero. It is differentiable with
    respect to `x` and `velocity`. Raises ValueError if the shapes do not fit.
    """
    dim = x.dim() - 2
    if dim not in (2, 3) or velocity.shape != (x.shape[0], dim, *x.shape[2:]):
        raise ValueError(f"velocity {tuple(velocity.shape)} does not fit a field of shape {tuple(x.shape)}")
    return _sample(x, _centers(x.shape[2:], x) - dt * _normalized(velocity, x.shape[2:]))


def fine_velocity(coarse: Tensor, factor: int) -> Tensor:
    """Upsample velocity linearly from `[B, d, *S]`, coarse cells per frame, to `[B, d, *(S * factor)]`, fine cells per
    frame."""
    return upsample(coarse, factor, "linear") * factor


class Alignment:
    """Advects the outer frames of triplets to the middle one, along the coarse velocity (thesis, equation 3.5).

    A call maps `x [B, 3, 1, *(S * factor)]` to `[B, 3, *(S * factor)]`:

        {A(x[t-1], v[t-1]), x[t], A(x[t+1], -v[t+1])}

    `A` is semi-Lagrangian advection (`advect`) with the linearly upsampled velocity. The sampling positions are
    computed once for all calls, for real and generated frames. Gradients reach all three frames, but not the velocity,
    which is data.

    Args:
        velocity: `[B, 3, d, *S]`, in coarse cells per frame.
        factor: fine cells along a coarse one.
        dt: time from one frame of a triplet to the next, in frames.

    Raises ValueError for a velocity of another shape.
    """

    def __init__(self, velocity: Tensor, factor: int, *, dt: float) -> None:
        if velocity.dim() not in (5, 6) or velocity.shape[1:3] != (3, velocity.dim() - 3):
            raise ValueError(f"velocity {tuple(velocity.shape)} is not [B, 3, d, *S]")
        outer = torch.cat([velocity[:, 0], -velocity[:, 2]]).detach()
        # In grid_sample's coordinates the displacement is a fraction of the domain, so it may be scaled on the coarse
        # grid, which is cheaper.
        step = upsample(dt * _normalized(outer, outer.shape[2:]), factor, "linear")
        self.places = step.neg_().add_(_centers(step.shape[2:], step))

    def __call__(self, x: Tensor) -> Tensor:
        before, after = _sample(torch.cat([x[:, 0], x[:, 2]]), self.places).chunk(2)
        return torch.cat([before, x[:, 1], after], dim=1)


def _centers(shape: torch.Size, like: Tensor) -> Tensor:
    """The cell centers in grid_sample's coordinates, -1 to 1, with the last axis first: `[1, d, *S]`."""
    axes = [(2 * torch.arange(n, device=like.device, dtype=like.dtype) + 1) / n - 1 for n in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1])[None]


def _normalized(velocity: Tensor, shape: torch.Size) -> Tensor:
    """Convert velocity in cells of a grid of `shape` to grid_sample's coordinates."""
    scale = torch.tensor([2.0 / n for n in reversed(shape)], device=velocity.device, dtype=velocity.dtype)
    return velocity.flip(1) * scale.view(1, -1, *(1,) * len(shape))


def _sample(x: Tensor, places: Tensor) -> Tensor:
    return F.grid_sample(
        x, places.movedim(1, -1), mode="bilinear", padding_mode="border", align_corners=False
    )
