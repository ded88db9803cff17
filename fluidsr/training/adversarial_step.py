"""One training step: update Ds, Dt, then G (thesis, algorithm 1); without discriminators, G alone."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch

from fluidsr.errors import TrainingError
from fluidsr.models import losses
from fluidsr.models.kernels import filter_matrices
from fluidsr.training.batch_norm import convert_sync_batch_norm
from fluidsr.training.batches import BatchStream, Sampler, TrainingBatch
from fluidsr.training.checkpoint import TrainingState, training_batch
from fluidsr.training.discriminators import DiscriminatorTrainer, precision, seeded_generator
from fluidsr.training.distributed import ProcessGroup
from fluidsr.training.generator_loss import generator_loss
from fluidsr.training.optimizer import NetworkOptimizer, all_finite, update_ema

PATH_LENGTH_SHARE = 0.01  # of a new mean in the running one; published


@dataclass
class MicroBatch:
    """A part of an update's batch: single frames, and triplets of frames (the same batch, another one, or None)."""

    frames: TrainingBatch | None
    triplets: TrainingBatch | None


class AdversarialStep:
    """Runs training steps on a TrainingState.

    `complete` is False while only some networks of a step have been updated; such a state must not be saved. Raises
    TrainingError for a loss or gradient that is not finite, before it reaches the weights.
    """

    def __init__(
        self, state: TrainingState, sampler: Sampler, triplets: Sampler | None, processes: ProcessGroup
    ) -> None:
        self.state, self.processes, self.recipe = state, processes, state.recipe
        self.complete = True
        for network in (state.generator.network, *(d.network for d in state.discriminators.values())):
            convert_sync_batch_norm(network, processes)
        self._seconds: dict[str, float] = {}
        discriminators, patches = self.recipe.discriminators, self.recipe.patches
        updates = discriminators.updates if discriminators else None
        self.shared = updates is None or updates.shared
        spatial = temporal = 0
        if discriminators and updates and not self.shared:
            spatial = updates.spatial if discriminators.spatial or discriminators.slices else 0
            temporal = updates.temporal if discriminators.temporal else 0
        self.updates = {"spatial": spatial, "slices": spatial, "temporal": temporal}
        self.generator_updates = 1 if updates is None else updates.generator
        self.frames_are_triplets = patches.frames > 1
        draws = spatial + self.generator_updates
        options = (patches.accumulate, processes, state.device)
        self.batches = BatchStream(sampler, draws + temporal if self.frames_are_triplets else draws, *options)
        self.triplets: BatchStream | None = None
        if patches.triplets:
            assert triplets is not None, "this recipe draws triplets in addition to single frames"
            self.triplets = BatchStream(triplets, temporal + self.generator_updates, *options)

    @property
    def adversarial(self) -> bool:
        """Whether the discriminators take part in the present step."""
        discriminators = self.recipe.discriminators
        return discriminators is not None and self.state.step >= discriminators.start

    def seconds_by_phase(self) -> dict[str, float]:
        """The seconds since `reset_clocks` by phase: waiting for data, and the updates of each network."""
        streams = [self.batches, *([self.triplets] if self.triplets else [])]
        return {"data": sum(stream.wait_seconds for stream in streams), **self._seconds}

    def reset_clocks(self) -> None:
        """Set the seconds of every phase to zero."""
        self._seconds.clear()
        self.batches.wait_seconds = 0.0
        if self.triplets:
            self.triplets.wait_seconds = 0.0

    def run(self) -> dict[str, float]:
        """Run one complete step. Returns the means of its metrics over the updates, with unweighted losses."""
        state = self.state
        state.generator.network.train()
        state.grow(state.step + 1)  # so the first stage, too, is trained in each of its steps
        metrics: dict[str, list[float]] = defaultdict(list)
        if self.recipe.growing:
            stages = self.recipe.growing.stages_at(state.step + 1)
            metrics["stages"].append(min(stages, state.ema.stages))
        discriminators = state.discriminators if self.adversarial else {}
        if self.shared:
            micro_batches = list(self._generator_batches(0, 0))
            for discriminator in discriminators.values():
                self._update_discriminator(discriminator, micro_batches, 0, metrics)
            self._update_generator(micro_batches, discriminators, metrics)
        else:
            for name, discriminator in discriminators.items():
                for update in range(self.updates[name]):
                    micro_batches = list(self._discriminator_batches(name, update))
                    self._update_discriminator(discriminator, micro_batches, update, metrics)
            for update in range(self.generator_updates):
                frames = self.updates["spatial"] + update
                triplets = self.updates["temporal"] + update
                micro_batches = list(self._generator_batches(frames, triplets))
                self._update_generator(micro_batches, discriminators, metrics)
        state.step += 1
        update_ema(state.ema, state.generator.network, self.recipe.optimizer.average, state.step)
        self.complete = True
        return {name: sum(values) / len(values) for name, values in metrics.items()}

    def _update_discriminator(
        self,
        discriminator: DiscriminatorTrainer,
        micro_batches: Sequence[MicroBatch],
        update: int,
        metrics: dict[str, list[float]],
    ) -> None:
        """Update a discriminator once, unless its gate is closed. Its accuracy is measured in both cases.

        Args:
            discriminator: to update.
            micro_batches: of this update; the gradients are accumulated over them.
            update: number of the update in this step.
            metrics: values of this step by name, to which those of the update are appended.
        """
        state, learns = self.state, discriminator.gate.open
        sums: dict[str, float] = defaultdict(float)
        with self._clock(discriminator.name):
            discriminator.optimizer.zero_grad()
            for index, micro_batch in enumerate(micro_batches):
                batch = _batch_of(discriminator, micro_batch)
                key = (state.seed, state.step, discriminator.name, update, index, self.processes.rank)
                # The generator's own update uses the same forward pass.
                shared_pass = self.shared and len(micro_batches) == 1
                with precision(self.recipe, state.device):
                    if shared_pass:
                        batch.output(state.generator.network, cache=True)
                    fake = batch.fake(state.generator.network)
                    with nullcontext() if learns else torch.no_grad():
                        loss, values = discriminator.loss(batch, fake, seeded_generator(state.device, *key))
                if learns:
                    (loss / len(micro_batches)).backward()
                for name, value in values.items():
                    sums[name] += value / len(micro_batches)
            means = dict(zip(sums, self.processes.mean(list(sums.values()), state.device), strict=True))
            norm = 0.0
            if learns:
                norm = self._apply(
                    discriminator, f"the loss of discriminator {discriminator.name}", means["discriminator"]
                )
                if discriminator.r1_is_due:
                    means["r1"] = self._update_lazily(discriminator, micro_batches)
            else:
                self._check_finite(
                    f"the loss of discriminator {discriminator.name}", means["discriminator"], norm
                )
            discriminator.gate.update(means[discriminator.gate.figure])
        name = discriminator.name
        for part, value in means.items():
            metrics[f"{part}_{name}"].append(value)
        metrics[f"learns_{name}"].append(float(learns))
        if learns:
            metrics[f"gradient_norm_{name}"].append(norm)

    def _update_lazily(
        self, discriminator: DiscriminatorTrainer, micro_batches: Sequence[MicroBatch]
    ) -> float:
        """The update of lazy R1 regularization, which compensates for the `every` updates without it. Returns R1,
        unweighted."""
        assert discriminator.r1 is not None
        weight = discriminator.r1.every * discriminator.r1.weight / 2
        discriminator.optimizer.zero_grad()
        total = 0.0
        for micro_batch in micro_batches:
            with precision(self.recipe, self.state.device):
                r1 = discriminator.r1_loss(_batch_of(discriminator, micro_batch))
            (weight * r1 / len(micro_batches)).backward()
            total += r1.item() / len(micro_batches)
        (mean,) = self.processes.mean([total], self.state.device)
        self._apply(discriminator, f"R1 of discriminator {discriminator.name}", mean)
        return mean

    def _apply(self, discriminator: DiscriminatorTrainer, label: str, loss: float) -> float:
        """Apply a discriminator's gradients and return their norm. Raises TrainingError if they or the loss are not
        finite."""
        norm = discriminator.optimizer.all_reduce_and_clip(self.processes)
        self._check_finite(label, loss, norm)
        self.complete = False
        start = self.recipe.discriminators.start if self.recipe.discriminators else 0
        discriminator.update(self.state.step - start, self.recipe.steps - start)
        return norm

    def _update_generator(
        self,
        micro_batches: Sequence[MicroBatch],
        discriminators: dict[str, DiscriminatorTrainer],
        metrics: dict[str, list[float]],
    ) -> None:
        """Update the generator once, with the weights of the discriminators frozen. `metrics`: values of this step by
        name, to which those of the update are appended."""
        state, optimizer = self.state, self.state.generator
        sums: dict[str, float] = defaultdict(float)
        with self._clock("generator"), _frozen([d.optimizer for d in discriminators.values()]):
            optimizer.zero_grad()
            for micro_batch in micro_batches:
                assert micro_batch.frames is not None
                with precision(self.recipe, state.device):
                    total, terms = generator_loss(
                        optimizer.network,
                        micro_batch.frames,
                        micro_batch.triplets,
                        discriminators,
                        self.recipe.losses,
                        state.start,
                    )
                (total / len(micro_batches) if len(micro_batches) > 1 else total).backward()
                values = torch.stack([total.detach(), *(value.detach() for value in terms.values())])
                for name, value in zip(("total", *terms), values.tolist(), strict=True):
                    sums[name] += value / len(micro_batches)
                state.widen_ranges(micro_batch.frames.coarse)
            if orthogonal := self.recipe.optimizer.orthogonal:
                penalty = losses.orthogonal(matrix for _, matrix in filter_matrices(optimizer.network))
                (orthogonal * penalty).backward()
                sums["orthogonal"] = penalty.item()
                sums["total"] += orthogonal * sums["orthogonal"]
            norm = optimizer.all_reduce_and_clip(self.processes)
            self._check_finite("the loss", sums["total"], norm)
            (difference,) = self.processes.mean([sums["absolute"]], state.device)
            if state.divergence.update(difference):
                raise TrainingError(
                    f"step {state.step}",
                    f"training diverged: the absolute difference is {state.divergence.mean:.3g} and has been "
                    f"{state.divergence.lowest:.3g}",
                    "the last checkpoint is from before; lower the learning rates or the adversarial weights",
                )
            self.complete = False
            optimizer.update(state.step, self.recipe.steps)
            if self._path_length_is_due:
                sums |= self._update_path_length(micro_batches)
        for name, value in {**sums, "gradient_norm": norm}.items():
            metrics[name].append(value)

    @property
    def _path_length_is_due(self) -> bool:
        """Whether path length regularization has its update next: after each `every` others of the generator."""
        penalty = self.recipe.losses.path_length
        return penalty is not None and self.state.generator.updates % (penalty.every + 1) == penalty.every

    def _update_path_length(self, micro_batches: Sequence[MicroBatch]) -> dict[str, float]:
        """The update that path length regularization has to itself, as strong as the `every` others without it; returns
        the mean path length, and the mean squared distance of lengths from their running mean, unweighted."""
        state, optimizer, options = self.state, self.state.generator, self.recipe.losses.path_length
        assert options is not None
        optimizer.zero_grad()
        mean = penalty = 0.0
        for index, micro_batch in enumerate(micro_batches):
            batch = micro_batch.frames
            assert batch is not None
            key = (state.seed, state.step, "path length", index, self.processes.rank)
            lengths = batch.path_lengths(optimizer.network, seeded_generator(state.device, *key))
            if state.path_length is None:
                (state.path_length,) = self.processes.mean([lengths.mean().item()], state.device)
            value = (lengths - state.path_length).square().mean()
            weight = options.every * options.weight * path_length_weight(batch.fine.shape[3:])
            (weight * value / len(micro_batches)).backward()
            mean += lengths.mean().item() / len(micro_batches)
            penalty += value.item() / len(micro_batches)
        mean, penalty = self.processes.mean([mean, penalty], state.device)
        norm = optimizer.all_reduce_and_clip(self.processes)
        self._check_finite("the penalty on path lengths", penalty, norm)
        optimizer.update(state.step, self.recipe.steps)
        assert state.path_length is not None
        state.path_length += PATH_LENGTH_SHARE * (mean - state.path_length)
        return {"path_length": mean, "path_length_penalty": penalty}

    def _check_finite(self, label: str, loss: float, norm: float) -> None:
        if self.processes.any(not all_finite(loss, norm), self.state.device):
            raise TrainingError(
                f"step {self.state.step}",
                f"{label} is {loss} and the norm of its gradient {norm}",
                "the checkpoint holds the last good state; check the data, or lower the learning rate",
            )

    def _generator_batches(self, frames: int, triplets: int) -> Iterator[MicroBatch]:
        """The micro-batches of a generator update: the draw `frames` of the stream of frames, and the draw `triplets`
        of the stream of triplets."""
        with_time = self.recipe.learns_from_time
        if self.frames_are_triplets:
            for batch in self._draw(self.batches, frames + triplets):
                yield MicroBatch(batch, batch if with_time else None)
        elif self.triplets is None:
            for batch in self._draw(self.batches, frames):
                yield MicroBatch(batch, None)
        else:
            pairs = zip(self._draw(self.batches, frames), self._draw(self.triplets, triplets), strict=True)
            yield from (MicroBatch(single, triplet) for single, triplet in pairs)

    def _discriminator_batches(self, name: str, update: int) -> Iterator[MicroBatch]:
        """The micro-batches of a discriminator's own draw."""
        if name != "temporal":
            yield from (MicroBatch(batch, None) for batch in self._draw(self.batches, update))
        elif self.frames_are_triplets:
            first = self.updates["spatial"]
            yield from (MicroBatch(None, batch) for batch in self._draw(self.batches, first + update))
        else:
            assert self.triplets is not None
            yield from (MicroBatch(None, batch) for batch in self._draw(self.triplets, update))

    def _draw(self, batches: BatchStream, draw: int) -> Iterator[TrainingBatch]:
        state, of_time = self.state, batches is self.triplets
        for part, batch in enumerate(batches.micro_batches(state.step, draw)):
            yield training_batch(state, batch, of_time, state.step, draw, part, self.processes.rank)

    @contextmanager
    def _clock(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self._seconds[name] = self._seconds.get(name, 0.0) + time.perf_counter() - started


def path_length_weight(shape: Sequence[int]) -> float:
    """The published weight of the penalty on path lengths, for patches of `shape` voxels (Karras et al. 2020, appendix
    B)."""
    edge = math.prod(shape) ** (1 / len(shape))
    return math.log(2) / (math.prod(shape) * (math.log(edge) - math.log(2)))


def _batch_of(discriminator: DiscriminatorTrainer, micro_batch: MicroBatch) -> TrainingBatch:
    batch = micro_batch.triplets if discriminator.name == "temporal" else micro_batch.frames
    assert batch is not None
    return batch


@contextmanager
def _frozen(optimizers: Sequence[NetworkOptimizer]) -> Iterator[None]:
    """Inside the context gradients pass through the networks, but none are computed for their weights."""
    parameters = [p for optimizer in optimizers for p in optimizer.network.parameters()]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
