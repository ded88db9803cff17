"""Coarse sides that are made anew for a recorded simulation: filtered, coupled, free, and what shorter runs reach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fluidsr.choices import PairKind
from fluidsr.dataset.source import PairedSimulation
from fluidsr.dataset.store import Simulation
from fluidsr.errors import DatasetError
from fluidsr.frame import Frame

if TYPE_CHECKING:
    from fluidsr.models import ClosureModel
    from fluidsr.scenes.corrector import Corrector

PERIOD = 8  # frames from one synchronisation of a coupled run to the next


class FilteredSide:
    """A recorded simulation of closure pairs, whose coarse side is the fine state on coarse cells.

    A `PairedSimulation`; `recorded` is the one that has the fine side. Raises DatasetError for other pairs.
    """

    def __init__(self, recorded: PairedSimulation) -> None:
        if not isinstance(recorded, Simulation) or not recorded.has_reference:
            problem, remedy = "has no fine state on coarse cells", "give a dataset made with `pairs` closure"
            raise DatasetError(str(recorded.path), problem, remedy)
        self.recorded, self.name, self.path = recorded, recorded.name, recorded.path / "filtered"
        self.frames, self.coarse_shape = recorded.frames, recorded.coarse_shape

    def coarse(self, index: int) -> Frame:
        """The fine state on coarse cells."""
        return self.recorded.reference(index)

    def fine(self, index: int) -> Frame:
        """The fine frame."""
        return self.recorded.fine(index)

    def fine_density(self, index: int) -> np.ndarray:
        """The fine density, float16."""
        return self.recorded.fine_density(index)


class ReachedRun:
    """A part of a recorded simulation of closure pairs, from frame `first` to `last`, whose coarse side is a run from
    the fine state of its first frame on, corrected by `closure` where there is one: a `PairedSimulation`.

    The run is computed at once. Raises DatasetError for other pairs, ModelError for a closure that does not fit,
    SolverError where the run diverges.
    """

    def __init__(
        self, recorded: Simulation, closure: ClosureModel | None, first: int, last: int, device: str = "cpu"
    ) -> None:
        from fluidsr.dataset.closure_runs import coarse_run, coarse_scene
        from fluidsr.scenes.build import build
        from fluidsr.scenes.corrector import Corrector

        scene = coarse_scene(recorded)
        corrector = None if closure is None else Corrector(closure, scene, device)
        run = coarse_run(build(scene, device), recorded, scene, corrector, first, last)
        self._run = [recorded.reference(first), *(after.numpy() for _, _, after in run)]
        self.recorded, self.first = recorded, first
        self.name, self.path = recorded.name, recorded.path / f"run_{first}_{last}"
        self.frames, self.coarse_shape = last - first + 1, recorded.coarse_shape

    def coarse(self, index: int) -> Frame:
        """What the run has come to after `index` frames."""
        return self._run[index]

    def fine(self, index: int) -> Frame:
        """The fine frame."""
        return self.recorded.fine(self.first + index)

    def fine_density(self, index: int) -> np.ndarray:
        """The fine density, float16."""
        return self.recorded.fine_density(self.first + index)


def reached_runs(
    simulations: Sequence[PairedSimulation], closure: ClosureModel | None, longest: int, device: str = "cpu"
) -> list[ReachedRun]:
    """The `simulations` from end to end in runs of `longest` frames, each from a fine state on. Raises as
    `ReachedRun` does."""
    runs = []
    for each in simulations:
        recorded = FilteredSide(each).recorded
        assert isinstance(recorded, Simulation)
        starts = range(0, recorded.frames - 1, longest)
        runs += [
            ReachedRun(recorded, closure, n, min(n + longest, recorded.frames - 1), device) for n in starts
        ]
    return runs


class CoarseSide:
    """A recorded simulation with its own fine side, and a coarse one of the kind `pairs`.

    `recorded`: as it is stored. `filtered`: the fine state on coarse cells. `coupled`: a coarse run, corrected by
    `closure` where there is one, that is set to the fine state every `PERIOD` frames. `free`: such a run that begins in
    the first recorded fine state and is never set again: what a user has. A run is computed at the first frame that is
    asked for, and then kept. Raises DatasetError for a simulation that does not hold what it takes, ModelError for a
    closure that does not fit; SolverError, at the first frame, where the run diverges.
    """

    def __init__(
        self,
        simulation: Simulation,
        pairs: PairKind,
        closure: ClosureModel | None = None,
        device: str = "cpu",
    ) -> None:
        from fluidsr.dataset.closure_runs import coarse_scene
        from fluidsr.scenes.corrector import Corrector

        self._simulation, self._pairs, self._device = simulation, pairs, device
        self.name, self.frames, self.attrs = simulation.name, simulation.frames, simulation.attrs
        self.factor, self._run = simulation.factor, list[Frame]()
        self._corrector: Corrector | None = None
        if "scene" in self.attrs or pairs in ("coupled", "free"):
            self.scene = coarse_scene(simulation)
            self._corrector = None if closure is None else Corrector(closure, self.scene, device)

    @classmethod
    def of(
        cls, simulation: object, pairs: PairKind, closure: ClosureModel | None = None, device: str = "cpu"
    ) -> CoarseSide:
        """Of any simulation; raises DatasetError where it is none of a dataset."""
        if isinstance(simulation, Simulation):
            return cls(simulation, pairs, closure, device)
        problem = "comes from another package, with the coarse side that it has"
        remedy = "evaluate it on recorded `pairs`"
        raise DatasetError(str(getattr(simulation, "path", simulation)), problem, remedy)

    def coarse(self, index: int) -> Frame:
        """The coarse frame, NumPy, velocity in m/s."""
        if self._pairs == "recorded":
            return self._simulation.coarse(index)
        if self._pairs == "filtered":
            from fluidsr.dataset.closure_runs import fine_state

            return fine_state(self._simulation, index)
        self._run = self._run or self._made()
        return self._run[index]

    def fine(self, index: int) -> Frame:
        """The recorded fine frame: density, and velocity where it was kept."""
        return self._simulation.fine(index, fields=("velocity",))

    def _made(self) -> list[Frame]:
        from fluidsr.dataset.closure_runs import coarse_run, fine_state
        from fluidsr.scenes.build import build

        solver, last = build(self.scene, self._device), self.frames - 1
        period = PERIOD if self._pairs == "coupled" else max(1, last)
        frames = [fine_state(self._simulation, 0)]
        for first in range(0, last, period):
            end = min(first + period, last)
            run = coarse_run(solver, self._simulation, self.scene, self._corrector, first, end)
            frames += [after.numpy() for _, _, after in run]
        return frames
