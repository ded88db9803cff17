"""The methods that an evaluation compares: trained models, interpolation, carried smoke and wavelet turbulence."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluidsr.choices import PairKind
from fluidsr.errors import ModelError
from fluidsr.frame import Frame
from fluidsr.pipeline.upscale_methods import turbulence_of
from fluidsr.scenes.upscale import WaveletUpscale

if TYPE_CHECKING:
    from fluidsr.evaluation import Metric, Recording, Report, Run
    from fluidsr.upscaling import Upscaler

_MOST_RENDERED = 72  # frames of a simulation
_CARRIED = 4  # frames ago: as `upscale: {method: carry}` has it


@dataclass(frozen=True)
class EvaluatedMethods:
    """The methods of an evaluation.

    Attributes:
        name: of the evaluated model.
        functions: methods that upsample a frame with its history.
        runs: methods that follow a simulation from its first frame: wavelet turbulence if the dataset has scenes, and
            generators that read their own last fine frame.
        multiply_adds: per fine voxel, of the methods for which they are known.
        past: number of earlier frames that the methods read at most.
    """

    name: str
    functions: Mapping[str, Callable[..., Frame]]
    runs: Mapping[str, Callable[[Any, Frame], Run]]
    multiply_adds: Mapping[str, float]
    past: int

    @classmethod
    def of(
        cls, upscalers: Mapping[str, Upscaler], dim: int, factor: int, device: str, *, wavelet: bool
    ) -> EvaluatedMethods:
        """The methods to compare.

        Args:
            upscalers: the models by name; the first is evaluated.
            dim: of the simulations.
            factor: fine cells along a coarse one.
            device: torch device of carried smoke and wavelet turbulence.
            wavelet: compare with wavelet turbulence, too; the simulations then need their scenes.
        """
        from fluidsr import evaluation, upscaling
        from fluidsr.models.carry import carry_model

        carry = upscaling.Upscaler(carry_model(dim, factor, _CARRIED), device=device)
        name, *others = upscalers
        loaded = {"carry": carry, **{key: upscalers[key] for key in (*others, name)}}
        operations = evaluation.multiply_adds(dim, factor)
        operations |= {key: upscaler.card.multiply_adds for key, upscaler in loaded.items()}

        def start(simulation: Any, first: Frame) -> WaveletRun:
            return WaveletRun(simulation.scene, first, factor, device)

        recurrent = {key: upscaler for key, upscaler in loaded.items() if upscaler.reads_previous}
        single = {key: upscaler for key, upscaler in loaded.items() if key not in recurrent}
        functions = {key: partial(_upsampled, upscaler) for key, upscaler in single.items()}
        past = max(upscaler.past for upscaler in single.values())
        runs: dict[str, Callable[[Any, Frame], Run]] = {"wavelet": start} if wavelet else {}
        runs |= {key: partial(RecurrentRun.start, upscaler) for key, upscaler in recurrent.items()}
        return cls(name, {**evaluation.baselines(factor), **functions}, runs, operations, past)

    @property
    def order(self) -> tuple[str, ...]:
        """All names, in the order of the report."""
        return (*(name for name in (*self.functions, *self.runs) if name != self.name), self.name)

    def evaluate(
        self,
        recordings: Sequence[Recording],
        kind: PairKind,
        stride: int,
        *,
        first: float,
        about: Mapping[str, Any],
        added: Sequence[Metric] = (),
        on_progress: Callable[[str, int], None] | None = None,
    ) -> Report:
        """The report on some recordings.

        Args:
            recordings: the simulations.
            kind: of their pairs.
            stride: evaluate every `stride`-th frame.
            first: share of the frames of a simulation, from 0 to 1, that are left out at its beginning.
            about: further entries of the report.
            added: metrics of other packages.
            on_progress: called as `on_progress(message, frames)` after each pair.
        """
        from fluidsr import evaluation

        return evaluation.evaluate(
            self.functions.get(self.name),
            {name: function for name, function in self.functions.items() if name != self.name},
            evaluation.pairs_of(recordings, stride, self.past, first=first, runs=self.runs),
            name=self.name,
            kind=kind,
            about=about,
            added=added,
            runs=tuple(self.runs),
            multiply_adds=self.multiply_adds,
            on_progress=on_progress,
        )

    def frames_of(self, recording: Recording, first: float) -> Iterator[Mapping[str, Frame]]:
        """Yield the coarse frame, the frames of all methods and the reference, by name, for at most `_MOST_RENDERED`
        frames of a simulation. The share `first` of its frames is skipped."""
        from fluidsr import evaluation

        pairs = evaluation.pairs_of([recording], 1, self.past, first=first, runs=self.runs)
        for pair in islice(pairs, _MOST_RENDERED):
            made = {name: evaluation.made_of(pair, name, self.functions.get(name))[0] for name in self.order}
            yield {"coarse": pair.coarse, **made, evaluation.REFERENCE: pair.fine}


def load_models(
    models: Sequence[str | Path], dim: int, factor: int, data: str, device: str
) -> dict[str, Upscaler]:
    """Load models, by the names on their cards. Raises ModelError if one does not fit `data`, or two have one name.

    `dim` and `factor` are those of `data`, the dataset's name in errors.
    """
    from fluidsr import upscaling

    upscalers: dict[str, Upscaler] = {}
    for model in map(str, models):
        upscaler = upscaling.load(model, device=device)
        card = upscaler.card
        if (card.dim, card.factor) != (dim, factor):
            raise ModelError(
                model,
                f"upsamples {card.dim}-D smoke {card.factor}x, but {data} has {dim}-D pairs of factor {factor}",
                "choose a model and a dataset that match",
            )
        if card.name in upscalers:
            raise ModelError(
                model,
                f"has the same name as another model, '{card.name}'",
                "give models with different names",
            )
        upscalers[card.name] = upscaler
    return upscalers


def _upsampled(upscaler: Upscaler, frame: Frame, *, history: Sequence[Frame] = (), **options: Any) -> Frame:
    """Upsample density and velocity only, because other fields are not compared."""
    fields = () if frame.velocity is None else ("velocity",)
    return upscaler.upsample(frame, history=history, fields=fields, **options)


class RecurrentRun:
    """The run of a generator that reads its own last fine frame: every frame from `first` on is made, in order."""

    def __init__(self, upscaler: Upscaler, first: Frame) -> None:
        self._upscaler, self._fine = upscaler, _upsampled(upscaler, first)
        self._past: deque[Frame] = deque([first], maxlen=upscaler.past)

    @classmethod
    def start(cls, upscaler: Upscaler, simulation: object, first: Frame) -> RecurrentRun:
        """Begin at the coarse frame `first`. The simulation is not used; the signature is that of `runs`."""
        return cls(upscaler, first)

    def advance(self, coarse: Frame) -> None:
        """Make the next frame."""
        self._fine = _upsampled(self._upscaler, coarse, history=tuple(self._past), previous=self._fine)
        self._past.append(coarse)

    def frame(self, coarse: Frame) -> Frame:
        """The fine frame that was made last, with the velocity."""
        return self._fine


class WaveletRun:
    """Wavelet turbulence that follows recorded coarse frames of `scene`, from `first` on.

    A solver is set to each frame, because the turbulence takes the solids from it.
    """

    def __init__(self, scene: Any, first: Frame, factor: int, device: str) -> None:
        from fluidsr.scenes.build import build

        self._scene, self._solver = scene, build(scene, device)
        self._set(first)
        settings = WaveletUpscale(method="wavelet", factor=factor)
        self._turbulence = turbulence_of(self._solver, scene, first, settings)

    def advance(self, coarse: Frame) -> None:
        """Advance to the next coarse frame."""
        if self._scene.obstacles:
            self._set(coarse)
        self._turbulence.advance(coarse)

    def frame(self, coarse: Frame) -> Frame:
        """The fine frame, with the velocity of flow and eddies."""
        return self._turbulence.frame(coarse, ("velocity",))

    def _set(self, coarse: Frame) -> None:
        fields = coarse.torch(self._solver.device)
        state = (fields.density, fields.velocity, fields.temperature)
        self._solver.start_from(*state, self._scene.frame_seconds, coarse.time)
