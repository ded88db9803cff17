"""The training loop: draw, step, follow, report; stop at any time, go on later."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from fluidsr.errors import TrainingError
from fluidsr.models import Card, SmokeGenerator, save
from fluidsr.models.batch import PatchBatch
from fluidsr.models.store import figures
from fluidsr.training.journal import Journal
from fluidsr.training.objective import objective
from fluidsr.training.recipe import Optimizer, Recipe
from fluidsr.training.state import TrainingState
from fluidsr.training.workers import Workers, join

CHECKPOINT = "checkpoint.safetensors"


class Sampler(Protocol):
    """Where batches come from. A batch must be a function of its number alone."""

    def batch(self, step: int) -> PatchBatch: ...


Validation = Callable[[SmokeGenerator], Mapping[str, float]]


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


def train(
    recipe: Recipe,
    sampler: Sampler,
    validation: Validation | None,
    output: Path,
    *,
    steps: int | None = None,
    minutes: float | None = None,
    device: str = "cpu",
    seed: int = 0,
    data: Mapping[str, Any] | None = None,
    commit: str | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> TrainReport:
    """Train a generator into the folder `output`, or go on with the training that is there.

    `steps` replaces the recipe's count (and stretches the schedule of the learning rate); after `minutes` of
    this call it stops early, to go on when called again. `validation` is called with the averaged generator,
    ready for inference. `data` and `commit` go into the model card.

    On return `output` holds `NAME.safetensors` (the averaged weights, with their card), `NAME.md`,
    `checkpoint.safetensors`, `metrics.jsonl` and `tensorboard/`. A training that was stopped, by Ctrl-C too,
    and goes on ends in the same weights, to the bit, as one that was not. Under `torchrun` the processes
    share the work: each draws its own batches, gradients are averaged, the first process writes.

    Raises TrainingError where the loss or its gradient is not finite, with the last finite state saved;
    InputError where `output` holds another training.
    """
    if steps is not None:
        recipe = recipe.model_copy(update={"steps": steps})
    with join(device) as workers:
        run = _Run(recipe, sampler, validation, output, workers, device, seed, on_progress)
        return run.go(minutes, dict(data or {}), commit)


def learning_rate(options: Optimizer, step: int, steps: int) -> float:
    """The rate of step `step` (from 0) of `steps`: linear warm-up, half a cosine to its final fraction."""
    if step < options.warmup_steps:
        return options.learning_rate * (step + 1) / options.warmup_steps
    done = (step - options.warmup_steps) / max(1, steps - options.warmup_steps)
    shape = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return options.learning_rate * (options.final_fraction + (1 - options.final_fraction) * shape)


class _Run:
    """One call of `train`."""

    def __init__(
        self,
        recipe: Recipe,
        sampler: Sampler,
        validation: Validation | None,
        output: Path,
        workers: Workers,
        device: str,
        seed: int,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self.recipe, self.sampler, self.validation, self.output = recipe, sampler, validation, output
        self.workers, self.device, self.on_progress = workers, device, on_progress
        self.checkpoint = output / CHECKPOINT
        self.state = TrainingState(recipe, seed, device)
        if self.checkpoint.exists():
            self.state.restore(self.checkpoint)
        self.journal = Journal(output, self.state.step) if workers.leads else None
        self.sums: dict[str, float] = {}
        self.losses: dict[str, float] = {}
        self.figures: dict[str, float] = {}
        self.whole = True  # no step is half done

    def go(self, minutes: float | None, data: dict[str, Any], commit: str | None) -> TrainReport:
        state, recipe = self.state, self.recipe
        started, before = time.monotonic(), state.seconds
        validated = -1
        try:
            self._start_clock()
            while state.step < recipe.steps:
                self._step()
                state.seconds = before + time.monotonic() - started
                if state.step % recipe.log_every == 0 or state.step == recipe.steps:
                    self._report()
                if state.step % recipe.checkpoint_every == 0:
                    self._save()
                if state.step % recipe.validate_every == 0:
                    self._validate()
                    validated = state.step
                late = minutes is not None and time.monotonic() - started > 60 * minutes
                if self.workers.any(late, self.device):
                    break
            self._save()
            if validated != state.step:
                self._validate()
        except (KeyboardInterrupt, TrainingError):
            self._save()
            raise
        finally:
            if self.journal:
                self.journal.close()
        model, card = self._export(data, commit)
        finished = state.step >= recipe.steps
        return TrainReport(model, card, state.step, finished, state.seconds, self.losses, self.figures)

    def _step(self) -> None:
        """One step, all of it or nothing: what is not finite never reaches the weights."""
        state, options = self.state, self.recipe.optimizer
        drawn = self.sampler.batch(state.step * self.workers.size + self.workers.rank)
        batch = PatchBatch(drawn.coarse.to(self.device), drawn.fine.to(self.device))
        state.generator.train()
        low = self.recipe.precision == "bfloat16"
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=low):
            total, losses = objective(state.generator, batch, self.recipe.losses, self.recipe.factor)
        state.optimizer.zero_grad(set_to_none=True)
        total.backward()
        parameters = list(state.generator.parameters())
        self.workers.mean_(p.grad for p in parameters if p.grad is not None)
        norm = torch.nn.utils.clip_grad_norm_(parameters, options.clip).item()
        if self.workers.any(not (math.isfinite(total.item()) and math.isfinite(norm)), self.device):
            raise TrainingError(
                f"step {state.step}",
                f"the loss is {total.item()} and its gradient's norm {norm}",
                f"{self.checkpoint} has the state before; check the data, or lower optimizer.learning_rate",
            )
        self.whole = False
        for group in state.optimizer.param_groups:
            group["lr"] = learning_rate(options, state.step, self.recipe.steps)
        state.optimizer.step()
        state.step += 1
        state.follow()
        state.see(batch.coarse)
        self.whole = True
        for name, value in {**losses, "total": total.item(), "gradient_norm": norm}.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def _start_clock(self) -> None:
        self.mark = (time.monotonic(), self.state.step)

    def _report(self) -> None:
        """Means since the last report, to the journal and to the caller."""
        step, (then, since) = self.state.step, self.mark
        count = max(1, step - since)
        rate = count / max(1e-9, time.monotonic() - then)
        self.losses = {name: total / count for name, total in self.sums.items()}
        self.sums = {}
        self._start_clock()
        if not self.journal:
            return
        now = learning_rate(self.recipe.optimizer, step - 1, self.recipe.steps)
        extra = {"learning_rate": now, "steps_per_second": rate, "seconds": self.state.seconds}
        self.journal.write(step, "training", {**self.losses, **extra})
        if self.on_progress:
            self.on_progress(Progress(step, self.recipe.steps, self.losses, self.figures, rate))

    def _validate(self) -> None:
        if self.validation is None or not self.journal:
            return
        with torch.no_grad():
            self.figures = {k: float(v) for k, v in self.validation(self._model()).items()}
        self.journal.write(self.state.step, "validation", self.figures)

    def _save(self) -> None:
        """Keep the state, but not one that Ctrl-C left in the middle of a step: then the last file stays."""
        if self.workers.leads and self.whole:
            self.state.save(self.checkpoint)

    def _model(self) -> SmokeGenerator:
        """The averaged generator, folded; a copy, since the average itself goes on from unfolded weights."""
        return copy.deepcopy(self.state.average).fold()

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
