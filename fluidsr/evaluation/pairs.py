"""Pairs: the frames that an evaluation compares, one at a time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from fluidsr.errors import InputError
from fluidsr.frame import Frame


class Method(Protocol):
    """Upsamples a frame; `history` holds the frames before it, the last one last; `fine_solid` (`Upscaler.upsample`) is
    given where a scene's solids are known."""

    def __call__(self, frame: Frame, *, history: Sequence[Frame], fine_solid: Any = None) -> Frame: ...


class Run(Protocol):
    """A method that follows the coarse frames of a simulation in order, as wavelet turbulence does."""

    def advance(self, coarse: Frame) -> None:
        """Advance to the next coarse frame."""

    def frame(self, coarse: Frame) -> Frame:
        """The fine frame of the coarse frame that it has reached."""


class Recording(Protocol):
    """What an evaluation needs of a simulation, such as a `dataset.Simulation` or a `dataset.CoarseSide`; one that
    knows its solids on the fine grid has `fine_solid(index)`, too."""

    name: str
    frames: int

    def coarse(self, index: int) -> Frame: ...
    def fine(self, index: int) -> Frame: ...


# Of a simulation and its first coarse frame.
StartRun = Callable[[Any, Frame], Run]


@dataclass(frozen=True)
class Pair:
    """A coarse frame, its fine reference, their simulation and index, the coarse frames before (`past`), the runs of
    methods that have reached this frame (`made`), and the solids on the fine grid, where they are known."""

    simulation: str
    index: int
    coarse: Frame
    fine: Frame
    past: tuple[Frame, ...] = ()
    made: Mapping[str, TimedRun] = field(default_factory=dict)
    fine_solid: Any = None


class TimedRun:
    """A run, with the seconds that it takes per frame."""

    def __init__(self, run: Run) -> None:
        self._run, self._seconds, self._frames = run, 0.0, 0

    def advance(self, coarse: Frame) -> None:
        """As `Run.advance`."""
        started = time.perf_counter()
        self._run.advance(coarse)
        self._seconds += time.perf_counter() - started
        self._frames += 1

    def frame(self, coarse: Frame) -> Frame:
        """As `Run.frame`."""
        return self._run.frame(coarse)

    def spent(self) -> float:
        """Mean seconds of the frames since the last call, so that a stride has no effect."""
        seconds = self._seconds / max(1, self._frames)
        self._seconds, self._frames = 0.0, 0
        return seconds


def pairs_of(
    simulations: Iterable[Recording],
    stride: int = 1,
    past: int = 0,
    *,
    first: float = 0.0,
    runs: Mapping[str, StartRun] | None = None,
) -> Iterator[Pair]:
    """The pairs of `simulations`, one after another, each with up to `past` frames before it; read one by one, so
    memory does not grow.

    With a `stride` N, frames 0, N, 2N, ... each with the one after it, for the change from frame to frame, counted from
    the fraction `first` of the frames on; the frames before only fill the history. `runs` start with each simulation.
    """
    if stride < 1:
        raise InputError("stride", f"{stride} is out of range", "give 1 or more")
    for simulation in simulations:
        before: deque[Frame] = deque(maxlen=past)
        made: dict[str, TimedRun] = {}
        beginning = int(first * simulation.frames)
        solids = getattr(simulation, "fine_solid", lambda index: None)
        for index in range(simulation.frames):
            evaluated = is_evaluated(index, beginning, stride)
            if evaluated or past or runs:
                coarse = simulation.coarse(index)
            for name, start in (runs or {}).items():
                if index == 0:
                    made[name] = TimedRun(start(simulation, coarse))
                else:
                    made[name].advance(coarse)
            if evaluated:
                fine = simulation.fine(index)
                yield Pair(simulation.name, index, coarse, fine, tuple(before), made, solids(index))
            if past:
                before.append(coarse)


def is_evaluated(index: int, beginning: int, stride: int) -> bool:
    """Whether `pairs_of` gives the frame `index`."""
    return index >= beginning and (index - beginning) % stride in (0, 1)
