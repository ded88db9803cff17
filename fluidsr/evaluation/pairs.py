"""Pairs: the frames that an evaluation goes through, one at a time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from fluidsr.errors import InputError
from fluidsr.frame import Frame


class Method(Protocol):
    """Upsamples a frame; `history` holds the frames before it, the last one last."""

    def __call__(self, frame: Frame, *, history: Sequence[Frame]) -> Frame: ...


class Run(Protocol):
    """A method that goes along with a simulation's coarse frames, each in turn, as wavelet turbulence does."""

    def advance(self, coarse: Frame) -> None:
        """Advance to the next coarse frame."""

    def frame(self, coarse: Frame) -> Frame:
        """The fine frame of the coarse one that it has come to."""


class Recording(Protocol):
    """What is needed of a simulation (`dataset.Simulation` and `dataset.CoarseSide` are some)."""

    name: str
    frames: int

    def coarse(self, index: int) -> Frame: ...
    def fine(self, index: int) -> Frame: ...


# Of a simulation and its first coarse frame.
StartRun = Callable[[Any, Frame], Run]


@dataclass(frozen=True)
class Pair:
    """A coarse frame, its fine reference, where they are from, the coarse frames before, and `made`, the methods that
    have gone along this far."""

    simulation: str
    index: int
    coarse: Frame
    fine: Frame
    past: tuple[Frame, ...] = ()
    made: Mapping[str, TimedRun] = field(default_factory=dict)


class TimedRun:
    """A run, and the seconds that a frame took it since they were last asked for."""

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
        """Mean seconds of the frames since the last call, so that a stride does not count."""
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

    With a `stride` N, frames 0, N, 2N, ... each with the one after it, for the change from frame to frame; counted from
    that `first` share of the frames on, which warm up what looks back. `runs` begin with each simulation and go along.
    """
    if stride < 1:
        raise InputError("stride", f"{stride} is out of range", "give 1 or more")
    for simulation in simulations:
        before: deque[Frame] = deque(maxlen=past)
        made: dict[str, TimedRun] = {}
        beginning = int(first * simulation.frames)
        for index in range(simulation.frames):
            wanted = judged(index, beginning, stride)
            if wanted or past or runs:
                coarse = simulation.coarse(index)
            for name, start in (runs or {}).items():
                if index == 0:
                    made[name] = TimedRun(start(simulation, coarse))
                else:
                    made[name].advance(coarse)
            if wanted:
                yield Pair(simulation.name, index, coarse, simulation.fine(index), tuple(before), made)
            if past:
                before.append(coarse)


def judged(index: int, beginning: int, stride: int) -> bool:
    """Whether `pairs_of` gives the frame `index`."""
    return index >= beginning and (index - beginning) % stride in (0, 1)
