"""The training loop, which steps, reports, validates and saves. A signal stops it after a step; it can be resumed."""

from __future__ import annotations

import copy
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fluidsr.errors import InputError, TrainingError
from fluidsr.models import Card, Generator, save
from fluidsr.models.kernels import largest_singular_values
from fluidsr.models.store import properties_of
from fluidsr.signals import StopRequest
from fluidsr.training import batch_norm, examination
from fluidsr.training.adversarial_step import AdversarialStep
from fluidsr.training.batches import BatchStream, Sampler
from fluidsr.training.checkpoint import TrainingState, training_batch
from fluidsr.training.discriminator_file import save_discriminators
from fluidsr.training.distributed import ProcessGroup, process_group
from fluidsr.training.folder import CHECKPOINT
from fluidsr.training.loggers import open_loggers
from fluidsr.training.metrics_log import MetricsLog
from fluidsr.training.monitors import SingularValueMonitor
from fluidsr.training.optimizer import copy_tensors, learning_rate, rate_change
from fluidsr.training.recipe import Recipe

ACCURACY_BATCHES = 4  # on which the discriminators' accuracies are measured at each validation
SINGULAR_VALUES = "singular_values"  # the group of their records
EXAMINED = ("accuracy_", "auc_matched_")  # figures of the discriminators, not of the model

Validation = Callable[[Generator], Mapping[str, float]]
Pictures = Callable[[Generator], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class TrainingProgress:
    """The progress of a training after `step` of `steps`.

    `losses` are the training metrics, means since the last report; `validation` are the latest metrics on held-out
    data.
    """

    step: int
    steps: int
    losses: Mapping[str, float]
    validation: Mapping[str, float]
    steps_per_second: float


@dataclass(frozen=True)
class TrainReport:
    """The result of `train`.

    Attributes:
        model: its file.
        card: its card.
        steps: of training so far.
        finished: whether the training is complete; otherwise it can be resumed.
        seconds: of training so far.
        losses: the training metrics, means since the last report.
        validation: the metrics of the model on held-out data.
    """

    model: Path
    card: Card
    steps: int
    finished: bool
    seconds: float
    losses: Mapping[str, float] = field(default_factory=dict)
    validation: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Sources:
    """The samplers of a training.

    Attributes:
        frames: draws `patches.batch` samples of `patches.frames` frames.
        triplets: draws `patches.triplets` samples of three frames; None if that is 0.
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
    on_note: Callable[[str], None] | None = None,
) -> TrainReport:
    """Train a generator in the folder `output`, or resume the training in it.

    Args:
        recipe: how to train.
        sources: samplers of the training data.
        output: folder for the results.
        validation: returns metrics of the averaged generator, which it gets ready for inference; they must include
            `absolute` if the recipe has `patience`.
        pictures: returns sample images of that generator, `uint8 [height, width, 3]`.
        held_out: samplers of held-out data, on which the accuracies of the discriminators are measured.
        steps: replaces the number of steps of the recipe; learning-rate schedules are stretched accordingly.
        minutes: time after which this call stops; call again to resume.
        device: torch device.
        seed: of weights and random numbers.
        data: properties of the data for the model card.
        commit: commit of the code for the model card.
        on_progress: is called at every report.
        on_note: is called with messages for the user, for example if a damaged checkpoint was skipped.

    On return `output` holds `NAME.safetensors` (the averaged weights, or the best of them if the recipe has `patience`,
    with their card), `NAME.md`, `discriminators.safetensors` (if there are any; a training with this `init` continues
    from them), `checkpoint.safetensors`, `metrics.jsonl`, `tensorboard/` and `samples/`. A training that was stopped
    and resumed ends with the same weights, to the last bit, as an uninterrupted one. Ctrl-C, SIGTERM and SIGHUP stop it
    after the current step. The previous checkpoint is kept, and used if the last one is damaged. Under `torchrun` the
    training is data-parallel: each process draws its own batches, gradients are averaged, and the main process writes
    the files.

    Raises TrainingError if a loss or its gradient is not finite or the training diverges, after saving the last good
    state, and InputError if `output` holds another training.
    """
    if steps is not None:
        recipe = Recipe.model_validate({**recipe.model_dump(), "steps": steps})
    with process_group(device) as processes:
        note = on_note if on_note is not None and processes.is_main else lambda line: None
        trainer = Trainer(recipe, sources, output, processes, device, seed, note, validation)
        trainer.pictures, trainer.on_progress = pictures, on_progress
        trainer.held_out = held_out
        return trainer.run(minutes, dict(data or {}), commit)


class Trainer:
    """The implementation of `train`; see there for the arguments. Used once."""

    pictures: Pictures | None
    held_out: Sources | None
    on_progress: Callable[[TrainingProgress], None] | None

    def __init__(
        self,
        recipe: Recipe,
        sources: Sources,
        output: Path,
        processes: ProcessGroup,
        device: str,
        seed: int,
        note: Callable[[str], None],
        validation: Validation | None,
    ) -> None:
        self.recipe, self.output, self.processes, self.device = recipe, output, processes, device
        self.checkpoint = output / CHECKPOINT
        if recipe.patience is not None and validation is None:
            problem = "needs held-out smoke, and there is none"
            raise InputError(
                "patience", problem, "give data with simulations for validation, or patience=null"
            )
        self.validation = validation
        self.state = TrainingState(recipe, seed, device)
        self._saved_at = -1
        if self.state.restore(self.checkpoint, note):
            self._saved_at = self.state.step
        else:
            self.state.load_init(note)
        self.state.grow(self.state.step)
        if change := rate_change(recipe.optimizer, self.state.step, self.state.planned_steps, recipe.steps):
            note(f"{output}: {change}")
        self.adversarial_step = AdversarialStep(self.state, sources.frames, sources.triplets, processes)
        self.metrics_log: MetricsLog | None = None
        if processes.is_main:
            loggers = open_loggers(recipe.loggers, output, self.state.step, recipe.model_dump(mode="json"))
            self.metrics_log = MetricsLog(output, self.state.step, loggers)
        self.note = note
        self.singular_values: SingularValueMonitor | None = None
        if self.metrics_log and recipe.singular_values:
            self.singular_values = SingularValueMonitor(self.metrics_log.records(SINGULAR_VALUES))
        self.sums: dict[str, list[float]] = defaultdict(list)
        self.losses: dict[str, float] = {}
        self.metrics: dict[str, float] = {}

    def run(self, minutes: float | None, data: dict[str, Any], commit: str | None) -> TrainReport:
        """Train, and write the model. See `train` for the arguments and errors."""
        state, recipe = self.state, self.recipe
        started, before = time.monotonic(), state.seconds
        self.validated = self.sampled = -1
        if self.metrics_log and self.metrics_log.validation is not None:
            recorded = self.metrics_log.validation.items()
            self.metrics = {name: value for name, value in recorded if not name.startswith(EXAMINED)}
            self.validated = state.step
        try:
            if self.validated == state.step:
                state.consider(self.metrics)  # it was recorded after the checkpoint
            elif state.step == 0 and recipe.patience is not None:
                self._validate()
            if state.step:
                self._examine()  # a stop may have come right after the checkpoint
            with StopRequest() as stop:
                self._loop(stop, before, started, minutes)
            if self.validated != state.step:
                self._validate()
            if self.sampled != state.step:
                self._write_samples()
        finally:
            if self.metrics_log:
                self.metrics_log.close()
        model, card = self._export(data, commit)
        finished = state.step >= recipe.steps or state.stopping.exhausted
        return TrainReport(
            model, card, state.step, finished, state.seconds, self.losses, state.stopping.best or self.metrics
        )

    def _loop(self, stop: StopRequest, before: float, started: float, minutes: float | None) -> None:
        """Run steps until all are done, the time is over, or a signal stops the training. On return the state is
        saved."""
        state, recipe = self.state, self.recipe
        try:
            self._reset_clock()
            while state.step < recipe.steps and not state.stopping.exhausted:
                for name, value in self.adversarial_step.run().items():
                    self.sums[name].append(value)
                state.seconds = before + time.monotonic() - started
                if state.step % recipe.log_every == 0 or state.step == recipe.steps:
                    self._report()
                if state.step % recipe.checkpoint_every == 0:
                    with stop.uninterrupted():
                        self._save()
                self._examine()
                late = minutes is not None and time.monotonic() - started > 60 * minutes
                over = late or stop.requested or state.stopping.exhausted
                if self.processes.any(over, self.device):
                    break
            stop.raise_if_requested()
            with stop.uninterrupted():
                self._save()
        except (KeyboardInterrupt, TrainingError):
            with stop.uninterrupted():
                self._save()
            raise

    def _examine(self) -> None:
        """Validate, and write sample images, if they are due at this step."""
        step, recipe = self.state.step, self.recipe
        if step % recipe.validate_every == 0 and self.validated != step:
            self._validate()
            self.validated = step
        if step % recipe.sample_every == 0 and self.sampled != step:
            self._write_samples()
            self.sampled = step

    def _reset_clock(self) -> None:
        self.reported = (time.monotonic(), self.state.step)
        self.adversarial_step.reset_clocks()

    def _report(self) -> None:
        """Log the means since the last report, and pass them to `on_progress`."""
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
            self.state.consider(metrics)
        if self.held_out is not None and self.state.discriminators:
            metrics = {**metrics, **self._examine_discriminators(self.held_out)}
        if metrics:
            self.metrics_log.write(self.state.step, "validation", metrics)
        if self.singular_values is not None:
            values = {
                f"{owner}/{layer}/{rank}": value
                for owner, network in self.state.networks().items()
                for layer, largest in largest_singular_values(network).items()
                for rank, value in enumerate(largest, start=1)
            }
            self.metrics_log.write(self.state.step, SINGULAR_VALUES, values)
            for line in self.singular_values.update(self.state.step, values):
                self.note(f"{self.output}: {line}")
        self._reset_clock()

    def _examine_discriminators(self, held_out: Sources) -> dict[str, float]:
        """The accuracies of the discriminators on the next training batches and on held-out ones (a large difference
        means that a discriminator has memorized the data), and how well they distinguish matching pairs of coarse and
        fine frames from shuffled ones."""
        state, batches, triplets = self.state, self.adversarial_step.batches, self.adversarial_step.triplets

        def stream(sampler: Sampler) -> BatchStream:
            return BatchStream(sampler, 1, 1, ProcessGroup(), self.device)

        unseen = stream(held_out.frames)
        unseen_triplets = None if held_out.triplets is None else stream(held_out.triplets)
        following, indices = batches.first_index(state.step), range(ACCURACY_BATCHES)
        accuracies = {
            "train": examination.accuracies(state, batches, triplets, [following + n for n in indices]),
            "held_out": examination.accuracies(state, unseen, unseen_triplets, indices),
        }
        matching = {
            "train": examination.matched_auc(state, batches, following),
            "held_out": examination.matched_auc(state, unseen, 0),
        }
        return {
            f"{figure}_{name}_{split}": value
            for figure, splits in (("accuracy", accuracies), ("auc_matched", matching))
            for split, values in splits.items()
            for name, value in values.items()
        }

    def _write_samples(self) -> None:
        if self.pictures is None or not self.metrics_log:
            return
        with torch.no_grad():
            for name, picture in self.pictures(self._inference_model()).items():
                self.metrics_log.write_image(self.state.step, name, picture)
        self._reset_clock()

    def _save(self) -> None:
        """Save the state, unless it has been saved already or a step is incomplete."""
        if (
            not (self.processes.is_main and self.adversarial_step.complete)
            or self._saved_at == self.state.step
        ):
            return
        self.state.save(self.checkpoint)
        self._saved_at = self.state.step

    def _inference_model(self, *, best: bool = False) -> Generator:
        """A copy of the averaged generator, or of the best one so far, ready for inference. (Folding changes the
        weights, and the average continues from unfolded ones.)

        The statistics of its batch norms, if any, are recalibrated on the first batches of the training.
        """
        model = copy.deepcopy(self.state.ema)
        if best:
            copy_tensors(model, self.state.best)
        if batch_norm.has_running_statistics(model):
            stream = self.adversarial_step.batches
            indices = range(batch_norm.CALIBRATION_BATCHES)
            batches = (training_batch(self.state, stream.batch_at(n), "calibration", n) for n in indices)
            batch_norm.recalibrate(model, (batch.output for batch in batches))
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
            typical_density=state.typical_density,
            data=data,
            recipe=recipe.model_dump(mode="json", exclude={"name", "summary", "limits"}),
            steps=state.step,
            commit=commit,
            metrics={recipe.name: self.metrics} if self.metrics else {},
            limits=recipe.limits,
        )
        if not self.processes.is_main:
            return path, card
        if state.best:
            before, stopping = (
                f"{Path(recipe.init).stem} (before)" if recipe.init else "before",
                state.stopping,
            )
            metrics = {before: stopping.first, recipe.name: stopping.best}
            card = card.model_copy(update={"metrics": metrics, "steps": stopping.best_step})
        card = save(path, self._inference_model(best=bool(state.best)), card)
        if state.discriminators:
            save_discriminators(self.output, state.discriminators, card.sha256)
        return path, card
