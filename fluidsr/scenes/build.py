"""Building a solver from a scene, and frames from a solver."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.scenes import mesh
from fluidsr.scenes.schema import Scene
from fluidsr.scenes.sections import AXES

if TYPE_CHECKING:
    from fluidsr.solver import Motion, Scenery, Setup, Shape, SolidFraction, Solver


def build(scene: Scene, device: str = "cpu", start: Frame | None = None) -> Solver:
    """A solver at time 0 of `scene`, on `device` (a torch device name). Starts Taichi.

    `start` is the initial state of the air: the scene's start file, resampled to the cells of the scene
    (`initial_state.place`). Raises InputError if the scene has a start and none is given, since only the caller reads
    files.
    """
    from fluidsr.solver import Solver

    if scene.start is not None and start is None:
        raise InputError(f"{scene.name}: start", "its volume file was not read", "run it with simulate")
    solver = Solver(setup_of(scene), device)
    if start is not None:
        here = start.torch(solver.device)
        solver.start_from(
            here.density,
            here.velocity,
            here.temperature,
            scene.frame_seconds,
            here.time,
            here.others.get("fuel"),
        )
    return solver


def scenery_of(scene: Scene, factor: int, device: str) -> Scenery:
    """The sources and solids of `scene` on cells `factor` times smaller."""
    from fluidsr.solver import Grid, Scenery

    setup = setup_of(scene)
    grid = setup.grid
    shape = tuple(n * factor for n in grid.shape)
    fine = Grid(shape, grid.cell_size / factor, grid.boundary, grid.up)
    return Scenery(fine, setup.sources, setup.obstacles, device)


def solid_fraction_of(scene: Scene, factor: int) -> SolidFraction | None:
    """The fraction of cells `factor` times smaller that the obstacles of `scene` fill; None if it has no obstacles."""
    from fluidsr.solver import SolidFraction

    if not scene.obstacles:
        return None
    setup = setup_of(scene)
    return SolidFraction(setup.grid, setup.obstacles, factor)


def setup_of(scene: Scene) -> Setup:
    """The solver's Setup for `scene`: the same numbers, without interpretation. Raises InputError for a mesh that
    cannot be read.
    """
    from fluidsr.solver import (
        Combustion,
        Grid,
        Noise,
        NoiseForce,
        Numerics,
        Obstacle,
        Physics,
        Setup,
        Source,
    )

    physics, pressure = scene.physics, scene.numerics.pressure
    return Setup(
        grid=Grid(scene.domain.resolution, scene.domain.cell_size, scene.domain.sides, scene.up_axis),
        physics=Physics(
            gravity=physics.gravity,
            buoyancy_density=physics.buoyancy.density,
            buoyancy_temperature=physics.buoyancy.temperature,
            vorticity_confinement=physics.vorticity_confinement,
            dissipation_density=physics.dissipation.density,
            dissipation_temperature=physics.dissipation.temperature,
            wind=physics.wind,
            viscosity=physics.viscosity,
            noise_forces=tuple(
                NoiseForce(**force.model_dump())
                for force in (physics.disturbance, physics.turbulence)
                if force
            ),
            combustion=Combustion(**physics.combustion.model_dump()),
        ),
        numerics=Numerics(
            advection=scene.numerics.advection,
            preconditioner=pressure.preconditioner,
            tolerance=pressure.tolerance,
            max_iterations=pressure.max_iterations,
        ),
        sources=tuple(
            Source(
                shape=_shape(source, scene),
                density=source.density,
                temperature=source.temperature,
                velocity=source.velocity,
                noise=Noise(**source.noise.model_dump()) if source.noise else None,
                seconds=source.seconds or (0.0, math.inf),
                motion=_motion(source),
                inflow=source.inflow,
                inherit=source.inherit,
                expansion=source.expansion,
                fuel=source.fuel,
                color=source.color,
            )
            for source in scene.sources
        ),
        obstacles=tuple(Obstacle(_shape(body, scene), _motion(body)) for body in scene.obstacles),
        cfl=scene.time.cfl,
        max_substeps=scene.time.max_substeps,
    )


def _shape(body: Any, scene: Scene) -> Shape:
    from fluidsr.solver import SampledDistance, Shape

    field = None
    if body.shape == "mesh":
        sampled = mesh.sample(body.path, body.scale, scene.domain.cell_size / 2)
        field = SampledDistance(sampled.values, sampled.origin, sampled.spacing, sampled.half_extent)
    return Shape(
        kind=body.shape,
        center=body.center,
        radius=getattr(body, "radius", None),
        size=getattr(body, "size", None),
        height=getattr(body, "height", None),
        axis=AXES.index(body.axis) if hasattr(body, "axis") else None,
        field=field,
    )


def _motion(body: Any) -> Motion | None:
    from fluidsr.solver import Motion

    return Motion(tuple((key.time, key.offset) for key in body.motion)) if body.motion else None


def frame_of(solver: Solver, scene: Scene, dt: float) -> Frame:
    """The solver's current state as a frame: torch fields on the solver's device; `dt` (s) to the next frame.

    The fields are copies, so the frame does not change when the solver advances. `temperature` is present if the
    scene has any, `flame` and `fuel` if a source emits fuel, `color` if a source has a color, and `solid`, the
    fraction of each cell that obstacles fill, if there are obstacles.
    """
    further = {"flame": solver.flame(), "fuel": solver.fuel, "color": solver.color(), "solid": solver.solid()}
    return Frame(
        density=solver.density.clone(),
        velocity=solver.velocity(),
        temperature=solver.temperature.clone() if scene.has_temperature else None,
        cell_size=scene.domain.cell_size,
        time=solver.time,
        dt=dt,
        others={name: field.clone() for name, field in further.items() if field is not None},
    )
