"""Adversarial objectives: what discriminator and generator minimise, behind one small interface."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fluidsr.errors import InputError

LogitFunction = Callable[[Tensor], Tensor]

PENALTY = 10.0  # lambda of WGAN-GP
R1_WEIGHT = 0.005  # of R1: residuals are scaled by 20, and slices have thousands of numbers


@dataclass(frozen=True)
class Objective:
    """`discriminator_loss(real_logits, fake_logits)` and `generator_loss(fake_logits)`, each a scalar to minimise.

    A `paired` objective judges a generated sample beside the real one of the same coarse frame: its generator loss is
    `discriminator_loss` with the two exchanged, and needs both logits.

    `boundary` is the logit between real and fake, None where a logit says nothing by itself. `penalty_weight`
    is that of the gradient penalty, 0 where the objective has none.
    """

    name: str
    discriminator_loss: Callable[[Tensor, Tensor], Tensor]
    generator_loss: Callable[[Tensor], Tensor] | None
    boundary: float | None = 0.0
    penalty_weight: float = 0.0

    @property
    def paired(self) -> bool:
        """Whether the generator's loss needs the logits of the real samples too."""
        return self.generator_loss is None

    def for_generator(self, fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
        """What the generator minimises; `real_logits` where the objective is `paired`."""
        if self.generator_loss is not None:
            return self.generator_loss(fake_logits)
        if real_logits is None:
            raise ValueError(f"objective {self.name} compares pairs: real_logits are missing")
        return self.discriminator_loss(fake_logits, real_logits)

    def penalty(
        self, discriminator: LogitFunction, real: Tensor, fake: Tensor, random: torch.Generator | None = None
    ) -> Tensor:
        """The weighted gradient penalty, to be added to the discriminator's loss; 0 where the objective has none.

        `discriminator` maps `[B, ...]` to logits `[B, 1]`, `real` and `fake` are its inputs, `random` draws the points
        between them. It takes second derivatives: call it outside of autocast.
        """
        if not self.penalty_weight:
            return real.new_zeros(())
        if self.paired:
            return self.penalty_weight * real_gradient_penalty(discriminator, real)
        return self.penalty_weight * gradient_penalty(discriminator, real, fake, random)

    def check(self, norm: str) -> None:
        """Raise InputError where the objective does not work with a discriminator of this normalisation.

        The gradient penalty is one on each sample's own gradient; a batch norm makes a logit a function of
        the whole batch (Gulrajani et al. 2017, section 4).
        """
        if self.penalty_weight and norm == "batch":
            raise InputError(
                f"objective {self.name}",
                "its gradient penalty is per sample, and a batch norm in the discriminator mixes samples",
                "set the discriminators' norm to group or none",
            )

    @torch.no_grad()
    def accuracy(self, real_logits: Tensor, fake_logits: Tensor) -> float:
        """Fraction of logits on the correct side of the boundary, in [0, 1]; 1/2 is chance.

        Of a paired objective: fraction of pairs in the correct order. Without a boundary: the same over every real
        sample with every fake one.
        """
        real, fake = real_logits.flatten().float(), fake_logits.flatten().float()
        if self.paired:
            return float((real > fake).float().mean() + 0.5 * (real == fake).float().mean())
        if self.boundary is None:
            order = (real[:, None] > fake[None]).float() + 0.5 * (real[:, None] == fake[None]).float()
            return float(order.mean())
        right = (real > self.boundary).float().mean() + (fake < self.boundary).float().mean()
        return float(right / 2)


def objectives() -> list[str]:
    """The names that `objective` knows."""
    return list(_ALL)


def objective(name: str) -> Objective:
    """An objective by its name. Raises InputError for an unknown one."""
    if name not in _ALL:
        raise InputError(f"objective '{name}'", "is unknown", f"choose from {', '.join(_ALL)}")
    return _ALL[name]


def gradient_penalty(
    discriminator: LogitFunction, real: Tensor, fake: Tensor, random: torch.Generator | None = None
) -> Tensor:
    """`mean((|grad discriminator(x)| - 1)²)` at points `x` drawn uniformly between each real and its fake sample.

    The norm is over all of a sample's numbers (Gulrajani et al. 2017, equation 3). Differentiable in the
    discriminator's weights; `real` and `fake` are taken as they are.
    """
    real, fake = real.detach(), fake.detach()
    share = torch.rand(len(real), *(1,) * (real.dim() - 1), generator=random, device=real.device)
    between = torch.lerp(real, fake, share.to(real.dtype)).requires_grad_(True)
    (slope,) = torch.autograd.grad(discriminator(between).sum(), between, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()


def real_gradient_penalty(discriminator: LogitFunction, real: Tensor) -> Tensor:
    """R1: `mean(|grad discriminator(x)|²)` at real samples, summed over a sample's numbers (Mescheder et al. 2018,
    equation 9, without its factor). Differentiable in the discriminator's weights."""
    real = real.detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
    return slope.square().flatten(1).sum(dim=1).mean()


def _relativistic(real: Tensor, fake: Tensor) -> Tensor:
    """Relativistic pairing (Jolicoeur-Martineau 2019; Huang et al. 2024, R3GAN, equation 1)."""
    return F.softplus(fake - real).mean()


def _entropy_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Sigmoid cross-entropy (equation 3.1): -log D(y) - log(1 - D(G(x)))."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def _entropy_generator(fake: Tensor) -> Tensor:
    """Non-saturating (equation 3.2): -log D(G(x))."""
    return F.softplus(-fake).mean()


def _squares_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Mao et al. 2017, with targets 1 and 0."""
    return ((real - 1).square().mean() + fake.square().mean()) / 2


def _squares_generator(fake: Tensor) -> Tensor:
    return (fake - 1).square().mean() / 2


def _hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Lim and Ye 2017."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def _wasserstein_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Arjovsky et al. 2017: minus the gap between the two means."""
    return fake.mean() - real.mean()


def _wasserstein_generator(fake: Tensor) -> Tensor:
    return -fake.mean()


_ALL = {
    o.name: o
    for o in (
        Objective("non-saturating", _entropy_discriminator, _entropy_generator),
        Objective("least-squares", _squares_discriminator, _squares_generator, boundary=0.5),
        Objective("hinge", _hinge_discriminator, _wasserstein_generator),
        Objective(
            "wgan-gp",
            _wasserstein_discriminator,
            _wasserstein_generator,
            boundary=None,
            penalty_weight=PENALTY,
        ),
        Objective("relativistic", _relativistic, None, penalty_weight=R1_WEIGHT),
    )
}
