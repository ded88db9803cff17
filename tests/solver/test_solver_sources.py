"""Sources and their noise."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from solver_cases import CLOSED, OPEN, PERIODIC, box

from fluidsr.solver import Grid, Motion, Noise, Numerics, Physics, Setup, Shape, Solver, Source, backend
from fluidsr.solver.geometry import Geometry
from fluidsr.solver.sources import Emitter
from fluidsr.solver.state import State

BALL = Shape("sphere", (0.5, 0.5, 0.5), 0.25)


def emitted(source: Source, grid: Grid, time: float = 0.0, seconds: float = 0.0) -> State:
    backend.start("cpu")
    state = State.at_rest(grid, "cpu", heated=True)
    state.time = time
    Emitter(source, grid, Geometry.of(grid, ()), "cpu").emit(state, seconds)
    return state


def test_a_source_changes_only_the_fields_it_names() -> None:
    grid = box(16)
    state = emitted(Source(BALL, density=0.8), grid)
    assert float(state.density.max()) == pytest.approx(0.8)
    assert not state.temperature.any() and not any(c.any() for c in state.velocity)
    volume = float(state.density.sum()) / 16**3 / 0.8
    assert volume == pytest.approx(4 / 3 * np.pi * 0.25**3, rel=0.03)


def test_density_is_raised_never_lowered_and_cold_sources_lower() -> None:
    grid = box(8)
    backend.start("cpu")
    state = State.at_rest(grid, "cpu", heated=True)
    state.density.fill_(2.0)
    Emitter(Source(BALL, density=1.0, temperature=-3.0), grid, Geometry.of(grid, ()), "cpu").emit(state)
    assert torch.equal(state.density, torch.full_like(state.density, 2.0))
    assert float(state.temperature.min()) == -3.0 and float(state.temperature.max()) == 0.0


def test_gas_is_pushed_along_the_velocity_of_a_source_and_nowhere_else() -> None:
    grid, v = box(16), (0.1, -0.2, 0.3)
    state = emitted(Source(BALL, velocity=v), grid, seconds=1e4)
    for axis, speed in enumerate(v):
        field = state.velocity[axis].view(grid.faces(axis))
        assert float(field[8, 8, 8]) == pytest.approx(speed)
        assert not field[1].any()
    assert not state.density.any()
    assert not any(c.any() for c in emitted(Source(BALL, velocity=v), grid).velocity)  # no time, no push


@pytest.mark.parametrize("present", [0.5, 1.0, 2.0, -1.0])
def test_a_source_slows_nothing_down_and_turns_nothing(present: float) -> None:
    """Where gas is faster than the source asks for, it goes on as it came; across, it does so anyway."""
    grid = box(12, (OPEN,) * 3)
    backend.start("cpu")
    state = State.at_rest(grid, "cpu")
    for component, speed in zip(state.velocity, (0.3, present, -0.4), strict=True):
        component.fill_(speed)
    Emitter(Source(BALL, velocity=(0.0, 1.0, 0.0)), grid, Geometry.of(grid, ()), "cpu").emit(state, 0.1)
    u, v, w = (float(c.view(grid.faces(axis))[6, 6, 6]) for axis, c in enumerate(state.velocity))
    assert (u, w) == (np.float32(0.3), np.float32(-0.4))
    assert v == present if present >= 1.0 else present < v < 1.0


@pytest.mark.parametrize("v", [(0.0, 1.5), (0.9, 1.2)])
def test_the_push_of_a_second_knows_no_substeps_and_no_grid(v: tuple[float, float]) -> None:
    """Without projection and advection: the same momentum by one long step as by many, on cells of any size."""
    backend.start("cpu")
    momenta = []
    for n, steps in ((16, 1), (16, 40), (64, 1), (20, 7)):
        grid = box(n, (OPEN, OPEN))
        emitter = Emitter(
            Source(Shape("sphere", (0.47, 0.52), 0.1), velocity=v), grid, Geometry.of(grid, ()), "cpu"
        )
        state = State.at_rest(grid, "cpu")
        for _ in range(steps):
            emitter.emit(state, 0.02 / steps)
        momenta.append([float(c.sum()) / n**2 for c in state.velocity[:2]])
    for other in momenta[1:]:
        assert other == pytest.approx(momenta[0], rel=0.05, abs=1e-9)


@pytest.mark.parametrize(("time", "on"), [(0.9, False), (1.0, True), (1.9, True), (2.0, False)])
def test_a_source_keeps_its_hours(time: float, on: bool) -> None:
    state = emitted(Source(BALL, density=1.0, seconds=(1.0, 2.0)), box(8), time)
    assert bool(state.density.any()) == on


@pytest.mark.parametrize("inflow", [False, True])
def test_a_puff_within_one_substep_is_not_lost(inflow: bool) -> None:
    puff = Source(BALL, density=1.0, velocity=(0.0, 0.1, 0.0), seconds=(0.05, 0.06), inflow=inflow)
    solver = Solver(Setup(box(8, (OPEN,) * 3), sources=(puff,)))
    assert solver.advance(1 / 24).total_density == 0
    assert solver.advance(1 / 24).total_density > 0.06  # the volume of the ball is 0.065


def test_a_source_that_sticks_out_is_cut_off() -> None:
    grid = box(8, (OPEN, OPEN))
    state = emitted(Source(Shape("sphere", (0.0, 1.0), 0.3), 1.0, velocity=(1.0, 1.0)), grid)
    assert float(state.density.view(8, 8)[0, 7]) == 1.0
    assert not emitted(Source(Shape("sphere", (9.0, 9.0), 0.3), 1.0), grid).density.any()


@pytest.mark.parametrize("radius", [0.004, 0.03, 0.06, 0.11, 0.3])
@pytest.mark.parametrize("dim", [2, 3])
def test_what_a_ball_holds_is_its_volume_whatever_the_cells(radius: float, dim: int) -> None:
    """Also below a cell (0.125 m), wherever its center lies in one."""
    volume = np.pi * radius**2 if dim == 2 else 4 / 3 * np.pi * radius**3
    for at in np.random.default_rng(4).uniform(0.4, 0.6, (5, dim)):
        state = emitted(Source(Shape("sphere", tuple(at), radius), 0.7), box(8, (OPEN,) * dim))
        assert float(state.density.sum()) / 8**dim == pytest.approx(0.7 * volume, rel=0.03)


def test_a_box_gives_its_exact_share_of_each_cell() -> None:
    shape = Shape("box", (0.5, 0.5), size=(0.55, 0.1))
    density = emitted(Source(shape, 1.0), box(8, (OPEN, OPEN))).density.view(8, 8)
    along = [0.0, 0.2, 1.0, 1.0, 1.0, 1.0, 0.2, 0.0]
    for row in (3, 4):
        assert density[:, row].numpy() == pytest.approx(np.array(along) * 0.4, abs=1e-6)
    assert not density[:, :3].any() and not density[:, 5:].any()


def blown(
    shape: Shape, n: int, cfl: float, wind: tuple[float, float], noise: Noise | None = None, **numerics: str
) -> float:
    """The smoke that a source gives in 0.3 s to air that blows past it, m²."""
    grid = Grid((n, n), 1 / n, (OPEN, PERIODIC))
    solver = Solver(
        Setup(
            grid, Physics(wind=wind), Numerics(**numerics), (Source(shape, 1.0, noise=noise),), cfl=cfl,  # type: ignore[arg-type]
            max_substeps=1000,
        )
    )  # fmt: skip
    for _ in range(6):
        given = solver.advance(0.05).total_density
    return given


@pytest.mark.parametrize("advection", ["maccormack", "semi-lagrangian"])
@pytest.mark.parametrize("radius", [0.01, 0.0234, 0.05, 0.11])
def test_smoke_per_second_is_what_the_air_takes_along(radius: float, advection: str) -> None:
    """Width times speed, at any cells and substeps, also where the source is smaller than a cell or the air crosses it
    in less than a substep."""
    shape = Shape("sphere", (0.3013, 0.5077), radius)
    exact = 2 * radius * 0.3 + np.pi * radius**2
    for n in (32, 64):
        for cfl in (0.5, 1.0, 3.0, 6.0):
            given = blown(shape, n, cfl, (1.0, 0.0), advection=advection)
            assert given == pytest.approx(exact, rel=0.11 if radius * n < 1 else 0.06), (n, cfl)


@pytest.mark.parametrize("wind", [(1.0, 0.0), (0.8, 0.6)])
@pytest.mark.parametrize("noise", [None, Noise(1.0, 6.0, 3)])
@pytest.mark.parametrize(
    "shape", [Shape("sphere", (0.3, 0.5), 0.11), Shape("box", (0.3, 0.5), size=(0.1, 0.5))]
)
def test_coarse_and_fine_grids_and_substeps_give_the_same_smoke(
    shape: Shape, noise: Noise | None, wind: tuple[float, float]
) -> None:
    given = [[blown(shape, n, cfl, wind, noise) for cfl in (0.5, 1.0, 3.0)] for n in (32, 64)]
    for substeps in given:
        assert max(substeps) < 1.035 * min(substeps), given
    assert max(map(max, given)) < (1.06 if noise else 1.05) * min(map(min, given)), given


def noisy(n: int, time: float = 0.0, dim: int = 3, **changes: object) -> np.ndarray:
    """The modulation 1 + strength * n, seen by a source that covers the domain."""
    noise = dataclasses.replace(Noise(1.0, 6.0, 1), **changes)  # type: ignore[arg-type]
    everywhere = Shape("box", (0.5,) * dim, size=(2.0,) * dim)
    grid = box(n, (OPEN,) * dim)
    return emitted(Source(everywhere, 1.0, noise=noise), grid, time).density.numpy().reshape(grid.shape)


def test_noise_is_smooth_bounded_seeded_and_moves() -> None:
    field = noisy(48)
    assert field.min() >= 0.0 and field.max() <= 2.0
    assert 0.9 < field.mean() < 1.1 and field.std() > 0.2
    steepest = [abs(np.diff(f, axis=0)).max() for f in (field, noisy(96))]
    assert steepest[1] < 0.6 * steepest[0]  # half the step, half the change: no jumps
    assert np.array_equal(field, noisy(48))
    for other in (noisy(48, seed=2), noisy(48, time=1.0)):
        assert abs(np.corrcoef(field.ravel(), other.ravel())[0, 1]) < 0.3
    assert abs(noisy(48, time=0.02) - field).max() < 0.3
    assert np.allclose(noisy(16, strength=0.0), 1.0)


@pytest.mark.parametrize("dim", [2, 3])
def test_noise_knows_position_and_not_resolution(dim: int) -> None:
    """The centre of coarse cell i is that of fine cell 3 i + 1: both see the same noise there."""
    coarse, fine = noisy(12, 0.7, dim), noisy(36, 0.7, dim)
    assert np.allclose(coarse, fine[(slice(1, None, 3),) * dim], atol=2e-4)


@pytest.mark.parametrize(("cfl", "off"), [(0.5, 0.05), (1.0, 0.05), (3.0, 0.06)])
def test_a_hot_source_with_a_velocity_gives_the_same_smoke_on_cells_half_as_large(
    cfl: float, off: float
) -> None:
    """(Once 13 % more, and 22 % between substeps.)"""
    given = {}
    for scale in (1, 2):
        source = Source(Shape("sphere", (0.64, 0.16), 0.16), 0.8, 1.0, (0.0, 1.5))
        grid = Grid((32 * scale, 36 * scale), 0.04 / scale, (OPEN, ("closed", "open")))
        solver = Solver(
            Setup(grid, Physics(buoyancy_temperature=0.35), sources=(source,), cfl=cfl, max_substeps=200)
        )
        for _ in range(6):
            given[scale] = solver.advance(1 / 24).total_density
    assert given[1] == pytest.approx(given[2], rel=off)
    assert given[2] == pytest.approx(0.101, rel=0.03)  # whatever the substeps


def test_coarse_and_fine_runs_emit_the_same_amount() -> None:
    totals = []
    for n in (16, 32):
        source = Source(BALL, 1.0, 0.0, (0.0, 0.3, 0.0), Noise(0.5, 4.0, 3))
        totals.append(Solver(Setup(box(n, (OPEN,) * 3), sources=(source,))).advance(0.1).total_density)
    assert totals[0] == pytest.approx(totals[1], rel=0.05)


def test_a_source_across_a_periodic_end_goes_on_at_the_other() -> None:
    """Wherever the seam lies, and wherever motion has carried it: as many cells, as much smoke, the same flow."""
    n, h = 12, 1 / 12
    runs = []
    for cells in (6, 12, 0, -24):  # from the middle to either end, and two laps back
        motion = Motion(((0.0, (cells * h - 0.5, 0.0)),))
        source = Source(Shape("sphere", (0.5, 0.5), 0.2), 1.0, None, (0.4, 0.3), motion=motion)
        solver = Solver(Setup(Grid((n, n), h, (("periodic", "periodic"), CLOSED)), sources=(source,)))
        for _ in range(3):
            solver.advance(0.05)
        fields = torch.cat([solver.density[None], solver.velocity()])
        runs.append(torch.roll(fields, 6 - cells, dims=1))
    assert float(runs[0][0].sum()) > 15
    for other in runs[1:]:
        assert torch.allclose(other, runs[0], atol=1e-4)


def test_a_source_that_has_left_emits_no_more() -> None:
    solver = Solver(
        Setup(
            Grid((8, 8), 0.1, (CLOSED, CLOSED)),
            sources=(Source(Shape("sphere", (-0.22, 0.4), 0.2), 1.0),),
        )
    )
    solver.advance(0.1)
    assert not solver.density.any()
