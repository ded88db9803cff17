"""Penalties on a discriminator's gradient by its input: between real and generated samples, and at real ones (R1)."""

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
    """`|grad discriminator(x)|`, `[B]`, at points `x` drawn uniformly between each real and its fake sample.

    `discriminator` maps `[B, C, ...]` to logits `[B, 1]`. The norm is over all of a sample's numbers but its first
    `held` channels (Gulrajani et al. 2017, equation 3), so it grows with the square root of their count.
    Differentiable in the discriminator's weights; `real` and `fake` are taken as they are. Call it outside of autocast.
    """
    real, fake = real.detach(), fake.detach()
    share = torch.rand(len(real), *(1,) * (real.dim() - 1), generator=random, device=real.device)
    between = torch.lerp(real, fake, share.to(real.dtype)).requires_grad_(True)
    (slope,) = torch.autograd.grad(discriminator(between).sum(), between, create_graph=True)
    return slope[:, held:].flatten(1).norm(dim=1)


def gradient_penalty(norms: Tensor, one_sided: bool = False) -> Tensor:
    """`mean((norm - 1)²)`; with `one_sided` norms below 1 are free."""
    excess = norms - 1
    return (torch.relu(excess) if one_sided else excess).square().mean()


def real_gradient_penalty(discriminator: LogitFunction, real: Tensor, held: int = 0) -> Tensor:
    """R1: `mean(|grad discriminator(x)|²)` at real samples, summed over a sample's numbers but its first `held`
    channels (Mescheder et al. 2018, equation 9, without its factor). Differentiable in the discriminator's weights."""
    real = real.detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
    return slope[:, held:].square().flatten(1).sum(dim=1).mean()
