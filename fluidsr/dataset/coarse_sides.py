"""Coarse sides that are recomputed for a recorded simulation: filtered, coupled, free, and what shorter runs reach."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fluidsr.choices import PairKind
from fluidsr.dataset.source import PairedSimulation
from fluidsr.dataset.store import Simulation
from fluidsr.errors import DatasetError
from fluidsr.frame import Frame

if TYPE_CHECKING:
    from fluidsr.models import ClosureModel
    from fluidsr.scenes.corrector import Corrector
    from fluidsr.solver import SolidFraction

PERIOD = 8  # frames from one synchronisation of a coupled run to the next


class FineSide:
    """The fine side of a recorded simulation of closure pairs, from frame `first` on, for a `PairedSimulation` with
    another coarse side: a subclass gives `coarse`. `frames`: None for all that follow.

    `recorded` is the one that has the fine side. Raises DatasetError for other pairs.
    """

    def __init__(
        self, recorded: PairedSimulation, kind: str, first: int = 0, frames: int | None = None
    ) -> None:
        if not isinstance(recorded, Simulation) or not recorded.has_reference:
            problem, remedy = "has no fine state on coarse cells", "give a dataset made with `pairs` closure"
            raise DatasetError(str(recorded.path), problem, remedy)
        self.recorded, self.first, self.name = recorded, first, recorded.name
        self.path, self.coarse_shape = recorded.path / kind, recorded.coarse_shape
        self.frames = recorded.frames - first if frames is None else frames

    def fine(self, index: int) -> Frame:
        """The fine frame."""
        return self.recorded.fine(self.first + index)

    def fine_density(self, index: int) -> np.ndarray:
        """The fine density, float16."""
        return self.recorded.fine_density(self.first + index)


class FilteredSide(FineSide):
    """A recorded simulation whose coarse side is the fine state on coarse cells."""

    def __init__(self, recorded: PairedSimulation) -> None:
        super().__init__(recorded, "filtered")

    def coarse(self, index: int) -> Frame:
        """The fine state on coarse cells."""
        return self.recorded.reference(index)


class ReachedRun(FineSide):
    """A part of a recorded simulation whose coarse side is a `run` from the fine state of its frame `first` on."""

    def __init__(self, recorded: PairedSimulation, first: int, run: Sequence[Frame]) -> None:
        super().__init__(recorded, f"run_{first}_{first + len(run) - 1}", first, len(run))
        self._run = run

    def coarse(self, index: int) -> Frame:
        """The frame that the run has reached after `index` frames."""
        return self._run[index]


def reached_runs(
    simulations: Sequence[PairedSimulation], closure: ClosureModel | None, longest: int, device: str = "cpu"
) -> list[ReachedRun]:
    """The `simulations` from end to end in runs of `longest` frames, each from a fine state on and corrected by
    `closure` where there is one.

    Raises DatasetError for other than closure pairs, ModelError for a closure that does not fit, SolverError where a
    run diverges.
    """
    from fluidsr.dataset.closure_runs import coarse_scene, runs_of
    from fluidsr.scenes.corrector import Corrector

    found = []
    for each in simulations:
        recorded = FilteredSide(each).recorded
        scene = coarse_scene(recorded)
        corrector = None if closure is None else Corrector(closure, scene, device)
        runs = runs_of(recorded, scene, corrector, longest, device)
        found += [ReachedRun(recorded, first, run) for first, run in runs]
    return found


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
        from fluidsr.scenes.build import solid_fraction_of
        from fluidsr.scenes.corrector import Corrector

        self._simulation, self._pairs, self._device = simulation, pairs, device
        self.name, self.frames, self.attrs = simulation.name, simulation.frames, simulation.attrs
        self.factor, self._run = simulation.factor, list[Frame]()
        self._corrector: Corrector | None = None
        self._solids: SolidFraction | None = None
        if "scene" in self.attrs or pairs in ("coupled", "free"):
            self.scene = coarse_scene(simulation)
            self._corrector = None if closure is None else Corrector(closure, self.scene, device)
            self._solids = solid_fraction_of(self.scene, self.factor)

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
            frame = self._simulation.coarse(index)
            return _whole_cells(frame) if self.attrs.get("pairs") == "filtered" else frame
        if self._pairs == "filtered":
            from fluidsr.dataset.closure_runs import fine_state

            return _whole_cells(fine_state(self._simulation, index))
        self._run = self._run or self._made()
        return self._run[index]

    def fine_solid(self, index: int) -> Callable[[Any], np.ndarray] | None:
        """The share of each fine voxel of a box that the scene's obstacles fill in the frame; None without any, and for
        a coarse side that is a mean over whole cells."""
        if self._solids is None:
            return None
        frame = self.coarse(index)
        return self._solids.at(frame.time) if "solid" in frame.others else None

    def fine_state(self, index: int) -> Frame | None:
        """The fine simulation on coarse cells, where the coarse frames are of a run that differs from it: it has smoke
        in other places, and moves along another flow. Else None."""
        if self._pairs not in ("coupled", "free"):
            return None
        from fluidsr.dataset.closure_runs import fine_state

        return fine_state(self._simulation, index)

    def fine(self, index: int) -> Frame:
        """The recorded fine frame: density, and velocity where it was kept."""
        return self._simulation.fine(index, fields=("velocity",))

    def _made(self) -> list[Frame]:
        from fluidsr.dataset.closure_runs import fine_state, runs_of

        period = PERIOD if self._pairs == "coupled" else max(1, self.frames - 1)
        frames = [fine_state(self._simulation, 0)]
        for _, run in runs_of(self._simulation, self.scene, self._corrector, period, self._device):
            frames += run[1:]
        return frames


def _whole_cells(frame: Frame) -> Frame:
    """The filtered `frame` without its field `solid`: its smoke is a mean over cells with what is solid of them, so an
    upsampler that cuts at the surface would take that share away twice."""
    return frame.with_fields({name: values for name, values in frame.fields().items() if name != "solid"})
