"""Wind: what the air does at the start, and what open faces bring in."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from solver_cases import OPEN, PERIODIC, SPHERE, box, plume

from fluidsr.solver import Grid, Numerics, Physics, Setup, Solver
from fluidsr.solver.projection import MAX_DIVERGENCE

FRAME = 1 / 24
WIND = (0.7, -0.3, 0.45)


@pytest.mark.parametrize("advection", ["maccormack", "semi-lagrangian", "reflection"])
@pytest.mark.parametrize("sides", [OPEN, PERIODIC], ids=["open", "periodic"])
def test_a_steady_wind_through_an_empty_box_does_not_change(advection: str, sides: tuple[str, str]) -> None:
    for dim in (2, 3):
        setup = Setup(box(12, (sides,) * dim), Physics(wind=WIND[:dim]), Numerics(advection=advection))
        solver = Solver(setup)
        for _ in range(10):
            solver.advance(FRAME)
        for component, speed in zip(solver.velocity(), WIND, strict=False):
            assert float((component - speed).abs().max()) < 1e-6


def test_wind_blows_smoke_out_and_brings_none_in() -> None:
    solver = Solver(Setup(Grid((16, 8, 8), 1 / 16, (OPEN,) * 3), Physics(wind=(1.5, 0.0, 0.0))))
    solver.density.fill_(1.0)
    solver.advance(1 / 6)  # four cells
    assert not solver.density[:3].any()
    assert torch.allclose(solver.density[6:, 2:-2, 2:-2], torch.tensor(1.0), atol=1e-4)
    solver.advance(1.0)
    assert not solver.density.any()


def test_the_first_wind_goes_around_what_stands_in_it() -> None:
    setup = Setup(box(16, (OPEN,) * 3), Physics(wind=(1.0, 0.0, 0.0)), obstacles=(SPHERE,))
    solver = Solver(setup)
    assert solver.time == 0.0
    fluid = torch.from_numpy(solver.geometry.fluid)
    speed = solver.velocity().norm(dim=0)
    assert float(speed[fluid].max()) > 1.1  # faster beside the sphere
    assert float(solver._projection.measure(solver._state.velocity).greatest) < 1e-2
    for _ in range(24):
        report = solver.advance(FRAME)
        assert report.max_divergence <= MAX_DIVERGENCE
    assert report.max_speed < 3.0  # it neither runs away ...
    upstream = solver.velocity()[0][0, 4:-4, 4:-4]
    assert float(upstream.mean()) > 0.7  # ... nor dies down


def test_inflow_with_wind_does_not_amplify_itself() -> None:
    """Air stirred up in an open box is blown out of it, and what is left is the wind."""
    setup = Setup(box(16, (OPEN,) * 3), Physics(wind=(1.0, 0.0, 0.5)), cfl=2.0)
    solver = Solver(setup)
    state, generator = solver.state(), torch.Generator().manual_seed(3)
    for axis in range(3):
        name = f"velocity_{'xyz'[axis]}"
        noise = torch.randn(1, 1, *setup.grid.faces(axis), generator=generator)
        smooth = torch.nn.functional.avg_pool3d(noise, 5, stride=1, padding=2)
        state[name] = state[name] + (5 * smooth).reshape(state[name].shape)
    solver.restore(state)
    for _ in range(72):
        solver.advance(FRAME)
    for component, speed in zip(solver.velocity(), (1.0, 0.0, 0.5), strict=True):
        assert float((component - speed).abs().max()) < 0.2


def test_a_plume_leans_with_the_wind() -> None:
    still = plume((24, 24, 16), boundary=(OPEN,) * 3)
    blown = dataclasses.replace(still, physics=dataclasses.replace(still.physics, wind=(0.8, 0.0, 0.0)))
    middle = []
    for setup in (still, blown):
        solver = Solver(setup)
        for _ in range(12):
            solver.advance(FRAME)
        weight = solver.density.sum(dim=(1, 2))
        middle.append(float((weight * torch.arange(24)).sum() / weight.sum()))
    assert middle[1] > middle[0] + 1.5
