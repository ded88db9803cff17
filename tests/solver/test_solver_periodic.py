"""Periodic axes: where the seam lies makes no difference."""

from __future__ import annotations

import pytest
import torch
from solver_cases import CLOSED, FLOOR, OPEN, PERIODIC, random_velocity

from fluidsr.solver import Grid, Numerics, Physics, Setup, Solver, backend
from fluidsr.solver.advection import Advection
from fluidsr.solver.workspace import Workspace

BOXES = [
    Grid((12, 10, 9), 1 / 12, (PERIODIC,) * 3),
    Grid((12, 10, 9), 1 / 12, (PERIODIC, FLOOR, PERIODIC)),
    Grid((12, 10, 9), 1 / 12, (CLOSED, OPEN, PERIODIC)),
    Grid((12, 10), 1 / 12, (PERIODIC, PERIODIC)),
]
FRAME = 1 / 24


def join(grid: Grid, velocity: tuple[torch.Tensor, ...]) -> None:
    """Both copies of a periodic face say the same."""
    for axis in range(grid.dim):
        if grid.periodic[axis]:
            faces = velocity[axis].view(grid.faces(axis))
            faces.select(axis, grid.cells[axis]).copy_(faces.select(axis, 0))


def seamless(grid: Grid, velocity: tuple[torch.Tensor, ...]) -> bool:
    return all(
        torch.equal(faces.select(axis, 0), faces.select(axis, grid.cells[axis]))
        for axis, faces in enumerate(c.view(grid.faces(a)) for a, c in enumerate(velocity))
        if grid.periodic[axis]
    )


def shifted(grid: Grid, field: torch.Tensor, by: tuple[int, ...], normal: int | None = None) -> torch.Tensor:
    """A flat field (of cells, or of faces with this normal) moved by whole cells along the periodic axes."""
    moved = field.view(grid.cells if normal is None else grid.faces(normal))
    for axis in range(grid.dim):
        if not grid.periodic[axis]:
            continue
        if axis == normal:  # one copy of the face at the seam is left out, and put back
            moved = torch.roll(moved.narrow(axis, 0, grid.cells[axis]), by[axis], axis)
            moved = torch.cat([moved, moved.narrow(axis, 0, 1)], axis)
        else:
            moved = torch.roll(moved, by[axis], axis)
    return moved.reshape(-1)


@pytest.mark.parametrize("maccormack", [True, False])
@pytest.mark.parametrize("grid", BOXES, ids=lambda grid: "-".join(low for low, _ in grid.boundary))
def test_advection_does_not_know_where_the_seam_is(grid: Grid, maccormack: bool) -> None:
    backend.start("cpu")
    mover, by = Advection(grid, "cpu", maccormack, Workspace("cpu")), (5, 3, 4)
    velocity, phi = random_velocity(grid), torch.rand(grid.cells, generator=torch.Generator().manual_seed(1))
    join(grid, velocity)
    phi[phi < 0.7] = 0.0
    phi[:, :, 3:] = 0.0 if grid.dim == 3 else phi[:, :, 3:]
    phi = phi.reshape(-1)
    other = tuple(
        shifted(grid, c, by, axis) if axis < grid.dim else c.clone() for axis, c in enumerate(velocity)
    )
    phi_other = shifted(grid, phi, by)
    for fields in ((velocity, phi), (other, phi_other)):
        for _ in range(2):
            mover.trace(fields[0], 0.1)  # up to about four cells
            mover.amount(fields[1], 5.0)
            mover.velocity(fields[0])
    assert seamless(grid, velocity)
    assert torch.allclose(phi_other, shifted(grid, phi, by), atol=1e-5)
    for axis in range(grid.dim):
        assert torch.allclose(other[axis], shifted(grid, velocity[axis], by, axis), atol=1e-5)


@pytest.mark.parametrize("advection", ["maccormack", "semi-lagrangian", "reflection"])
def test_a_uniform_wind_of_whole_cells_carries_everything_along_exactly(advection: str) -> None:
    grid = Grid((12, 10, 8), 0.125, (PERIODIC,) * 3)
    cells = 4 if advection == "reflection" else 2  # two advections of half a step each
    wind = (cells * 0.125 / 0.25, 0.0, -cells * 0.125 / 0.25)
    solver = Solver(Setup(grid, Physics(wind=wind), Numerics(advection=advection), cfl=10.0))
    solver.density.uniform_(0.5, 1.0)
    before = solver.density.clone()
    assert solver.advance(0.25).substeps == 1
    assert torch.equal(solver.density, torch.roll(before, (cells, -cells), (0, 2)))
    for component, speed in zip(solver.velocity(), wind, strict=True):
        assert torch.equal(component, torch.full_like(component, speed))


@pytest.mark.parametrize("grid", BOXES, ids=lambda grid: "-".join(low for low, _ in grid.boundary))
def test_a_whole_step_does_not_know_where_the_seam_is(grid: Grid) -> None:
    physics = Physics(buoyancy_temperature=0.5, vorticity_confinement=0.3, dissipation_density=0.1)
    runs, by = [], (5, 3, 4)
    flow = random_velocity(grid, 4)
    join(grid, flow)
    heat = torch.rand(grid.cells, generator=torch.Generator().manual_seed(2)).reshape(-1)
    for shift in ((0, 0, 0), by):
        solver = Solver(Setup(grid, physics))
        state = solver.state() | {
            "temperature": shifted(grid, heat, shift),
            "density": shifted(grid, heat, shift),
        }
        for axis in range(grid.dim):
            state[f"velocity_{'xyz'[axis]}"] = 0.2 * shifted(grid, flow[axis], shift, axis)
        solver.restore(state)
        for _ in range(3):
            solver.advance(FRAME)
        runs.append(solver.state())
    assert seamless(grid, tuple(runs[0][f"velocity_{'xyz'[axis]}"] for axis in range(grid.dim)))
    for name in ("density", "temperature"):
        assert torch.allclose(runs[1][name], shifted(grid, runs[0][name], by), atol=1e-4)
    for axis in range(grid.dim):
        name = f"velocity_{'xyz'[axis]}"
        assert torch.allclose(runs[1][name], shifted(grid, runs[0][name], by, axis), atol=1e-4)
