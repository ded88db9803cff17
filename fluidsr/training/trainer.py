"""The training loop: step, report, validate, save. Ctrl-C ends it after the current step; it can be resumed."""

from __future__ import annotations

import copy
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import numpy as np
import torch

from fluidsr.errors import TrainingError
from fluidsr.models import Card, Generator, save
from fluidsr.models.store import properties_of
from fluidsr.training import batch_norm
from fluidsr.training.adversarial_step import AdversarialStep
from fluidsr.training.batches import BatchStream, Sampler
from fluidsr.training.checkpoint import TrainingState
from fluidsr.training.distributed import ProcessGroup, process_group
from fluidsr.training.metrics_log import MetricsLog
from fluidsr.training.optimizer import learning_rate
from fluidsr.training.recipe import Recipe

CHECKPOINT = "checkpoint.safetensors"
ACCURACY_BATCHES = 4  # on which the discriminators' accuracies are measured at each validation

Validation = Callable[[Generator], Mapping[str, float]]
Pictures = Callable[[Generator], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class TrainingProgress:
    """Progress of a training; `losses` are means since the last report, `validation` the latest metrics."""

    step: int
    steps: int
    losses: Mapping[str, float]
    validation: Mapping[str, float]
    steps_per_second: float


@dataclass(frozen=True)
class TrainReport:
    """The result of `train`: the model's file, the steps it has had, its losses and validation metrics."""

    model: Path
    card: Card
    steps: int
    finished: bool
    seconds: float
    losses: Mapping[str, float] = field(default_factory=dict)
    validation: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Sources:
    """Samplers of a training: `frames` draws `patches.batch` samples of `patches.frames` frames.

    `triplets` is given where the recipe's `patches.triplets` is above 0: it draws that many samples of three frames.
    """

    frames: Sampler
    triplets: Sampler | None = None


def train(
    recipe: Recipe,
    sources: Sources,
    output: Path,
    *,
    validation: Validation | None = None,
    pictures: Pictures | None = None,
    held_out: Sources | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    device: str = "cpu",
    seed: int = 0,
    data: Mapping[str, Any] | None = None,
    commit: str | None = None,
    on_progress: Callable[[TrainingProgress], None] | None = None,
) -> TrainReport:
    """Train a generator into the folder `output`, or resume the training that is there.

    `steps` replaces the recipe's count (and stretches the learning-rate schedules). After `minutes` of this call
    training stops early; call again to resume. `validation` and `pictures` are called with the averaged generator,
    ready for inference; a picture is `uint8 [height, width, 3]`. The discriminators' accuracies are measured on
    `held_out` and on batches of `sources`. `data` and `commit` go into the model card.

    On return `output` holds `NAME.safetensors` (the averaged weights, with their card), `NAME.md`,
    `checkpoint.safetensors`, `metrics.jsonl`, `tensorboard/` and `samples/`. A training that was stopped and resumed
    ends in the same weights, bit for bit, as an uninterrupted one; Ctrl-C finishes the current step. Under
    `torchrun` training is data-parallel: each process draws its own batches, gradients are averaged, the main
    process writes the files.

    Raises TrainingError where a loss or its gradient is not finite or the training diverges, with the last
    good state saved; InputError where `output` holds another training.
    """
    if steps is not None:
        recipe = Recipe.model_validate({**recipe.model_dump(), "steps": steps})
    with process_group(device) as processes:
        trainer = Trainer(recipe, sources, output, processes, device, seed)
        trainer.validation, trainer.pictures, trainer.on_progress = validation, pictures, on_progress
        trainer.held_out = held_out
        return trainer.run(minutes, dict(data or {}), commit)


class Trainer:
    """One call of `train`."""

    validation: Validation | None
    pictures: Pictures | None
    held_out: Sources | None
    on_progress: Callable[[TrainingProgress], None] | None

    def __init__(
        self, recipe: Recipe, sources: Sources, output: Path, processes: ProcessGroup, device: str, seed: int
    ) -> None:
        self.recipe, self.output, self.processes, self.device = recipe, output, processes, device
        self.checkpoint = output / CHECKPOINT
        self.state = TrainingState(recipe, seed, device)
        if self.checkpoint.exists():
            self.state.restore(self.checkpoint)
        else:
            self.state.load_init()
        self.adversarial_step = AdversarialStep(self.state, sources.frames, sources.triplets, processes)
        self.metrics_log = MetricsLog(output, self.state.step) if processes.is_main else None
        self.sums: dict[str, list[float]] = defaultdict(list)
        self.losses: dict[str, float] = {}
        self.metrics: dict[str, float] = {}

    def run(self, minutes: float | None, data: dict[str, Any], commit: str | None) -> TrainReport:
        state, recipe = self.state, self.recipe
        started, before = time.monotonic(), state.seconds
        validated = sampled = -1
        try:
            with Interrupt() as interrupt:
                self._reset_clock()
                while state.step < recipe.steps:
                    for name, value in self.adversarial_step.run().items():
                        self.sums[name].append(value)
                    state.seconds = before + time.monotonic() - started
                    if state.step % recipe.log_every == 0 or state.step == recipe.steps:
                        self._report()
                    if state.step % recipe.checkpoint_every == 0:
                        self._save()
                    if state.step % recipe.validate_every == 0:
                        self._validate()
                        validated = state.step
                    if state.step % recipe.sample_every == 0:
                        self._write_samples()
                        sampled = state.step
                    late = minutes is not None and time.monotonic() - started > 60 * minutes
                    if self.processes.any(late or interrupt.requested, self.device):
                        break
                interrupt.raise_if_requested()
            self._save()
            if validated != state.step:
                self._validate()
            if sampled != state.step:
                self._write_samples()
        except (KeyboardInterrupt, TrainingError):
            self._save()
            raise
        finally:
            if self.metrics_log:
                self.metrics_log.close()
        model, card = self._export(data, commit)
        finished = state.step >= recipe.steps
        return TrainReport(model, card, state.step, finished, state.seconds, self.losses, self.metrics)

    def _reset_clock(self) -> None:
        self.reported = (time.monotonic(), self.state.step)
        self.adversarial_step.reset_clocks()

    def _report(self) -> None:
        """Write means since the last report to the log, and pass them to the caller."""
        step, (last_time, last_step) = self.state.step, self.reported
        elapsed = max(1e-9, time.monotonic() - last_time)
        steps_per_second = max(1, step - last_step) / elapsed
        self.losses = {name: sum(values) / len(values) for name, values in self.sums.items()}
        shares = {
            f"share_{name}": seconds / elapsed
            for name, seconds in self.adversarial_step.seconds_by_phase().items()
        }
        self.sums = defaultdict(list)
        self._reset_clock()
        if not self.metrics_log:
            return
        speed = {
            "learning_rate": learning_rate(self.recipe.optimizer, step - 1, self.recipe.steps),
            "steps_per_second": steps_per_second,
            "seconds": self.state.seconds,
            **shares,
        }
        self.metrics_log.write(step, "training", {**self.losses, **speed})
        if self.on_progress:
            report = TrainingProgress(step, self.recipe.steps, self.losses, self.metrics, steps_per_second)
            self.on_progress(report)

    def _validate(self) -> None:
        """Evaluate the averaged generator, and the discriminators on held-out data."""
        if not self.metrics_log:
            return
        metrics: dict[str, float] = {}
        if self.validation is not None:
            with torch.no_grad():
                metrics = {k: float(v) for k, v in self.validation(self._inference_model()).items()}
            self.metrics = metrics
        if self.held_out is not None and self.state.discriminators:
            metrics = {**metrics, **self._discriminator_accuracies(self.held_out)}
        if metrics:
            self.metrics_log.write(self.state.step, "validation", metrics)
        self._reset_clock()

    def _discriminator_accuracies(self, held_out: Sources) -> dict[str, float]:
        """Accuracies on the next training batches and on held-out ones: far apart, a discriminator has memorised."""
        step = self.adversarial_step

        def stream(sampler: Sampler) -> BatchStream:
            return BatchStream(sampler, 1, 1, ProcessGroup(), self.device)

        batches = stream(held_out.frames)
        triplets = None if held_out.triplets is None else stream(held_out.triplets)
        indices = range(ACCURACY_BATCHES)
        accuracies = {
            "train": step.accuracies(
                step.batches, step.triplets, [step.batches.first_index(self.state.step) + n for n in indices]
            ),
            "held_out": step.accuracies(batches, triplets, indices),
        }
        return {
            f"accuracy_{name}_{split}": accuracy
            for split, values in accuracies.items()
            for name, accuracy in values.items()
        }

    def _write_samples(self) -> None:
        if self.pictures is None or not self.metrics_log:
            return
        with torch.no_grad():
            for name, picture in self.pictures(self._inference_model()).items():
                self.metrics_log.write_image(self.state.step, name, picture)
        self._reset_clock()

    def _save(self) -> None:
        """Save the state, unless a step is half done: then the last file stays."""
        if self.processes.is_main and self.adversarial_step.complete:
            self.state.save(self.checkpoint)

    def _inference_model(self) -> Generator:
        """The averaged generator, ready for inference; a copy, since the average goes on from unfolded weights.

        Where it has batch norms, their statistics are recalibrated on the first batches of the training.
        """
        model = copy.deepcopy(self.state.ema)
        if batch_norm.has_running_statistics(model):
            stream = self.adversarial_step.batches
            indices = range(batch_norm.CALIBRATION_BATCHES)
            batch_norm.recalibrate(model, (stream.batch_at(n).coarse.flatten(0, 1) for n in indices))
        return model.fold()

    def _export(self, data: dict[str, Any], commit: str | None) -> tuple[Path, Card]:
        state, recipe = self.state, self.recipe
        path = self.output / f"{recipe.name}.safetensors"
        card = Card(
            name=recipe.name,
            summary=recipe.summary,
            **properties_of(state.ema),
            density_range=state.density_range,
            velocity_range=state.velocity_range,
            data=data,
            recipe=recipe.model_dump(mode="json", exclude={"name", "summary", "limits"}),
            steps=state.step,
            commit=commit,
            metrics={recipe.name: self.metrics} if self.metrics else {},
            limits=recipe.limits,
        )
        return path, save(path, self._inference_model(), card) if self.processes.is_main else card


class Interrupt:
    """Within, the first Ctrl-C sets `requested`, which `raise_if_requested` raises; the second interrupts at once.

    A training cannot be resumed from the middle of a step, with one network updated and the other not. Outside the
    main thread, where Python delivers no signals, nothing changes.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: Any = None

    def raise_if_requested(self) -> None:
        """Raise KeyboardInterrupt if it was asked for."""
        if self.requested:
            raise KeyboardInterrupt

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._request)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
