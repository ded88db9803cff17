"""Exact solve of the Poisson equation in the empty box, by its eigenvectors.

Along each axis the second difference with zero flux through closed faces and p = 0 on open ones has cosines
or sines at cell centres for eigenvectors (Strang 1999, "The discrete cosine transform"): closed-closed
DCT-II, open-open DST-II, closed-open DCT-IV, open-closed DST-IV. On the CPU fast transforms apply them, on
CUDA matrix products do (fast diagonalisation, Lynch, Rice and Thomas 1964).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.fft
import torch

from fluidsr.solver.grid import Grid

# (low face open, high face open) -> family of transform, its type, offset of the wave number in the
# eigenvalue
_KINDS: dict[tuple[bool, bool], tuple[str, int, float]] = {
    (False, False): ("dct", 2, 0.0),
    (True, True): ("dst", 2, 1.0),
    (False, True): ("dct", 4, 0.5),
    (True, False): ("dst", 4, 0.5),
}
# Below this many cells waking a second thread costs more than it gains.
_SERIAL_CELLS = 1 << 14


def eigenvalues(n: int, opened: tuple[bool, bool]) -> np.ndarray:
    """Of the negated second difference on n cells (unit spacing), float64, ascending."""
    return 2.0 - 2.0 * np.cos(np.pi * (np.arange(n) + _KINDS[opened][2]) / n)


def eigenvectors(n: int, opened: tuple[bool, bool]) -> np.ndarray:
    """Orthonormal, as columns [cell, wave], float64."""
    family, _, offset = _KINDS[opened]
    angle = np.pi * np.outer(np.arange(n) + 0.5, np.arange(n) + offset) / n
    basis = np.cos(angle) if family == "dct" else np.sin(angle)
    return basis / np.linalg.norm(basis, axis=0)


def inverse_eigenvalues(grid: Grid) -> np.ndarray:
    """1 / eigenvalue of every wave [nx, ny, nz], float32; 0 for the constant of a closed box."""
    x, y, z = (eigenvalues(n, opened) for n, opened in zip(grid.cells, grid.opened, strict=True))
    total = x[:, None, None] + y[:, None] + z
    singular = not any(any(pair) for pair in grid.opened)
    if singular:
        total[0, 0, 0] = np.inf
    return (1.0 / total).astype(np.float32)


class FastBoxSolve:
    """z = A^-1 r in the empty box, by SciPy's transforms (pocketfft), in place on the CPU: O(n log n)."""

    def __init__(self, grid: Grid, threads: int) -> None:
        self.shape = grid.cells
        self.inverse = inverse_eigenvalues(grid)
        self.workers = threads if self.inverse.size > _SERIAL_CELLS else 1
        # Axes of one kind go through one call. A single cell is its own eigenvector.
        kinds = [_KINDS[opened][:2] for opened in grid.opened]
        self.groups = [
            (family, number, tuple(a for a in range(3) if kinds[a] == (family, number) and grid.cells[a] > 1))
            for family, number in sorted(set(kinds))
        ]

    def __call__(self, r: torch.Tensor, z: torch.Tensor) -> None:
        """Both flat float32 on the CPU; in a closed box z has zero mean."""
        z.copy_(r)
        wave = z.numpy().reshape(self.shape)
        wave = self._transform(wave, {"dct": scipy.fft.dctn, "dst": scipy.fft.dstn})
        wave *= self.inverse
        wave = self._transform(wave, {"dct": scipy.fft.idctn, "dst": scipy.fft.idstn})
        if not np.shares_memory(wave, z.numpy()):
            z.copy_(torch.from_numpy(wave.reshape(-1)))

    def _transform(self, wave: np.ndarray, by: dict[str, Callable[..., np.ndarray]]) -> np.ndarray:
        for family, number, axes in self.groups:
            if axes:
                wave = by[family](wave, type=number, axes=axes, overwrite_x=True, workers=self.workers)
        return wave


class MatrixBoxSolve:
    """The same by matrix products: O(n^(4/3)) operations, which a GPU has to spare, on any device."""

    def __init__(self, grid: Grid, device: str) -> None:
        self.shape = grid.cells
        self.inverse = torch.from_numpy(inverse_eigenvalues(grid)).to(device)
        self.bases = [
            torch.from_numpy(eigenvectors(n, opened).astype(np.float32)).to(device)
            for n, opened in zip(grid.cells, grid.opened, strict=True)
        ]

    def __call__(self, r: torch.Tensor, z: torch.Tensor) -> None:
        """Both flat float32; in a closed box z has zero mean."""
        x, y, w = self.bases
        nx = self.shape[0]
        wave = torch.matmul(y.T, r.view(self.shape) @ w)
        wave = (x.T @ wave.reshape(nx, -1)).view(self.shape)
        wave = (x @ (wave * self.inverse).reshape(nx, -1)).view(self.shape)
        z.copy_((torch.matmul(y, wave) @ w.T).reshape(-1))
