"""Flows with known answers, start to end. benchmarks/proofs.py draws them at full size."""

from __future__ import annotations

import pytest
from proof_cases import cylinder_wake, eddies, order, rayleigh_taylor, taylor_green


def test_viscous_vortices_decay_at_their_rate() -> None:
    """exp(-2 nu k^2 t); what is lost besides is numerical, and little where reflection gives it back."""
    _, _, rate = taylor_green(64, "reflection", 64, 1.0, viscosity=0.01)
    assert rate == pytest.approx(1.0, abs=0.005)
    assert 1.0 < taylor_green(64, "maccormack", 64, 1.0, viscosity=0.01)[2] < 1.12


def test_a_viscous_step_is_of_first_order() -> None:
    """Backward Euler, whatever the advection, though with reflection errors are small."""
    measured, errors = order("reflection", (32, 64), viscosity=0.05)
    assert 0.8 < measured < 2.2 and errors[-1] < 2e-3, f"order {measured:.2f}, errors {errors}"


@pytest.mark.parametrize(
    "advection", ["maccormack", "semi-lagrangian", pytest.param("reflection", marks=pytest.mark.slow)]
)
def test_heavy_air_over_light_overturns_at_the_rate_of_theory(advection: str) -> None:
    """Rayleigh and Taylor's, Chandrasekhar 1961: an inviscid wave grows at sqrt(k db / 2)."""
    seen = rayleigh_taylor(128, advection)
    assert seen.rate == pytest.approx(seen.theory, rel=0.06)


def test_reflection_keeps_random_eddies_turning() -> None:
    """Half a turn and more of eddies 10 to 20 cells wide; 128 projections in all three."""
    left = {
        advection: eddies(64, advection, steps, 1.0)[1][-1]
        for advection, steps in (("reflection", 64), ("maccormack", 128), ("semi-lagrangian", 128))
    }
    assert 0.92 < left["reflection"] < 1.001, left
    assert left["semi-lagrangian"] < left["maccormack"] < 0.8 * left["reflection"], left


@pytest.mark.slow
def test_a_cylinder_sheds_vortices_at_its_strouhal_number() -> None:
    """Williamson 1989: St = 0.212 (1 - 21.2 / Re), unbounded. Here the box is 10 diameters wide."""
    wake = cylinder_wake(8, 10.0, 18.0, (40.0, 80.0))
    assert wake.reynolds == pytest.approx(100, rel=0.02)
    assert abs(wake.probe).max() > 0.3  # it sheds at all
    assert wake.strouhal == pytest.approx(0.212 * (1 - 21.2 / wake.reynolds), rel=0.1)
