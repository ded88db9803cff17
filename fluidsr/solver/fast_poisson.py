"""Exact solution of the Poisson equation in the empty box, by diagonalisation.

The eigenvectors of the second difference along an axis are cosines or sines at the cell centres (Strang 1999, "The
discrete cosine transform"). With zero flux through closed faces and p = 0 on open ones they give the DCT-II
(closed-closed), DST-II (open-open), DCT-IV (closed-open) and DST-IV (open-closed); a periodic axis has the discrete
Fourier transform. The CPU applies them by fast transforms, CUDA by matrix products (fast diagonalisation; Lynch, Rice
and Thomas 1964).
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

# The boundary conditions of an axis: (low face open, high face open), or PERIODIC.
Kind = tuple[bool, bool] | str
PERIODIC = "periodic"
# Rows of cells: (first, one past the last) along x, then along y.
Window = tuple[int, int, int, int]
Transform = Callable[..., np.ndarray]

# For each kind: the family of the transform, its type, and the offset of the wave number in the eigenvalue.
_REAL: dict[Kind, tuple[str, int, float]] = {
    (False, False): ("dct", 2, 0.0),
    (True, True): ("dst", 2, 1.0),
    (False, True): ("dct", 4, 0.5),
    (True, False): ("dst", 4, 0.5),
}
# Below this many cells, starting further threads costs more than it gains.
_SERIAL_CELLS = 1 << 14
# Size of the blocks that a thread works on, so that a block stays in a core's cache.
_BLOCK_BYTES = 1 << 17
# Columns a power of two apart in memory would compete for the same few cache lines; padding separates them.
_PADDING = 16


def kinds(grid: Grid) -> tuple[Kind, Kind, Kind]:
    """The boundary conditions of the three axes of `grid`."""
    x, y, z = (
        PERIODIC if wraps else (low, high)
        for wraps, (low, high) in zip(grid.periodic, grid.opened, strict=True)
    )
    return x, y, z


def eigenvalues(n: int, kind: Kind) -> np.ndarray:
    """The n eigenvalues of the negated second difference on n cells of unit spacing, float64, ascending."""
    if kind == PERIODIC:
        return 4.0 * np.sin(np.pi * ((np.arange(n) + 1) // 2) / n) ** 2
    return 4.0 * np.sin(0.5 * np.pi * (np.arange(n) + _REAL[kind][2]) / n) ** 2


def eigenvectors(n: int, kind: Kind) -> np.ndarray:
    """The orthonormal eigenvectors as columns `[cell, wave]`, in the order of `eigenvalues`, float64."""
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
    """The forward and the inverse transform along one axis: n real numbers to n real numbers, in the order of
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
    """x = B^-1 x in the empty box, in place on the CPU, by SciPy's transforms (pocketfft): O(n log n) operations.

    Makes three passes over the box, 24 bytes per cell: planes of constant x are transformed along z and y; planes of
    constant y are transformed along x, divided by the eigenvalues and transformed back; planes of constant x are
    transformed back. Each plane stays in the cache during its pass.
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
        """Replace `x` (flat float32 on the CPU) by the solution.

        If no face is open, the mean of `x` is ignored and the result has zero mean. `window`: see
        `pressure.BoxSolve`; a window of a third of the box halves the work.
        """
        nx, ny, _ = self.shape
        box = x.numpy().reshape(self.shape)
        x0, x1, y0, y1 = window or (0, nx, 0, ny)
        self._in_blocks(x0, x1, self.planes, lambda a, b: self._plane(box, a, b, y0, y1, back=False))
        self._in_blocks(0, ny, self.layers, lambda a, b: self._layers(box, a, b, x0, x1))
        self._in_blocks(x0, x1, self.planes, lambda a, b: self._plane(box, a, b, y0, y1, back=True))

    def _in_blocks(self, first: int, last: int, step: int, work: Callable[[int, int], None]) -> None:
        """Call `work(a, b)` for blocks of `step` indices from `first` to `last` - 1, on all threads. The result does
        not depend on which thread takes which block."""
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
        """Transform planes a to b - 1 of constant x along z and y, or back."""
        if back:
            self._along(1, wave[a:b], self.back)
            self._along(2, wave[a:b, y0:y1], self.back)
        else:
            self._along(2, wave[a:b, y0:y1], self.forward)
            self._along(1, wave[a:b], self.forward)

    def _along(self, axis: int, part: np.ndarray, transforms: tuple[Transform, ...]) -> None:
        if self.shape[axis] > 1:  # a single cell is its own eigenvector
            result = transforms[axis](part, axis=axis, overwrite_x=True)
            if not np.may_share_memory(result, part):
                part[...] = result

    def _layers(self, wave: np.ndarray, a: int, b: int, x0: int, x1: int) -> None:
        """Transform planes a to b - 1 of constant y along x, divide by the eigenvalues, and transform back."""
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
        with np.errstate(all="ignore"):  # values that are not finite show in the residual
            block /= total
        self._along(0, block, self.back)
        wave[x0:x1, a:b] = block[x0:x1]


def _blocks(first: int, last: int, step: int) -> Iterator[tuple[int, int]]:
    return ((a, min(a + step, last)) for a in range(first, last, step))


class MatrixBoxSolve:
    """x = B^-1 x by matrix products on any device: O(n^(4/3)) operations, which GPUs do fast."""

    def __init__(self, grid: Grid, device: str) -> None:
        self.shape = grid.cells
        axes = list(zip(grid.cells, kinds(grid), strict=True))
        self.values = [torch.from_numpy(eigenvalues(*axis).astype(np.float32)).to(device) for axis in axes]
        self.bases = [torch.from_numpy(eigenvectors(*axis).astype(np.float32)).to(device) for axis in axes]

    def __call__(self, x: torch.Tensor, window: Window | None = None) -> None:
        """As `FastBoxSolve`, except that `x` must be zero everywhere outside a `window`."""
        a, b, c = self.bases
        nx = self.shape[0]
        wave = torch.matmul(b.T, x.view(self.shape) @ c)
        wave = a.T @ wave.reshape(nx, -1)
        divide_by_sum(wave.view(-1), *self.values, *self.shape)
        wave = (a @ wave).view(self.shape)
        torch.matmul(torch.matmul(b, wave), c.T, out=x.view(self.shape))
