"""Recording one simulation: the job of a worker, from the seed to the complete folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fluidsr.dataset.addresses import Address
from fluidsr.dataset.config import DatasetConfig, split_of
from fluidsr.dataset.layout import simulation_name
from fluidsr.dataset.writer import SimulationWriter
from fluidsr.errors import SceneError, SolverError
from fluidsr.frame import Frame
from fluidsr.scenes.random_scenes.scene import RandomScene, random_scene
from fluidsr.scenes.upscale import WaveletUpscale

if TYPE_CHECKING:
    from fluidsr.dataset.pairs import ClosurePair, CoupledPair, FilteredPair, TurbulenceOf, WaveletPair

# Coarse cells per frame. Random scenes drive air at up to about 10; faster air has gained energy by an instability, and
# is useless for training.
FASTEST = 24.0
SMOKE = 0.01  # density above which a cell counts as smoke


@dataclass(frozen=True)
class SimulationJob:
    """Simulation `index` of the dataset `config` at `path`, to be computed on `device`.

    `turbulence_of` makes the turbulence of wavelet pairs; other pairs do not use it.
    """

    config: DatasetConfig
    path: Address
    index: int
    device: str = "cpu"
    turbulence_of: TurbulenceOf | None = None

    @property
    def name(self) -> str:
        """The name of the simulation's folder."""
        return simulation_name(self.index)

    @property
    def seed(self) -> int:
        """The seed of all its random numbers."""
        return self.config.simulation_seed(self.index)


@dataclass(frozen=True)
class Outcome:
    """The result of a job; `failed` is the reason why a simulation that diverged was left out, or None."""

    name: str
    failed: str | None = None


class Cancelled(Exception):
    """Raised by a report to end a simulation early; its partial files are removed."""


def simulate(job: SimulationJob, report: Callable[[str], None]) -> Outcome:
    """Compute and write one simulation, calling `report("warm-up")` or `report("frame")` after each frame.

    On return it is complete under its final name, or recorded there as failed if it diverged: the solver failed, or
    its result is not finite or faster than `FASTEST`. Raises InputError or RunError if it cannot be written.
    """
    config = job.config
    attrs: dict[str, Any] = {
        "seed": job.seed,
        "split": split_of(job.index),
        "pairs": config.pairs,
        "factor": config.factor,
        "device": job.device,
    }
    with SimulationWriter(job.path, job.name, config.frames, config.dim) as writer:
        try:
            drawn = scene_of(config, job.seed)
            attrs |= _about(drawn)
            source = _source(config, drawn, job)
            for _ in range(drawn.warm_up):
                source.warm_up()
                report("warm-up")
            source.end_warm_up()
            speeds = Speeds()
            for index in range(config.frames):
                coarse, fine, reference = source.advance()
                if index == 0:
                    attrs |= _place(coarse, config.factor)
                speeds.add(coarse)
                writer.add(_sound(coarse, job), _halved(fine, config.fine_fields, job), reference)
                report("frame")
        except (SolverError, SceneError) as error:  # SceneError: the drawn scene is invalid
            writer.fail(attrs, str(error))
            return Outcome(job.name, str(error))
        writer.finish(attrs | source.notes() | {"cells_per_frame": speeds.as_dict()})
    return Outcome(job.name)


def scene_of(config: DatasetConfig, seed: int) -> RandomScene:
    """The randomized scene of a seed, on fine cells. Raises SceneError if the distribution gives an invalid scene."""
    fine = config.resolution * config.factor
    return random_scene(config.distribution, seed, config.dim, fine, config.frames, factor=config.factor)


def period_of(config: DatasetConfig, seed: int) -> int:
    """The number of frames between synchronizations of a coupled simulation."""
    shortest, longest = config.resync
    return int(np.random.default_rng(seed).integers(shortest, longest + 1))


class Speeds:
    """Statistics of the speed of air as a network reads it, frame by frame, in coarse cells per frame."""

    def __init__(self) -> None:
        self._greatest: list[float] = []
        self._smoke: list[float] = []

    def add(self, coarse: Frame) -> None:
        """Count a coarse frame."""
        speed = np.sqrt((coarse.velocity_in_cells().astype(np.float64) ** 2).sum(axis=0))
        smoke = speed[coarse.density > SMOKE]
        self._greatest.append(float(f"{speed.max():.4g}"))
        self._smoke.append(float(f"{np.sqrt((smoke**2).mean()):.4g}") if smoke.size else 0.0)

    def as_dict(self) -> dict[str, list[float]]:
        """`greatest`: the largest speed; `smoke`: root mean square over cells with smoke; one number per frame."""
        return {"greatest": self._greatest, "smoke": self._smoke}


def _source(
    config: DatasetConfig, drawn: RandomScene, job: SimulationJob
) -> FilteredPair | CoupledPair | ClosurePair | WaveletPair:
    from fluidsr.dataset.pairs import ClosurePair, CoupledPair, FilteredPair, WaveletPair

    if config.pairs == "filtered":
        return FilteredPair(drawn, config.factor, job.device)
    if config.pairs == "wavelet":
        assert job.turbulence_of is not None and config.strength is not None
        seed = job.seed % 2**31
        settings = WaveletUpscale(method="wavelet", factor=config.factor, strength=config.strength, seed=seed)
        return WaveletPair(drawn, config.factor, job.device, job.turbulence_of, settings)
    kind: type[ClosurePair | CoupledPair] = ClosurePair if config.pairs == "closure" else CoupledPair
    return kind(drawn, config.factor, job.device, period_of(config, job.seed))


def _about(drawn: RandomScene) -> dict[str, Any]:
    return {
        "kind": drawn.kind,
        "boundary": drawn.boundary,
        "warm_up": drawn.warm_up,
        "warm_up_vorticity_confinement": drawn.warm_up_confinement,
        "scene": drawn.scene.to_yaml(),
        "periodic": [sides == ("periodic", "periodic") for sides in drawn.scene.domain.sides],
        "buoyancy": _buoyancy(drawn),
    }


def _buoyancy(drawn: RandomScene) -> dict[str, float]:
    """Acceleration against gravity (m/s²) per kelvin and per unit of density; `axis`: the vertical axis."""
    physics = drawn.scene.physics
    return {
        "axis": drawn.scene.up_axis,
        "temperature": physics.gravity * physics.buoyancy.temperature,
        "density": -physics.gravity * physics.buoyancy.density,
    }


def _place(coarse: Frame, factor: int) -> dict[str, Any]:
    return {
        "dt": coarse.dt,
        "start_time": coarse.time,
        "origin": list(coarse.origin),
        "low_cell_size": coarse.cell_size,
        "high_cell_size": coarse.cell_size / factor,
    }


def _sound(frame: Frame, job: SimulationJob) -> Frame:
    for name, values in frame.fields().items():
        if not np.isfinite(values).all():
            raise SolverError(job.name, f"the coarse {name} is not finite", "use another seed")
    fastest = float(np.abs(frame.velocity_in_cells()).max())
    if fastest > FASTEST:
        problem = (
            f"air crosses {fastest:.0f} coarse cells per frame at {frame.time:.2f} s, faster than any source"
        )
        raise SolverError(job.name, problem, "use another seed, or a higher `resolution`")
    return frame


def _halved(fine: Frame, kept: tuple[str, ...], job: SimulationJob) -> dict[str, np.ndarray]:
    halved = {}
    for name, values in fine.fields().items():
        if name in kept:
            with np.errstate(over="ignore"):  # overflow gives infinity, which is refused below
                halved[name] = values.astype(np.float16)
            if not np.isfinite(halved[name]).all():
                raise SolverError(job.name, f"the fine {name} is not finite as float16", "use another seed")
    return halved
