"""The evaluation of one simulation, here or on a worker of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np

from fluidsr.choices import PairKind
from fluidsr.errors import InputError, SolverError
from fluidsr.pipeline.evaluated_methods import EvaluatedMethods, load_models
from fluidsr.scenes.corrector import AUTOMATIC, NONE

if TYPE_CHECKING:
    from fluidsr.dataset import DataSource, PairedSimulation, Store
    from fluidsr.evaluation import Recording, Rendered, Report
    from fluidsr.frame import Frame
    from fluidsr.models import ClosureModel

RUNS = {"coupled", "free"}  # kinds of pairs that are coarse runs
WARM_UP = 1 / 3  # share of the frames of recomputed pairs that pass before the first one counts
_PICTURE = 270  # pixels along the longer side of a rendering


@dataclass(frozen=True)
class EvaluationSettings:
    """See `evaluate`: plain values, so that they travel to any worker. `run` is of this evaluation alone: a worker that
    has done an earlier one takes nothing of it."""

    models: tuple[str, ...]
    data: str
    split: str
    pairs: tuple[PairKind, ...]
    closure: str
    device: str
    stride: int
    render: bool
    metrics: tuple[str, ...]
    run: str = field(default_factory=lambda: uuid4().hex)

    def anywhere(self) -> EvaluationSettings:
        """The same for workers, which may work in another folder. Raises InputError for data that they cannot see,
        ModelError for models that are missing."""
        from fluidsr import models
        from fluidsr.dataset.addresses import Remote, absolute, locate

        data = absolute(locate(self.data))
        if isinstance(data, Remote) and data.private:
            raise InputError(str(data), "exists in one process only", "leave `scheduler` out")
        is_file = self.closure not in (AUTOMATIC, NONE)
        return replace(
            self,
            models=tuple(map(models.portable_name, self.models)),
            data=str(data),
            closure=models.portable_name(self.closure) if is_file else self.closure,
        )


class EvaluationInputs:
    """The data and the models of an evaluation, opened.

    Raises InputError for a split without simulations, DatasetError where other than recorded pairs cannot be made,
    ModelError where model and data do not fit.
    """

    def __init__(self, settings: EvaluationSettings) -> None:
        from fluidsr import dataset, evaluation

        self._settings, device = settings, settings.device
        self.added = [evaluation.METRICS.resolve(reference)() for reference in settings.metrics]
        self.store = dataset.open_source(settings.data)
        dim, factor = self.store.dim, self.store.factor
        upscalers = load_models(settings.models, dim, factor, settings.data, device)
        self.models = {name: each.card.sha256 for name, each in upscalers.items()}
        self._simulations = _simulations(self.store, settings.split)
        self.has_runs = bool(RUNS & set(settings.pairs))
        self.corrector = closure_for(settings.closure, dim, factor, device) if self.has_runs else None
        self.drawn_on = device if device in ("cpu", "cuda:0") else "cpu"  # where Taichi can run
        everything = [each for kind in settings.pairs for each in self.recordings(kind)]
        wavelet = self.drawn_on == device and all(hasattr(each, "scene") for each in everything)
        self.methods = EvaluatedMethods.of(upscalers, dim, factor, device, wavelet=wavelet)
        self.perceptual, self.missing = evaluation.lpips_distance() if settings.render else (None, "")

    def recordings(self, kind: PairKind) -> Sequence[Recording]:
        """All simulations with pairs of that kind; nothing is computed yet."""
        return sides(self._simulations, kind, self.corrector, self._settings.device)

    def recording(self, kind: PairKind, index: int) -> Recording:
        """One of them, which keeps what it has computed."""
        return sides(self._simulations[index : index + 1], kind, self.corrector, self._settings.device)[0]


@lru_cache(maxsize=1)
def inputs_of(settings: EvaluationSettings) -> EvaluationInputs:
    """The inputs, kept for the next simulation of this evaluation; `inputs_of.cache_clear()` forgets them."""
    return EvaluationInputs(settings)


@dataclass(frozen=True)
class EvaluationJob:
    """A simulation that is to be evaluated, `frames` of it, and rendered, with pairs of one kind: plain values, as the
    settings."""

    kind: PairKind
    index: int
    name: str
    frames: int
    evaluated: bool = True
    render: bool = False


@dataclass(frozen=True)
class SimulationResult:
    """The result of a job."""

    report: Report | None
    rendered: Rendered | None


def evaluate_simulation(
    job: EvaluationJob,
    settings: EvaluationSettings,
    on_progress: Callable[[str, int], None] | None = None,
) -> SimulationResult | SolverError:
    """Judge and render a simulation; the error of a coarse run that diverges. `on_progress(message, frames)` is called
    after each frame that is evaluated."""
    inputs = inputs_of(settings)
    recording = inputs.recording(job.kind, job.index)
    failure = divergence_of(recording)
    if failure is not None:
        return failure
    first = 0.0 if job.kind == "recorded" else WARM_UP
    report, pictures = None, None
    if job.evaluated:
        report = inputs.methods.evaluate(
            [recording],
            job.kind,
            settings.stride,
            first=first,
            about={},
            added=inputs.added,
            on_progress=on_progress,
        )
    if job.render:
        pictures = rendered(recording, inputs.methods, first, inputs.drawn_on, inputs.perceptual)
    return SimulationResult(report, pictures)


def _simulations(store: Store | DataSource, split: str) -> Sequence[PairedSimulation]:
    """Those of the split, or `all`. Raises InputError where there are none."""
    simulations = store.simulations(None if split == "all" else split)
    if not simulations:
        raise InputError(
            str(store), f"has no simulations in the split '{split}'", "choose another `split`, or all"
        )
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


def divergence_of(recording: Recording) -> SolverError | None:
    """The error of a coarse run that diverges; None of one that goes through, which is computed then."""
    try:
        recording.coarse(recording.frames - 1)
    except SolverError as error:
        return error
    return None


def judged_frames(recording: Recording, kind: PairKind, stride: int) -> int:
    """The number of its frames that are evaluated."""
    from fluidsr.evaluation import is_evaluated

    beginning = 0 if kind == "recorded" else int(WARM_UP * recording.frames)
    return sum(is_evaluated(index, beginning, stride) for index in range(recording.frames))


def rendered(
    recording: Recording,
    methods: EvaluatedMethods,
    first: float,
    device: str = "cpu",
    perceptual: Callable[[np.ndarray, np.ndarray], float] | None = None,
) -> Rendered:
    """Renderings of consecutive frames, from the share `first` of them on, with LPIPS by `perceptual`."""
    from fluidsr import evaluation

    render = partial(picture, device=device)
    frames = methods.frames_of(recording, first)
    return evaluation.rendered(recording.name, frames, evaluation.REFERENCE, render, perceptual)


def picture(frame: Frame, edge: int = _PICTURE, device: str = "cpu") -> np.ndarray:
    """The rendering of a frame under the camera that previews have, `edge` pixels along its longer side."""
    from fluidsr import preview

    width, height = preview.picture_size(frame)
    scale = edge / max(width, height)
    width, height = (max(2, round(scale * n)) for n in (width, height))
    return preview.render(frame, width=width, height=height, device=device)
