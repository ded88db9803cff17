"""Solids and the fields: no leaks, what moving ones push, cover and uncover, and resuming among them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from solver_cases import CLOSED, FLOOR, OPEN

from fluidsr.errors import InputError
from fluidsr.solver import Grid, Motion, Numerics, Obstacle, Physics, Setup, Shape, Solver, Source
from fluidsr.solver.projection import MAX_DIVERGENCE

FRAME = 1 / 24
PERIODIC = ("periodic", "periodic")


def solid(solver: Solver) -> torch.Tensor:
    return torch.from_numpy(~solver.geometry.fluid).view(solver.setup.grid.shape)


def path(*keys: tuple[float, ...]) -> Motion:
    return Motion(tuple((key[0], tuple(key[1:])) for key in keys))


def fan(center: tuple[float, ...], velocity: tuple[float, ...], radius: float = 0.15) -> Source:
    return Source(Shape("sphere", center, radius), velocity=velocity)


def walled(at: float, thickness: float, dim: int, motion: Motion | None = None) -> Setup:
    """A sealed box, parted by a plate; smoke to the left of it, and strong wind on both sides."""
    n = 16
    wall = Shape("box", (at,) + (0.5,) * (dim - 1), size=(thickness / n,) + (3.0,) * (dim - 1))
    rest = (0.5,) * (dim - 2)
    smoke = Source(Shape("box", (0.1, 0.5, *rest), size=(0.4,) + (2.0,) * (dim - 1)), density=1.0)
    along = (0.0,) * (dim - 2)
    winds = (
        fan((at - 0.2, 0.4, *rest), (8.0, 3.0, *along)),
        fan((at + 0.2, 0.6, *rest), (9.0, -8.0, *along)),
    )
    obstacles = (Obstacle(wall, motion),)
    return Setup(
        Grid((n,) * dim, 1 / n, (CLOSED,) * dim), sources=(smoke, *winds), obstacles=obstacles, cfl=4.0
    )


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize(("at", "thickness"), [(0.5, 0.5), (0.53, 0.5), (0.47, 0.1), (0.5, 1.0), (0.52, 2.5)])
def test_nothing_passes_a_plate_thinner_than_a_cell(at: float, thickness: float, dim: int) -> None:
    solver = Solver(walled(at, thickness, dim))
    for _ in range(4):
        report = solver.advance(FRAME)
    beyond = int(at * 16) + 1 + int(thickness > 2)
    assert report.max_speed > 3.0 and report.cfl > 1.0
    assert float(solver.density[: beyond - 2].sum()) > 10
    assert not solver.density[beyond:].any()


@pytest.mark.parametrize("thickness", [0.4, 1.0, 3.0])
def test_nothing_passes_a_plate_that_moves(thickness: float) -> None:
    """To and fro within a sealed box: no smoke gets behind it, neither through it nor where it has been."""
    setup = walled(0.5, thickness, 2, path((0, 0, 0), (0.1, 0.2, 0), (0.3, -0.05, 0)))
    solver = Solver(dataclasses.replace(setup, sources=setup.sources[:1], max_substeps=64))
    for _ in range(7):
        report = solver.advance(FRAME)
        assert report.max_divergence <= MAX_DIVERGENCE
        plate = 0.5 + solver.setup.obstacles[0].motion.offset(solver.time)[0]  # type: ignore[union-attr]
        beyond = int(np.ceil((plate + 0.5 * thickness / 16) * 16 + 0.5))
        assert not solver.density[beyond:].any()
        assert not solver.density[solid(solver)].any()
    assert float(solver.density.sum()) > 50


bodies = st.builds(
    lambda kind, x, y, a, b: Shape("sphere", (x, y), a) if kind else Shape("box", (x, y), size=(a, b)),
    st.booleans(), *(st.floats(0.1, 0.9) for _ in range(2)), *(st.floats(0.01, 0.4) for _ in range(2)),
)  # fmt: skip
moves = st.one_of(
    st.none(),
    st.builds(lambda x, y: path((0, 0, 0), (0.1, x, y)), st.floats(-0.3, 0.3), st.floats(-0.3, 0.3)),
)


@pytest.mark.slow
@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    obstacles=st.lists(st.builds(Obstacle, bodies, moves), min_size=1, max_size=4),
    boundary=st.tuples(
        st.sampled_from([CLOSED, OPEN, FLOOR, PERIODIC]), st.sampled_from([CLOSED, OPEN, FLOOR])
    ),
)
def test_among_random_solids_no_smoke_in_any_and_no_divergence(
    obstacles: list[Obstacle], boundary: tuple[tuple[str, str], ...]
) -> None:
    sources = (
        Source(Shape("box", (0.5, 0.25), size=(2.0, 0.5)), 1.0, 1.0),
        fan((0.3, 0.3), (5.0, 2.0)),
        fan((0.7, 0.6), (-4.0, -5.0)),
    )
    grid = Grid((16, 16), 1 / 16, boundary)
    try:
        solver = Solver(
            Setup(grid, Physics(buoyancy_temperature=0.5), sources=sources, obstacles=tuple(obstacles))
        )
    except InputError as error:
        assert "no room" in str(error)
        return
    for _ in range(3):
        report = solver.advance(FRAME)
        assert report.max_divergence <= MAX_DIVERGENCE
        assert not solver.density[solid(solver)].any() and not solver.temperature[solid(solver)].any()
    low, high = torch.aminmax(solver.density)
    assert float(low) >= 0.0 and float(high) <= 1.0 + 1e-6


def test_uniform_smoke_stays_so_around_a_moving_ball() -> None:
    """What a solid covers and what it uncovers is made even between smoke and air: no wake of holes, no ripples."""
    ball = Obstacle(Shape("sphere", (0.35, 0.5, 0.5), 0.15), path((0, 0, 0, 0), (0.25, 0.3, 0.05, 0)))
    solver = Solver(Setup(Grid((20,) * 3, 1 / 20, (CLOSED,) * 3), obstacles=(ball,)))
    solver.density[~solid(solver)] = 0.7
    start = float(solver.density.sum())
    for _ in range(5):
        report = solver.advance(FRAME)
        assert report.max_divergence <= MAX_DIVERGENCE
        density = solver.density
        assert torch.allclose(density[~solid(solver)], torch.tensor(0.7), atol=2e-5)
        assert not density[solid(solver)].any()
    assert float(solver.density.sum()) == pytest.approx(start, rel=0.01)


def test_a_moving_ball_loses_little_of_the_smoke_it_meets() -> None:
    """It pushes smoke before covering it: a puff in its way goes around it."""
    ball = Obstacle(Shape("sphere", (0.25, 0.5), 0.12), path((0, 0, 0), (0.5, 0.5, 0)))
    solver = Solver(Setup(Grid((48, 48), 1 / 48, (CLOSED, CLOSED)), obstacles=(ball,)))
    puff = Shape("sphere", (0.55, 0.5), 0.1)
    x = (torch.arange(48) + 0.5) / 48
    solver.density[puff.signed_distance(x[:, None].numpy(), x[None].numpy()) < 0] = 1.0
    start = float(solver.density.sum())
    for _ in range(12):
        solver.advance(FRAME)
    assert float(solver.density.sum()) > 0.85 * start
    assert float(solver.density[:20].sum()) < 0.25 * float(solver.density.sum())  # most of it went along


@pytest.mark.parametrize("advection", ["maccormack", "semi-lagrangian", "reflection"])
@pytest.mark.parametrize("n", [32, pytest.param(48, marks=pytest.mark.slow)])
def test_a_plate_that_sweeps_a_closed_box_makes_no_smoke_and_eats_none(n: int, advection: str) -> None:
    """It goes through a wall of smoke: 11 % more of it once came out of this."""
    plate = Obstacle(Shape("box", (0.2, 0.5), size=(0.06, 0.7)), path((0.1, 0, 0), (1.0, 0.5, 0)))
    wall = Source(Shape("box", (0.5, 0.5), size=(0.2, 0.9)), 1.0, seconds=(0.0, 0.01))
    solver = Solver(
        Setup(
            Grid((n, n), 1 / n, (CLOSED, CLOSED)), numerics=Numerics(advection=advection), sources=(wall,),
            obstacles=(plate,),
        )
    )  # fmt: skip
    totals = [solver.advance(FRAME).total_density for _ in range(24)]
    assert totals == pytest.approx([0.18] * 24, rel=0.01)
    assert float(solver.density.max()) <= 1.0 and float(solver.density[: n // 3].sum()) > 0.05 * n * n * 0.18


def test_what_decays_decays_beside_a_moving_plate_too() -> None:
    plate = Obstacle(Shape("box", (0.3, 0.5), size=(0.08, 0.6)), path((0, 0, 0), (1.0, 0.4, 0)))
    wall = Source(Shape("box", (0.5, 0.5), size=(0.2, 0.8)), 1.0, seconds=(0.0, 0.01))
    grid = Grid((32, 32), 1 / 32, (CLOSED, CLOSED))
    solver = Solver(Setup(grid, Physics(dissipation_density=2.0), sources=(wall,), obstacles=(plate,)))
    totals = [solver.advance(FRAME).total_density for _ in range(12)]
    assert totals[-1] == pytest.approx(totals[0] * np.exp(-2.0 * 11 * FRAME), rel=0.01)


def test_open_faces_follow_the_geometry_and_are_cached() -> None:
    ball = Shape("sphere", (0.3, 0.5), 0.15)
    motion = path((0.0, 0.0, 0.0), (FRAME, 0.3, 0.0), (9.0, 0.3, 0.0))
    solver = Solver(Setup(Grid((16, 16), 1 / 16, (CLOSED, CLOSED)), obstacles=(Obstacle(ball, motion),)))
    first = solver.open_faces()
    assert solver.open_faces() is first
    for _ in range(2):  # it moves, and rests
        solver.advance(FRAME)
    there = dataclasses.replace(ball, center=(0.6, 0.5))
    expected = Solver(Setup(solver.setup.grid, obstacles=(Obstacle(there),))).open_faces()
    torch.testing.assert_close(solver.open_faces(), expected, atol=1e-4, rtol=0)
    assert not torch.equal(expected, first)


def test_a_moving_ball_is_a_resting_one_in_the_wind() -> None:
    """Galilei: seen from the ball, a ball that moves at U through air at rest is one that rests in wind -U."""
    n, speed, frames = 32, 0.75, 8  # 0.75 m/s * 32 cells/m / 24 = 1 cell a frame
    grid = Grid((n, n), 1 / n, (PERIODIC, PERIODIC))
    ball = Shape("sphere", (0.5, 0.5), 0.15)
    moving = Solver(Setup(grid, obstacles=(Obstacle(ball, path((0, 0, 0), (9, 9 * speed, 0))),)))
    resting = Solver(Setup(grid, Physics(wind=(-speed, 0.0)), obstacles=(Obstacle(ball),)))
    for _ in range(frames):
        moving.advance(FRAME)
        resting.advance(FRAME)
    seen = moving.velocity().clone()
    seen[0] -= speed
    seen = torch.roll(seen, -frames, dims=1)
    far = torch.from_numpy(
        ball.signed_distance((np.arange(n)[:, None] + 0.5) / n, (np.arange(n)[None] + 0.5) / n) > 1.5 / n
    )
    difference = (seen - resting.velocity())[:, far]
    assert float(difference.square().mean().sqrt()) < 0.04 * speed


def test_a_solid_in_the_wind_of_its_own_speed_leaves_it_alone() -> None:
    grid = Grid((24, 16), 1 / 24, (PERIODIC, PERIODIC))
    ball = Obstacle(Shape("sphere", (0.3, 0.3), 0.13), path((0, 0, 0), (1, 0.6, 0.25)))
    solver = Solver(Setup(grid, Physics(wind=(0.6, 0.25)), obstacles=(ball,)))
    for _ in range(6):
        solver.advance(FRAME)
    for axis, speed in enumerate((0.6, 0.25)):
        off = solver.velocity()[axis] - speed
        assert float(off.abs().max()) < 1e-3


def test_a_piston_in_a_sealed_box_neither_hangs_nor_blows_up() -> None:
    piston = Obstacle(
        Shape("box", (-0.3, 0.5), size=(0.8, 3.0)), path((0, 0, 0), (0.25, 0.6, 0), (0.4, 0, 0))
    )
    solver = Solver(Setup(Grid((24, 24), 1 / 24, (CLOSED, CLOSED)), obstacles=(piston,), max_substeps=32))
    solver.density[~solid(solver)] = 1.0
    for _ in range(12):
        report = solver.advance(FRAME)
        assert report.max_divergence <= MAX_DIVERGENCE and report.max_speed < 6.0
        assert torch.allclose(solver.density[~solid(solver)], torch.tensor(1.0), atol=1e-3)


def test_walls_that_meet_leave_no_room_without_a_hang() -> None:
    jaw = Obstacle(Shape("box", (0.1, 0.5), size=(0.3, 3.0)), path((0, 0, 0), (0.2, 0.6, 0)))
    anvil = Obstacle(Shape("box", (0.9, 0.5), size=(0.4, 3.0)))
    solver = Solver(Setup(Grid((16, 16), 1 / 16, (CLOSED, OPEN)), obstacles=(jaw, anvil), max_substeps=64))
    solver.density[~solid(solver)] = 1.0
    for _ in range(6):
        report = solver.advance(FRAME)
        assert report.max_divergence <= MAX_DIVERGENCE
    assert solid(solver)[9:].all() and not solver.density[9:].any()


def test_substeps_follow_the_speed_of_solids() -> None:
    """One cell a substep; a thin plate no further than it is thick."""
    grid = Grid((32, 16), 1 / 32, (OPEN, OPEN))
    there = path((0.1, 0, 0), (0.2, 0.375, 0))  # 12 cells in 0.1 s
    ball = Solver(
        Setup(grid, obstacles=(Obstacle(Shape("sphere", (0.3, 0.25), 0.1), there),), max_substeps=99)
    )
    assert ball.advance(0.05).substeps == 1
    assert ball.advance(0.05).substeps == 1
    assert ball.advance(0.05).substeps >= 6
    plate = Obstacle(Shape("box", (0.3, 0.25), size=(0.5 / 32, 0.2)), there)
    assert Solver(Setup(grid, obstacles=(plate,), max_substeps=99)).advance(0.2).substeps >= 30


def test_resuming_among_moving_solids_is_exact() -> None:
    shape = (20, 16)
    setup = Setup(
        Grid(shape, 1 / 20, (PERIODIC, FLOOR)),
        Physics(buoyancy_temperature=0.5),
        sources=(
            Source(Shape("sphere", (0.4, 0.2), 0.12), 1.0, 1.0, motion=path((0, 0, 0), (0.5, 0.3, 0.1))),
            Source(Shape("sphere", (0.8, 0.3), 0.1), 1.0, velocity=(0.5, 0.5)),
        ),
        obstacles=(
            Obstacle(Shape("sphere", (0.9, 0.35), 0.12), path((0, 0, 0), (0.7, 0.5, 0.1))),
            Obstacle(Shape("box", (0.3, 0.6), size=(0.3, 0.02))),
        ),
    )
    whole, first, second = Solver(setup), Solver(setup), Solver(setup)
    for _ in range(5):
        first.advance(FRAME)
    second.restore(first.state())
    for _ in range(5):
        second.advance(FRAME)
    for _ in range(10):
        whole.advance(FRAME)
    a, b = whole.state(), second.state()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert float(whole.density.sum()) > 5


def test_a_source_goes_where_its_keyframes_say() -> None:
    grid = Grid((32, 16), 1 / 32, (OPEN, OPEN))
    source = Source(Shape("sphere", (0.25, 0.25), 0.06), 1.0, motion=path((0, 0, 0), (0.25, 0.5, 0)))
    solver = Solver(Setup(grid, sources=(source,)))
    solver.advance(0.125)
    row = solver.density[:, 8]
    trail = (row > 0.5).nonzero().squeeze(1)
    assert trail[0] <= 9 and 15 <= trail[-1] <= 18  # from near 0.25 m to 0.5 m, without a gap
    assert torch.equal(trail, torch.arange(int(trail[0]), int(trail[-1]) + 1))


@pytest.mark.parametrize("axis", [0, 1])
def test_a_mirrored_scene_stays_mirrored(axis: int) -> None:
    """A paddle that moves in the plane of symmetry, smoke on both sides."""
    along = [0.0, 0.0]
    along[1 - axis] = 0.3
    size = [0.02, 0.2] if axis == 1 else [0.2, 0.02]
    setup = Setup(
        Grid((16, 16), 1 / 16, (CLOSED, CLOSED)),
        sources=(Source(Shape("sphere", (0.5, 0.5), 0.3), 1.0, seconds=(0.0, 0.01)),),
        obstacles=(Obstacle(Shape("box", (0.3, 0.5) if axis == 1 else (0.5, 0.3), size=tuple(size)),
                            path((0, 0, 0), (0.4, *along))),),
        max_substeps=64,
    )  # fmt: skip
    solver = Solver(setup)
    for _ in range(6):
        solver.advance(FRAME)
    assert torch.allclose(solver.density, solver.density.flip(axis), atol=1e-3)
