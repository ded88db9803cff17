"""Keyframes."""

from __future__ import annotations

import pytest

from fluidsr.errors import InputError, SolverError
from fluidsr.solver import Grid, Motion, Obstacle, Setup, Shape, Solver

PATH = Motion(((1.0, (0.0, 0.0)), (2.0, (1.0, -2.0)), (4.0, (1.0, 0.0))))


@pytest.mark.parametrize(
    ("time", "offset", "velocity"),
    [
        (0.0, (0.0, 0.0), (0.0, 0.0)),
        (1.0, (0.0, 0.0), (1.0, -2.0)),
        (1.5, (0.5, -1.0), (1.0, -2.0)),
        (2.0, (1.0, -2.0), (0.0, 1.0)),
        (3.0, (1.0, -1.0), (0.0, 1.0)),
        (4.0, (1.0, 0.0), (0.0, 0.0)),
        (9.0, (1.0, 0.0), (0.0, 0.0)),
    ],
)
def test_offsets_are_joined_by_lines_and_held_at_the_ends(
    time: float, offset: tuple[float, ...], velocity: tuple[float, ...]
) -> None:
    assert PATH.offset(time) == pytest.approx(offset)
    assert PATH.velocity(time) == pytest.approx(velocity)


def test_the_speed_of_a_stretch_is_its_greatest() -> None:
    assert PATH.speed(0.0, 0.5) == 0.0
    assert PATH.speed(0.0, 1.5) == 2.0  # found although it stands still at the start
    assert PATH.speed(2.5, 3.0) == 1.0
    assert PATH.speed(1.0, 9.0) == 2.0


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ((), "no keyframes"),
        (((0.0, (0.0,)), (0.0, (1.0,))), "do not increase"),
        (((1.0, (0.0,)), (0.0, (1.0,))), "do not increase"),
        (((0.0, (float("nan"),)),), "not finite"),
        (((float("inf"), (0.0,)),), "not finite"),
        (((0.0, (0.0, 0.0)), (1.0, (1.0,))), "differ in length"),
    ],
)
def test_invalid_motions_are_refused(keys: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Motion(keys)  # type: ignore[arg-type]


def test_a_solid_that_closes_in_on_all_air_stops_the_run() -> None:
    block = Shape("box", (-0.45, 0.4), size=(0.9, 0.9))
    obstacle = Obstacle(block, Motion(((0.0, (0.0, 0.0)), (1.0, (0.85, 0.0)))))
    solver = Solver(Setup(Grid((8, 8), 0.1, (("open", "open"),) * 2), obstacles=(obstacle,)))
    solver.advance(0.25)
    with pytest.raises(SolverError, match=r"t = [0-9.]+ s: obstacles: they leave no room for fluid; reduce"):
        for _ in range(4):
            solver.advance(0.25)
