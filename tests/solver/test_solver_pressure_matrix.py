"""The pressure equation against its definition: matrix, preconditioner, dense solves, order of accuracy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sparse
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pressure_cases import (
    WRAP,
    ball,
    corners,
    cut,
    from_weights,
    orders_of,
    poisson_errors,
    pressure_matrix,
    projection,
)
from solver_cases import CLOSED, FLOOR, OPEN, random_velocity

from fluidsr.solver import Grid, backend
from fluidsr.solver import kernels_boundary_band as band_kernels
from fluidsr.solver.geometry import Geometry
from fluidsr.solver.kernels_pressure import apply_matrix
from fluidsr.solver.pressure import BandedConjugateGradients
from fluidsr.solver.sums import Sums

PAIRS = [CLOSED, OPEN, FLOOR, ("open", "closed"), WRAP]


def ragged(grid: Grid, seed: int) -> Geometry:
    """Every face open, shut, nearly shut or somewhere between, at random: worse than any solid."""
    random = np.random.default_rng(seed)
    weights = []
    for axis in range(3):
        share = random.random(grid.faces(axis)).astype(np.float32)
        kind = random.random(grid.faces(axis))
        share[kind < 0.4] = 1.0
        share[kind > 0.7] = 0.0
        share[(kind > 0.65) & (kind <= 0.7)] = 1e-3
        weights.append(share)
    return from_weights(grid, weights)


def with_ball(grid: Grid) -> Geometry:
    center = tuple(0.45 * n * grid.cell_size for n in grid.cells)
    return cut(grid, ball(corners(grid), center, 0.27 * grid.longest_edge))


grids = st.builds(
    lambda nx, ny, nz, x, y, z: Grid((nx, ny, nz), 0.1, (x, y, z)),
    *(st.integers(1, 6),) * 3, *(st.sampled_from(PAIRS),) * 3,
)  # fmt: skip


def net_inflow(grid: Grid, geometry: Geometry, velocity: tuple[torch.Tensor, ...]) -> np.ndarray:
    total = np.zeros(grid.cells)
    for axis in range(3):
        faces = velocity[axis].double().numpy().reshape(grid.faces(axis))
        total -= np.diff(geometry.weights[axis] * faces, axis=axis)
    return total.reshape(-1)


def dense_solve(matrix: sparse.csr_matrix, right_side: np.ndarray) -> np.ndarray:
    return np.linalg.lstsq(matrix.toarray(), right_side, rcond=1e-9)[0]


@settings(max_examples=40, deadline=None)
@given(grids, st.integers(0, 2**31), st.sampled_from(["box", "none"]))
@example(Grid((1, 1, 1), 0.1, (CLOSED, WRAP, CLOSED)), 0, "box")  # no unknown, and yet a face half open
@example(
    Grid((5, 6, 6), 0.1, (WRAP,) * 3), 6, "none"
)  # badly conditioned: a small divergence, a larger error
def test_projection_agrees_with_a_dense_solve(grid: Grid, seed: int, preconditioner: str) -> None:
    geometry = ragged(grid, seed)
    if not geometry.fluid.any():
        return
    velocity = random_velocity(grid, seed)
    before = net_inflow(grid, geometry, velocity)
    matrix, _ = pressure_matrix(grid, geometry.weights)
    solution = dense_solve(matrix, before)
    wanted = []
    for axis in range(3):
        faces = velocity[axis].double().numpy().reshape(grid.faces(axis))
        cells = np.moveaxis(solution.reshape(grid.cells), axis, 0)
        wraps, (low, high) = grid.periodic[axis], grid.opened[axis]
        first = cells[-1:] if wraps else -cells[:1] * low
        last = cells[:1] if wraps else -cells[-1:] * high
        step = np.moveaxis(np.diff(np.concatenate([first, cells, last]), axis=0), 0, axis)
        wanted.append(np.where(geometry.weights[axis] > 0, faces - step, 0.0))
    solver = projection(grid, geometry, preconditioner=preconditioner, tolerance=1e-5, max_iterations=2000)
    assert solver.project(velocity, 1e-4).converged
    # Only the gradient that the remaining divergence stands for, and rounding, may separate it from the dense solve.
    left = net_inflow(grid, geometry, velocity)
    energy = error = 0.0
    for axis in range(3):
        faces = velocity[axis].double().numpy().reshape(grid.faces(axis))
        one_copy = [slice(None)] * 3
        if grid.periodic[axis]:
            one_copy[axis] = slice(grid.cells[axis])
        weights, difference = geometry.weights[axis][tuple(one_copy)], (faces - wanted[axis])[tuple(one_copy)]
        energy += np.sum(weights * faces[tuple(one_copy)] ** 2)
        error += np.sum(weights * difference**2)
    rounding = 2e-6 * np.sqrt(energy + np.sum(before**2))
    assert np.linalg.norm(left) <= 1.01e-5 * np.linalg.norm(before) + rounding
    assert np.sqrt(error) <= 1.01 * np.sqrt(max(left @ dense_solve(matrix, left), 0.0)) + rounding


@pytest.mark.parametrize("boundary", [(CLOSED, FLOOR, OPEN), (WRAP, CLOSED, WRAP), (WRAP,) * 3])
@pytest.mark.parametrize("shape", [(9, 7, 8), (8, 8, 8)])
def test_the_matrix_is_its_definition(shape: tuple[int, ...], boundary: tuple[tuple[str, str], ...]) -> None:
    """And so symmetric and positive semidefinite: the definition is a sum of squares."""
    backend.start("cpu")
    grid = Grid(shape, 0.1, boundary)
    geometry = ragged(grid, 3)
    matrix, _ = pressure_matrix(grid, geometry.weights)
    assert abs(matrix - matrix.T).max() == 0 and np.linalg.eigvalsh(matrix.toarray())[0] > -1e-12
    p = torch.randn(matrix.shape[0], generator=torch.Generator().manual_seed(1))
    image, sums = torch.empty_like(p), Sums(shape[0] * shape[1], "cpu")
    weights = [torch.from_numpy(weight.reshape(-1)) for weight in geometry.weights]
    apply_matrix(p, image, *weights, sums.buffer, *grid.cells, grid.beyond(grid.opened))
    assert np.allclose(image.numpy(), matrix @ p.double().numpy(), atol=1e-5)
    assert sums.sum() == pytest.approx(p.double().numpy() @ (matrix @ p.double().numpy()), rel=1e-5)


@pytest.mark.parametrize("boundary", [(CLOSED, FLOOR, OPEN), (WRAP, CLOSED, WRAP), (WRAP,) * 3])
def test_the_rim_has_the_rows_of_the_matrix(boundary: tuple[tuple[str, str], ...]) -> None:
    grid = Grid((15, 14, 13), 0.1, boundary)
    geometry = with_ball(grid)
    solver = projection(grid, geometry).solver
    assert isinstance(solver, BandedConjugateGradients)
    band, z = solver.band, torch.zeros(solver.band.count + 1)
    smoothed = band.colours[-1][1]
    z[:smoothed].normal_(generator=torch.Generator().manual_seed(1))
    left = torch.zeros_like(z)
    band_kernels.residual(torch.zeros_like(z), z, left, band.beside, band.weights, band.count)
    cells = band.cells.numpy()
    whole = np.zeros(geometry.fluid.size)
    whole[cells] = z[:-1].numpy()
    image = pressure_matrix(grid, geometry.weights)[0] @ whole
    assert np.allclose(-left[:-1].numpy(), image[cells], atol=1e-5)
    image[cells] = 0.0
    assert not image.any()  # what smoothing changes stays in the band
    assert len(np.unique(cells)) == len(cells)


@pytest.mark.parametrize("boundary", [(CLOSED, FLOOR, OPEN), (WRAP, FLOOR, WRAP), (CLOSED,) * 3])
@pytest.mark.parametrize("shape", [(12, 12, 12), (13, 11, 9)])
@pytest.mark.parametrize("make", [with_ball, lambda grid: ragged(grid, 5)], ids=["ball", "ragged"])
def test_the_preconditioner_is_symmetric_and_positive(
    shape: tuple[int, ...], boundary: tuple[tuple[str, str], ...], make: object
) -> None:
    grid = Grid(shape, 0.1, boundary)
    solver = projection(grid, make(grid)).solver  # type: ignore[operator]
    assert isinstance(solver, BandedConjugateGradients)
    random = torch.Generator().manual_seed(0)
    probes, answers = [], []
    for _ in range(5):
        solver.r[:-1].normal_(generator=random)
        solver.band.level(solver.r)
        solver._precondition()
        assert solver.sums.sum() == pytest.approx(float(solver.r.double() @ solver.z.double()), rel=1e-5)
        probes.append(solver.r.double().clone())
        answers.append(solver.z.double().clone())
    table = torch.stack(probes) @ torch.stack(answers).T
    assert torch.allclose(table, table.T, atol=1e-5 * float(table.abs().max()))
    assert float(torch.linalg.eigvalsh(table)[0]) > 0.0


@pytest.mark.parametrize("boundary", [(OPEN,) * 3, (CLOSED, FLOOR, OPEN), (WRAP, WRAP, FLOOR)])
def test_pressure_in_a_box_converges_with_second_order(boundary: tuple[tuple[str, str], ...]) -> None:
    orders = orders_of(poisson_errors(boundary, solid=False))
    assert (orders > 1.9).all(), orders


@pytest.mark.parametrize("boundary", [(OPEN,) * 3, (CLOSED, FLOOR, OPEN), (WRAP, WRAP, FLOOR)])
def test_pressure_around_a_ball_converges_with_second_order(boundary: tuple[tuple[str, str], ...]) -> None:
    """In the maximum norm, cells that the ball cuts included."""
    orders = orders_of(poisson_errors(boundary, solid=True))
    assert (orders > 1.75).all(), orders
