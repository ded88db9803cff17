"""Coarse runs from recorded fine states, with a corrector: the states that a free run reaches, and the states that it
should have reached.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import yaml

from fluidsr.dataset.closure_samples import sample_of
from fluidsr.dataset.store import Simulation
from fluidsr.errors import DatasetError
from fluidsr.frame import Frame
from fluidsr.models import ClosureModel
from fluidsr.models.closure import ClosureSample
from fluidsr.scenes import Scene
from fluidsr.scenes.build import build, frame_of
from fluidsr.scenes.corrector import Corrector
from fluidsr.scenes.schema import scene_from
from fluidsr.solver import Solver


def coarse_scene(simulation: Simulation) -> Scene:
    """The scene of coarse runs of a recorded simulation. Raises DatasetError if the simulation does not contain its
    scene.
    """
    if "scene" not in simulation.attrs:
        raise DatasetError(
            str(simulation.path), "does not hold its scene", "generate it with generate-dataset"
        )
    scene = scene_from(yaml.safe_load(simulation.attrs["scene"]), simulation.name)
    return scene.coarsened(simulation.factor)


def fine_state(simulation: Simulation, index: int) -> Frame:
    """The recorded fine state of frame `index` on coarse cells; NumPy.

    Raises DatasetError if it cannot be computed from the fields that were kept.
    """
    if simulation.has_reference:
        return simulation.reference(index)
    if simulation.attrs.get("pairs") == "filtered":
        return simulation.coarse(index)
    from fluidsr.dataset.pairs import filtered

    fine = simulation.fine(index, fields=("velocity", "temperature", "solid"))
    if fine.velocity is None:
        problem, remedy = "does not hold the fine velocity", "generate it with `fields` velocity"
        raise DatasetError(str(simulation.path), problem, remedy)
    return filtered(fine.torch(), simulation.factor).numpy()


def coarse_run(
    solver: Solver, simulation: Simulation, scene: Scene, corrector: Corrector | None, first: int, last: int
) -> Iterator[tuple[int, Frame, Frame]]:
    """A coarse run from a recorded fine state. Yields the index, and the state before and after the corrector, of each
    frame; torch.

    Args:
        solver: a solver of `scene`.
        simulation: the recorded simulation.
        scene: its coarse scene.
        corrector: corrects the run; None: nothing does.
        first: the recorded frame that the run starts from.
        last: the last frame of the run.

    Raises SolverError if the run diverges.
    """
    reference, seconds = fine_state(simulation, first).torch(), scene.frame_seconds
    solver.start_from(reference.density, reference.velocity, reference.temperature, seconds, reference.time)
    for index in range(first + 1, last + 1):
        report = solver.advance(seconds, measure_energy=corrector is not None)
        before = after = frame_of(solver, scene, seconds)
        if corrector is not None:
            corrector.correct(solver, report.energy_lost)
            after = frame_of(solver, scene, seconds)
        yield index, before, after


def runs_of(
    simulation: Simulation, scene: Scene, corrector: Corrector | None, longest: int, device: str = "cpu"
) -> Iterator[tuple[int, list[Frame]]]:
    """Coarse runs that together cover the simulation. Yields the first frame of each run, and its frames (NumPy),
    beginning with the fine state.

    Args:
        simulation: the recorded simulation.
        scene: its coarse scene.
        corrector: corrects the runs; None: nothing does.
        longest: frames of a run; the last run may be shorter.
        device: torch device of the solver.

    Raises SolverError if a run diverges.
    """
    solver, end = build(scene, device), simulation.frames - 1
    for first in range(0, end, longest):
        run = coarse_run(solver, simulation, scene, corrector, first, min(first + longest, end))
        yield first, [fine_state(simulation, first), *(after.numpy() for _, _, after in run)]


@dataclass(frozen=True)
class CorrectedRuns:
    """Runs of `shortest` to `longest` frames with an earlier corrector at full strength."""

    model: ClosureModel
    shortest: int
    longest: int

    def samples(self, simulation: Simulation, seed: int) -> Iterator[ClosureSample]:
        """The states that runs over the whole simulation reach, and the change that each lacks.

        The first frame of each run is left out: it begins in a fine state, as closure pairs do. Raises SolverError if
        a run diverges.
        """
        rng = np.random.default_rng([seed, simulation.seed or 0])
        scene = coarse_scene(simulation)
        solver, corrector = build(scene), Corrector(self.model, scene, "cpu", 1.0)
        first, end = 0, simulation.frames - 1
        while first < end:
            last = min(first + int(rng.integers(self.shortest, self.longest + 1)), end)
            for index, before, _ in coarse_run(solver, simulation, scene, corrector, first, last):
                if index > first + 1:
                    yield sample_of(simulation, before, simulation.reference(index))
            first = last
