"""Whole steps: invariants, symmetry, resuming, reports."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from solver_cases import CLOSED, FLOOR, OPEN, PERIODIC, SPHERE, box, plume

from fluidsr.errors import InputError, SolverError
from fluidsr.solver import (
    BYTES_PER_CELL,
    Grid,
    Noise,
    Numerics,
    Obstacle,
    Physics,
    Setup,
    Shape,
    Solver,
    Source,
    backend,
)
from fluidsr.solver.forces import Forces
from fluidsr.solver.projection import MAX_DIVERGENCE
from fluidsr.solver.state import State
from fluidsr.solver.workspace import Workspace

FRAME = 1 / 24
NOISE = Noise(0.5, 8.0, 2)


def run(setup: Setup, frames: int) -> Solver:
    solver = Solver(setup)
    for _ in range(frames):
        solver.advance(FRAME)
    return solver


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_nothing_moves_without_a_cause() -> None:
    setup = Setup(box(12, (OPEN, FLOOR, CLOSED)), obstacles=(SPHERE,))
    solver = Solver(setup)
    solver.density.copy_(torch.rand(12, 12, 12) * (solver.density == 0) * fluid(solver))
    before = solver.state()
    report = solver.advance(FRAME)
    after = solver.state()
    assert equal(before | {name: after[name] for name in ("time", "densest")}, after)
    assert report.pressure_iterations == (0,) and report.max_speed == 0.0


@pytest.mark.parametrize("advection", ["maccormack", "semi-lagrangian"])
def test_an_open_box_does_not_feed_on_its_inflow(advection: str) -> None:
    """Air set in motion once slows down; with inflow as fast as the air beside the face it runs away."""
    grid = box(16, (OPEN,) * 3)
    solver = Solver(Setup(grid, numerics=Numerics(advection=advection), cfl=2.0))
    state, generator = solver.state(), torch.Generator().manual_seed(3)
    for axis in range(3):
        smooth = torch.nn.functional.avg_pool3d(
            torch.randn(1, 1, *grid.faces(axis), generator=generator), 5, stride=1, padding=2
        )
        name = f"velocity_{'xyz'[axis]}"
        state[name] = (20 * smooth).reshape(state[name].shape)
    solver.restore(state)
    solver.advance(FRAME)
    first = float(solver.velocity().square().mean())
    for _ in range(60):
        solver.advance(FRAME)
    assert float(solver.velocity().square().mean()) < 0.2 * first


def fluid(solver: Solver) -> torch.Tensor:
    return torch.from_numpy(solver.geometry.fluid).view(solver.setup.grid.shape)


def test_no_time_changes_nothing() -> None:
    solver = run(plume(noise=NOISE, obstacles=(SPHERE,)), 3)
    before = solver.state()
    assert solver.advance(0.0).substeps == 0
    assert equal(before, solver.state())


def test_the_same_run_gives_the_same_bits() -> None:
    setup = plume(noise=NOISE, obstacles=(SPHERE,))
    assert equal(run(setup, 6).state(), run(setup, 6).state())


@pytest.mark.parametrize("shape", [(16, 24, 16), (24, 32)])
def test_a_restored_run_goes_on_with_the_same_bits(shape: tuple[int, ...]) -> None:
    obstacle = Obstacle(Shape("sphere", (0.5, 0.7, 0.5)[: len(shape)], 0.12))
    setup = dataclasses.replace(
        plume(shape, NOISE, (obstacle,)), physics=Physics(9.81, 0.1, 0.5, 0.4, 0.2, 0.1)
    )
    whole, first = run(setup, 8), run(setup, 4)
    second = Solver(setup)
    second.restore(first.state())
    for _ in range(4):
        second.advance(FRAME)
    assert second.time == whole.time
    assert equal(second.state(), whole.state())
    assert torch.equal(second.velocity(), whole.velocity())


def thicken(solver: Solver, factor: float) -> None:
    """One frame in which all smoke becomes `factor` times as dense."""
    advect = solver._advect_scalars

    def advect_and_thicken(dt: float) -> None:
        advect(dt)
        solver.density.mul_(factor)

    solver._advect_scalars = advect_and_thicken  # type: ignore[method-assign]
    solver.advance(FRAME)


def test_smoke_that_runs_away_is_noticed_across_a_restart() -> None:
    setup = dataclasses.replace(plume((8, 12)), max_substeps=1)
    first, second, other = run(setup, 2), Solver(setup), Solver(setup)
    thicken(first, 40.0)
    state = first.state()
    second.restore(state)
    with pytest.raises(SolverError, match="density runs away"):
        thicken(second, 5.0)
    other.restore({name: array for name, array in state.items() if name != "densest"})
    thicken(other, 5.0)  # what it begins with counts as put in


def test_what_does_not_fit_is_not_restored() -> None:
    solver = run(plume((8, 12, 8)), 1)
    state = solver.state()
    with pytest.raises(InputError, match="'density' is missing or has another size"):
        Solver(plume((12, 12, 8))).restore(state)
    with pytest.raises(InputError, match="'time' is missing"):
        solver.restore({name: array for name, array in state.items() if name != "time"})
    with pytest.raises(InputError, match="'velocity_x' is not finite"):
        solver.restore(state | {"velocity_x": state["velocity_x"] * float("nan")})


def test_a_mirror_symmetric_plume_stays_symmetric_for_48_frames() -> None:
    solver = run(plume((32, 48, 32)), 48)
    density, velocity = solver.density, solver.velocity()
    assert float(density.max()) > 0.5 and float(velocity.abs().max()) > 1.0
    for axis in (0, 2):
        assert float((density - density.flip(axis)).abs().max()) < 1e-3
        mirrored = velocity.flip(axis + 1)
        mirrored[axis] *= -1
        assert float((velocity - mirrored).abs().max()) < 1e-3


def test_a_plane_is_a_volume_one_cell_thick() -> None:
    plane = plume((24, 32), boundary=(OPEN, FLOOR))
    source = plane.sources[0]
    column = Shape("cylinder", (*source.shape.center, 0.5 / 24), 0.15, height=1.0, axis=2)
    thick = dataclasses.replace(
        plane,
        grid=Grid((24, 32, 1), 1 / 24, (OPEN, FLOOR, CLOSED)),
        sources=(dataclasses.replace(source, shape=column, velocity=(0.0, 0.5, 0.0)),),
    )
    a, b = run(plane, 6), run(thick, 6)
    assert float(a.density.sum()) > 10
    assert torch.allclose(a.density, b.density[..., 0], atol=1e-4)  # kernels see the axes in another order
    assert torch.allclose(a.velocity(), b.velocity()[:2, ..., 0], atol=1e-4)
    assert not b.velocity()[2].any()


def scenes() -> dict[str, Setup]:
    jet = Source(
        Shape("cylinder", (0.1, 0.5, 0.5), 0.1, height=0.1, axis=0), 1.0, None, (3.0, 0.0, 0.0), NOISE
    )
    left = Source(Shape("sphere", (0.2, 0.5, 0.5), 0.12), 1.0, None, (2.0, 0.0, 0.0))
    right = Source(Shape("sphere", (0.8, 0.5, 0.5), 0.12), 1.0, None, (-2.0, 0.0, 0.0))
    gravity = Physics(vorticity_confinement=0.5)
    return {
        "plume": plume(noise=NOISE),
        "plume2d": plume((32, 48), NOISE, boundary=(OPEN, FLOOR)),
        "jet": Setup(Grid((24, 16, 16), 1 / 16, (OPEN, CLOSED, OPEN)), gravity, sources=(jet,)),
        "obstacle": plume(noise=NOISE, obstacles=(SPHERE,)),
        "collision": Setup(box(16, (CLOSED,) * 3), gravity, sources=(left, right)),
    }


@pytest.mark.parametrize("name", list(scenes()))
def test_every_kind_of_scene_holds_its_tolerances(name: str) -> None:
    solver = Solver(scenes()[name])
    for _ in range(8):
        report = solver.advance(FRAME)
        assert report.max_divergence <= MAX_DIVERGENCE
        assert report.residual <= 1e-4 or max(report.pressure_iterations) == 0
        assert len(report.pressure_iterations) == report.substeps
        assert report.cfl <= 3.5
    assert report.total_density > 0 and report.max_speed > 0.3
    low, high = torch.aminmax(solver.density)
    assert float(low) >= 0.0 and float(high) <= 1.5
    assert float(solver.density.sum()) * solver.setup.grid.cell_size**solver.setup.grid.dim == pytest.approx(
        report.total_density, rel=1e-5
    )


def test_solids_hold_no_smoke_and_no_flow() -> None:
    solver = run(plume(obstacles=(SPHERE,)), 20)
    solid = ~fluid(solver)
    assert int(solid.sum()) > 10  # of 58 cells, those that are not open at all
    assert not solver.density[solid].any() and not solver.temperature[solid].any()
    assert float(solver.density[:, 9:].sum()) > 1.0  # it went around: the sphere's middle is cell 8.8


def test_smoke_flows_along_a_solid_without_being_eaten() -> None:
    """A channel half of solid: what fills the open half stays whole while it moves along the wall."""
    grid = Grid((16, 8), 1 / 16, (OPEN, CLOSED))
    wall = Obstacle(Shape("box", (0.5, 0.125), size=(2.0, 0.25)))
    push = Source(Shape("box", (0.5, 0.375), size=(2.0, 0.25)), 1.0, None, (1.0, 0.0), seconds=(0.0, 0.02))
    solver = Solver(Setup(grid, sources=(push,), obstacles=(wall,)))
    for _ in range(3):
        solver.advance(0.02)
    assert torch.allclose(solver.density[6:, 4:], torch.tensor(1.0), atol=1e-4)


def test_substeps_follow_the_cfl_number_and_its_bound() -> None:
    fast = Source(Shape("sphere", (0.5, 0.5, 0.5), 0.2), 1.0, None, (12.0, 0.0, 0.0))
    setup = Setup(box(16, (OPEN,) * 3), sources=(fast,), cfl=2.0, max_substeps=16)
    report = Solver(setup).advance(FRAME)  # 12 m/s * 16 cells/m / 24 = 8 cells a frame
    assert report.substeps == 4 and report.cfl <= 2.5
    bounded = Solver(dataclasses.replace(setup, max_substeps=2))
    assert bounded.advance(FRAME).substeps == 2
    assert bounded.advance(FRAME).cfl > 2.0


def test_buoyancy_gives_the_momentum_of_its_force() -> None:
    """Uniform heat in a box that is open above and below speeds up by g * b * T * t, whatever its size."""
    grid = box(8, (CLOSED, OPEN, CLOSED))
    heavy = Setup(grid, Physics(gravity=10.0, buoyancy_temperature=0.5, buoyancy_density=0.2))
    solver = Solver(heavy)
    solver.temperature.fill_(0.3)
    solver.density.fill_(0.25)
    solver.advance(0.01)
    rise = solver.velocity()[1]
    assert torch.allclose(rise, torch.tensor(10.0 * (0.5 * 0.3 - 0.2 * 0.25) * 0.01), rtol=1e-4)
    assert float(solver.velocity()[0].abs().max()) < 1e-6


def test_dissipation_is_exponential_in_time() -> None:
    setup = Setup(box(6), Physics(gravity=0.0, dissipation_density=0.5, dissipation_temperature=2.0))
    solver = Solver(setup)
    solver.density.fill_(1.0)
    solver.temperature.fill_(1.0)
    for _ in range(5):
        solver.advance(0.2)
    assert torch.allclose(solver.density, torch.tensor(math.exp(-0.5)), rtol=1e-5)
    assert torch.allclose(solver.temperature, torch.tensor(math.exp(-2.0)), rtol=1e-5)


def vortex(epsilon: float) -> float:
    """Kinetic energy that a vortex in a closed square has left after some frames."""
    solver = Solver(Setup(box(24, (CLOSED, CLOSED)), Physics(vorticity_confinement=epsilon)))
    x = torch.arange(25) / 24
    stream = 0.1 * torch.outer(torch.sin(torch.pi * x) ** 2, torch.sin(torch.pi * x) ** 2)
    state = solver.state()
    state["velocity_x"] = (24 * stream.diff(dim=1)).reshape(-1)
    state["velocity_y"] = (-24 * stream.diff(dim=0)).reshape(-1)
    solver.restore(state)
    for _ in range(6):
        solver.advance(FRAME)
    return float((solver.velocity() ** 2).sum())


def test_vorticity_confinement_feeds_vortices() -> None:
    assert vortex(0.5) > 1.02 * vortex(0.0)


def test_uniform_flow_feels_no_confinement() -> None:
    grid = box(8, (OPEN,) * 3)
    backend.start("cpu")
    forces = Forces(grid, Physics(vorticity_confinement=1.0), "cpu", Workspace("cpu"))
    velocity = State.at_rest(grid, "cpu").velocity
    velocity[0].fill_(0.5)
    forces.confine_vorticity(velocity, FRAME)
    for component, speed in zip(velocity, (0.5, 0.0, 0.0), strict=True):
        assert torch.equal(component, torch.full_like(component, speed))


@pytest.mark.parametrize("field", ["density", "temperature"])
def test_a_number_that_is_none_stops_the_run(field: str) -> None:
    solver = Solver(plume((8, 12, 8)))
    getattr(solver, field)[4, 6, 4] = float("nan")
    with pytest.raises(SolverError, match=r"^t = 0\.04\d* s: .* no longer finite"):
        solver.advance(FRAME)


def test_a_solve_that_does_not_converge_stops_the_run() -> None:
    solver = Solver(plume((16, 24, 16), preconditioner="none", max_iterations=3))
    with pytest.raises(SolverError, match=r"^t = 0\.04167 s: .*after 3 iterations; raise numerics"):
        solver.advance(FRAME)


def test_semi_lagrangian_blurs_more() -> None:
    sharp, blurred = (run(plume(advection=name), 12).density for name in ("maccormack", "semi-lagrangian"))
    assert float(blurred.diff(dim=1).abs().mean()) < 0.97 * float(sharp.diff(dim=1).abs().mean())


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_only_a_duration_can_be_advanced_by(seconds: float) -> None:
    with pytest.raises(InputError, match="is not a duration"):
        Solver(plume((8, 12, 8))).advance(seconds)


@pytest.mark.parametrize(("obstacles", "least"), [((), 0.7), ((SPHERE,), 0.9)])
def test_the_memory_per_cell_is_as_announced(obstacles: tuple[Obstacle, ...], least: float) -> None:
    solver = Solver(plume((32, 48, 32), obstacles=obstacles))
    solver.advance(FRAME)
    seen: dict[int, int] = {}

    def collect(thing: object) -> None:
        if isinstance(thing, torch.Tensor):
            storage = thing.untyped_storage()
            seen[storage.data_ptr()] = storage.nbytes()
        elif isinstance(thing, np.ndarray):
            while isinstance(thing.base, np.ndarray):
                thing = thing.base
            seen[thing.ctypes.data] = thing.nbytes
        elif isinstance(thing, (tuple, list)):
            for part in thing:
                collect(part)
        elif isinstance(thing, dict):
            collect(list(thing.values()))
        elif type(thing).__module__.split(".")[0] == "fluidsr":  # also by a public name, fluidsr.Solver
            collect(list(vars(thing).values()))

    collect(solver)
    a_cell = sum(seen.values()) / (32 * 48 * 32)
    assert least * BYTES_PER_CELL < a_cell <= BYTES_PER_CELL


def test_viscosity_makes_shear_decay_at_its_rate() -> None:
    """u = sin(2 pi y) between periodic sides decays by exp(-nu (2 pi)^2 t), nothing else acting on it."""
    n, nu, seconds = 32, 0.05, 0.2
    solver = Solver(Setup(box(n, (PERIODIC, PERIODIC)), Physics(viscosity=nu), cfl=0.2))
    state = solver.state()
    wave = torch.sin(2 * torch.pi * (torch.arange(n) + 0.5) / n)
    state["velocity_x"] = wave.expand(n + 1, n).reshape(-1).clone()
    solver.restore(state)
    for _ in range(16):
        solver.advance(seconds / 16)
    left = float((solver.velocity()[0] * wave).sum() / (n * wave.square().sum()))
    assert left == pytest.approx(math.exp(-nu * (2 * math.pi) ** 2 * seconds), rel=0.02)
