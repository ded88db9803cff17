"""Projection beside walls that move, in sealed pockets and across periodic ends."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pressure_cases import WRAP, ball, block, corners, cut
from solver_cases import CLOSED, FLOOR, OPEN, box, random_velocity

from fluidsr.solver import Grid, Numerics, backend
from fluidsr.solver.geometry import Geometry
from fluidsr.solver.projection import MAX_DIVERGENCE, Projection
from fluidsr.solver.workspace import Workspace

DT = 1e-2


def projection(grid: Grid, geometry: Geometry) -> Projection:
    backend.start("cpu")
    return Projection(grid, geometry, Numerics(), "cpu", Workspace("cpu"))


def moving(grid: Grid, geometry: Geometry, velocity: tuple[float, float, float]) -> Geometry:
    """All that is solid moves with one velocity, m/s."""
    flux, faces = np.zeros(grid.cells), []
    for axis in range(3):
        shut = (1.0 - geometry.weights[axis]) * velocity[axis]
        for end in (0, -1):
            if not grid.periodic[axis] and not grid.opened[axis][end]:  # the walls of the box stand still
                at = [slice(None)] * 3
                at[axis] = end
                shut[tuple(at)] = 0.0
        flux += np.diff(shut, axis=axis)
        faces.append((np.ones_like(shut) * velocity[axis] * (shut > 0)).astype(np.float32))
    u, v, w = faces
    return Geometry(geometry.fluid, geometry.weights, geometry.pockets, flux.astype(np.float32), (u, v, w))


def net_outflow(grid: Grid, geometry: Geometry, velocity: tuple[torch.Tensor, ...]) -> np.ndarray:
    total = np.zeros(grid.cells) if geometry.wall_flux is None else geometry.wall_flux.astype(np.float64)
    for axis in range(3):
        faces = velocity[axis].double().numpy().reshape(grid.faces(axis))
        total = total + np.diff(geometry.weights[axis] * faces, axis=axis)
    return total


def shell(grid: Grid) -> Geometry:
    """A sealed box within the box, its walls three cells thick."""
    at, h = corners(grid), grid.cell_size
    outer, inner = block(at, (0.5,) * 3, (0.7,) * 3), block(at, (0.5,) * 3, (0.7 - 6 * h,) * 3)
    return cut(grid, np.maximum(outer, -inner))


@pytest.mark.parametrize("boundary", [(CLOSED, FLOOR, CLOSED), (OPEN,) * 3, (WRAP, CLOSED, WRAP)])
def test_a_moving_ball_pushes_the_fluid_out_of_its_way(boundary: tuple[tuple[str, str], ...]) -> None:
    grid = box(24, boundary)
    geometry = moving(grid, cut(grid, ball(corners(grid), (0.5,) * 3, 0.2)), (1.0, 0.5, 0.0))
    velocity = tuple(torch.zeros_like(component) for component in random_velocity(grid))
    report = projection(grid, geometry).project(velocity, DT)
    left = net_outflow(grid, geometry, velocity)
    assert report.converged and abs(left).max() * DT / grid.cell_size <= MAX_DIVERGENCE
    assert np.linalg.norm(left) <= 1.1e-4 * np.linalg.norm(geometry.wall_flux)  # type: ignore[arg-type]
    u = velocity[0].numpy().reshape(grid.faces(0))
    assert u[17:19, 12, 12].min() > 0.3  # in front
    assert u[12, 3, 12] < 0  # it comes back at the side
    for axis in range(3):
        solid = geometry.weights[axis] == 0
        inside = geometry.solid_velocity[axis][solid]  # type: ignore[index]
        assert np.array_equal(velocity[axis].numpy().reshape(grid.faces(axis))[solid], inside)


def test_fluid_that_moves_with_its_walls_is_left_alone() -> None:
    grid = box(16, (WRAP,) * 3)
    speed = (0.3, -0.2, 0.7)
    geometry = cut(grid, ball(corners(grid), (0.5,) * 3, 0.25))
    flux = np.zeros(grid.cells)
    for axis in range(3):
        flux += np.diff((1 - geometry.weights[axis]) * speed[axis], axis=axis)
    solid = tuple(np.full(grid.faces(axis), speed[axis], np.float32) for axis in range(3))
    geometry = Geometry(geometry.fluid, geometry.weights, geometry.pockets, flux.astype(np.float32), solid)
    velocity = tuple(torch.from_numpy(faces.reshape(-1).copy()) for faces in solid)
    report = projection(grid, geometry).project(velocity, DT)
    assert report.iterations == 0
    for axis in range(3):
        assert torch.equal(velocity[axis], torch.from_numpy(solid[axis].reshape(-1)))


def test_a_wall_that_squeezes_a_sealed_pocket_ends_in_least_squares() -> None:
    """Fluid that can go nowhere: every cell of the pocket takes its share, and nothing blows up."""
    grid = box(24, (OPEN, FLOOR, OPEN))
    still = shell(grid)
    assert len(still.pockets) == 1
    pocket = still.pockets[0]
    geometry = moving(grid, still, (1.0, 0.0, 0.0))
    flux = geometry.wall_flux.copy()  # type: ignore[union-attr]
    inside = np.zeros(flux.size, bool)
    inside[pocket] = True
    inside = inside.reshape(flux.shape)
    flux[inside & (flux > 0)] = 0.0  # one of its walls moves on, the other stays: its volume changes
    geometry = Geometry(geometry.fluid, geometry.weights, geometry.pockets, flux, geometry.solid_velocity)
    mean = flux[inside].mean()
    assert abs(mean) > 0.01
    velocity = random_velocity(grid)
    report = projection(grid, geometry).project(velocity, DT)
    left = net_outflow(grid, geometry, velocity)
    assert report.converged and report.residual <= 1e-4 and report.max_divergence <= MAX_DIVERGENCE
    assert abs(left[inside] - mean).max() * DT / grid.cell_size <= MAX_DIVERGENCE
    assert abs(left[~inside & geometry.fluid]).max() * DT / grid.cell_size <= MAX_DIVERGENCE


@pytest.mark.parametrize("boundary", [(WRAP,) * 3, (WRAP, FLOOR, CLOSED), (OPEN, CLOSED, WRAP)])
@pytest.mark.parametrize("solid", [False, True])
def test_both_copies_of_a_periodic_face_stay_the_same(
    boundary: tuple[tuple[str, str], ...], solid: bool
) -> None:
    grid = Grid((15, 16, 13), 1 / 15, boundary)
    distance = ball(corners(grid), (0.05, 0.5, 0.4), 0.2) if solid else np.ones([n + 1 for n in grid.cells])
    geometry = cut(grid, distance)
    velocity = random_velocity(grid)
    assert projection(grid, geometry).project(velocity, DT).converged
    assert abs(net_outflow(grid, geometry, velocity)).max() * DT * 15 <= MAX_DIVERGENCE
    for axis in range(3):
        faces = velocity[axis].view(grid.faces(axis))
        if grid.periodic[axis]:
            assert torch.equal(faces.select(axis, 0), faces.select(axis, -1))


def test_a_shift_along_a_periodic_axis_shifts_the_result() -> None:
    grid = Grid((12, 10, 11), 0.1, (WRAP, FLOOR, WRAP))
    velocity = random_velocity(grid)
    shifted = []
    for axis in range(3):
        faces = velocity[axis].view(grid.faces(axis))
        if axis == 0:
            faces = torch.cat([faces[:-1].roll(5, 0), faces[:-1].roll(5, 0)[:1]])
        shifted.append((faces if axis == 0 else faces.roll(5, 0)).reshape(-1).clone())
    geometry = cut(grid, np.ones([n + 1 for n in grid.cells]))
    projection(grid, geometry).project(velocity, DT)
    projection(grid, geometry).project(tuple(shifted), DT)  # type: ignore[arg-type]
    v = velocity[1].view(grid.faces(1)).roll(5, 0)
    assert torch.allclose(v, shifted[1].view(grid.faces(1)), atol=1e-5)


def test_updating_the_geometry_is_as_good_as_starting_with_it() -> None:
    grid = box(16, (CLOSED, FLOOR, WRAP))
    geometries = [
        cut(grid, np.ones((17,) * 3)),
        cut(grid, ball(corners(grid), (0.4, 0.5, 0.5), 0.2)),
        cut(grid, ball(corners(grid), (0.6, 0.5, 0.9), 0.3)),
        cut(grid, np.ones((17,) * 3)),
    ]
    reused = projection(grid, geometries[-1])
    for geometry in geometries:
        one, other = random_velocity(grid), random_velocity(grid)
        reused.update(geometry)
        assert reused.project(one, DT) == projection(grid, geometry).project(other, DT)
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_scratch_memory_that_others_wrote_to_does_no_harm() -> None:
    grid = box(16)
    geometry = cut(grid, ball(corners(grid), (0.5,) * 3, 0.2))
    backend.start("cpu")
    workspace = Workspace("cpu")
    solver = Projection(grid, geometry, Numerics(), "cpu", workspace)
    once, again = random_velocity(grid), random_velocity(grid)
    solver.project(once, DT)
    workspace.take("another", 16**3 * 2).fill_(float("nan"))
    solver.project(again, DT)
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
