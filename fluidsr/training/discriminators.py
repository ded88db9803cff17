"""DiscriminatorTrainer: a discriminator with its optimizer, its input, and the gate that pauses its updates."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fluidsr.models import discriminators
from fluidsr.models.constraints import check_singular_values, clip_singular_values, clip_weights
from fluidsr.models.discriminators import Discriminator
from fluidsr.models.gradient_penalties import gradient_norms, gradient_penalty, real_gradient_penalty
from fluidsr.models.initialization import initialize
from fluidsr.models.objectives import Objective, objective
from fluidsr.models.registry import DISCRIMINATORS
from fluidsr.models.temporal_pyramid import PyramidDiscriminator, TemporalPyramid
from fluidsr.training.batches import TrainingBatch
from fluidsr.training.discriminator_schema import BalanceGate, Discriminators, Gate
from fluidsr.training.monitors import UpdateGate
from fluidsr.training.optimizer import NetworkOptimizer, lazy_rate
from fluidsr.training.recipe import Recipe
from fluidsr.training.regularization import (
    ClipConstraint,
    Constraint,
    GradientPenalty,
    RealGradientPenalty,
    SingularValueConstraint,
)

# Default gamma of `relativistic`. The published one would be too large, as residuals are scaled by 20 and slices have
# thousands of pixels.
R1_WEIGHT = 0.01

View = Callable[[TrainingBatch, Tensor], Tensor]


@dataclass
class DiscriminatorTrainer:
    """A discriminator in training.

    Attributes:
        name: `spatial`, `slices` or `temporal`.
        optimizer: has the network.
        gate: pauses the updates.
        objective: the adversarial losses.
        view: function of a batch and real or generated frames, `[B, T, 1, *(S * factor)]`; returns the network's input.
        held: number of channels of that input, the first ones, that are the coarse frame.
        mismatched: weight of the loss on mismatched pairs of coarse and fine frames.
        penalty: gradient penalty between real and generated samples.
        r1: gradient penalty at real samples.
        constraint: on the weights after updates.
    """

    name: str
    optimizer: NetworkOptimizer
    gate: UpdateGate
    objective: Objective
    view: View
    held: int = 0
    mismatched: float = 0.0
    penalty: GradientPenalty | None = None
    r1: RealGradientPenalty | None = None
    constraint: Constraint | None = None

    @property
    def network(self) -> Discriminator | PyramidDiscriminator:
        """The discriminator."""
        network = self.optimizer.network
        assert isinstance(network, (Discriminator, PyramidDiscriminator))
        return network

    def loss(
        self, batch: TrainingBatch, fake: Tensor, random: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        """The loss on one batch.

        Real and generated frames are passed separately, so that batch norms see one kind at a time, as published.
        Without gradients (`torch.no_grad`) the penalties are left out.

        Args:
            batch: the real frames.
            fake: the generated frames, `[B, T, 1, *(S * factor)]`.
            random: generator of random numbers for the gradient penalty.

        Returns the loss, a scalar, and by name its unweighted parts (`discriminator` is the adversarial loss), the
        accuracy, and other figures.
        """
        real_input, fake_input = self.view(batch, batch.fine), self.view(batch, fake)
        real_logits = self.network(real_input)[0].float()
        fake_logits = self.network(fake_input)[0].float()
        value = total = self.objective.discriminator_loss(real_logits, fake_logits)
        accuracy = self.objective.accuracy(real_logits, fake_logits)
        parts = {"discriminator": value.item(), "accuracy": accuracy}
        if self.gate.figure == "balance":
            parts["balance"] = (F.logsigmoid(real_logits).mean() - F.logsigmoid(fake_logits).mean()).item()
        if self.mismatched:
            mismatched = self.objective.mismatched_loss(real_logits, self.mismatched_logits(batch))
            total = total + self.mismatched * mismatched
            parts["mismatched"] = mismatched.item()
        if not torch.is_grad_enabled():
            return total, parts
        if self.penalty:
            with torch.autocast(real_input.device.type, enabled=False):
                held = self.held if self.penalty.on == "fine" else 0
                norms = gradient_norms(self._logits, real_input.float(), fake_input.float(), random, held)
                penalty = gradient_penalty(norms, self.penalty.one_sided)
            total = total + self.penalty.weight * penalty
            parts |= {"penalty": penalty.item(), "slope": norms.mean().item()}
        if self.r1 and self.r1.every == 1:
            r1 = self._r1(real_input)
            total = total + self.r1.weight / 2 * r1
            parts["r1"] = r1.item()
        return total, parts

    def mismatched_logits(self, batch: TrainingBatch) -> Tensor:
        """The logits of real frames that are paired with the coarse frame of the previous sample in the batch."""
        return self.logits(batch, batch.fine.roll(1, dims=0))

    def logits(self, batch: TrainingBatch, frames: Tensor) -> Tensor:
        """The logits of `frames [B, T, 1, *(S * factor)]`, float32: `[B, 1]`, or `[N, 1]` for N slices."""
        return self._logits(self.view(batch, frames)).float()

    def r1_loss(self, batch: TrainingBatch) -> Tensor:
        """R1 at the real samples of the batch, `mean(|grad D|²)`, unweighted."""
        return self._r1(self.view(batch, batch.fine))

    def _r1(self, real_input: Tensor) -> Tensor:
        assert self.r1 is not None
        with torch.autocast(real_input.device.type, enabled=False):
            held = self.held if self.r1.on == "fine" else 0
            return real_gradient_penalty(self._logits, real_input.float(), held)

    @property
    def r1_is_due(self) -> bool:
        """Whether the next update is one of lazy R1 regularization, which follows after every `every` others."""
        if self.r1 is None or self.r1.every == 1:
            return False
        return self.optimizer.updates % (self.r1.every + 1) == self.r1.every

    def update(self, step: int, steps: int) -> None:
        """Apply the gradients, and enforce the constraint on the weights after the first and then every `every`-th
        update."""
        self.optimizer.update(step, steps)
        if self.constraint is None or (self.optimizer.updates - 1) % self.constraint.every:
            return
        if isinstance(self.constraint, ClipConstraint):
            clip_weights(self.network, self.constraint.bound)
        else:
            clip_singular_values(self.network, strict=self.constraint.kind == "svc-strict")

    def _logits(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x)[0]
        return logits


def build_discriminators(recipe: Recipe, device: str) -> dict[str, DiscriminatorTrainer]:
    """Create the discriminators of a recipe on `device`, by name: `slices`, `spatial`, `temporal`.

    Weights are drawn from torch's global random number generator. Raises InputError if a constraint does not support
    the network.
    """
    options = recipe.discriminators
    if options is None:
        return {}
    adversarial = objective(options.objective, options.real_target)
    penalty, r1 = options.penalty, options.r1
    if options.objective == "wgan-gp":
        penalty = penalty or GradientPenalty()
    if options.objective == "relativistic":
        r1 = r1 or RealGradientPenalty(weight=R1_WEIGHT)
    rate = lazy_rate(options.optimizer, r1.every) if r1 else options.optimizer
    pyramid = _pyramid(recipe, options)

    trainers = {}
    for name, view in _views(recipe.factor, options, pyramid).items():
        section = getattr(options, name)
        network = _network(recipe, options, name, section.width, pyramid)
        initialize(network, options.init)
        if isinstance(options.constraint, SingularValueConstraint):
            check_singular_values(network)
        trainers[name] = DiscriminatorTrainer(
            name,
            NetworkOptimizer(network.to(device), rate),
            _gate(options.gate, name),
            adversarial,
            view,
            held=0 if name == "temporal" else 1,
            mismatched=0.0 if name == "temporal" else options.mismatched,
            penalty=penalty,
            r1=r1,
            constraint=options.constraint,
        )
    return trainers


def _views(factor: int, options: Discriminators, pyramid: TemporalPyramid | None) -> dict[str, View]:
    """The inputs of the discriminators that the options name, in the order of their updates."""
    kind, thin = options.view, options.thin

    def spatial(batch: TrainingBatch, frames: Tensor) -> Tensor:
        middle = batch.middle
        return discriminators.spatial_input(batch.density[:, middle], frames[:, middle], factor, kind, thin)

    def slices(batch: TrainingBatch, frames: Tensor) -> Tensor:
        assert options.slices is not None
        middle, every = batch.middle, options.slices.every
        coarse, fine = batch.density[:, middle], frames[:, middle]
        return discriminators.slice_input(coarse, fine, factor, every, kind, thin)

    def temporal(batch: TrainingBatch, frames: Tensor) -> Tensor:
        assert options.temporal is not None
        if pyramid is not None:
            unaligned = discriminators.temporal_input(batch.density, frames, factor, None, kind, thin)
            return pyramid.input(unaligned, batch.number)
        alignment = batch.alignment if options.temporal.align else None
        density, frames = batch.density[batch.triplet], frames[batch.triplet]
        return discriminators.temporal_input(density, frames, factor, alignment, kind, thin)

    views: dict[str, View] = {"slices": slices, "spatial": spatial, "temporal": temporal}
    return {name: view for name, view in views.items() if getattr(options, name) is not None}


def _gate(options: Gate | BalanceGate, name: str) -> UpdateGate:
    """The gate of the discriminator `name`, which is open at the start, when the discriminator is at chance."""
    start = 0.0 if isinstance(options, BalanceGate) else 0.5
    return UpdateGate(getattr(options, name), options.memory, start, options.kind)


def _pyramid(recipe: Recipe, options: Discriminators) -> TemporalPyramid | None:
    """The temporal pyramid of Dt; None if it reads three frames at full resolution."""
    temporal, patches = options.temporal, recipe.patches
    if temporal is None or temporal.levels == 1:
        return None
    return TemporalPyramid(3 if patches.triplets else patches.frames, temporal.levels, temporal.stride)


def _network(
    recipe: Recipe, options: Discriminators, name: str, width: int, pyramid: TemporalPyramid | None
) -> Discriminator | PyramidDiscriminator:
    """The discriminator `name` of a recipe, with random weights."""
    kind = DISCRIMINATORS.resolve(options.network)
    tile = recipe.patches.tile * recipe.factor
    # Passed only if it is not the default, because discriminators of other packages may not accept it.
    epsilon = {} if options.epsilon == discriminators.EPSILON else {"epsilon": options.epsilon}

    def network(channels: int, tile: int, width: int) -> Discriminator:
        return kind(
            2 if name == "slices" else recipe.dim,
            channels,
            tile=tile,
            norm=options.norm,
            head=options.head,
            widths=(width, 2 * width, 4 * width, 8 * width),
            **epsilon,
        )

    if name != "temporal":
        return network(discriminators.SPATIAL_CHANNELS, tile, width)
    if pyramid is None:
        return network(discriminators.TEMPORAL_CHANNELS, tile, width)
    return PyramidDiscriminator(
        [
            network(pyramid.frames_at(n), tile // pyramid.reduction_at(n), pyramid.width_at(n, width))
            for n in range(pyramid.levels)
        ]
    )


def seeded_generator(device: str, *key: object) -> torch.Generator:
    """A random generator whose numbers are a function of `key` alone."""
    digest = hashlib.blake2b(" ".join(map(str, key)).encode(), digest_size=8).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest, "little") >> 1)


def precision(recipe: Recipe, device: str) -> torch.autocast:
    """The context in which a recipe's networks run on the device."""
    enabled = recipe.precision == "bfloat16"
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=enabled)
