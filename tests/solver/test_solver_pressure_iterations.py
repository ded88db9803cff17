"""How many iterations the pressure solve takes: the same at every resolution, in every kind of box."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pressure_cases import WRAP, ball, block, corners, cut, from_weights
from solver_cases import CLOSED, FLOOR, OPEN, box, random_velocity

from fluidsr.solver import Grid, Numerics, backend
from fluidsr.solver.geometry import Geometry
from fluidsr.solver.projection import Projection
from fluidsr.solver.workspace import Workspace

SIZES = [32, 64, pytest.param(128, marks=pytest.mark.slow)]
BOUNDARIES = {
    "floor": (CLOSED, FLOOR, CLOSED),
    "closed": (CLOSED, CLOSED, CLOSED),
    "open": (OPEN, OPEN, OPEN),
    "mixed": (OPEN, FLOOR, ("open", "closed")),
    "periodic": (WRAP, WRAP, WRAP),
    "channel": (WRAP, CLOSED, WRAP),
    "wind tunnel": (OPEN, FLOOR, WRAP),
}


def large_eddies(grid: Grid) -> tuple[torch.Tensor, ...]:
    """A smooth velocity: hard because rounding of its large pressure shows in the residual."""
    velocity = []
    for axis in range(3):
        place = [np.arange(n) + (0.0 if a == axis else 0.5) for a, n in enumerate(grid.faces(axis))]
        x, y, z = np.meshgrid(*(p / n for p, n in zip(place, grid.cells, strict=True)), indexing="ij")
        u = np.sin(3 * x + axis) * np.cos(2 * y + 2 * axis) * np.sin(4 * z + 1)
        if axis == 1:
            u += np.exp(-20 * ((x - 0.5) ** 2 + (y - 0.25) ** 2 + (z - 0.5) ** 2))
        if grid.periodic[axis]:
            first, last = [slice(None)] * 3, [slice(None)] * 3
            first[axis], last[axis] = 0, -1
            u[tuple(last)] = u[tuple(first)]
        velocity.append(torch.from_numpy(u.astype(np.float32).reshape(-1)))
    return tuple(velocity)


def one_ball(grid: Grid) -> np.ndarray:
    return ball(corners(grid), (0.5, 0.55, 0.5), 0.15)


def four_balls(grid: Grid) -> np.ndarray:
    centers = ((0.3, 0.3, 0.3), (0.7, 0.4, 0.3), (0.4, 0.7, 0.7), (0.7, 0.75, 0.65))
    return np.minimum.reduce([ball(corners(grid), center, 0.12) for center in centers])


def thin_plates(grid: Grid) -> np.ndarray:
    """Two plates, a twenty-fifth of the box thick, a third with a hole, a sealed box, and a ball."""
    at, t = corners(grid), 0.04
    plates = [block(at, (0.3, 0.5, 0.5), (t, 0.7, 0.7)), block(at, (0.7, 0.7, 0.3), (0.5, t, 0.5))]
    holed = np.maximum(block(at, (0.65, 0.52, 0.65), (0.6, t, 0.6)), -ball(at, (0.65, 0.5, 0.65), 0.08))
    inside = block(at, (0.7, 0.85, 0.7), (0.22 - 2 * t,) * 3)
    sealed = np.maximum(block(at, (0.7, 0.85, 0.7), (0.22,) * 3), -inside)
    return np.minimum.reduce([*plates, holed, sealed, ball(at, (0.7, 0.3, 0.6), 0.13)])


def whole_cells(grid: Grid, distance: np.ndarray) -> Geometry:
    """The staircase of cells that are solid at their centre, as face areas of 0 and 1."""
    nx, ny, nz = grid.cells
    centre = sum(distance[i : i + nx, j : j + ny, k : k + nz] for i in (0, 1) for j in (0, 1) for k in (0, 1))
    solid = np.pad(centre < 0, 1)
    weights = []
    for axis in range(3):
        n = grid.cells[axis]
        inner = tuple(slice(None) if a == axis else slice(1, -1) for a in range(3))
        line = solid[inner]
        weights.append(
            (~(line.take(range(n + 1), axis) | line.take(range(1, n + 2), axis))).astype(np.float32)
        )
    return from_weights(grid, weights)


def iterations(grid: Grid, geometry: Geometry) -> list[int]:
    """Of a solve to 1e-5, for white noise and for large eddies."""
    backend.start("cpu")
    projection = Projection(grid, geometry, Numerics(tolerance=1e-5), "cpu", Workspace("cpu"))
    counts = []
    for velocity in (random_velocity(grid), large_eddies(grid)):
        report = projection.project(velocity, 1e-2)
        assert report.converged and report.residual <= 2e-5  # rounding of the velocity is the lower bound
        counts.append(report.iterations)
    return counts


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("boundary", BOUNDARIES.values(), ids=BOUNDARIES.keys())
def test_an_empty_box_takes_two(n: int, boundary: tuple[tuple[str, str], ...]) -> None:
    grid = box(n, boundary)
    assert max(iterations(grid, cut(grid, np.ones((n + 1,) * 3)))) <= 2


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("shape", [one_ball, four_balls])
@pytest.mark.parametrize("boundary", ["floor", "channel"])
def test_smooth_obstacles_take_ten(n: int, shape: object, boundary: str) -> None:
    grid = box(n, BOUNDARIES[boundary])
    assert max(iterations(grid, cut(grid, shape(grid)))) <= 10  # type: ignore[operator]


@pytest.mark.parametrize("n", SIZES)
def test_staircases_take_ten(n: int) -> None:
    grid = box(n)
    assert max(iterations(grid, whole_cells(grid, one_ball(grid)))) <= 10


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("faces", [cut, whole_cells])
@pytest.mark.parametrize("boundary", ["floor", "closed", "channel"])
def test_thin_plates_take_twenty(n: int, faces: object, boundary: str) -> None:
    grid = box(n, BOUNDARIES[boundary])
    geometry = faces(grid, thin_plates(grid))  # type: ignore[operator]
    assert len(geometry.pockets) == (1 if boundary == "floor" else 2)
    assert max(iterations(grid, geometry)) <= 20
