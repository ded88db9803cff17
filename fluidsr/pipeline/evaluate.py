"""`fluidsr evaluate`: a model against held-out simulations, with the baselines beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fluidsr import cluster
from fluidsr import device as devices
from fluidsr.errors import InputError, ModelError
from fluidsr.pipeline import provenance
from fluidsr.pipeline.progress import Progress

if TYPE_CHECKING:
    from fluidsr.dataset.addresses import Remote
    from fluidsr.evaluation import Report


_CARRIED = 4  # frames ago: as `upscale: {method: carry}` has it


def evaluate(
    models: Sequence[str],
    data: str | Path,
    output: Path | None,
    *,
    split: str = "test",
    device: str = "auto",
    stride: int = 1,
    metrics: Sequence[str] = (),
    scheduler: str | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> Report:
    """Judge the first of `models` on every `stride`-th frame of a split, beside the others, linear and cubic
    interpolation and carried smoke.

    `metrics` of other packages, by name or as `module:Class`, are measured too. The simulations are judged here, or by
    the workers of the dask `scheduler`; the figures are the same.

    On return the folder (`runs/evaluate_MODEL` unless given) holds `report.json`, plots and `index.html`.
    Raises InputError for a split without simulations and for a folder with another report unless
    `overwrite`, ModelError where model and data do not fit.
    """
    from fluidsr import evaluation
    from fluidsr.dataset.addresses import absolute, locate
    from fluidsr.models import portable_name

    task = _Task(
        tuple(portable_name(model) for model in models),
        absolute(locate(data)),
        split,
        devices.resolve(device),
        stride,
        tuple(metrics),
    )
    judge = _Judge(task)
    folder = output or Path("runs") / f"evaluate_{judge.name}"
    if (folder / "report.json").exists() and not overwrite:
        raise InputError(str(folder), "holds a report", "use `overwrite`, or another `output`")
    frames = {
        s.name: sum(index % stride in (0, 1) for index in range(s.frames)) for s in judge.simulations.values()
    }
    if not frames:
        raise InputError(str(data), f"has no simulations in the split '{split}'", "choose another `split`")
    about = {
        "models": judge.checksums,
        "data": {"name": judge.store.path.name, "split": split, "stride": stride},
        "environment": provenance.environment(),
    }
    report: Report | None = None
    with Progress(sum(frames.values()), stage="evaluate", quiet=quiet) as progress:
        here = partial(judge.report, on_progress=progress.advance)
        work = here if scheduler is None else partial(_report_of, task=task)
        made = cluster.results(work, list(frames), scheduler, progress.note, name=str)
        with closing(made):
            for simulation, each in made:
                if scheduler is not None:
                    progress.advance(simulation, frames[simulation])
                if report is None:
                    report = replace(each, about=about)
                else:
                    report.merge(each)
    assert report is not None
    evaluation.write(report, folder)
    return report


@dataclass(frozen=True)
class _Task:
    """What is judged, by what; plain values, so that it travels to any worker."""

    models: tuple[str, ...]
    data: Path | Remote
    split: str
    device: str
    stride: int
    metrics: tuple[str, ...]


class _Judge:
    """The methods, loaded, and the simulations of a task, by name. Raises as `evaluate` does."""

    def __init__(self, task: _Task) -> None:
        from fluidsr import dataset, evaluation, upscaling
        from fluidsr.models.carry import carry_model

        self._stride = task.stride
        self._added = [evaluation.METRICS.resolve(reference)() for reference in task.metrics]
        self.store = dataset.open_source(task.data)
        upscalers = {}
        for model in task.models:
            upscaler = upscaling.load(model, device=task.device)
            card = upscaler.card
            if (card.dim, card.factor) != (self.store.dim, self.store.factor):
                problem = (
                    f"upsamples {card.dim}-D smoke {card.factor}x, and {task.data} is {self.store.dim}-D, "
                    f"{self.store.factor}x"
                )
                raise ModelError(model, problem, "choose a model and a dataset that fit")
            if card.name in upscalers:
                raise ModelError(model, f"is called '{card.name}', as another one", "give one of each name")
            upscalers[card.name] = upscaler
        self.name, *others = upscalers
        judged = upscalers[self.name]
        dim, factor = judged.card.dim, judged.card.factor
        carry = upscaling.Upscaler(carry_model(dim, factor, _CARRIED), device=task.device)
        self._upsample = judged.upsample
        beside = {name: upscalers[name].upsample for name in others}
        self._beside = {**evaluation.baselines(factor), "carry": carry.upsample, **beside}
        self._past = max(each.past for each in (carry, *upscalers.values()))
        self.checksums = {name: each.card.sha256 for name, each in upscalers.items()}
        self.simulations = {simulation.name: simulation for simulation in self.store.simulations(task.split)}

    def report(self, simulation: str, on_progress: Callable[[str, int], None] | None = None) -> Report:
        """The report on one simulation."""
        from fluidsr import evaluation

        pairs = evaluation.pairs_of([self.simulations[simulation]], self._stride, self._past)
        return evaluation.evaluate(
            self._upsample,
            self._beside,
            pairs,
            name=self.name,
            added=self._added,
            on_progress=on_progress,
        )


def _report_of(simulation: str, task: _Task) -> Report:
    """On a worker: the report on one simulation."""
    return _Judge(task).report(simulation)
