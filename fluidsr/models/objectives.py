"""Adversarial objectives: the losses that discriminator and generator minimize."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from fluidsr.errors import InputError


@dataclass(frozen=True)
class Objective:
    """The losses of discriminator and generator, scalars to be minimized, as functions of logits `[B, 1]`.

    Attributes:
        name: in a recipe.
        discriminator_loss: function of the logits of real samples and those of fake ones.
        generator_loss: function of the logits of fake samples. None for a paired objective, which compares each fake
            sample with the real one of the same coarse frame: its loss is `discriminator_loss` with both exchanged.
        boundary: the logit between real and fake; None if only differences of logits have a meaning.
        fake_loss: the part of `discriminator_loss` for fake samples; None if that loss depends only on differences of
            logits.
    """

    name: str
    discriminator_loss: Callable[[Tensor, Tensor], Tensor]
    generator_loss: Callable[[Tensor], Tensor] | None
    boundary: float | None = 0.0
    fake_loss: Callable[[Tensor], Tensor] | None = None

    @property
    def paired(self) -> bool:
        """Whether the loss of the generator also depends on the logits of real samples."""
        return self.generator_loss is None

    def for_generator(self, fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
        """The loss of the generator. Raises ValueError if a `paired` objective is called without `real_logits`."""
        if self.generator_loss is not None:
            return self.generator_loss(fake_logits)
        if real_logits is None:
            raise ValueError(f"objective {self.name} compares pairs: real_logits are missing")
        return self.discriminator_loss(fake_logits, real_logits)

    def mismatched_loss(self, real_logits: Tensor, mismatched_logits: Tensor) -> Tensor:
        """The loss of the discriminator by which real frames with the coarse frame of another sample count as fake
        (Reed et al. 2016, algorithm 1)."""
        if self.fake_loss is not None:
            return self.fake_loss(mismatched_logits)
        return self.discriminator_loss(real_logits, mismatched_logits)

    @torch.no_grad()
    def accuracy(self, real_logits: Tensor, fake_logits: Tensor) -> float:
        """The fraction of logits on the correct side of the boundary, in [0, 1]; 1/2 is chance.

        For a paired objective it is the fraction of pairs in the correct order; without a boundary it is `auc`.
        """
        real, fake = real_logits.flatten().float(), fake_logits.flatten().float()
        if self.paired:
            return float((real > fake).float().mean() + 0.5 * (real == fake).float().mean())
        if self.boundary is None:
            return auc(real, fake)
        correct = (real > self.boundary).float().mean() + (fake < self.boundary).float().mean()
        return float(correct / 2)


def auc(high: Tensor, low: Tensor) -> float:
    """The area under the ROC curve, in [0, 1]; 1/2 is chance.

    This is the fraction of all pairs of a number from `high` and a number from `low` in which the first is larger; ties
    count half.
    """
    high, low = high.flatten()[:, None], low.flatten()[None]
    return float(((high > low).float() + 0.5 * (high == low).float()).mean())


def objectives() -> list[str]:
    """The names of all objectives."""
    return list(_ALL)


def objective(name: str, real_target: float = 1.0) -> Objective:
    """The objective called `name`.

    `real_target` is the probability that the discriminator of `non-saturating` should assign to real samples; values
    below 1 are one-sided label smoothing (Salimans et al. 2016). Raises InputError for an unknown name, and ValueError
    for a `real_target` below 1 with another objective.
    """
    if name not in _ALL:
        raise InputError(f"objective '{name}'", "is unknown", f"choose from {', '.join(_ALL)}")
    if real_target == 1:
        return _ALL[name]
    if name != "non-saturating":
        raise ValueError(f"objective {name} has no probability to be {real_target}")
    return replace(_ALL[name], discriminator_loss=partial(_smooth_discriminator, real_target=real_target))


def _relativistic(real: Tensor, fake: Tensor) -> Tensor:
    """Relativistic pairing (Jolicoeur-Martineau 2019; Huang et al. 2024, R3GAN, equation 1)."""
    return F.softplus(fake - real).mean()


def _entropy_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Sigmoid cross-entropy (equation 3.1): -log D(y) - log(1 - D(G(x)))."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def _smooth_discriminator(real: Tensor, fake: Tensor, real_target: float) -> Tensor:
    """As `_entropy_discriminator`, with the target `real_target` instead of 1 for real samples."""
    value = real_target * F.softplus(-real) + (1 - real_target) * F.softplus(real)
    return value.mean() + F.softplus(fake).mean()


def _entropy_fake(fake: Tensor) -> Tensor:
    return F.softplus(fake).mean()


def _entropy_generator(fake: Tensor) -> Tensor:
    """Non-saturating (equation 3.2): -log D(G(x))."""
    return F.softplus(-fake).mean()


def _squares_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Mao et al. 2017, with targets 1 and 0."""
    return ((real - 1).square().mean() + fake.square().mean()) / 2


def _squares_fake(fake: Tensor) -> Tensor:
    return fake.square().mean() / 2


def _squares_generator(fake: Tensor) -> Tensor:
    return (fake - 1).square().mean() / 2


def _hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Lim and Ye 2017."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def _hinge_fake(fake: Tensor) -> Tensor:
    return F.relu(1 + fake).mean()


def _wasserstein_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Arjovsky et al. 2017: the mean of fake logits minus that of real ones."""
    return fake.mean() - real.mean()


def _wasserstein_generator(fake: Tensor) -> Tensor:
    return -fake.mean()


_ALL = {
    o.name: o
    for o in (
        Objective("non-saturating", _entropy_discriminator, _entropy_generator, fake_loss=_entropy_fake),
        Objective(
            "least-squares", _squares_discriminator, _squares_generator, boundary=0.5, fake_loss=_squares_fake
        ),
        Objective("hinge", _hinge_discriminator, _wasserstein_generator, fake_loss=_hinge_fake),
        Objective("wgan", _wasserstein_discriminator, _wasserstein_generator, boundary=None),
        Objective("wgan-gp", _wasserstein_discriminator, _wasserstein_generator, boundary=None),
        Objective("relativistic", _relativistic, None),
    )
}
