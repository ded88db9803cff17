"""Where the smoke goes: what sources give, what leaves through open faces, what decays; and what the scheme loses.

Plain semi-Lagrangian steps do not conserve mass; corrected ones do. How far off they are is stated in
docs/results/solver.md, and held here.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from mass_cases import Ledger, kept, total
from random_setups import setups
from solver_cases import CLOSED, FLOOR, OPEN, PERIODIC, SPHERE, plume

from fluidsr.solver import Grid, Noise, Numerics, Physics, Setup, Shape, Solver, Source


def blown(advection: str, boundary: tuple[tuple[str, str], ...], frames: int) -> tuple[Solver, Ledger]:
    """A puff of an eighth of a box of 64 x 32 cells, emitted once, in a wind of 1.03 cells a substep."""
    n = 64
    puff = Source(Shape("sphere", (0.3, 0.25), 0.12), 1.0, seconds=(0.0, 0.01))
    grid, wind = Grid((n, n // 2), 1 / n, boundary), (1.03 * 24 / n, 0.0)
    physics = Physics(wind=wind)
    return kept(Setup(grid, physics, Numerics(advection=advection), (puff,), cfl=1.1), frames)


@pytest.mark.parametrize(
    ("advection", "off"), [("semi-lagrangian", 1e-5), ("maccormack", 1e-5), ("reflection", 1e-5)]
)
def test_a_puff_in_a_steady_wind_is_kept(advection: str, off: float) -> None:
    """To rounding."""
    solver, ledger = blown(advection, (PERIODIC, CLOSED), 40)
    assert ledger.emitted > 150 and ledger.left == 0.0
    assert total(solver) == pytest.approx(ledger.emitted, rel=off)


@pytest.mark.parametrize(
    ("advection", "off"), [("semi-lagrangian", 1e-5), ("maccormack", 1e-3), ("reflection", 1e-3)]
)
def test_a_puff_leaves_through_an_open_face_and_is_gone(advection: str, off: float) -> None:
    solver, ledger = blown(advection, (OPEN, CLOSED), 66)
    assert total(solver) == 0.0
    assert ledger.left == pytest.approx(ledger.emitted, rel=off)


@pytest.mark.parametrize(
    ("advection", "most"), [("semi-lagrangian", 0.03), ("maccormack", 3e-5), ("reflection", 3e-5)]
)
def test_a_hot_puff_that_rises_and_rolls_up_keeps_its_smoke(advection: str, most: float) -> None:
    setup = plume((64, 96), boundary=(CLOSED, CLOSED), advection=advection)
    puff = replace(setup.sources[0], velocity=None, seconds=(0.0, 0.01))
    solver, ledger = kept(replace(setup, sources=(puff,)), 36)
    assert float(solver.density[:, :24].sum()) < 0.5 * total(solver)  # it has gone up
    assert abs(ledger.lost) < most * ledger.emitted, ledger


@pytest.mark.parametrize("advection", ["maccormack", "reflection"])
def test_around_an_obstacle_limits_add_nothing(advection: str) -> None:
    """There the sum over cells is no total that the flow keeps. (Without that: 15 to 24 % of what was emitted.)"""
    hot = plume((24, 36), boundary=(CLOSED, CLOSED), advection=advection)
    ball = replace(SPHERE, shape=Shape("sphere", (0.5, 0.7), 0.12))
    _, behind = kept(replace(hot, obstacles=(ball,)), 24)
    assert abs(behind.lost) < 0.04 * behind.emitted, behind


def hot_smoke(scale: int, cfl: float) -> Ledger:
    """Smoke of a noisy disc 8 cells (times `scale`) wide, pushed and hot, m²."""
    shape, noise = Shape("sphere", (0.64, 0.16), 0.16), Noise(1.0, 9.0, 3)
    grid = Grid((32 * scale, 48 * scale), 0.04 / scale, (OPEN, FLOOR))
    source = Source(shape, 0.8, 1.0, (0.0, 1.5), noise)
    setup = Setup(grid, Physics(buoyancy_temperature=0.35), sources=(source,), cfl=cfl, max_substeps=1000)
    _, ledger = kept(setup, 12)
    return Ledger(
        *(x * grid.cell_size**2 for x in (ledger.emitted, ledger.left, ledger.decayed, ledger.lost))
    )


def test_a_hot_noisy_source_gives_as_much_smoke_whatever_the_cells_and_the_substeps() -> None:
    """Advection adds none of it. (It once added up to 10 %, and sources gave up to 10 % less instead.)"""
    runs = [hot_smoke(scale, cfl) for scale in (1, 2) for cfl in (0.5, 1.0, 3.0)]
    for ledger in runs:
        assert abs(ledger.lost) < 1e-3 * ledger.emitted
    given = [ledger.emitted for ledger in runs]
    assert max(given) < 1.05 * min(given), given


# Of what has been emitted, in boxes of 5 to 10 cells, by sources of 1 to 5 whose sharp edges every step renews.
COARSE = {"semi-lagrangian": 0.25, "maccormack": 0.1, "reflection": 0.1}


@settings(
    max_examples=30, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
@given(setups(obstacles=0, motion=False))
def test_in_every_scene_smoke_comes_from_sources_and_goes_through_open_faces(setup: Setup) -> None:
    solver, ledger = kept(replace(setup, cfl=1.0, max_substeps=99), 6)
    assert ledger.emitted >= 0 and ledger.left >= 0
    balance = ledger.emitted - ledger.left - ledger.decayed - ledger.lost
    assert total(solver) == pytest.approx(balance, rel=1e-4, abs=1e-3)
    assert abs(ledger.lost) <= COARSE[setup.numerics.advection] * max(ledger.emitted, 2.0)
