"""Coarse sides that are recomputed for a recorded simulation: filtered, coupled, free, and the states of shorter
runs.
"""

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

PERIOD = 8  # frames between synchronizations of a coupled run


class FineSide:
    """The fine side of a recorded simulation of closure pairs; a subclass adds another coarse side, `coarse`.

    Args:
        recorded: the recorded simulation.
        kind: a name of the coarse side, appended to the path.
        first: the first frame.
        frames: number of frames; None: all that follow.

    Raises DatasetError for pairs of another kind.
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
        """The fine frame; see `Simulation.fine`."""
        return self.recorded.fine(self.first + index)

    def fine_density(self, index: int) -> np.ndarray:
        """The fine density, float16, `[*(S * factor)]`."""
        return self.recorded.fine_density(self.first + index)


class FilteredSide(FineSide):
    """A recorded simulation whose coarse side is the fine state on coarse cells."""

    def __init__(self, recorded: PairedSimulation) -> None:
        super().__init__(recorded, "filtered")

    def coarse(self, index: int) -> Frame:
        """The fine state on coarse cells."""
        return self.recorded.reference(index)


class ReachedRun(FineSide):
    """A part of a recorded simulation whose coarse side is `run`, a coarse run from the fine state of frame `first`."""

    def __init__(self, recorded: PairedSimulation, first: int, run: Sequence[Frame]) -> None:
        super().__init__(recorded, f"run_{first}_{first + len(run) - 1}", first, len(run))
        self._run = run

    def coarse(self, index: int) -> Frame:
        """The state of the run after `index` frames."""
        return self._run[index]


def reached_runs(
    simulations: Sequence[PairedSimulation], closure: ClosureModel | None, longest: int, device: str = "cpu"
) -> list[ReachedRun]:
    """Coarse runs of `longest` frames that cover the `simulations`, each from a recorded fine state.

    Args:
        simulations: recorded simulations of closure pairs.
        closure: corrects the runs; None: nothing does.
        longest: frames of a run.
        device: torch device of the solver.

    Raises DatasetError for pairs of another kind, ModelError for a closure that does not fit, SolverError if a run
    diverges.
    """
    from fluidsr.dataset.closure_runs import coarse_scene, runs_of
    from fluidsr.scenes.corrector import Corrector

    reached = []
    for simulation in simulations:
        recorded = FilteredSide(simulation).recorded
        scene = coarse_scene(recorded)
        corrector = None if closure is None else Corrector(closure, scene, device)
        runs = runs_of(recorded, scene, corrector, longest, device)
        reached += [ReachedRun(recorded, first, run) for first, run in runs]
    return reached


class CoarseSide:
    """A recorded simulation with its own fine side, and a coarse side of the kind `pairs`.

    Args:
        simulation: the recorded simulation.
        pairs: `recorded`: the coarse side as stored. `filtered`: the fine state on coarse cells. `coupled`: a coarse
            run that is set to the fine state every `PERIOD` frames. `free`: a coarse run from the first recorded fine
            state, as a user has it.
        closure: corrects the runs; None: nothing does.
        device: torch device of the solver.

    A run is computed when its first frame is requested, and then kept. Raises DatasetError if the simulation lacks
    the data for this kind, ModelError for a closure that does not fit; SolverError, at the first frame, if the run
    diverges.
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
        """The coarse side of any simulation. Raises DatasetError for one that does not come from a dataset of this
        package.
        """
        if isinstance(simulation, Simulation):
            return cls(simulation, pairs, closure, device)
        problem = "comes from another package, with the coarse side that it has"
        remedy = "evaluate it on recorded `pairs`"
        raise DatasetError(str(getattr(simulation, "path", simulation)), problem, remedy)

    def coarse(self, index: int) -> Frame:
        """The coarse frame, NumPy, velocity in m/s. Raises SolverError if the run diverges."""
        if self._pairs == "recorded":
            frame = self._simulation.coarse(index)
            return _whole_cells(frame) if self.attrs.get("pairs") == "filtered" else frame
        if self._pairs == "filtered":
            from fluidsr.dataset.closure_runs import fine_state

            return _whole_cells(fine_state(self._simulation, index))
        self._run = self._run or self._made()
        return self._run[index]

    def fine_solid(self, index: int) -> Callable[[Any], np.ndarray] | None:
        """A function that gives the fraction of each fine voxel of a box that obstacles fill in this frame.

        None if there are no obstacles, and for a coarse side that is a mean over whole cells.
        """
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

    def is_reset(self, index: int) -> bool:
        """Whether the coarse run was set to the fine state between the frame before and this one, so that the smoke
        jumps."""
        if self._pairs == "coupled":
            return index > 1 and (index - 1) % PERIOD == 0
        if self._pairs == "recorded" and self.attrs.get("pairs") == "coupled":
            return (index + 1) % max(1, int(self.attrs.get("synchronised_every", 1))) == 0
        return False

    def fine(self, index: int) -> Frame:
        """The recorded fine frame: density, and velocity if it was kept."""
        return self._simulation.fine(index, fields=("velocity",))

    def _made(self) -> list[Frame]:
        from fluidsr.dataset.closure_runs import fine_state, runs_of

        period = PERIOD if self._pairs == "coupled" else max(1, self.frames - 1)
        frames = [fine_state(self._simulation, 0)]
        for _, run in runs_of(self._simulation, self.scene, self._corrector, period, self._device):
            frames += run[1:]
        return frames


def _whole_cells(frame: Frame) -> Frame:
    """The filtered `frame` without its field `solid`.

    Its smoke is a mean over whole cells, including their solid part. An upsampler that cuts at the surface would
    remove that part twice.
    """
    return frame.with_fields({name: values for name, values in frame.fields().items() if name != "solid"})
