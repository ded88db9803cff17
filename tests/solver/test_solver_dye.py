"""The color of smoke: carried with the density, mixed by amount, and never a color that nobody gave."""

from __future__ import annotations

import pytest
import torch

from fluidsr.solver import Combustion, Grid, Physics, Setup, Shape, Solver, Source
from fluidsr.solver.dye import SMOKE_COLOR

RED, BLUE = (0.9, 0.2, 0.1), (0.1, 0.3, 0.8)


def ball(x: float, color: tuple[float, float, float] | None, **given: float) -> Source:
    given = given or {"density": 1.0, "temperature": 1.0}
    return Source(Shape("sphere", (x, 0.3, 0.5), radius=0.12), color=color, **given)


def solver_of(*sources: Source, combustion: Combustion | None = None) -> Solver:
    grid = Grid((16, 24, 16), 1 / 16, (("open", "open"), ("closed", "open"), ("open", "open")))
    physics = Physics(
        buoyancy_temperature=0.4, dissipation_density=0.3, combustion=combustion or Combustion()
    )
    return Solver(Setup(grid, physics, sources=sources))


def run(solver: Solver, frames: int = 12) -> torch.Tensor:
    for _ in range(frames):
        solver.advance(1 / 24)
    color = solver.color()
    assert color is not None and color.shape == (3, *solver.density.shape)
    return color


def test_smoke_of_one_color_has_that_color_everywhere() -> None:
    solver = solver_of(ball(0.5, RED))
    color, smoke = run(solver), solver.density > 1e-3
    assert smoke.sum() > 150
    for channel, value in zip(color, RED, strict=True):
        torch.testing.assert_close(channel[smoke], torch.full_like(channel[smoke], value), rtol=0, atol=1e-4)


def test_color_does_not_touch_the_flow() -> None:
    plain, colored = solver_of(ball(0.5, None)), solver_of(ball(0.5, BLUE))
    assert plain.color() is None
    for _ in range(6):
        plain.advance(1 / 24)
    run(colored, 6)
    assert torch.equal(plain.density, colored.density) and torch.equal(plain.velocity(), colored.velocity())


def test_two_colors_mix_by_amount_and_stay_between() -> None:
    solver = solver_of(ball(0.42, RED), ball(0.58, BLUE))
    color, density = run(solver, 24), solver.density
    smoke = density > 1e-3
    for channel, *ends in zip(color, RED, BLUE, SMOKE_COLOR, strict=True):
        assert min(ends) <= channel[smoke].min() and channel[smoke].max() <= max(ends)
    left, right = color[:, :8], color[:, 8:]
    assert left[0][density[:8] > 0.1].mean() > 0.6 > right[0][density[8:] > 0.1].mean()
    mixed = (color[0] > 0.3) & (color[0] < 0.7) & smoke
    assert mixed.any()


def test_color_goes_on_beside_the_smoke_and_ends_beyond() -> None:
    color = run(solver_of(ball(0.5, RED)), 1)
    assert color[:, 0, -1, 0].eq(0).all()
    assert color[0, 8, 4 + 3, 8] == pytest.approx(
        RED[0], abs=1e-3
    )  # a cell above the ball, where nothing is yet


def test_smoke_of_a_fire_and_smoke_that_was_there_are_grey() -> None:
    fire = ball(0.5, None, fuel=1.0)
    elsewhere = Source(Shape("sphere", (0.2, 0.9, 0.2), radius=0.1), density=1.0, color=RED)
    solver = solver_of(fire, elsewhere, combustion=Combustion(smoke=1.0))
    color = run(solver)
    cell = tuple((solver.density[6:11] == solver.density[6:11].max()).nonzero()[0].tolist())
    assert color[:, 6 + cell[0], cell[1], cell[2]].tolist() == pytest.approx(SMOKE_COLOR, abs=0.02)


def test_a_resumed_run_has_the_same_colors() -> None:
    whole, first, second = (solver_of(ball(0.4, RED), ball(0.6, BLUE)) for _ in range(3))
    expected = run(whole, 8)
    run(first, 4)
    second.restore(first.state())
    assert torch.equal(run(second, 4), expected)
