"""Setups that cannot be, refused where they are made."""

from __future__ import annotations

import pytest
from solver_cases import CLOSED, FLOOR, OPEN, box

from fluidsr.errors import InputError
from fluidsr.solver import Grid, Physics, Setup

PERIODIC = ("periodic", "periodic")


def test_an_axis_is_periodic_at_both_ends_or_at_none() -> None:
    grid = Grid((4, 5, 6), 0.1, (PERIODIC, FLOOR, OPEN))
    assert grid.periodic == (True, False, False)
    assert grid.opened == ((False, False), (False, True), (True, True))
    assert Grid((4, 5), 0.1, (CLOSED, PERIODIC)).periodic == (False, True, False)
    with pytest.raises(InputError, match="axis y is periodic at one end only"):
        Grid((4, 5), 0.1, (CLOSED, ("periodic", "open")))


def test_wind_needs_an_axis_that_it_can_blow_along() -> None:
    for axis in (OPEN, PERIODIC):
        Setup(box(4, (axis, CLOSED, FLOOR)), Physics(wind=(1.0, 0.0, 0.0)))
    with pytest.raises(InputError, match=r"physics\.wind: .*along z"):
        Setup(box(4, (OPEN, CLOSED, FLOOR)), Physics(wind=(0.0, 0.0, 1.0)))
    with pytest.raises(InputError, match=r"physics\.wind: .* does not have 2 components"):
        Setup(box(4, (OPEN, OPEN)), Physics(wind=(1.0, 0.0, 0.0)))
    with pytest.raises(InputError, match=r"physics\.wind: .* is not finite"):
        Physics(wind=(float("nan"), 0.0))


@pytest.mark.parametrize("viscosity", [-1.0, float("nan"), float("inf")])
def test_viscosity_is_not_negative(viscosity: float) -> None:
    with pytest.raises(InputError, match=r"physics\.viscosity: .* is negative or not finite"):
        Physics(viscosity=viscosity)
