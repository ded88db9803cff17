"""The exact box solve: against its matrix, against itself, and its order of accuracy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from solver_cases import box

from fluidsr.solver import Grid, backend
from fluidsr.solver.fast_poisson import PERIODIC, FastBoxSolve, MatrixBoxSolve, eigenvalues, eigenvectors

FACES = ("closed", "open")
KINDS = list(itertools.product(FACES, FACES))


def second_difference(n: int, low_open: bool, high_open: bool) -> np.ndarray:
    """The matrix that the pressure equation has along one axis, written down from its definition."""
    matrix = 2.0 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)
    matrix[0, 0] += 1.0 if low_open else -1.0
    matrix[-1, -1] += 1.0 if high_open else -1.0
    return matrix


@pytest.mark.parametrize("n", [1, 2, 7, 8])
def test_waves_diagonalise_the_periodic_second_difference(n: int) -> None:
    matrix = 2.0 * np.eye(n)
    for cell in range(n):
        matrix[cell, (cell + 1) % n] -= 1.0
        matrix[cell, (cell - 1) % n] -= 1.0
    q = eigenvectors(n, PERIODIC)
    assert np.allclose(q.T @ q, np.eye(n), atol=1e-12)
    assert np.allclose(q.T @ matrix @ q, np.diag(eigenvalues(n, PERIODIC)), atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2, 7])
def test_eigenvectors_diagonalise_the_second_difference(kind: tuple[str, str], n: int) -> None:
    opened = (kind[0] == "open", kind[1] == "open")
    q = eigenvectors(n, opened)
    assert np.allclose(q.T @ q, np.eye(n), atol=1e-12)
    assert np.allclose(q.T @ second_difference(n, *opened) @ q, np.diag(eigenvalues(n, opened)), atol=1e-12)


WRAP = ("periodic", "periodic")
WRAPPED = [
    (WRAP, *KINDS[:2]),
    (KINDS[3], WRAP, KINDS[1]),
    (KINDS[0], WRAP, WRAP),
    (WRAP, KINDS[2], WRAP),
    (WRAP,) * 3,
]


@pytest.mark.parametrize(
    "boundary", [*itertools.product(KINDS[:2], KINDS[1:3], KINDS), (KINDS[0],) * 3, *WRAPPED]
)
def test_transforms_and_matrix_products_agree(boundary: tuple[tuple[str, str], ...]) -> None:
    backend.start("cpu")
    grid = Grid((6, 9, 4), 1.0, boundary)
    r = torch.randn(grid.cells, generator=torch.Generator().manual_seed(0)).reshape(-1)
    by_transform, by_product = r.clone(), r.clone()
    FastBoxSolve(grid, threads=1)(by_transform)
    MatrixBoxSolve(grid, "cpu")(by_product)
    assert torch.allclose(by_transform, by_product, atol=2e-5 * float(by_product.abs().max()))


def test_a_slice_one_cell_thick_is_solved_as_a_plane() -> None:
    backend.start("cpu")
    flat, thick = box(8, (KINDS[1], KINDS[3])), Grid((8, 8, 1), 0.125, (KINDS[1], KINDS[3], KINDS[0]))
    r = torch.arange(64, dtype=torch.float32).cos()
    a, b = r.clone(), r.clone()
    FastBoxSolve(flat, 1)(a)
    FastBoxSolve(thick, 1)(b)
    assert torch.equal(a, b)


@pytest.mark.parametrize("kind", KINDS)
def test_the_solution_converges_with_second_order(kind: tuple[str, str]) -> None:
    """-p'' = f with p' = 0 on a closed and p = 0 on an open face, in float64; the error falls with h²."""
    wave = {KINDS[0]: 1.0, KINDS[3]: 1.0}.get(kind, 0.5) * np.pi
    exact = (lambda x: np.sin(wave * x)) if kind[0] == "open" else (lambda x: np.cos(wave * x))
    opened = (kind[0] == "open", kind[1] == "open")
    errors = []
    for n in (16, 32, 64):
        x = (np.arange(n) + 0.5) / n
        q, e = eigenvectors(n, opened), eigenvalues(n, opened) * n * n
        inverse = np.divide(1.0, e, out=np.zeros(n), where=e > 1e-9)
        p = q @ (inverse * (q.T @ (wave**2 * exact(x))))
        errors.append(np.abs(p - exact(x)).max())
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (abs(orders - 2.0) < 0.1).all(), f"orders {orders}, errors {errors}"
