"""DiscriminatorTrainer: a discriminator with its optimizer, its input and the gate that pauses it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fluidsr.models import discriminators
from fluidsr.models.discriminators import Discriminator
from fluidsr.models.objectives import Objective, objective
from fluidsr.models.registry import DISCRIMINATORS
from fluidsr.training.batches import TrainingBatch
from fluidsr.training.monitors import AccuracyGate
from fluidsr.training.optimizer import NetworkOptimizer
from fluidsr.training.recipe import Recipe

View = Callable[[TrainingBatch, Tensor], Tensor]


@dataclass
class DiscriminatorTrainer:
    """`view(batch, frames)` is the discriminator's input for real or generated `frames [B, T, 1, *S]`."""

    name: str
    optimizer: NetworkOptimizer
    gate: AccuracyGate
    objective: Objective
    view: View

    @property
    def network(self) -> Discriminator:
        """The discriminator."""
        network = self.optimizer.network
        assert isinstance(network, Discriminator)
        return network

    def loss(
        self, batch: TrainingBatch, fake: Tensor, random: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        """The loss to minimise on one batch, and its value and accuracy there.

        Real and generated frames pass separately, so that a batch norm sees one kind at a time, as published.
        """
        real_input, fake_input = self.view(batch, batch.fine), self.view(batch, fake)
        real_logits = self.network(real_input)[0].float()
        fake_logits = self.network(fake_input)[0].float()
        value = self.objective.discriminator_loss(real_logits, fake_logits)
        total = value
        if self.objective.penalty_weight and torch.is_grad_enabled():
            with torch.autocast(real_input.device.type, enabled=False):
                total = value + self.objective.penalty(
                    lambda x: self.network(x)[0], real_input.float(), fake_input.float(), random
                )
        return total, {"loss": value.item(), "accuracy": self.objective.accuracy(real_logits, fake_logits)}


def build_discriminators(recipe: Recipe, device: str) -> dict[str, DiscriminatorTrainer]:
    """The recipe's discriminators by name: `slices`, `spatial`, `temporal`. Weights start from torch's generator."""
    options = recipe.discriminators
    if options is None:
        return {}
    adversarial, factor, view_name = objective(options.objective), recipe.factor, options.view
    adversarial.check(options.norm)
    kind = DISCRIMINATORS.resolve(options.network)

    def spatial(batch: TrainingBatch, frames: Tensor) -> Tensor:
        assert options is not None
        middle = batch.middle
        return discriminators.spatial_input(
            batch.density[:, middle], frames[:, middle], factor, view_name, options.thin
        )

    def temporal(batch: TrainingBatch, frames: Tensor) -> Tensor:
        assert options is not None and options.temporal is not None
        alignment = batch.alignment if options.temporal.align else None
        return discriminators.temporal_input(
            batch.density, frames, factor, alignment, view_name, options.thin
        )

    def slices(batch: TrainingBatch, frames: Tensor) -> Tensor:
        assert options is not None and options.slices is not None
        middle, every = batch.middle, options.slices.every
        return discriminators.slice_input(
            batch.density[:, middle], frames[:, middle], factor, every, view_name, options.thin
        )

    trainers = {}
    for name, section, bound, channels, view in (
        ("slices", options.slices, options.gate.slices, discriminators.SPATIAL_CHANNELS, slices),
        ("spatial", options.spatial, options.gate.spatial, discriminators.SPATIAL_CHANNELS, spatial),
        ("temporal", options.temporal, options.gate.temporal, discriminators.TEMPORAL_CHANNELS, temporal),
    ):
        if section is None:
            continue
        network = kind(
            2 if name == "slices" else recipe.dim,
            channels,
            tile=recipe.patches.tile * factor,
            norm=options.norm,
            head=options.head,
            widths=(section.width, 2 * section.width, 4 * section.width, 8 * section.width),
        )
        optimizer = NetworkOptimizer(network.to(device), options.optimizer)
        gate = AccuracyGate(bound, options.gate.memory)
        trainers[name] = DiscriminatorTrainer(name, optimizer, gate, adversarial, view)
    return trainers


def seeded_generator(device: str, *key: object) -> torch.Generator:
    """A random generator whose numbers are a function of `key` alone."""
    digest = hashlib.blake2b(" ".join(map(str, key)).encode(), digest_size=8).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest, "little") >> 1)
