"""DiscriminatorTrainer: a discriminator with its optimizer, its input and the gate that pauses it; and the file of
trained discriminators beside a model, with which another training can go on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fluidsr import checkpoints
from fluidsr.models import discriminators, locate
from fluidsr.models.discriminators import Discriminator
from fluidsr.models.objectives import Objective, objective
from fluidsr.models.registry import DISCRIMINATORS
from fluidsr.training.batches import TrainingBatch
from fluidsr.training.folder import DISCRIMINATORS as FILE
from fluidsr.training.monitors import AccuracyGate
from fluidsr.training.optimizer import NetworkOptimizer, copy_tensors, named_tensors, tensors_of
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


def save_discriminators(folder: Path, trainers: Mapping[str, DiscriminatorTrainer], model: str) -> None:
    """Write the weights of all discriminators beside a model in `folder`; `model` is the checksum of its weights.

    Raises InputError, RunError.
    """
    tensors = {
        f"{name}/{key}": tensor
        for name, trainer in trainers.items()
        for key, tensor in named_tensors(trainer.network)
    }
    checkpoints.save(folder / FILE, tensors, {"model": model}, keep=False)


def saved_discriminators(model: str | Path, sha256: str) -> tuple[dict[str, Tensor], str]:
    """The weights, `NAME/...`, that were trained along with a model (a shipped name, a file or its folder) whose own
    have the checksum `sha256`; or none, and the reason. Raises ModelError where there is no such model."""
    path = locate(model).parent / FILE
    if not path.is_file():
        return {}, "its discriminators were not kept"
    try:
        saved = checkpoints.read(path)
    except checkpoints.Damaged as damage:
        return {}, f"{path} cannot be used ({damage})"
    if saved.record.get("model") != sha256:
        return {}, f"{path} belongs to another model"
    return saved.tensors, ""


def load_discriminators(
    trainers: Mapping[str, DiscriminatorTrainer], tensors: Mapping[str, Tensor]
) -> list[str]:
    """Give each discriminator its weights of `tensors`; returns the names of those that have none that fit, which stay
    as they are."""
    left = []
    for name, trainer in trainers.items():
        own = tensors_of(name, tensors)
        shapes = {key: tensor.shape for key, tensor in named_tensors(trainer.network)}
        if {key: tensor.shape for key, tensor in own.items()} == shapes:
            copy_tensors(trainer.network, own)
        else:
            left.append(name)
    return left
