"""Sources and their noise."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from solver_cases import CLOSED, OPEN, box

from fluidsr.solver import Grid, Motion, Noise, Setup, Shape, Solver, Source, backend
from fluidsr.solver.geometry import Geometry
from fluidsr.solver.sources import Emitter
from fluidsr.solver.state import State

BALL = Shape("sphere", (0.5, 0.5, 0.5), 0.25)


def emitted(source: Source, grid: Grid, time: float = 0.0) -> State:
    backend.start("cpu")
    state = State.at_rest(grid, "cpu", heated=True)
    state.time = time
    Emitter(source, grid, Geometry.of(grid, ()), "cpu").emit(state)
    return state


def test_a_source_sets_what_it_names_and_nothing_else() -> None:
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


def test_velocity_is_imposed_on_the_faces_within() -> None:
    grid = box(16)
    state = emitted(Source(BALL, velocity=(0.1, -0.2, 0.3)), grid)
    for axis, speed in enumerate((0.1, -0.2, 0.3)):
        field = state.velocity[axis].view(grid.faces(axis))
        assert float(field[8, 8, 8]) == pytest.approx(speed)
        assert not field[1].any()


@pytest.mark.parametrize(("time", "on"), [(0.9, False), (1.0, True), (1.9, True), (2.0, False)])
def test_a_source_keeps_its_hours(time: float, on: bool) -> None:
    state = emitted(Source(BALL, density=1.0, seconds=(1.0, 2.0)), box(8), time)
    assert bool(state.density.any()) == on


def test_a_source_that_sticks_out_is_cut_off() -> None:
    grid = box(8, (OPEN, OPEN))
    state = emitted(Source(Shape("sphere", (0.0, 1.0), 0.3), 1.0, velocity=(1.0, 1.0)), grid)
    assert float(state.density.view(8, 8)[0, 7]) == 1.0
    assert not emitted(Source(Shape("sphere", (9.0, 9.0), 0.3), 1.0), grid).density.any()


def test_a_source_smaller_than_a_cell_still_emits() -> None:
    state = emitted(Source(Shape("sphere", (0.5, 0.5, 0.5), 0.001), 1.0, velocity=(0.0, 1.0, 0.0)), box(8))
    assert float(state.density.sum()) == 1.0 and float(state.velocity[1].sum()) >= 1.0


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
