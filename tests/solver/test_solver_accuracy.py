"""Measured accuracy of advection and of whole steps."""

from __future__ import annotations

import pytest
from proof_cases import order, taylor_green, turned


@pytest.mark.parametrize(
    ("dim", "n", "most", "share"),
    [(2, 200, 0.26, 0.45), pytest.param(3, 128, 0.7, 0.75, marks=pytest.mark.slow)],
)
def test_zalesaks_disk_keeps_its_slot(dim: int, n: int, most: float, share: float) -> None:
    (ours, disk), (semi_lagrangian, _) = turned(dim, n, True), turned(dim, n, False)
    assert disk.min() >= 0.0 and disk.max() <= 1.0
    assert ours < most and ours < share * semi_lagrangian, f"{ours} against {semi_lagrangian}"


def test_a_whole_step_with_reflection_is_of_second_order() -> None:
    measured, errors = order("reflection", (16, 32, 64))
    assert measured > 1.85, f"order {measured:.2f}, errors {errors}"


def test_a_whole_step_without_reflection_is_of_first_order() -> None:
    """What is lost between advection and projection (splitting): no order of the parts helps."""
    measured, errors = order("maccormack", (32, 64, 128))
    assert 0.75 < measured < 1.3, f"order {measured:.2f}, errors {errors}"


def test_reflection_keeps_the_energy_that_projection_takes() -> None:
    """Four turns: energy left for the price of 64 projections."""
    kept = taylor_green(32, "reflection", 32, 4.0)[1]
    lost = taylor_green(32, "maccormack", 64, 4.0)[1]
    assert 0.84 < kept < 1.001 and lost < 0.3 * kept, f"{kept} and {lost}"
