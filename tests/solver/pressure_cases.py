"""Geometries for the pressure solve, straight from signed distances: face areas in [0, 1], any boundary."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sparse
import torch

from fluidsr.solver import Grid, Numerics, backend
from fluidsr.solver.geometry import Geometry
from fluidsr.solver.projection import Projection
from fluidsr.solver.workspace import Workspace

WRAP = ("periodic", "periodic")


def open_share(*corner: np.ndarray) -> np.ndarray:
    """Of squares, given the signed distance at their corners in order around: linear in four triangles."""
    middle = sum(corner) / 4.0
    total = np.zeros_like(middle)
    for first, second in zip(corner, corner[1:] + corner[:1], strict=True):
        low, mid, high = np.sort(np.stack([first, second, middle]), axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            one_in = 1.0 - low * low / ((mid - low) * (high - low))
            one_out = high * high / ((high - low) * (high - mid))
        total += np.where(low >= 0, 1.0, np.where(high <= 0, 0.0, np.where(mid >= 0, one_in, one_out)))
    return np.nan_to_num(total / 4.0).clip(0.0, 1.0)


def cut(grid: Grid, distance: np.ndarray, least: float = 0.02) -> Geometry:
    """Face areas from the signed distance `distance [nx + 1, ny + 1, nz + 1]` at the corners of cells; those
    below `least` are shut."""
    weights = []
    for axis in range(3):
        b, c = (a for a in range(3) if a != axis)
        low_b, high_b = distance.take(range(grid.cells[b]), b), distance.take(range(1, grid.cells[b] + 1), b)
        n = grid.cells[c]
        square = (
            low_b.take(range(n), c), high_b.take(range(n), c),
            high_b.take(range(1, n + 1), c), low_b.take(range(1, n + 1), c),
        )  # fmt: skip
        share = open_share(*square).astype(np.float32)
        weights.append(np.where(share < least, np.float32(0), share))
    return from_weights(grid, weights)


def from_weights(grid: Grid, weights: list[np.ndarray]) -> Geometry:
    """Shuts closed ends, joins periodic ones, and finds fluid cells and pockets by the matrix itself."""
    for axis in range(3):
        for end, is_open in zip((0, -1), grid.opened[axis], strict=True):
            at = [slice(None)] * 3
            at[axis] = end
            if grid.periodic[axis]:
                at[axis] = 0
                joined = weights[axis][tuple(at)].copy()
                at[axis] = -1
                weights[axis][tuple(at)] = joined
            elif not is_open:
                weights[axis][tuple(at)] = 0.0
    u, v, w = weights
    matrix, vented = pressure_matrix(grid, (u, v, w))
    fluid = np.zeros(grid.cells, bool)
    for axis in range(3):
        n = grid.cells[axis]
        fluid |= (weights[axis].take(range(n), axis) > 0) | (weights[axis].take(range(1, n + 1), axis) > 0)
    count, label = sparse.csgraph.connected_components(matrix)
    open_to_air = np.zeros(count, bool)
    open_to_air[label[vented]] = True
    pockets = tuple(
        np.nonzero(label == number)[0]
        for number in np.unique(label[fluid.reshape(-1)]).tolist()
        if not open_to_air[number]
    )
    return Geometry(fluid, (u, v, w), pockets)


def pressure_matrix(
    grid: Grid, weights: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> tuple[sparse.csr_matrix, np.ndarray]:
    """The matrix of pressure.py, assembled face by face, float64; and the cells beside open faces."""
    index = np.arange(np.prod(grid.cells)).reshape(grid.cells)
    total = sparse.csr_matrix((index.size, index.size))
    vented = []
    for axis in range(3):
        n = grid.cells[axis]
        share = np.moveaxis(weights[axis].astype(np.float64), axis, 0)
        cell = np.moveaxis(index, axis, 0)
        low, high = cell[:-1], cell[1:]
        inner = share[1:-1]
        if grid.periodic[axis] and n > 1:
            low, high = np.concatenate([low, cell[-1:]]), np.concatenate([high, cell[:1]])
            inner = np.concatenate([inner, share[-1:]])
        difference = sparse.csr_matrix(
            (
                np.concatenate([np.ones(low.size), -np.ones(low.size)]),
                (np.tile(np.arange(low.size), 2), np.concatenate([low.ravel(), high.ravel()])),
            ),
            (low.size, index.size),
        )
        total = total + difference.T @ sparse.diags(inner.ravel()) @ difference
        for end, is_open in zip((0, -1), grid.opened[axis], strict=True):
            if is_open:
                at_end = np.zeros(index.size)
                np.add.at(at_end, cell[end].ravel(), 2.0 * share[end].ravel())
                vented.append(np.nonzero(at_end)[0])
                total = total + sparse.diags(at_end)
    return total.tocsr(), np.concatenate(vented) if vented else np.zeros(0, int)


def corners(grid: Grid) -> tuple[np.ndarray, ...]:
    """Positions of the corners of cells, m."""
    x, y, z = np.meshgrid(*(np.arange(n + 1) * grid.cell_size for n in grid.cells), indexing="ij")
    return x, y, z


def ball(position: tuple[np.ndarray, ...], center: tuple[float, ...], radius: float) -> np.ndarray:
    """Signed distance."""
    return np.sqrt(sum((x - c) ** 2 for x, c in zip(position, center, strict=True))) - radius


def block(position: tuple[np.ndarray, ...], center: tuple[float, ...], size: tuple[float, ...]) -> np.ndarray:
    """Signed distance."""
    beyond = np.stack([abs(x - c) - s / 2 for x, c, s in zip(position, center, size, strict=True)])
    return np.linalg.norm(beyond.clip(0.0), axis=0) + beyond.max(axis=0).clip(max=0.0)


def projection(grid: Grid, geometry: Geometry, **numerics: object) -> Projection:
    """Of `geometry`, on the CPU."""
    backend.start("cpu")
    return Projection(grid, geometry, Numerics(**numerics), "cpu", Workspace("cpu"))  # type: ignore[arg-type]


def poisson_errors(
    boundary: tuple[tuple[str, str], ...], solid: bool, sizes: tuple[int, ...] = (16, 32, 64)
) -> np.ndarray:
    """Maximum error of p in a unit cube of so many cells an edge, with a ball in it if `solid`. p is a product of waves
    that fits the boundary, and the right-hand side its exact flow through the open part of every face."""
    errors = []
    for n in sizes:
        grid = Grid((n,) * 3, 1.0 / n, boundary)
        center, radius = (0.52, 0.47, 0.55), 0.23
        geometry = cut(grid, ball(corners(grid), center, radius) if solid else np.ones((n + 1,) * 3), 1e-3)
        waves = [_wave(*pair) for pair in boundary]
        rhs = np.zeros(grid.cells)
        for axis in range(3):
            rhs -= np.diff(
                geometry.weights[axis] * _flow(grid, waves, axis, center, radius * solid), axis=axis
            )
        matrix, _ = pressure_matrix(grid, geometry.weights)
        solver, p, aim = projection(grid, geometry).solver, np.zeros(rhs.size), 1e-6 * np.linalg.norm(rhs)
        for _ in range(2):  # twice, because float32 hides a part from the first
            step = torch.from_numpy((rhs.reshape(-1) - matrix @ p).astype(np.float32))
            solver.solve(step, lambda left, aim=aim: left.l2 < aim, 100)  # type: ignore[misc]
            p += step.double().numpy()
        x = (np.arange(n) + 0.5) / n
        exact = np.einsum("i,j,k->ijk", *(wave(x) for wave, _ in waves))
        error = (p.reshape(grid.cells) - exact)[geometry.fluid]
        errors.append(abs(error).max())
    return np.array(errors)


def orders_of(errors: np.ndarray) -> np.ndarray:
    """Of convergence, where each error belongs to half the cell size of the one before."""
    return np.log2(errors[:-1] / errors[1:])


def _wave(low: str, high: str) -> tuple[object, object]:
    """A function of [0, 1] that fits the two ends, and its derivative."""
    k = {("closed", "closed"): 1.0, ("open", "open"): 1.0, ("periodic", "periodic"): 2.0}.get(
        (low, high), 0.5
    )
    k *= np.pi
    if low == "closed":
        return (lambda x: np.cos(k * x)), (lambda x: -k * np.sin(k * x))
    return (lambda x: np.sin(k * x)), (lambda x: k * np.cos(k * x))


def _flow(grid: Grid, waves: list, axis: int, center: tuple[float, ...], radius: float) -> np.ndarray:
    """h * the mean of dp/dn over the part of every face that is outside the ball, from 8 x 8 points on it."""
    h, fine = grid.cell_size, 8
    place = []
    for a, n in enumerate(grid.faces(axis)):
        inside = np.zeros(1) if a == axis else (np.arange(fine) + 0.5) / fine
        place.append(((np.arange(n)[:, None] + inside) * h).reshape(-1))
    part = [waves[a][1 if a == axis else 0](place[a]) for a in range(3)]
    value = np.einsum("i,j,k->ijk", *part)
    away = sum(
        np.square(place[a] - center[a]).reshape([-1 if b == a else 1 for b in range(3)]) for a in range(3)
    )
    outside = (away > radius**2).astype(np.float64)
    split = [m for a, n in enumerate(grid.faces(axis)) for m in (n, 1 if a == axis else fine)]
    total = (value * outside).reshape(split).sum((1, 3, 5))
    count = outside.reshape(split).sum((1, 3, 5))
    middle = value.reshape(split).mean((1, 3, 5))
    return h * np.where(count > 0, total / count.clip(1), middle)
