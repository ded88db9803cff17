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
    """Upsamples a frame. `history`: the frames before it, the last one last; `fine_solid`: see `Upscaler.upsample`,
    None if the solids are not known."""

    def __call__(self, frame: Frame, *, history: Sequence[Frame], fine_solid: Any = None) -> Frame: ...


class Run(Protocol):
    """A method that follows the coarse frames of a simulation in order, as wavelet turbulence does."""

    def advance(self, coarse: Frame) -> None:
        """Advance to the next coarse frame."""

    def frame(self, coarse: Frame) -> Frame:
        """The fine frame of the coarse frame that it has reached."""


class Recording(Protocol):
    """The interface of simulations that can be evaluated, such as `dataset.Simulation` and `dataset.CoarseSide`.

    If the solids on the fine grid are known, it also has a method `fine_solid(index)`. If its coarse frames are of a
    run of their own, and the fine simulation on coarse cells is known, it has a method `fine_state(index)`. If that run
    is set to the fine state now and then, it has a method `is_reset(index)`: whether this happened between the
    previous frame and this one.
    """

    name: str
    frames: int

    def coarse(self, index: int) -> Frame: ...
    def fine(self, index: int) -> Frame: ...


# Starts a run, given a simulation and its first coarse frame.
StartRun = Callable[[Any, Frame], Run]


@dataclass(frozen=True)
class Pair:
    """A coarse frame and its fine reference.

    `past`: the coarse frames before it, the last one last. `made`: the runs by method, advanced to this frame.
    `fine_solid`: the solids on the fine grid, None if they are not known. `fine_state`: the fine simulation on coarse
    cells, where the coarse frame is from a run of its own; else None. `is_reset`: whether that run was set to the
    fine state between the previous frame and this one.
    """

    simulation: str
    index: int
    coarse: Frame
    fine: Frame
    past: tuple[Frame, ...] = ()
    made: Mapping[str, TimedRun] = field(default_factory=dict)
    fine_solid: Any = None
    fine_state: Frame | None = None
    is_reset: bool = False


class TimedRun:
    """A run that measures the seconds that it takes per frame."""

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
        """The mean seconds per frame since the last call, which do not depend on the stride of the evaluation."""
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
    """Iterate over the pairs of `simulations`, reading one at a time.

    Args:
        simulations: evaluated one after another.
        stride: with N, the pairs are frames 0, N, 2N, ..., each followed by the next frame, so that changes between
            frames can be measured.
        past: the most earlier coarse frames in `Pair.past`.
        first: fraction of the frames of a simulation before the first pair; these frames only fill the history.
        runs: start the runs of each simulation, by method.
    """
    if stride < 1:
        raise InputError("stride", f"{stride} is out of range", "give 1 or more")
    for simulation in simulations:
        earlier: deque[Frame] = deque(maxlen=past)
        made: dict[str, TimedRun] = {}
        beginning = int(first * simulation.frames)
        solids = getattr(simulation, "fine_solid", lambda index: None)
        fine_state = getattr(simulation, "fine_state", lambda index: None)
        is_reset = getattr(simulation, "is_reset", lambda index: False)
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
                yield Pair(
                    simulation.name, index, coarse, fine, tuple(earlier), made,
                    fine_solid=solids(index), fine_state=fine_state(index), is_reset=is_reset(index),
                )  # fmt: skip
            if past:
                earlier.append(coarse)


def is_evaluated(index: int, beginning: int, stride: int) -> bool:
    """Whether `pairs_of` yields a pair for the frame `index`."""
    return index >= beginning and (index - beginning) % stride in (0, 1)
