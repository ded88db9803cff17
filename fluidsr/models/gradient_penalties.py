"""Penalties on the gradient of a discriminator: between real and generated samples, and at real ones (R1)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

LogitFunction = Callable[[Tensor], Tensor]


def gradient_norms(
    discriminator: LogitFunction,
    real: Tensor,
    fake: Tensor,
    random: torch.Generator | None = None,
    held: int = 0,
) -> Tensor:
    """`|grad discriminator(x)|`, `[B]`, at random points `x` between real and fake samples (Gulrajani et al. 2017,
    equation 3).

    The result is differentiable with respect to the weights of the discriminator, but not to the samples. Call it
    outside of autocast.

    Args:
        discriminator: maps `[B, C, ...]` to logits `[B, 1]`.
        real: `[B, C, ...]`.
        fake: of the shape of `real`; `x` is uniformly distributed on the line between two samples of the same index.
        random: generator of the random numbers.
        held: the derivatives with respect to the first `held` channels are left out of the norm.
    """
    real, fake = real.detach(), fake.detach()
    share = torch.rand(len(real), *(1,) * (real.dim() - 1), generator=random, device=real.device)
    between = torch.lerp(real, fake, share.to(real.dtype)).requires_grad_(True)
    (slope,) = torch.autograd.grad(discriminator(between).sum(), between, create_graph=True)
    return slope[:, held:].flatten(1).norm(dim=1)


def gradient_penalty(norms: Tensor, one_sided: bool = False) -> Tensor:
    """`mean((norm - 1)²)` of `norms [B]`, a scalar; with `one_sided` norms below 1 count as 1."""
    excess = norms - 1
    return (torch.relu(excess) if one_sided else excess).square().mean()


def real_gradient_penalty(discriminator: LogitFunction, real: Tensor, held: int = 0) -> Tensor:
    """R1: `mean(|grad discriminator(x)|²)` at the samples `real [B, C, ...]`, a scalar (Mescheder et al. 2018,
    equation 9, without the factor gamma / 2).

    The derivatives with respect to the first `held` channels are left out. The result is differentiable with respect to
    the weights of the discriminator.
    """
    real = real.detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
    return slope[:, held:].square().flatten(1).sum(dim=1).mean()
