"""The training loop: step, report, judge, keep; stop at any time (Ctrl-C waits for the end of a step), go on later."""

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
from fluidsr.models.store import figures
from fluidsr.training import batch_norm
from fluidsr.training.adversarial_step import Game
from fluidsr.training.batches import Feed, Sampler
from fluidsr.training.checkpoint import TrainingState
from fluidsr.training.distributed import Workers, join
from fluidsr.training.metrics_log import Journal
from fluidsr.training.optimizer import learning_rate
from fluidsr.training.recipe import Recipe

CHECKPOINT = "checkpoint.safetensors"
ACCURACY_BATCHES = 4  # on which the discriminators are examined at each validation

Validation = Callable[[Generator], Mapping[str, float]]
Pictures = Callable[[Generator], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Progress:
    """Where training stands; `losses` are means since the last report, `validation` the latest figures."""

    step: int
    steps: int
    losses: Mapping[str, float]
    validation: Mapping[str, float]
    steps_per_second: float


@dataclass(frozen=True)
class TrainReport:
    """What came of `train`: the model's file, the steps it has had, and how it does."""

    model: Path
    card: Card
    steps: int
    finished: bool
    seconds: float
    losses: Mapping[str, float] = field(default_factory=dict)
    validation: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Sources:
    """Where a training's batches come from: `frames` of `patches.batch` samples of `patches.frames` frames.

    `triplets` is there where the recipe's `patches.triplets` is above 0: as many samples of three frames.
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
    on_progress: Callable[[Progress], None] | None = None,
) -> TrainReport:
    """Train a generator into the folder `output`, or go on with the training that is there.

    `steps` replaces the recipe's count (and stretches the schedule of the learning rates); after `minutes` of
    this call it stops early, to go on when called again. `validation` and `pictures` are called with the
    averaged generator, ready for inference; a picture is `uint8 [height, width, 3]`. On `held_out` the
    discriminators are examined, beside batches of `sources`. `data` and `commit` go into the model card.

    On return `output` holds `NAME.safetensors` (the averaged weights, with their card), `NAME.md`,
    `checkpoint.safetensors`, `metrics.jsonl`, `tensorboard/` and `samples/`. A training that was stopped and
    goes on ends in the same weights, to the bit, as one that was not; Ctrl-C finishes the step it is in.
    Under `torchrun` the processes share the work: each draws its own batches, gradients are averaged, the
    first process writes.

    Raises TrainingError where a loss or its gradient is not finite or the training diverges, with the last
    good state saved; InputError where `output` holds another training.
    """
    if steps is not None:
        recipe = Recipe.model_validate({**recipe.model_dump(), "steps": steps})
    with join(device) as workers:
        run = _Run(recipe, sources, output, workers, device, seed)
        run.validation, run.pictures, run.on_progress = validation, pictures, on_progress
        run.held_out = held_out
        return run.go(minutes, dict(data or {}), commit)


class _Run:
    """One call of `train`."""

    validation: Validation | None
    pictures: Pictures | None
    held_out: Sources | None
    on_progress: Callable[[Progress], None] | None

    def __init__(
        self, recipe: Recipe, sources: Sources, output: Path, workers: Workers, device: str, seed: int
    ) -> None:
        self.recipe, self.output, self.workers, self.device = recipe, output, workers, device
        self.checkpoint = output / CHECKPOINT
        self.state = TrainingState(recipe, seed, device)
        if self.checkpoint.exists():
            self.state.restore(self.checkpoint)
        else:
            self.state.begin()
        self.game = Game(self.state, sources.frames, sources.triplets, workers)
        self.journal = Journal(output, self.state.step) if workers.leads else None
        self.sums: dict[str, list[float]] = defaultdict(list)
        self.losses: dict[str, float] = {}
        self.figures: dict[str, float] = {}

    def go(self, minutes: float | None, data: dict[str, Any], commit: str | None) -> TrainReport:
        state, recipe = self.state, self.recipe
        started, before = time.monotonic(), state.seconds
        validated = drawn = -1
        try:
            with Interrupt() as interrupt:
                self._start_clock()
                while state.step < recipe.steps:
                    for name, value in self.game.step().items():
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
                        self._draw()
                        drawn = state.step
                    late = minutes is not None and time.monotonic() - started > 60 * minutes
                    if self.workers.any(late or interrupt.asked, self.device):
                        break
                interrupt.heed()
            self._save()
            if validated != state.step:
                self._validate()
            if drawn != state.step:
                self._draw()
        except (KeyboardInterrupt, TrainingError):
            self._save()
            raise
        finally:
            if self.journal:
                self.journal.close()
        model, card = self._export(data, commit)
        finished = state.step >= recipe.steps
        return TrainReport(model, card, state.step, finished, state.seconds, self.losses, self.figures)

    def _start_clock(self) -> None:
        self.mark = (time.monotonic(), self.state.step)
        self.game.forget_times()

    def _report(self) -> None:
        """Means since the last report, to the journal and to the caller."""
        step, (then, since) = self.state.step, self.mark
        elapsed = max(1e-9, time.monotonic() - then)
        rate = max(1, step - since) / elapsed
        self.losses = {name: sum(values) / len(values) for name, values in self.sums.items()}
        shares = {f"share_{name}": seconds / elapsed for name, seconds in self.game.times().items()}
        self.sums = defaultdict(list)
        self._start_clock()
        if not self.journal:
            return
        now = learning_rate(self.recipe.optimizer, step - 1, self.recipe.steps)
        extra = {"learning_rate": now, "steps_per_second": rate, "seconds": self.state.seconds, **shares}
        self.journal.write(step, "training", {**self.losses, **extra})
        if self.on_progress:
            self.on_progress(Progress(step, self.recipe.steps, self.losses, self.figures, rate))

    def _validate(self) -> None:
        """Judge the averaged generator, and examine the discriminators on what they have not seen."""
        if not self.journal:
            return
        figures: dict[str, float] = {}
        if self.validation is not None:
            with torch.no_grad():
                figures = {k: float(v) for k, v in self.validation(self._model()).items()}
            self.figures = figures
        if self.held_out is not None and self.state.critics:
            figures = {**figures, **self._examine(self.held_out)}
        if figures:
            self.journal.write(self.state.step, "validation", figures)
        self._start_clock()

    def _examine(self, held_out: Sources) -> dict[str, float]:
        """Accuracies on batches to come and on held-out ones: far apart, a discriminator has memorised."""
        game = self.game
        alone = Workers()
        feed = Feed(held_out.frames, 1, 1, alone, self.device)
        triplets = None if held_out.triplets is None else Feed(held_out.triplets, 1, 1, alone, self.device)
        count = range(ACCURACY_BATCHES)
        told = {
            "train": game.accuracies(
                game.feed, game.triplets, [game.feed.next(self.state.step) + n for n in count]
            ),
            "held_out": game.accuracies(feed, triplets, count),
        }
        return {
            f"accuracy_{critic}_{where}": accuracy
            for where, each in told.items()
            for critic, accuracy in each.items()
        }

    def _draw(self) -> None:
        if self.pictures is None or not self.journal:
            return
        with torch.no_grad():
            for name, picture in self.pictures(self._model()).items():
                self.journal.picture(self.state.step, name, picture)
        self._start_clock()

    def _save(self) -> None:
        """Keep the state, but not one from the middle of a step: then the last file stays."""
        if self.workers.leads and self.game.whole:
            self.state.save(self.checkpoint)

    def _model(self) -> Generator:
        """The averaged generator, ready for inference; a copy, since the average goes on from unfolded weights.

        Where it has batch norms, their statistics are taken anew, over the first batches of the training.
        """
        model = copy.deepcopy(self.state.average)
        if batch_norm.has_statistics(model):
            feed = self.game.feed
            batches = (feed.number(n).coarse.flatten(0, 1) for n in range(batch_norm.BATCHES))
            batch_norm.recompute(model, batches)
        return model.fold()

    def _export(self, data: dict[str, Any], commit: str | None) -> tuple[Path, Card]:
        state, recipe = self.state, self.recipe
        path = self.output / f"{recipe.name}.safetensors"
        card = Card(
            name=recipe.name,
            summary=recipe.summary,
            **figures(state.average),
            density_range=state.density_range,
            velocity_range=state.velocity_range,
            data=data,
            recipe=recipe.model_dump(mode="json", exclude={"name", "summary", "limits"}),
            steps=state.step,
            commit=commit,
            metrics={recipe.name: self.figures} if self.figures else {},
            limits=recipe.limits,
        )
        return path, save(path, self._model(), card) if self.workers.leads else card


class Interrupt:
    """Within, the first Ctrl-C only sets `asked`, and `heed` raises it; the second one interrupts at once.

    Half a step (one network updated, the other not) is no state to go on from. Outside the main thread, where
    Python delivers no signals, nothing changes.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def heed(self) -> None:
        """Raise KeyboardInterrupt if it was asked for."""
        if self.asked:
            raise KeyboardInterrupt

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
