"""Scenes that make no sense, or hardly any: a clear error or a right result, never a hang, a crash or a NaN."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from solver_cases import CLOSED, OPEN, PERIODIC, SPHERE, box, plume

from fluidsr.errors import InputError, SolverError
from fluidsr.solver import Grid, Noise, Obstacle, Physics, SampledDistance, Setup, Shape, Solver, Source

FRAME = 1 / 24
PLUME = plume((12, 16, 12))
SOURCE = PLUME.sources[0]
NAN, INF = math.nan, math.inf


def run(setup: Setup, seconds: float = FRAME, frames: int = 3) -> Solver:
    """Some frames, after which everything is still finite and within bounds."""
    solver = Solver(setup)
    for _ in range(frames):
        report = solver.advance(seconds)
        assert report.max_divergence <= 1e-3 and report.substeps <= setup.max_substeps
    assert all(bool(torch.isfinite(array).all()) for array in solver.state().values())
    assert float(solver.density.min()) >= 0.0 and float(solver.density.max()) <= 1.0
    return solver


def at_scale(factor: float, *obstacles: Obstacle) -> Setup:
    """The plume in a box so many times as large, under the same gravity."""
    ball = SOURCE.shape
    shape = replace(ball, center=tuple(c * factor for c in ball.center), radius=0.15 * factor)
    grid = replace(PLUME.grid, cell_size=PLUME.grid.cell_size * factor)
    return replace(PLUME, grid=grid, sources=(replace(SOURCE, shape=shape),), obstacles=obstacles)


@pytest.mark.parametrize("cfl", [50.0, INF, 1e-300])
@pytest.mark.parametrize("obstacles", [(), (SPHERE,)])
def test_any_cfl_number_runs(cfl: float, obstacles: tuple[Obstacle, ...]) -> None:
    solver = run(replace(PLUME, cfl=cfl, obstacles=obstacles))
    assert float(solver.density.sum()) > 10


@pytest.mark.slow
@pytest.mark.parametrize("advection", ["maccormack", "reflection"])
@pytest.mark.parametrize("obstacles", [(), (SPHERE,)])
def test_a_frame_of_ten_seconds(advection: str, obstacles: tuple[Obstacle, ...]) -> None:
    """A hundred cells and more a substep."""
    setup = plume((12, 16, 12), obstacles=obstacles, advection=advection)
    solver = Solver(setup)
    report = solver.advance(10.0)
    assert report.substeps == 16 and report.cfl > 10
    run(setup, 10.0)


@pytest.mark.parametrize("ball", [False, True])
@pytest.mark.parametrize("factor", [1e-30, 1e-9])
def test_cells_of_nanometres_are_too_small_for_gusts_and_it_says_so(factor: float, ball: bool) -> None:
    """At 0.5 m/s a frame crosses hundreds of millions of them: float32 cannot tell such speeds from others."""
    shape = Shape("sphere", tuple(0.5 * factor for _ in range(3)), 0.1 * factor)
    with pytest.raises(
        SolverError, match=r"^t = .* the pressure solve did not converge: .*; raise .* time.max_substeps$"
    ):
        run(at_scale(factor, *(Obstacle(shape),) * ball))


@pytest.mark.parametrize("factor", [1e-9, 1e-4, 1e12])
def test_a_flow_that_scales_looks_the_same_at_every_scale(factor: float) -> None:
    """All lengths, speeds and accelerations times the same number."""
    setup = at_scale(
        factor, Obstacle(Shape("sphere", tuple(factor * x for x in (0.5, 0.9, 0.5)), 0.15 * factor))
    )
    scaled = replace(
        setup,
        physics=replace(setup.physics, gravity=9.81 * factor),
        sources=(replace(setup.sources[0], velocity=(0.0, 0.5 * factor, 0.0)),),
    )
    solver, plain = (
        run(scaled),
        run(replace(PLUME, obstacles=(Obstacle(Shape("sphere", (0.5, 0.9, 0.5), 0.15)),))),
    )
    assert torch.allclose(solver.density, plain.density, atol=1e-4)
    assert torch.allclose(solver.velocity() / factor, plain.velocity(), atol=1e-4)


def test_a_source_inside_a_solid_gives_nothing() -> None:
    wall = Obstacle(Shape("box", (0.5, 0.25, 0.5), size=(0.6, 0.6, 0.6)))
    solver = run(replace(PLUME, obstacles=(wall,)))
    assert not solver.density.any() and not solver.velocity().any()


def test_a_source_half_in_a_solid_gives_what_sticks_out() -> None:
    wall = Obstacle(Shape("box", (0.25, 0.5, 0.5), size=(0.5, 2.0, 2.0)))
    solver = run(replace(PLUME, obstacles=(wall,)))
    assert not solver.density[:6].any() and float(solver.density[6:].sum()) > 5


def test_a_shell_with_holes_lets_smoke_in_and_a_closed_one_does_not() -> None:
    """A sampled distance is taken as it is (what reads meshes refuses those with open edges)."""
    n, spacing = 33, 1 / 32
    at = np.moveaxis(np.indices((n,) * 3), 0, -1) * spacing - 0.5
    shell = np.abs(np.linalg.norm(at, axis=-1) - 0.3) - 0.06
    hole = np.linalg.norm(at[..., (0, 2)], axis=-1) - 0.15
    holed = np.maximum(shell, -hole)
    wind = Source(Shape("box", (0.5, 0.1, 0.5), size=(1.0, 0.2, 1.0)), 1.0, velocity=(0.0, 2.0, 0.0))
    inside = []
    for values in (shell, holed):
        field = SampledDistance(values.astype(np.float32), (-0.5,) * 3, spacing, (0.36,) * 3)
        body = Obstacle(Shape("mesh", (0.5, 0.5, 0.5), field=field))
        solver = run(Setup(box(16, (OPEN,) * 3), sources=(wind,), obstacles=(body,)), 0.1, 8)
        inside.append(float(solver.density[6:10, 6:10, 6:10].sum()))
    assert inside[0] == 0.0 and inside[1] > 0.01


@pytest.mark.parametrize("ends", [CLOSED, OPEN, PERIODIC])
@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 1), (40, 1, 1), (1, 9), (2, 1, 9)])
def test_grids_of_hardly_any_cells(shape: tuple[int, ...], ends: tuple[str, str]) -> None:
    dim = len(shape)
    ball = Shape("sphere", tuple(0.05 * n for n in shape), 0.1)
    source = Source(ball, 1.0, 1.0, (1.0,) * dim)
    physics = Physics(buoyancy_temperature=0.5, viscosity=0.01, vorticity_confinement=0.5)
    solver = run(Setup(Grid(shape, 0.1, (ends,) * dim), physics, sources=(source,)))
    assert 0.9 < float(solver.density.max()) <= 1.0  # the ball leaves out the corners of its cells


def test_sources_and_solids_far_away_do_nothing() -> None:
    far = Shape("sphere", (1e30, 0.0, -1e30), 0.1)
    still = Setup(
        box(8, (OPEN,) * 3), sources=(Source(far, 1.0, 1.0, (1.0, 0.0, 0.0)),), obstacles=(Obstacle(far),)
    )
    assert not run(still).density.any()


def blown_up(**change: object) -> Setup:
    return replace(PLUME, sources=(replace(SOURCE, **change),))


@pytest.mark.parametrize(
    "setup",
    [
        blown_up(temperature=1e20),
        blown_up(velocity=(1e20, 0.0, 0.0)),
        replace(PLUME, physics=replace(PLUME.physics, gravity=1e30)),
        replace(PLUME, physics=replace(PLUME.physics, viscosity=1e38)),
    ],
    ids=["heat", "speed", "gravity", "viscosity"],
)
def test_numbers_beyond_reason_end_in_one_line(setup: Setup) -> None:
    with pytest.raises(SolverError) as caught:
        run(setup)
    assert "\n" not in str(caught.value) and str(caught.value).count("; ") == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: Shape("sphere", (0.5, NAN, 0.5), 0.1),
        lambda: Shape("sphere", (0.5, 0.5, INF), 0.1),
        lambda: Shape("sphere", (0.5, 0.5, 0.5), INF),
        lambda: Shape("sphere", (0.5, 0.5, 0.5), NAN),
        lambda: Shape("sphere", (0.5, 0.5, 0.5), 0.0),
        lambda: Shape("box", (0.5, 0.5, 0.5), size=(0.1, 0.0, 0.1)),
        lambda: Shape("box", (0.5, 0.5, 0.5), size=(0.1, INF, 0.1)),
        lambda: Shape("cylinder", (0.5, 0.5, 0.5), 0.1, height=-0.1, axis=0),
        lambda: Source(SPHERE.shape, density=NAN),
        lambda: Source(SPHERE.shape, density=-1.0),
        lambda: Source(SPHERE.shape, temperature=INF),
        lambda: Source(SPHERE.shape, velocity=(0.0, INF, 0.0)),
        lambda: Source(SPHERE.shape, 1.0, seconds=(NAN, 1.0)),
        lambda: Noise(NAN, 1.0),
        lambda: Physics(gravity=NAN),
        lambda: Physics(vorticity_confinement=INF),
        lambda: Physics(dissipation_density=-5.0),
        lambda: Physics(dissipation_temperature=NAN),
        lambda: Grid((8, 8), NAN, (CLOSED, CLOSED)),
        lambda: Grid((8, 0), 0.1, (CLOSED, CLOSED)),
        lambda: replace(PLUME, cfl=NAN),
        lambda: Solver(
            replace(PLUME, obstacles=(Obstacle(Shape("box", (0.5, 0.5, 0.5), size=(9.0, 9.0, 9.0))),))
        ),
    ],
)
def test_values_that_are_not_finite_and_shapes_without_volume_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(InputError) as caught:
        make()
    assert "\n" not in str(caught.value)
