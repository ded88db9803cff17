"""`fluidsr evaluate`: models against held-out simulations, with the baselines beside them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fluidsr import cluster
from fluidsr import device as devices
from fluidsr.choices import PairKind
from fluidsr.errors import InputError, SolverError
from fluidsr.pipeline import provenance
from fluidsr.pipeline.evaluation_job import (
    EvaluationInputs,
    EvaluationJob,
    EvaluationSettings,
    SimulationResult,
    evaluate_simulation,
    inputs_of,
    judged_frames,
)
from fluidsr.pipeline.progress import Progress
from fluidsr.scenes.corrector import AUTOMATIC, NONE

if TYPE_CHECKING:
    from fluidsr.evaluation import Report


def report_folder(output: Path | None, model: str) -> Path:
    """The folder of the report on `model`: `output`, or else `runs/evaluate_NAME`. Raises ModelError for no model."""
    from fluidsr import models

    return output or Path("runs") / f"evaluate_{models.read_card(model).name}"


def evaluate(
    models: Sequence[str],
    data: str | Path,
    output: Path | None,
    *,
    split: str = "test",
    pairs: Sequence[PairKind] = ("recorded",),
    closure: str = AUTOMATIC,
    device: str = "auto",
    stride: int = 1,
    pictures: int = 1,
    metrics: Sequence[str] = (),
    scheduler: str | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> Report:
    """Evaluate a model on held-out simulations and compare it with other methods: further models, interpolation,
    carried smoke, and wavelet turbulence if the simulations contain their scenes.

    Args:
        models: names or paths; the first one is evaluated, the others are compared with it.
        data: the dataset.
        output: folder of the report; `runs/evaluate_MODEL` by default.
        split: of the dataset, or `all`.
        pairs: kinds of pairs (see `dataset.CoarseSide`). There is a report for each kind; the first contains the
            others.
        closure: corrector of coarse runs: a name, a path, `none`, or `auto` for the shipped one that fits.
        device: torch device.
        stride: evaluate every `stride`-th frame.
        pictures: number of simulations of each kind that are rendered.
        metrics: metrics of other packages, by name or as `module:Class`.
        scheduler: address of a dask scheduler whose workers evaluate the simulations; None: this process does. The
            report is the same except for the seconds.
        overwrite: replace a report in the folder.
        quiet: show no progress.

    On return the folder holds `report.json`, plots, movies and `index.html`. Raises InputError for a split without
    simulations, for a folder with another report (unless `overwrite`), and for data that workers cannot read;
    DatasetError if the pairs cannot be made from the dataset; ModelError if model and data do not fit; SolverError if
    all coarse runs of a kind diverge.
    """
    from fluidsr import evaluation

    settings = EvaluationSettings(
        models=tuple(models),
        data=str(data),
        split=split,
        pairs=tuple(dict.fromkeys(pairs)),
        closure=closure,
        device=devices.resolve(device),
        stride=stride,
        render=pictures > 0,
        metrics=tuple(metrics),
    )
    if scheduler is not None:
        settings = settings.anywhere()
    try:
        inputs = inputs_of(settings)
        folder = report_folder(output, settings.models[0])
        if (folder / "report.json").exists() and not overwrite:
            raise InputError(str(folder), "already holds a report", "use `overwrite`, or another `output`")
        _check_writable(folder)
        about = _about(inputs, settings)
        reports: list[Report] = []
        for kind in settings.pairs:
            jobs = [
                EvaluationJob(kind, n, item.name, judged_frames(item, kind, stride), render=n < pictures)
                for n, item in enumerate(inputs.recordings(kind))
            ]
            total = sum(job.frames for job in jobs)
            with Progress(total, stage=f"evaluate {kind}", quiet=quiet) as progress:
                if inputs.missing and not reports:
                    progress.note(f"LPIPS is not measured: {inputs.missing}")
                report = _report(jobs, pictures, settings, scheduler, progress)
            reports.append(replace(report, about=about))
    finally:
        inputs_of.cache_clear()
    report = replace(reports[0], others={item.kind: item for item in reports[1:]})
    evaluation.write(report, folder, write_movie)
    return report


def _about(inputs: EvaluationInputs, settings: EvaluationSettings) -> dict[str, Any]:
    """The models, the data and the environment, for the report."""
    about = {
        "models": inputs.models,
        "data": {"name": inputs.store.path.name, "split": settings.split, "stride": settings.stride},
    }
    if inputs.has_runs:
        about["closure"] = inputs.corrector.card.name if inputs.corrector else NONE
    return {**about, "environment": provenance.environment()}


def _check_writable(folder: Path) -> None:
    """Create the folder. Raises InputError if it cannot be written, before any work is done."""
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    if not (place.is_dir() and os.access(place, os.W_OK)):
        problem = f"cannot be written: {place} is not a writable folder"
        raise InputError(str(folder), problem, "give a writable folder as `output`")


def _report(
    jobs: Sequence[EvaluationJob],
    pictures: int,
    settings: EvaluationSettings,
    scheduler: str | None,
    progress: Progress,
) -> Report:
    """The report on all simulations whose coarse run does not diverge; the first `pictures` of these are rendered.

    Raises SolverError if all diverge.
    """
    results = _results(jobs, settings, scheduler, progress)
    missing = pictures - sum(job.render for job in results)  # rendered instead of those that diverged
    more = [replace(job, evaluated=False, render=True) for job in results if not job.render][:missing]
    if more:
        results |= _results(more, settings, scheduler, progress)
    report, *others = [result.report for result in results.values() if result.report is not None]
    for further in others:
        report.extend(further)
    report.rendered = [result.rendered for result in results.values() if result.rendered is not None]
    return report


def _results(
    jobs: Sequence[EvaluationJob], settings: EvaluationSettings, scheduler: str | None, progress: Progress
) -> dict[EvaluationJob, SimulationResult]:
    """The results of the jobs, in order. Simulations whose coarse run diverges are reported and left out.

    Raises SolverError if all diverge.
    """
    on_progress = progress.advance if scheduler is None else None
    work = partial(evaluate_simulation, settings=settings, on_progress=on_progress)
    results: dict[EvaluationJob, SimulationResult] = {}
    failure: SolverError | None = None
    with closing(cluster.results(work, jobs, scheduler, progress.note, name=lambda job: job.name)) as made:
        for job, result in made:
            if isinstance(result, SolverError):
                failure = result
                progress.note(f"{job.name} is left out: {result}")
                continue
            results[job] = result
            if scheduler is not None and job.evaluated:
                progress.advance(job.name, job.frames)
    if failure is not None and not results:
        raise failure
    return results


def write_movie(path: Path, pictures: Sequence[np.ndarray], fps: float) -> None:
    """Write pictures of one size as an MP4."""
    from fluidsr import preview

    with preview.MovieWriter(path, fps) as movie:
        for picture in pictures:
            movie.add(picture)
