"""`fluidsr evaluate`: models against held-out simulations, with the baselines beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fluidsr import device as devices
from fluidsr.choices import PairKind
from fluidsr.errors import InputError, SolverError
from fluidsr.pipeline import provenance
from fluidsr.pipeline.evaluated_methods import EvaluatedMethods, load_models
from fluidsr.pipeline.progress import Progress
from fluidsr.scenes.corrector import AUTOMATIC, NONE

if TYPE_CHECKING:
    from fluidsr.dataset import DataSource, PairedSimulation, Store
    from fluidsr.evaluation import Recording, Rendered, Report
    from fluidsr.frame import Frame
    from fluidsr.models import ClosureModel

RUNS = {"coupled", "free"}  # kinds of pairs that are coarse runs
WARM_UP = 1 / 3  # share of the frames of pairs that are made anew, before the first is judged
_PICTURE = 270  # pixels along the longer side of a rendering


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
    overwrite: bool = False,
    quiet: bool = False,
) -> Report:
    """Judge the first of `models` on every `stride`-th frame of a split (or of `all`), beside the others,
    interpolation, carried smoke, and wavelet turbulence where the simulations hold their scenes.

    Of each kind of `pairs` (`dataset.CoarseSide`) there is one report, the first with the others in it. `closure`
    corrects coarse runs: a name, a path, none, or `auto`, the shipped one of that dimension and factor. `pictures`
    simulations of each kind are rendered, too. `metrics` of other packages, by name or as `module:Class`, are measured.

    On return the folder (`runs/evaluate_MODEL` unless given) holds `report.json`, plots, movies and `index.html`.
    Raises InputError for a split without simulations and for a folder with another report unless
    `overwrite`, DatasetError where other than recorded pairs cannot be made, ModelError where model and data do not
    fit.
    """
    from fluidsr import dataset, evaluation

    added = [evaluation.METRICS.resolve(reference)() for reference in metrics]
    device = devices.resolve(device)
    store = dataset.open_source(data)
    upscalers = load_models(models, store.dim, store.factor, str(data), device)
    folder = output or Path("runs") / f"evaluate_{next(iter(upscalers))}"
    if (folder / "report.json").exists() and not overwrite:
        raise InputError(str(folder), "holds a report", "use `overwrite`, or another `output`")
    simulations = _simulations(store, split)
    corrector = closure_for(closure, store.dim, store.factor, device) if set(pairs) & RUNS else None
    kinds = {kind: sides(simulations, kind, corrector, device) for kind in dict.fromkeys(pairs)}
    drawn_on = device if device in ("cpu", "cuda:0") else "cpu"  # where Taichi can run
    wavelet = drawn_on == device and all(hasattr(s, "scene") for each in kinds.values() for s in each)
    methods = EvaluatedMethods.of(upscalers, store.dim, store.factor, device, wavelet=wavelet)
    about = {
        "models": {name: each.card.sha256 for name, each in upscalers.items()},
        "data": {"name": store.path.name, "split": split, "stride": stride},
        **({"closure": corrector.card.name if corrector else NONE} if set(pairs) & RUNS else {}),
        "environment": provenance.environment(),
    }
    perceptual, missing = evaluation.lpips_distance() if pictures else (None, "")
    reports: list[Report] = []
    for kind, recordings in kinds.items():
        total = sum(_count(each, kind, stride) for each in recordings)
        with Progress(total, stage=f"evaluate {kind}", quiet=quiet) as progress:
            sound = finished(recordings, progress)
            first = 0.0 if kind == "recorded" else WARM_UP
            report = methods.judge(
                sound, kind, stride, first=first, about=about, added=added, on_progress=progress.advance
            )
            report.rendered = rendered(sound[:pictures], methods, first, drawn_on, perceptual)
            if missing and not reports:
                progress.note(f"LPIPS is not measured: {missing}")
            reports.append(report)
    report = replace(reports[0], others={each.kind: each for each in reports[1:]})
    evaluation.write(report, folder, write_movie)
    return report


def _simulations(store: Store | DataSource, split: str) -> Sequence[PairedSimulation]:
    """Those of the split, or `all`. Raises InputError where there are none."""
    simulations = store.simulations(None if split == "all" else split)
    if not simulations:
        raise InputError(str(store), f"has no simulations in the split '{split}'", "choose another `split`")
    return simulations


def closure_for(name: str, dim: int, factor: int, device: str) -> ClosureModel | None:
    """The corrector of coarse runs that `name` means. Raises ModelError for one that is missing."""
    from fluidsr import models

    if name == AUTOMATIC:
        name = f"closure{dim}d-x{factor}"
        name = name if name in models.shipped_closures() else NONE
    return None if name == NONE else models.load_closure(name, device)


def sides(
    simulations: Sequence[PairedSimulation], kind: PairKind, closure: ClosureModel | None, device: str
) -> Sequence[Recording]:
    """The simulations with coarse frames of that kind; those of other packages, which have recorded ones alone, as they
    are. Raises DatasetError where there is no making them."""
    from fluidsr.dataset import CoarseSide, Simulation

    if kind == "recorded" and not all(isinstance(each, Simulation) for each in simulations):
        return simulations
    return [CoarseSide.of(each, kind, closure, device) for each in simulations]


def finished(recordings: Sequence[Recording], progress: Progress) -> list[Recording]:
    """Those whose coarse run does not diverge; the others are told. Raises SolverError where none is left."""
    sound: list[Recording] = []
    failure: SolverError | None = None
    for each in recordings:
        try:
            each.coarse(each.frames - 1)
            sound.append(each)
        except SolverError as error:
            failure = error
            progress.note(f"{each.name} is left out: {error}")
    if failure is not None and not sound:
        raise failure
    return sound


def _count(recording: Recording, kind: PairKind, stride: int) -> int:
    """How many frames of it are judged."""
    from fluidsr.evaluation import judged

    beginning = 0 if kind == "recorded" else int(WARM_UP * recording.frames)
    return sum(judged(index, beginning, stride) for index in range(recording.frames))


def rendered(
    recordings: Sequence[Recording],
    methods: EvaluatedMethods,
    first: float,
    device: str = "cpu",
    perceptual: Callable[[np.ndarray, np.ndarray], float] | None = None,
) -> list[Rendered]:
    """Renderings of consecutive frames of each, from the share `first` of them on, with LPIPS by `perceptual`."""
    from fluidsr import evaluation

    render = partial(picture, device=device)
    return [
        evaluation.rendered(
            each.name, methods.frames_of(each, first), evaluation.REFERENCE, render, perceptual
        )
        for each in recordings
    ]


def picture(frame: Frame, edge: int = _PICTURE, device: str = "cpu") -> np.ndarray:
    """The rendering of a frame under the camera that previews have, `edge` pixels along its longer side."""
    from fluidsr import preview

    width, height = preview.picture_size(frame)
    scale = edge / max(width, height)
    width, height = (max(2, round(scale * n)) for n in (width, height))
    return preview.render(frame, width=width, height=height, device=device)


def write_movie(path: Path, pictures: Sequence[np.ndarray], fps: float) -> None:
    """Write pictures of one size as an MP4."""
    from fluidsr import preview

    with preview.MovieWriter(path, fps) as movie:
        for each in pictures:
            movie.add(each)
