"""DiscriminatorTrainer: a discriminator with its optimizer, its input and the gate that pauses it; and the file of
trained discriminators beside a model, with which another training can go on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from fluidsr import checkpoints
from fluidsr.models import discriminators, locate
from fluidsr.models.constraints import check_singular_values, clip_singular_values, clip_weights
from fluidsr.models.discriminators import Discriminator
from fluidsr.models.gradient_penalties import gradient_norms, gradient_penalty, real_gradient_penalty
from fluidsr.models.initialization import initialize
from fluidsr.models.objectives import Objective, objective
from fluidsr.models.registry import DISCRIMINATORS
from fluidsr.models.temporal_pyramid import PyramidDiscriminator, TemporalPyramid
from fluidsr.training.batches import TrainingBatch
from fluidsr.training.discriminator_schema import BalanceGate, Discriminators, Gate
from fluidsr.training.folder import DISCRIMINATORS as FILE
from fluidsr.training.monitors import UpdateGate
from fluidsr.training.optimizer import NetworkOptimizer, copy_tensors, lazy_rate, named_tensors, tensors_of
from fluidsr.training.recipe import Recipe
from fluidsr.training.regularization import (
    ClipConstraint,
    Constraint,
    GradientPenalty,
    RealGradientPenalty,
    SingularValueConstraint,
)

R1_WEIGHT = 0.01  # gamma of `relativistic`: residuals are scaled by 20, and slices have thousands of numbers

View = Callable[[TrainingBatch, Tensor], Tensor]


@dataclass
class DiscriminatorTrainer:
    """`view(batch, frames)` is the discriminator's input for real or generated `frames [B, T, 1, *S]`; its first `held`
    channels are the coarse frame."""

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
        """The loss to minimise on one batch; its parts there, unweighted, and the accuracy.

        Real and generated frames pass separately, so that a batch norm sees one kind at a time, as published.
        """
        real_input, fake_input = self.view(batch, batch.fine), self.view(batch, fake)
        real_logits = self.network(real_input)[0].float()
        fake_logits = self.network(fake_input)[0].float()
        value = total = self.objective.discriminator_loss(real_logits, fake_logits)
        accuracy = self.objective.accuracy(real_logits, fake_logits)
        parts = {"critic": value.item(), "accuracy": accuracy}
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
        """The logits of real frames, each beside the coarse frame of the sample before it in the batch."""
        return self.logits(batch, batch.fine.roll(1, dims=0))

    def logits(self, batch: TrainingBatch, frames: Tensor) -> Tensor:
        """The logits of `frames [B, T, 1, *(S * factor)]`, `[B, 1]`, float32; of slices, one each."""
        return self._logits(self.view(batch, frames)).float()

    def r1_loss(self, batch: TrainingBatch) -> Tensor:
        """`mean(|grad D|²)` at the batch's real samples, unweighted."""
        return self._r1(self.view(batch, batch.fine))

    def _r1(self, real_input: Tensor) -> Tensor:
        assert self.r1 is not None
        with torch.autocast(real_input.device.type, enabled=False):
            held = self.held if self.r1.on == "fine" else 0
            return real_gradient_penalty(self._logits, real_input.float(), held)

    @property
    def r1_is_due(self) -> bool:
        """Whether lazy R1 has its update next: after each `every` others."""
        if self.r1 is None or self.r1.every == 1:
            return False
        return self.optimizer.updates % (self.r1.every + 1) == self.r1.every

    def update(self, step: int, steps: int) -> None:
        """Apply the gradients; hold the weights to the constraint after the first update and every `every` later."""
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
    """The recipe's discriminators by name: `slices`, `spatial`, `temporal`. Weights start from torch's generator."""
    options = recipe.discriminators
    if options is None:
        return {}
    adversarial = objective(options.objective, options.real_target)
    factor, view_name = recipe.factor, options.view
    penalty, r1 = options.penalty, options.r1
    if options.objective == "wgan-gp":
        penalty = penalty or GradientPenalty()
    if options.objective == "relativistic":
        r1 = r1 or RealGradientPenalty(weight=R1_WEIGHT)
    rate = lazy_rate(options.optimizer, r1.every) if r1 else options.optimizer
    pyramid = _pyramid(recipe, options)

    def spatial(batch: TrainingBatch, frames: Tensor) -> Tensor:
        assert options is not None
        middle = batch.middle
        return discriminators.spatial_input(
            batch.density[:, middle], frames[:, middle], factor, view_name, options.thin
        )

    def temporal(batch: TrainingBatch, frames: Tensor) -> Tensor:
        assert options is not None and options.temporal is not None
        if pyramid is not None:
            seen = discriminators.temporal_input(batch.density, frames, factor, None, view_name, options.thin)
            return pyramid.input(seen, batch.number)
        alignment = batch.alignment if options.temporal.align else None
        density, frames = batch.density[batch.triplet], frames[batch.triplet]
        return discriminators.temporal_input(density, frames, factor, alignment, view_name, options.thin)

    def slices(batch: TrainingBatch, frames: Tensor) -> Tensor:
        assert options is not None and options.slices is not None
        middle, every = batch.middle, options.slices.every
        return discriminators.slice_input(
            batch.density[:, middle], frames[:, middle], factor, every, view_name, options.thin
        )

    trainers = {}
    for name, section, view in (
        ("slices", options.slices, slices),
        ("spatial", options.spatial, spatial),
        ("temporal", options.temporal, temporal),
    ):
        if section is None:
            continue
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


def _gate(options: Gate | BalanceGate, name: str) -> UpdateGate:
    """Open at the start: at chance."""
    start = 0.0 if isinstance(options, BalanceGate) else 0.5
    return UpdateGate(getattr(options, name), options.memory, start, options.kind)


def _pyramid(recipe: Recipe, options: Discriminators) -> TemporalPyramid | None:
    """How Dt sees a sample; None where it sees three frames at full resolution."""
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
    # Named only where it is set: discriminators of other packages need not know it.
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
