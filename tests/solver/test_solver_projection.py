"""The projection: iteration counts, what is true on return, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from solver_cases import CLOSED, FLOOR, OPEN, SPHERE, box, projection, random_velocity

from fluidsr.solver import Grid, Obstacle, Shape
from fluidsr.solver.geometry import Geometry
from fluidsr.solver.projection import MAX_DIVERGENCE

DT = 1e-2


def net_outflow(grid: Grid, velocity: tuple[torch.Tensor, ...], geometry: Geometry) -> np.ndarray:
    """Of every cell through the open shares of its faces, m/s, in float64."""
    total = np.zeros(grid.cells)
    for axis in range(3):
        flow = geometry.weights[axis] * velocity[axis].double().numpy().reshape(grid.faces(axis))
        total += np.diff(flow, axis=axis)
    return total


@pytest.mark.parametrize("boundary", [(CLOSED,) * 3, (OPEN, FLOOR, CLOSED), (OPEN, OPEN)])
@pytest.mark.parametrize("solid", [False, True])
def test_on_return_no_cell_gains_or_loses_volume(boundary: tuple[tuple[str, str], ...], solid: bool) -> None:
    grid = box(16, boundary)
    obstacles = (Obstacle(Shape("sphere", (0.5, 0.5, 0.5)[: grid.dim], 0.2)),) if solid else ()
    solver, geometry = projection(grid, obstacles)
    velocity = random_velocity(grid)
    before = np.linalg.norm(net_outflow(grid, velocity, geometry)[geometry.fluid])
    report = solver.project(velocity, DT)
    left = net_outflow(grid, velocity, geometry)[geometry.fluid]
    assert report.max_divergence == pytest.approx(abs(left).max() * DT * 16, rel=1e-3, abs=2e-7)
    assert report.max_divergence <= MAX_DIVERGENCE
    assert np.linalg.norm(left) <= 1.2e-4 * before
    for axis in range(3):
        closed = torch.from_numpy(geometry.weights[axis].reshape(-1) == 0)
        assert not velocity[axis][closed].any()
    assert report.max_speed == max(float(component.abs().max()) for component in velocity)


def test_a_divergence_free_velocity_is_left_alone() -> None:
    grid = box(16)
    solver, _ = projection(grid)
    velocity = random_velocity(grid)
    solver.project(velocity, DT)
    once = [component.clone() for component in velocity]
    assert solver.project(velocity, DT).residual <= 1.0
    for a, b in zip(velocity, once, strict=True):
        assert torch.allclose(a, b, atol=1e-3)


def test_still_air_takes_no_iterations() -> None:
    grid = box(8)
    solver, _ = projection(grid)
    velocity = tuple(torch.zeros_like(c) for c in random_velocity(grid))
    report = solver.project(velocity, DT)
    assert (report.iterations, report.residual, report.max_divergence) == (0, 0.0, 0.0)
    assert not any(component.any() for component in velocity)


def test_rounding_alone_takes_no_iterations() -> None:
    """Uniform flow through an open box: its divergence is zero, or as good as."""
    grid = box(16, (OPEN,) * 3)
    solver, _ = projection(grid)
    velocity = tuple(
        torch.full_like(c, 1.1) * (1 + 5e-8 * torch.randn_like(c)) for c in random_velocity(grid)
    )
    assert solver.project(velocity, DT).iterations == 0


def test_a_gradient_is_removed_and_the_rest_kept() -> None:
    """Helmholtz-Hodge: u = curl part + gradient part comes back as its curl part."""
    grid = box(16, (CLOSED, CLOSED))
    solver, _ = projection(grid, tolerance=1e-6)
    x = torch.arange(17) / 16
    stream = torch.outer(torch.sin(torch.pi * x) ** 2, torch.sin(torch.pi * x) ** 2)  # at corners
    u, v = stream.diff(dim=1).reshape(-1), -stream.diff(dim=0).reshape(-1)
    p = torch.randn(16, 16, generator=torch.Generator().manual_seed(1))
    gu, gv = torch.zeros(17, 16), torch.zeros(16, 17)
    gu[1:-1], gv[:, 1:-1] = p.diff(dim=0), p.diff(dim=1)
    velocity = ((u + gu.reshape(-1)).clone(), (v + gv.reshape(-1)).clone(), torch.zeros(2 * 256))
    solver.project(velocity, DT)
    assert torch.allclose(velocity[0], u, atol=2e-5) and torch.allclose(velocity[1], v, atol=2e-5)


@pytest.mark.parametrize("boundary", [(CLOSED,) * 3, (OPEN, FLOOR, OPEN)])
def test_the_preconditioner_changes_the_way_and_not_the_end(boundary: tuple[tuple[str, str], ...]) -> None:
    grid = box(12, boundary)
    ends = []
    for name in ("box", "none"):
        solver, _ = projection(grid, (SPHERE,), preconditioner=name, tolerance=1e-6, max_iterations=500)
        velocity = random_velocity(grid)
        solver.project(velocity, DT)
        ends.append(torch.cat(velocity))
    assert torch.allclose(*ends, atol=1e-4)


def test_sealed_pockets_are_solved_too() -> None:
    """A hollow box inside an open one: its inside touches no open face, so its pressure has no level."""
    grid = box(24, (OPEN, FLOOR, OPEN))
    walls = tuple(
        Obstacle(Shape("box", tuple(0.5 + 0.25 * s * (a == axis) for a in range(3)), size=sizes))
        for axis in range(3)
        for s in (-1, 1)
        for sizes in [tuple(0.1 if a == axis else 0.6 for a in range(3))]
    )
    solver, geometry = projection(grid, walls, max_iterations=200)
    assert len(geometry.pockets) == 1 and 100 < len(geometry.pockets[0]) < 24**3 / 8
    velocity = random_velocity(grid)
    report = solver.project(velocity, DT)
    assert report.residual <= 1e-4 and report.max_divergence <= MAX_DIVERGENCE
    assert np.isfinite(torch.cat(velocity).numpy()).all()


def test_pockets_too_small_for_flow_become_solid() -> None:
    grid = Grid((12, 3), 1.0, (OPEN, CLOSED))
    left, right = (Obstacle(Shape("box", (x, 1.5), size=(1.0, 3.0))) for x in (4.5, 6.5))
    _, geometry = projection(grid, (left, right))
    assert geometry.fluid[:, 1, 0].tolist() == [True] * 4 + [False] * 3 + [True] * 5
    assert geometry.pockets == ()


def test_too_few_iterations_are_reported() -> None:
    grid = box(16)
    solver, _ = projection(grid, preconditioner="none", max_iterations=3)
    report = solver.project(random_velocity(grid), DT)
    assert report.iterations == 3 and not report.converged
    assert 1e-4 < report.residual < 1.0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_reported(value: float) -> None:
    grid = box(8)
    solver, _ = projection(grid)
    velocity = random_velocity(grid)
    velocity[1][100] = value
    report = solver.project(velocity, DT)
    assert not report.converged and np.isnan(report.residual)
