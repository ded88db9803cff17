"""Critic: a discriminator in the game, what it sees of a sample, and whether it may learn."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fluidsr.models import discriminators
from fluidsr.models.discriminators import Discriminator
from fluidsr.models.objectives import Objective, objective
from fluidsr.training.batches import Sample
from fluidsr.training.monitors import Gate
from fluidsr.training.optimizer import Player
from fluidsr.training.recipe import Recipe

View = Callable[[Sample, Tensor], Tensor]


@dataclass
class Critic:
    """`view(sample, frames)` is what the discriminator sees of real or generated `frames [B, T, 1, *S]`."""

    name: str
    player: Player
    gate: Gate
    objective: Objective
    view: View

    @property
    def network(self) -> Discriminator:
        """The discriminator."""
        network = self.player.network
        assert isinstance(network, Discriminator)
        return network

    def loss(self, sample: Sample, fake: Tensor, random: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """What the discriminator minimises on one batch, and its value and accuracy there.

        Real and generated frames pass separately, so that a batch norm sees one kind at a time, as published.
        """
        seen_real, seen_fake = self.view(sample, sample.fine), self.view(sample, fake)
        real, false = self.network(seen_real)[0].float(), self.network(seen_fake)[0].float()
        value = self.objective.critic_loss(real, false)
        total = value
        if self.objective.penalty_weight and torch.is_grad_enabled():
            with torch.autocast(seen_real.device.type, enabled=False):
                total = value + self.objective.penalty(
                    lambda x: self.network(x)[0], seen_real.float(), seen_fake.float(), random
                )
        return total, {"loss": value.item(), "accuracy": self.objective.accuracy(real, false)}


def make_critics(recipe: Recipe, device: str) -> dict[str, Critic]:
    """The recipe's discriminators by name, `spatial` and `temporal`; weights from torch's random numbers."""
    options = recipe.discriminators
    if options is None:
        return {}
    rules, factor, look = objective(options.objective), recipe.factor, options.view
    rules.check(options.norm)

    def spatial(sample: Sample, frames: Tensor) -> Tensor:
        assert options is not None
        middle = sample.middle
        return discriminators.spatial(
            sample.density[:, middle], frames[:, middle], factor, look, options.thin
        )

    def temporal(sample: Sample, frames: Tensor) -> Tensor:
        assert options is not None and options.temporal is not None
        alignment = sample.alignment if options.temporal.align else None
        return discriminators.temporal(sample.density, frames, factor, alignment, look, options.thin)

    made = {}
    for name, part, bound, channels, view in (
        ("spatial", options.spatial, options.gate.spatial, discriminators.SPATIAL_CHANNELS, spatial),
        ("temporal", options.temporal, options.gate.temporal, discriminators.TEMPORAL_CHANNELS, temporal),
    ):
        if part is None:
            continue
        network = Discriminator(
            recipe.dim,
            channels,
            tile=recipe.patches.tile * factor,
            norm=options.norm,
            head=options.head,
            widths=(part.width, 2 * part.width, 4 * part.width, 8 * part.width),
        )
        player = Player(network.to(device), options.optimizer)
        made[name] = Critic(name, player, Gate(bound, options.gate.memory), rules, view)
    return made


def random_of(device: str, *what: object) -> torch.Generator:
    """Random numbers that are a function of `what` alone."""
    digest = hashlib.blake2b(" ".join(map(str, what)).encode(), digest_size=8).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest, "little") >> 1)
