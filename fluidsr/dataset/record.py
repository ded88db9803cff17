"""Recording one simulation: the job that a worker does, from the seed to the complete folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fluidsr.dataset.config import DatasetConfig, split_of
from fluidsr.dataset.layout import simulation_name
from fluidsr.dataset.writer import SimulationWriter
from fluidsr.errors import SceneError, SolverError
from fluidsr.frame import Frame

# Coarse cells per frame. Random scenes drive air at up to about 6; what is this fast has gained energy from
# nowhere, and no network could learn from it.
FASTEST = 24.0


@dataclass(frozen=True)
class Job:
    """Simulation `index` of the data set `config` in the folder `path`, to be computed on `device`."""

    config: DatasetConfig
    path: Path
    index: int
    device: str = "cpu"

    @property
    def name(self) -> str:
        """The folder of the simulation."""
        return simulation_name(self.index)

    @property
    def seed(self) -> int:
        """The seed of all that is random in it."""
        return self.config.simulation_seed(self.index)


@dataclass(frozen=True)
class Outcome:
    """What became of a job; `failed` tells why a simulation that diverged was left out."""

    name: str
    failed: str | None = None


class Stopped(Exception):
    """Raised by a report to end a simulation early; what it had written is removed."""


def simulate(job: Job, report: Callable[[str], None]) -> Outcome:
    """Compute and write one simulation; `report("warm-up")` or `report("frame")` after each frame.

    On return it is complete under its final name, or recorded there as failed where it diverged: where the
    solver said so, or what it gave is not finite or faster than `FASTEST`.
    Raises InputError or RunError where it cannot be written.
    """
    config = job.config
    attrs: dict[str, Any] = {
        "seed": job.seed,
        "split": split_of(job.index),
        "pairs": config.pairs,
        "factor": config.factor,
        "device": job.device,
    }
    with SimulationWriter(job.path, job.name, config.frames) as writer:
        try:
            scene = scene_of(config, job.seed)
            attrs["scene"] = scene.to_yaml()
            pair = _pair(config, scene, job)
            for _ in range(config.warm_up):
                pair.advance()
                report("warm-up")
            for index in range(config.frames):
                low, high = pair.advance()
                if index == 0:
                    attrs |= _place(low, config.factor)
                writer.add(_sound(low, job), _finite_density(high, job))
                report("frame")
        except (
            SolverError,
            SceneError,
        ) as error:  # SceneError: a drawn scene that the overrides made unsound
            writer.fail(attrs, str(error))
            return Outcome(job.name, str(error))
        writer.finish(attrs | pair.notes())
    return Outcome(job.name)


def scene_of(config: DatasetConfig, seed: int) -> Any:
    """The randomised scene of a seed, on fine cells, with the configuration's overrides.

    Raises SceneError for an override that does not fit.
    """
    from fluidsr.scenes import Scene
    from fluidsr.scenes.loader import load_yaml_model
    from fluidsr.scenes.randomize import random_scene

    fine = config.resolution * config.factor
    scene = random_scene(seed, config.dim, fine, config.warm_up + config.frames, factor=config.factor)
    if config.overrides:
        scene = load_yaml_model(scene.to_yaml(), Scene, config.overrides, label="--set")
    return scene


def _pair(config: DatasetConfig, scene: Any, job: Job) -> Any:
    from fluidsr.dataset.pairs import CoupledPair, FilteredPair

    if config.pairs == "filtered":
        return FilteredPair(scene, config.factor, job.device)
    return CoupledPair(scene, config.factor, job.device, np.random.default_rng(job.seed))


def _place(low: Frame, factor: int) -> dict[str, Any]:
    return {
        "dt": low.dt,
        "start_time": low.time,
        "origin": list(low.origin),
        "low_cell_size": low.cell_size,
        "high_cell_size": low.cell_size / factor,
    }


def _sound(frame: Frame, job: Job) -> Frame:
    for name, values in frame.fields().items():
        if not np.isfinite(values).all():
            raise SolverError(job.name, f"the coarse {name} is not finite", "use another seed")
    fastest = float(np.abs(frame.velocity_in_cells()).max())
    if fastest > FASTEST:
        what = f"air crosses {fastest:.0f} coarse cells per frame at {frame.time:.2f} s, which no source drives it to"
        raise SolverError(job.name, what, "use another seed, or a higher --resolution")
    return frame


def _finite_density(density: np.ndarray, job: Job) -> np.ndarray:
    with np.errstate(over="ignore"):  # to infinity, which is refused below
        halved = density.astype(np.float16)
    if not np.isfinite(halved).all():
        raise SolverError(job.name, "the fine density is not finite as float16", "use another seed")
    return halved
