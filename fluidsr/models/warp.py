"""Differentiable semi-Lagrangian advection: one frame carried onto the next by the flow.

torch's grid_sample does the interpolation: eight gathers and seven interpolations with a scatter of our own
for the gradient were measured on a CPU (64³, one thread) and gained a tenth, which is not worth a second way.
"""

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
    return _sample(x, _places(x.shape[2:], x) - dt * _normalised(velocity, x.shape[2:]))


def fine_velocity(coarse: Tensor, factor: int) -> Tensor:
    """Velocity `[B, d, *S]` in coarse cells per frame to `[B, d, *(S * factor)]` in fine cells per frame."""
    return upsample(coarse, factor, "linear") * factor


class Alignment:
    """Carries the outer frames of triplets onto the middle one, along coarse velocity (thesis, equation 3.5).

    `velocity [B, 3, d, *s]` in coarse cells per frame, `factor` fine cells along a coarse one; `dt` is the
    step between neighbours, in frames: pass the true one. Called with `x [B, 3, 1, *(s * factor)]` it gives

        {A(x[t-1], v[t-1]), x[t], A(x[t+1], -v[t+1])},   [B, 3, *(s * factor)]

    where `A` is semi-Lagrangian advection (`advect`) with the velocity upsampled linearly, in fine cells per
    frame. What is computed from the velocity is computed once, for all calls: for real and generated frames
    alike. The gradient flows into all three frames; none flows into the velocity, which is data.
    """

    def __init__(self, velocity: Tensor, factor: int, *, dt: float) -> None:
        if velocity.dim() not in (5, 6) or velocity.shape[1:3] != (3, velocity.dim() - 3):
            raise ValueError(f"velocity {tuple(velocity.shape)} is not [B, 3, d, *S]")
        outer = torch.cat([velocity[:, 0], -velocity[:, 2]]).detach()
        # Scaled while it is small. A coarse cell's velocity in coarse cells is the same share of the domain.
        step = upsample(dt * _normalised(outer, outer.shape[2:]), factor, "linear")
        self.places = step.neg_().add_(_places(step.shape[2:], step))

    def __call__(self, x: Tensor) -> Tensor:
        before, after = _sample(torch.cat([x[:, 0], x[:, 2]]), self.places).chunk(2)
        return torch.cat([before, x[:, 1], after], dim=1)


def _places(shape: torch.Size, like: Tensor) -> Tensor:
    """The cells' own centres as grid_sample counts, -1 to 1 and the contiguous axis first: `[1, d, *S]`."""
    axes = [(2 * torch.arange(n, device=like.device, dtype=like.dtype) + 1) / n - 1 for n in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1])[None]


def _normalised(velocity: Tensor, shape: torch.Size) -> Tensor:
    """Velocity in cells of a grid of `shape` as grid_sample counts."""
    scale = torch.tensor([2.0 / n for n in reversed(shape)], device=velocity.device, dtype=velocity.dtype)
    return velocity.flip(1) * scale.view(1, -1, *(1,) * len(shape))


def _sample(x: Tensor, places: Tensor) -> Tensor:
    return F.grid_sample(
        x, places.movedim(1, -1), mode="bilinear", padding_mode="border", align_corners=False
    )
