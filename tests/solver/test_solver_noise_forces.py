"""Noise forces: where they act, how strongly, and that it does not matter how time is divided."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from solver_cases import CLOSED, OPEN, PERIODIC, box, plume

from fluidsr.errors import InputError
from fluidsr.solver import Grid, NoiseForce, Physics, Setup, Solver, backend
from fluidsr.solver.noise_forces import NoiseForces
from fluidsr.solver.state import State, zeros
from fluidsr.solver.workspace import Workspace

FORCE = NoiseForce(strength=2.0, size=0.25, lifetime=0.5)


def pushed(grid: Grid, force: NoiseForce, times: list[float], density: torch.Tensor | None = None) -> State:
    """Air at rest after the impulses from each of `times` to the next; smoke everywhere unless reported."""
    backend.start("cpu")
    state = State.at_rest(grid, "cpu")
    state.density.copy_(torch.ones(grid.shape).reshape(-1) if density is None else density.reshape(-1))
    forces = NoiseForces(grid, (force,), "cpu", Workspace("cpu"))
    for state.time, until in pairwise(times):
        forces.add(state, until - state.time)
    return state


def faces(state: State, grid: Grid) -> list[torch.Tensor]:
    return [state.velocity[axis].view(grid.faces(axis)).double() for axis in range(grid.dim)]


def outflow(state: State, grid: Grid) -> torch.Tensor:
    return torch.stack([v.diff(dim=axis) for axis, v in enumerate(faces(state, grid))]).sum(0)


@pytest.mark.parametrize(
    "boundary", [(CLOSED, OPEN), (PERIODIC, OPEN), (OPEN, CLOSED, OPEN), (PERIODIC, OPEN, PERIODIC)]
)
def test_swirls_have_no_divergence_and_vanish_outside_the_smoke(boundary: tuple) -> None:
    grid = box(16, boundary)
    density = torch.zeros(grid.shape)
    density[3:11, 4:13] = 1.0
    state = pushed(grid, replace(FORCE, octaves=2), [0.3, 0.35], density)
    assert outflow(state, grid).abs().max() < 1e-6
    smoke = density.bool().view(grid.cells)
    for axis, v in enumerate(faces(state, grid)):
        n = grid.cells[axis]
        inner = v.narrow(axis, 1, n - 1)
        both = smoke.narrow(axis, 0, n - 1) & smoke.narrow(axis, 1, n - 1)
        assert inner[both].abs().min() > 0
        assert not inner[~both].any()


def test_the_strength_is_the_rms_acceleration() -> None:
    for grid, octaves in ((box(96, (OPEN, OPEN)), 1), (box(96, (OPEN, OPEN)), 3), (box(24, (OPEN,) * 3), 1)):
        force = NoiseForce(2.0, 0.25, 0.1, octaves)
        squares = []
        for n in range(6):
            state = pushed(grid, replace(force, seed=n), [n * 0.037, n * 0.037 + 1e-3])
            squares.append(sum(float((v / 1e-3).square().mean()) for v in faces(state, grid)))
        assert math.sqrt(sum(squares) / len(squares)) == pytest.approx(2.0, rel=0.15)


@pytest.mark.parametrize("end", [0.07, 1.9])
def test_the_impulse_does_not_depend_on_how_time_is_divided(end: float) -> None:
    grid = box(12, (OPEN, PERIODIC, OPEN))
    whole = pushed(grid, FORCE, [0.1, end])
    parts = pushed(grid, FORCE, [0.1, 0.1 + 0.2 * (end - 0.1), 0.1 + 0.21 * (end - 0.1), end])
    for one, other in zip(whole.velocity, parts.velocity, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-4 * float(one.abs().max()) + 1e-9)


def test_a_finer_grid_sees_the_same_swirls() -> None:
    coarse, fine = box(16, (OPEN, OPEN)), box(64, (OPEN, OPEN))
    force = replace(FORCE, size=0.5)
    u = faces(pushed(coarse, force, [0.2, 0.21]), coarse)[0]
    v = faces(pushed(fine, force, [0.2, 0.21]), fine)[0]
    on_coarse = v[::4].unflatten(1, (-1, 4)).mean(2)
    assert float((u - on_coarse).norm() / u.norm()) < 1e-5  # both carry the flux through each face


def test_the_threshold_is_of_density_temperature_or_shear() -> None:
    grid = box(16, (OPEN, OPEN))
    half = torch.full(grid.shape, 0.5)
    assert not any(v.any() for v in pushed(grid, replace(FORCE, threshold=0.5), [0, 0.1], half).velocity)
    full = pushed(grid, replace(FORCE, threshold=0.25), [0, 0.1], half).velocity
    part = pushed(grid, replace(FORCE, threshold=1 / 3), [0, 0.1], half).velocity
    assert torch.allclose(part[0], full[0] / 2, atol=1e-6)
    none = replace(FORCE, control="temperature", threshold=1.0)
    assert not any(v.any() for v in pushed(grid, none, [0, 0.1]).velocity)

    backend.start("cpu")
    heated = State(zeros(256, "cpu"), torch.full((256,), -3.0), State.at_rest(grid, "cpu").velocity)
    NoiseForces(grid, (none,), "cpu", Workspace("cpu")).add(heated, 0.1)
    assert all(v.any() for v in heated.velocity[:2])

    sheared = State.at_rest(grid, "cpu")
    layer = torch.zeros(17, 16)
    layer[:, 8:] = 1.0  # 1 m/s over two cells of 1/16 m: a shear of 8 /s
    for threshold, acts in ((9.0, False), (7.0, True)):
        sheared.velocity[0].copy_(layer.reshape(-1))
        forces = NoiseForces(
            grid, (replace(FORCE, control="shear", threshold=threshold),), "cpu", Workspace("cpu")
        )
        forces.add(sheared, 0.1)
        changed = (sheared.velocity[0].view(17, 16) - layer) != 0
        assert bool(changed.any()) == acts
        assert not changed[:, :7].any() and not changed[:, 9:].any()


def test_a_run_goes_on_to_the_bit_and_still_air_stays_still() -> None:
    force = replace(FORCE, octaves=3)
    setup = replace(plume((16, 24)), physics=Physics(buoyancy_temperature=0.5, noise_forces=(force,)))
    whole = Solver(setup)
    for _ in range(3):
        whole.advance(1 / 24)
    parts = Solver(setup)
    parts.advance(1 / 24)
    resumed = Solver(setup)
    resumed.restore(parts.state())
    for _ in range(2):
        resumed.advance(1 / 24)
    calm = Solver(replace(setup, physics=Physics(buoyancy_temperature=0.5)))
    for _ in range(3):
        calm.advance(1 / 24)
    for name, array in whole.state().items():
        assert torch.equal(array, resumed.state()[name])
    assert not torch.allclose(whole.density, calm.density, atol=1e-3)

    empty = Solver(Setup(box(12, (OPEN, CLOSED)), Physics(noise_forces=(force,))))
    empty.advance(0.5)
    assert not any(v.any() for v in empty.state().values() if v.dim())


def test_a_force_that_cannot_be_is_refused() -> None:
    for change in (
        {"size": 0.0},
        {"lifetime": -1.0},
        {"octaves": 0},
        {"control": "fuel"},
        {"strength": math.nan},
    ):
        with pytest.raises(InputError):
            replace(FORCE, **change)
