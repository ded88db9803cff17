"""The evaluation of one simulation, in this process or on a worker of a cluster."""

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
    """The options of `evaluate`. Plain values, so that they can be sent to any worker.

    `run` is unique to this evaluation, so that workers do not reuse the cached inputs of an earlier one.
    """

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
        """The same settings for workers, which may have another working directory. Raises InputError for data that they
        cannot read, ModelError for missing models."""
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
    """The opened dataset and the loaded models of an evaluation.

    Raises InputError for a split without simulations, DatasetError if the pairs cannot be made from the dataset,
    ModelError if model and data do not fit.
    """

    def __init__(self, settings: EvaluationSettings) -> None:
        from fluidsr import dataset, evaluation

        self._settings, device = settings, settings.device
        self.added = [evaluation.METRICS.resolve(reference)() for reference in settings.metrics]
        self.store = dataset.open_source(settings.data)
        dim, factor = self.store.dim, self.store.factor
        upscalers = load_models(settings.models, dim, factor, settings.data, device)
        self.models = {name: upscaler.card.sha256 for name, upscaler in upscalers.items()}
        self._simulations = _simulations(self.store, settings.split)
        self.has_runs = bool(RUNS & set(settings.pairs))
        self.corrector = closure_for(settings.closure, dim, factor, device) if self.has_runs else None
        self.drawn_on = device if device in ("cpu", "cuda:0") else "cpu"  # where Taichi can run
        recordings = [recording for kind in settings.pairs for recording in self.recordings(kind)]
        wavelet = self.drawn_on == device and all(hasattr(recording, "scene") for recording in recordings)
        self.methods = EvaluatedMethods.of(upscalers, dim, factor, device, wavelet=wavelet)
        self.perceptual, self.missing = evaluation.lpips_distance() if settings.render else (None, "")

    def recordings(self, kind: PairKind) -> Sequence[Recording]:
        """All simulations with pairs of one kind. Coarse frames are not computed yet."""
        return sides(self._simulations, kind, self.corrector, self._settings.device)

    def recording(self, kind: PairKind, index: int) -> Recording:
        """The simulation `index` of `recordings`, which caches its computed frames."""
        return sides(self._simulations[index : index + 1], kind, self.corrector, self._settings.device)[0]


@lru_cache(maxsize=1)
def inputs_of(settings: EvaluationSettings) -> EvaluationInputs:
    """The inputs, cached for the next simulation of the evaluation. `inputs_of.cache_clear()` frees them."""
    return EvaluationInputs(settings)


@dataclass(frozen=True)
class EvaluationJob:
    """A simulation to evaluate or render, with pairs of one kind. Plain values, so that it can be sent to any worker.

    Attributes:
        kind: of the pairs.
        index: of the simulation in its split.
        name: of the simulation.
        frames: number of frames to evaluate.
        evaluated: whether to evaluate it.
        render: whether to render it.
    """

    kind: PairKind
    index: int
    name: str
    frames: int
    evaluated: bool = True
    render: bool = False


@dataclass(frozen=True)
class SimulationResult:
    """The result of a job: its report and renderings, each None if not requested."""

    report: Report | None
    rendered: Rendered | None


def evaluate_simulation(
    job: EvaluationJob,
    settings: EvaluationSettings,
    on_progress: Callable[[str, int], None] | None = None,
) -> SimulationResult | SolverError:
    """Evaluate and render a simulation. Returns the error, instead of a result, if its coarse run diverges.

    `on_progress(message, frames)` is called after each evaluated frame.
    """
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
    """The simulations of a split, or of all for `all`. Raises InputError if there are none."""
    simulations = store.simulations(None if split == "all" else split)
    if not simulations:
        raise InputError(
            str(store), f"has no simulations in the split '{split}'", "choose another `split`, or all"
        )
    return simulations


def closure_for(name: str, dim: int, factor: int, device: str) -> ClosureModel | None:
    """The corrector of coarse runs: a name, a path, `none`, or `auto` for the shipped one that fits; None if there is
    none. Raises ModelError for a missing model."""
    from fluidsr import models

    if name == AUTOMATIC:
        name = f"closure{dim}d-x{factor}"
        name = name if name in models.shipped_closures() else NONE
    return None if name == NONE else models.load_closure(name, device)


def sides(
    simulations: Sequence[PairedSimulation], kind: PairKind, closure: ClosureModel | None, device: str
) -> Sequence[Recording]:
    """The simulations with coarse frames of one kind.

    Simulations of other packages, which only have recorded frames, are returned unchanged. Raises DatasetError if the
    coarse frames cannot be made.
    """
    from fluidsr.dataset import CoarseSide, Simulation

    if kind == "recorded" and not all(isinstance(simulation, Simulation) for simulation in simulations):
        return simulations
    return [CoarseSide.of(simulation, kind, closure, device) for simulation in simulations]


def divergence_of(recording: Recording) -> SolverError | None:
    """Compute the coarse run of `recording` to its end. Returns the error if it diverges, otherwise None."""
    try:
        recording.coarse(recording.frames - 1)
    except SolverError as error:
        return error
    return None


def judged_frames(recording: Recording, kind: PairKind, stride: int) -> int:
    """The number of frames of a simulation that are evaluated."""
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
    """Render consecutive frames of a simulation by all methods.

    Args:
        recording: the simulation.
        methods: the methods to compare.
        first: share of the frames, from 0 to 1, that are left out at the beginning.
        device: to render on.
        perceptual: the LPIPS distance of two pictures; None: not measured.
    """
    from fluidsr import evaluation

    render = partial(picture, device=device)
    frames = methods.frames_of(recording, first)
    return evaluation.rendered(recording.name, frames, evaluation.REFERENCE, render, perceptual)


def picture(frame: Frame, edge: int = _PICTURE, device: str = "cpu") -> np.ndarray:
    """Render a frame with the default camera, `edge` pixels along the longer side."""
    from fluidsr import preview

    width, height = preview.picture_size(frame)
    scale = edge / max(width, height)
    width, height = (max(2, round(scale * n)) for n in (width, height))
    return preview.render(frame, width=width, height=height, device=device)
