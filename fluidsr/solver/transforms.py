"""Exact solve of the Poisson equation in the empty box, by its eigenvectors.

Along each axis the second difference with zero flux through closed faces, p = 0 on open ones, or wrapped
around, has cosines or sines at cell centres for eigenvectors (Strang 1999, "The discrete cosine transform"):
closed-closed DCT-II, open-open DST-II, closed-open DCT-IV, open-closed DST-IV, periodic the discrete Fourier
transform. On the CPU fast transforms apply them, on CUDA matrix products do (fast diagonalisation, Lynch,
Rice and Thomas 1964).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.fft
import torch

from fluidsr.solver.grid import Grid
from fluidsr.solver.kernels_pressure import divide_by_sum

# What an axis is: (low face open, high face open), or periodic.
Kind = tuple[bool, bool] | str
PERIODIC = "periodic"
# Family of transform, its type, offset of the wave number in the eigenvalue.
_REAL: dict[Kind, tuple[str, int, float]] = {
    (False, False): ("dct", 2, 0.0),
    (True, True): ("dst", 2, 1.0),
    (False, True): ("dct", 4, 0.5),
    (True, False): ("dst", 4, 0.5),
}
# Below this many cells waking a second thread costs more than it gains.
_SERIAL_CELLS = 1 << 14


def kinds(grid: Grid) -> tuple[Kind, Kind, Kind]:
    """Of the three axes."""
    x, y, z = (
        PERIODIC if wraps else (low, high)
        for wraps, (low, high) in zip(grid.periodic, grid.opened, strict=True)
    )
    return x, y, z


def eigenvalues(n: int, kind: Kind) -> np.ndarray:
    """Of the negated second difference on n cells (unit spacing), float64, ascending but for PERIODIC, where
    they follow the wave numbers 0 .. n - 1 of the discrete Fourier transform."""
    if kind == PERIODIC:
        return 4.0 * np.sin(np.pi * np.arange(n) / n) ** 2
    return 4.0 * np.sin(0.5 * np.pi * (np.arange(n) + _REAL[kind][2]) / n) ** 2


def eigenvectors(n: int, kind: Kind) -> np.ndarray:
    """Orthonormal, as columns [cell, wave] in the order of `eigenvalues`, float64."""
    if kind == PERIODIC:
        # cos + sin, the kernel of Hartley's transform: real, orthogonal, one column for every wave number.
        angle = 2.0 * np.pi * (np.outer(np.arange(n), np.arange(n)) % n) / n
        return (np.cos(angle) + np.sin(angle)) / np.sqrt(n)
    family, _, offset = _REAL[kind]
    angle = np.pi * np.outer(np.arange(n) + 0.5, np.arange(n) + offset) / n
    basis = np.cos(angle) if family == "dct" else np.sin(angle)
    return basis / np.linalg.norm(basis, axis=0)


class FastBoxSolve:
    """x = A^-1 x in the empty box, by SciPy's transforms (pocketfft), in place on the CPU: O(n log n).

    A periodic axis takes a complex copy, 4 bytes a cell, for the time of the call.
    """

    def __init__(self, grid: Grid, threads: int) -> None:
        self.shape = grid.cells
        self.workers = threads if np.prod(grid.cells) > _SERIAL_CELLS else 1
        axes = kinds(grid)
        # A single cell is its own eigenvector.
        long = [axis for axis in range(3) if grid.cells[axis] > 1]
        self.wrapped = [axis for axis in long if axes[axis] == PERIODIC]
        # Axes of one kind go through one call.
        real = [(_REAL[axes[axis]][:2], axis) for axis in long if axes[axis] != PERIODIC]
        self.groups = [
            (family, number, tuple(axis for name, axis in real if name == (family, number)))
            for family, number in sorted({name for name, _ in real})
        ]
        values = [eigenvalues(n, kind) for n, kind in zip(grid.cells, axes, strict=True)]
        if self.wrapped:  # the Fourier transform of real numbers: half of the waves, real and imaginary part
            half = self.wrapped[-1]
            values[half] = values[half][: grid.cells[half] // 2 + 1]
            values[2] = np.repeat(values[2], 2)
        self.values = [value.astype(np.float32) for value in values]

    def __call__(self, x: torch.Tensor) -> None:
        """Flat float32 on the CPU. Where no face is open the result has zero mean, and that of `x` is
        ignored."""
        wave = x.numpy().reshape(self.shape)
        wave = self._transform(wave, {"dct": scipy.fft.dctn, "dst": scipy.fft.dstn})
        if self.wrapped:
            sizes = [self.shape[axis] for axis in self.wrapped]
            spectrum = scipy.fft.rfftn(wave, axes=self.wrapped, workers=self.workers)
            self._divide(spectrum.reshape(-1).view(np.float32))
            wave = scipy.fft.irfftn(
                spectrum, s=sizes, axes=self.wrapped, workers=self.workers, overwrite_x=True
            )
        else:
            self._divide(wave.reshape(-1))
        wave = self._transform(wave, {"dct": scipy.fft.idctn, "dst": scipy.fft.idstn})
        if not np.shares_memory(wave, x.numpy()):
            x.copy_(torch.from_numpy(wave.reshape(-1)))

    def _transform(self, wave: np.ndarray, by: dict[str, Callable[..., np.ndarray]]) -> np.ndarray:
        for family, number, axes in self.groups:
            wave = by[family](wave, type=number, axes=axes, overwrite_x=True, workers=self.workers)
        return wave

    def _divide(self, wave: np.ndarray) -> None:
        divide_by_sum(wave, *self.values, *(len(value) for value in self.values))


class MatrixBoxSolve:
    """The same by matrix products: O(n^(4/3)) operations, which a GPU has to spare, on any device."""

    def __init__(self, grid: Grid, device: str) -> None:
        self.shape = grid.cells
        axes = list(zip(grid.cells, kinds(grid), strict=True))
        self.values = [torch.from_numpy(eigenvalues(*axis).astype(np.float32)).to(device) for axis in axes]
        self.bases = [torch.from_numpy(eigenvectors(*axis).astype(np.float32)).to(device) for axis in axes]

    def __call__(self, x: torch.Tensor) -> None:
        """Flat float32. Where no face is open the result has zero mean, and that of `x` is ignored."""
        a, b, c = self.bases
        nx = self.shape[0]
        wave = torch.matmul(b.T, x.view(self.shape) @ c)
        wave = a.T @ wave.reshape(nx, -1)
        divide_by_sum(wave.view(-1), *self.values, *self.shape)
        wave = (a @ wave).view(self.shape)
        torch.matmul(torch.matmul(b, wave), c.T, out=x.view(self.shape))
