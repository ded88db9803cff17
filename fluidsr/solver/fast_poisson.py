"""Exact solve of the Poisson equation in the empty box, by its eigenvectors.

Along each axis the second difference with zero flux through closed faces, p = 0 on open ones, or wrapped
around, has cosines or sines at cell centres for eigenvectors (Strang 1999, "The discrete cosine transform"):
closed-closed DCT-II, open-open DST-II, closed-open DCT-IV, open-closed DST-IV, periodic the discrete Fourier
transform. On the CPU fast transforms apply them, on CUDA matrix products do (fast diagonalisation, Lynch,
Rice and Thomas 1964).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import scipy.fft
import scipy.fftpack
import torch

from fluidsr.solver.grid import Grid
from fluidsr.solver.kernels_pressure import divide_by_sum

# What an axis is: (low face open, high face open), or periodic.
Kind = tuple[bool, bool] | str
PERIODIC = "periodic"
# Rows of cells that matter: (first, one past the last) along x and along y.
Window = tuple[int, int, int, int]
Transform = Callable[..., np.ndarray]

# Family of transform, its type, offset of the wave number in the eigenvalue.
_REAL: dict[Kind, tuple[str, int, float]] = {
    (False, False): ("dct", 2, 0.0),
    (True, True): ("dst", 2, 1.0),
    (False, True): ("dct", 4, 0.5),
    (True, False): ("dst", 4, 0.5),
}
# Below this many cells waking a second thread costs more than it gains.
_SERIAL_CELLS = 1 << 14
# What is worked on at a time, so that it stays in a core's cache.
_BLOCK_BYTES = 1 << 17
# Columns that lie a power of two apart in memory fall onto the same few lines of a cache; this keeps them off.
_PADDING = 16


def kinds(grid: Grid) -> tuple[Kind, Kind, Kind]:
    """Of the three axes."""
    x, y, z = (
        PERIODIC if wraps else (low, high)
        for wraps, (low, high) in zip(grid.periodic, grid.opened, strict=True)
    )
    return x, y, z


def eigenvalues(n: int, kind: Kind) -> np.ndarray:
    """Of the negated second difference on n cells (unit spacing), float64, ascending."""
    if kind == PERIODIC:
        return 4.0 * np.sin(np.pi * ((np.arange(n) + 1) // 2) / n) ** 2
    return 4.0 * np.sin(0.5 * np.pi * (np.arange(n) + _REAL[kind][2]) / n) ** 2


def eigenvectors(n: int, kind: Kind) -> np.ndarray:
    """Orthonormal, as columns [cell, wave] in the order of `eigenvalues`, float64."""
    if kind == PERIODIC:  # 1, cos, sin, cos, sin, ...
        wave = np.arange(n)
        angle = 2.0 * np.pi * (np.outer(np.arange(n), (wave + 1) // 2) % n) / n
        basis = np.where((wave % 2 == 1) | (wave == 0), np.cos(angle), np.sin(angle))
    else:
        family, _, offset = _REAL[kind]
        angle = np.pi * np.outer(np.arange(n) + 0.5, np.arange(n) + offset) / n
        basis = np.cos(angle) if family == "dct" else np.sin(angle)
    return basis / np.linalg.norm(basis, axis=0)


def _transforms(kind: Kind) -> tuple[Transform, Transform]:
    """Forward and back along one axis: real to real, as many numbers as before, in the order of
    `eigenvalues`."""
    if kind == PERIODIC:
        return scipy.fftpack.rfft, scipy.fftpack.irfft
    family, number, _ = _REAL[kind]
    forward, back = {
        "dct": (scipy.fft.dct, scipy.fft.idct),
        "dst": (scipy.fft.dst, scipy.fft.idst),
    }[family]
    return partial(forward, type=number), partial(back, type=number)


class FastBoxSolve:
    """x = A^-1 x in the empty box, by SciPy's transforms (pocketfft), in place on the CPU: O(n log n).

    Three passes over the box, 24 bytes a cell: planes of constant x forward along z and y; planes of constant
    y forward along x, divided, and back; planes of constant x back. Each plane is finished while it is in
    cache.
    """

    def __init__(self, grid: Grid, threads: int) -> None:
        nx, ny, nz = self.shape = grid.cells
        self.pool = ThreadPoolExecutor(threads) if threads > 1 and nx * ny * nz > _SERIAL_CELLS else None
        self.threads = threads
        axes = kinds(grid)
        self.forward, self.back = zip(*(_transforms(kind) for kind in axes), strict=True)
        self.values = [
            eigenvalues(n, kind).astype(np.float32) for n, kind in zip(grid.cells, axes, strict=True)
        ]
        self.planes = max(1, _BLOCK_BYTES // (4 * ny * nz))  # of constant x, at a time
        self.layers = max(1, _BLOCK_BYTES // (4 * nx * nz))  # of constant y

    def __call__(self, x: torch.Tensor, window: Window | None = None) -> None:
        """Flat float32 on the CPU. Where no face is open the result has zero mean, and that of `x` is
        ignored. With a `window` planes of x outside it need not be filled, rows of its planes outside it are
        zero, and the result is right in its rows only: half of the work for a window of a third."""
        nx, ny, _ = self.shape
        wave = x.numpy().reshape(self.shape)
        x0, x1, y0, y1 = window or (0, nx, 0, ny)
        self._each(x0, x1, self.planes, lambda a, b: self._plane(wave, a, b, y0, y1, back=False))
        self._each(0, ny, self.layers, lambda a, b: self._layers(wave, a, b, x0, x1))
        self._each(x0, x1, self.planes, lambda a, b: self._plane(wave, a, b, y0, y1, back=True))

    def _each(self, first: int, last: int, step: int, work: Callable[[int, int], None]) -> None:
        """Do all of first .. last - 1 in steps, on all threads; which does what makes no difference."""
        if self.pool is None:
            for block in _blocks(first, last, step):
                work(*block)
            return
        share = -(-(last - first) // self.threads)
        parts = _blocks(first, last, share)

        def several(part: tuple[int, int]) -> None:
            for block in _blocks(*part, step):
                work(*block)

        list(self.pool.map(several, parts))

    def _plane(self, wave: np.ndarray, a: int, b: int, y0: int, y1: int, back: bool) -> None:
        """Planes a .. b - 1 of constant x, along z and y, or back."""
        if back:
            self._along(1, wave[a:b], self.back)
            self._along(2, wave[a:b, y0:y1], self.back)
        else:
            self._along(2, wave[a:b, y0:y1], self.forward)
            self._along(1, wave[a:b], self.forward)

    def _along(self, axis: int, part: np.ndarray, by: tuple[Transform, ...]) -> None:
        if self.shape[axis] > 1:  # a single cell is its own eigenvector
            result = by[axis](part, axis=axis, overwrite_x=True)
            if not np.may_share_memory(result, part):
                part[...] = result

    def _layers(self, wave: np.ndarray, a: int, b: int, x0: int, x1: int) -> None:
        """Planes a .. b - 1 of constant y: along x, divided by the eigenvalues, and back."""
        nx, _, nz = self.shape
        padding = _PADDING if nz >= _PADDING else 0
        block = np.empty((nx, b - a, nz + padding), np.float32)[:, :, :nz]
        block[:x0] = 0.0
        block[x0:x1] = wave[x0:x1, a:b]
        block[x1:] = 0.0
        self._along(0, block, self.forward)
        x, y, z = self.values
        total = x[:, None, None] + (y[a:b, None] + z)
        if total[0, 0, 0] == 0.0:
            total[0, 0, 0] = np.inf
        with np.errstate(all="ignore"):  # a number that is none shows in the residual
            block /= total
        self._along(0, block, self.back)
        wave[x0:x1, a:b] = block[x0:x1]


def _blocks(first: int, last: int, step: int) -> Iterator[tuple[int, int]]:
    return ((a, min(a + step, last)) for a in range(first, last, step))


class MatrixBoxSolve:
    """The same by matrix products: O(n^(4/3)) operations, which a GPU has to spare, on any device."""

    def __init__(self, grid: Grid, device: str) -> None:
        self.shape = grid.cells
        axes = list(zip(grid.cells, kinds(grid), strict=True))
        self.values = [torch.from_numpy(eigenvalues(*axis).astype(np.float32)).to(device) for axis in axes]
        self.bases = [torch.from_numpy(eigenvectors(*axis).astype(np.float32)).to(device) for axis in axes]

    def __call__(self, x: torch.Tensor, window: Window | None = None) -> None:
        """As FastBoxSolve; outside a `window`, `x` must be zero all the same."""
        a, b, c = self.bases
        nx = self.shape[0]
        wave = torch.matmul(b.T, x.view(self.shape) @ c)
        wave = a.T @ wave.reshape(nx, -1)
        divide_by_sum(wave.view(-1), *self.values, *self.shape)
        wave = (a @ wave).view(self.shape)
        torch.matmul(torch.matmul(b, wave), c.T, out=x.view(self.shape))
