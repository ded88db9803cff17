"""The pressure equation: its matrix, free of storage, and the preconditioned conjugate gradients that solve
it.

Unknown p (the pressure times dt / (density of air * h), in m/s) in fluid cells; row i is sum over faces f
of weight_f * (p_i - p_j) = -(net outflow of cell i, m/s) where a closed face has weight 0 and beyond an
open face of the domain p_j = -p_i, which is p = 0 on the face.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from fluidsr.solver.kernels_pressure import apply_matrix, descend, dot, search
from fluidsr.solver.obstacles import Geometry
from fluidsr.solver.state import zeros

Preconditioner = Callable[[torch.Tensor, torch.Tensor], None]  # (r, z): z = M^-1 r


@dataclass(frozen=True)
class SolveReport:
    """What a pressure solve did: conjugate gradient `iterations`; `residual`, the L2 norm of what is left
    of the right-hand side relative to what it was, measured on the velocity itself; `max_divergence`, the
    greatest |net outflow| * dt / h of a fluid cell (the share of its volume that a cell gains or loses in
    the substep); `max_speed`, the greatest velocity component on a face, m/s."""

    iterations: int
    residual: float
    max_divergence: float
    max_speed: float
    converged: bool


@dataclass(frozen=True)
class Norms:
    """Of a right-hand side (m/s): Euclidean and greatest; and the greatest face speed met while computing
    it."""

    l2: float
    greatest: float
    max_speed: float = 0.0


class RowSums:
    """Collects what kernels sum up in float64 row by row; adding the rows in a fixed order gives the same
    bits on every run, whatever thread did which row."""

    def __init__(self, rows: int, device: str) -> None:
        self.buffer = zeros(3 * rows, device, torch.float64)
        self.rows = rows

    def sum(self) -> float:
        """Of the first number of each row."""
        return float(self._columns()[0].sum())

    def norms(self) -> Norms:
        """Of rows that hold (sum of squares, greatest magnitude, greatest speed)."""
        squares, greatest, speed = self._columns()
        return Norms(float(np.sqrt(squares.sum())), float(greatest.max()), float(speed.max()))

    def _columns(self) -> np.ndarray:
        return np.ascontiguousarray(self.buffer.cpu().numpy().reshape(self.rows, 3).T)


class ConjugateGradients:
    """Preconditioned conjugate gradients (Hestenes and Stiefel 1952; Saad 2003, alg. 9.1) for A p = r."""

    def __init__(
        self,
        geometry: Geometry,
        weights: tuple[torch.Tensor, ...],
        precondition: Preconditioner | None,
        device: str,
    ) -> None:
        self.cells = geometry.fluid.shape
        self.weights, self.precondition = weights, precondition
        count = geometry.fluid.size
        self.p, self.direction, self.image = (zeros(count, device) for _ in range(3))
        self.z = zeros(count, device)
        self.sums = RowSums(self.cells[0] * self.cells[1], device)
        self.pockets = [torch.from_numpy(pocket).to(device) for pocket in geometry.pockets]

    def solve(self, r: torch.Tensor, small_enough: Callable[[Norms], bool], max_iterations: int) -> int:
        """Solve A p = r; returns the number of iterations, one at least.

        On return `self.p` is the solution and `r` the remaining residual, small enough or after
        `max_iterations`.
        """
        self.p.zero_()
        self._make_solvable(r)
        old = 0.0
        for iteration in range(1, max_iterations + 1):
            z = self._preconditioned(r)
            new = self._dot(z, r)
            if not new > 0.0:  # nothing left to descend along: r is zero, or rounding
                return max(1, iteration - 1)
            search(self.direction, z, new / old if old else 0.0, *self.cells)
            apply_matrix(self.direction, self.image, *self.weights, self.sums.buffer, *self.cells)
            descend(
                self.p, r, self.direction, self.image, new / self.sums.sum(), self.sums.buffer, *self.cells
            )
            old = new
            if small_enough(self.sums.norms()):
                return iteration
        return max_iterations

    def _preconditioned(self, r: torch.Tensor) -> torch.Tensor:
        if self.precondition is None:
            return r
        self.precondition(r, self.z)
        return self.z

    def _dot(self, a: torch.Tensor, b: torch.Tensor) -> float:
        dot(a, b, self.sums.buffer, *self.cells)
        return self.sums.sum()

    def _make_solvable(self, r: torch.Tensor) -> None:
        """Where no face is open the right-hand side must sum to zero, and does so only up to rounding."""
        for pocket in self.pockets:
            r[pocket] -= r[pocket].to(torch.float64).mean().to(r.dtype)
