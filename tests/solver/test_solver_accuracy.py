"""Measured accuracy of advection and of whole steps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from solver_cases import CLOSED, PERIODIC, box

from fluidsr.solver import Grid, Numerics, Setup, Solver, backend
from fluidsr.solver.advection import Advection
from fluidsr.solver.shapes import positions
from fluidsr.solver.state import State
from fluidsr.solver.workspace import Workspace


def slotted(grid: Grid) -> torch.Tensor:
    """Zalesak's (1979) disk, in 3-D sphere, in the unit box: 1 inside, 0 outside, a slot from below."""
    at = positions(grid.shape, (0.5,) * grid.dim, grid.cell_size)
    x, y = at[0] - 0.5, at[1] - 0.75
    z = at[2] - 0.5 if grid.dim == 3 else 0.0 * x
    inside = (x * x + y * y + z * z < 0.15**2) & ~((np.abs(x) < 0.025) & (y < 0.1))
    return torch.from_numpy(inside.astype(np.float32)).reshape(-1)


def rotation(grid: Grid) -> tuple[torch.Tensor, ...]:
    """Once around the middle of the unit box in 1 s, about z."""
    velocity, h = State.at_rest(grid, "cpu").velocity, grid.cell_size
    for axis, sign in ((0, -1.0), (1, 1.0)):
        offset = [0.5] * grid.dim
        offset[axis] = 0.0
        other = positions(grid.faces(axis)[: grid.dim], tuple(offset), h)[1 - axis]
        values = np.broadcast_to(sign * 2 * math.pi * (other - 0.5), grid.faces(axis)[: grid.dim])
        velocity[axis].copy_(torch.from_numpy(np.ascontiguousarray(values, np.float32)).reshape(-1))
    return velocity


def turned(dim: int, n: int, maccormack: bool) -> float:
    """L1 error, relative, of the slotted disk after a full turn at up to 2 cells a step."""
    backend.start("cpu")
    grid = box(n, (CLOSED,) * dim)
    start, steps = slotted(grid), math.ceil(math.pi * n / 2)
    phi, mover = start.clone(), Advection(grid, "cpu", maccormack, Workspace("cpu"))
    mover.trace(rotation(grid), 1.0 / steps)
    for _ in range(steps):
        mover.scalar(phi, 3.0)
    assert float(phi.min()) >= 0.0 and float(phi.max()) <= 1.0
    return float((phi - start).abs().sum() / start.sum())


@pytest.mark.parametrize(
    ("dim", "n", "most", "share"),
    [(2, 200, 0.42, 0.65), pytest.param(3, 128, 0.7, 0.75, marks=pytest.mark.slow)],
)
def test_zalesaks_disk_keeps_its_slot(dim: int, n: int, most: float, share: float) -> None:
    ours, semi_lagrangian = turned(dim, n, True), turned(dim, n, False)
    assert ours < most and ours < share * semi_lagrangian, f"{ours} against {semi_lagrangian}"


def taylor_green(n: int, advection: str, steps: int, seconds: float) -> tuple[float, float]:
    """Root mean square error of the velocity, and the share of kinetic energy left, of u = sin x cos y,
    v = -cos x sin y (one period across; without viscosity it stays as it is)."""
    grid = Grid((n, n), 1.0 / n, (PERIODIC, PERIODIC))
    solver = Solver(Setup(grid, numerics=Numerics(advection=advection, tolerance=1e-6), cfl=1e9))
    face, centre = 2 * np.pi * np.arange(n + 1) / n, 2 * np.pi * (np.arange(n) + 0.5) / n
    exact = {
        "velocity_x": np.outer(np.sin(face), np.cos(centre)),
        "velocity_y": -np.outer(np.cos(centre), np.sin(face)),
    }
    state = solver.state()
    for name, values in exact.items():
        state[name] = torch.from_numpy(values.astype(np.float32)).reshape(-1)
    solver.restore(state)
    before = float(solver.velocity().double().square().sum())
    for _ in range(steps):
        assert solver.advance(seconds / steps).substeps == 1
    state = solver.state()
    errors = [state[name].numpy() - values.reshape(-1) for name, values in exact.items()]
    energy = float(solver.velocity().double().square().sum()) / before
    return float(np.sqrt(np.mean(np.concatenate(errors) ** 2))), energy


def order(advection: str, sizes: tuple[int, ...]) -> tuple[float, list[float]]:
    """In space and time at once: with the cells, the step is halved."""
    errors = [taylor_green(n, advection, n, 1.0)[0] for n in sizes]
    return math.log2(errors[-2] / errors[-1]), errors


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
    assert 0.9 < kept < 1.001 and lost < 0.3 * kept, f"{kept} and {lost}"
