"""The pressure equation and how it is solved.

Unknown p (the pressure times dt / (density of air * h), in m/s) in fluid cells; row i of A p = r is sum over
faces f of weight_f * (p_i - p_j) = -(net outflow of cell i, m/s), where a closed face has weight 0 and beyond
an open face of the domain p_j = -p_i, which is p = 0 on the face.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from fluidsr.solver import kernels_boundary_band as band_kernels
from fluidsr.solver.boundary_band import BoundaryBand
from fluidsr.solver.kernels_pressure import apply_matrix, cg_direction, cg_update
from fluidsr.solver.state import zeros
from fluidsr.solver.sums import Norms, Sums

# The residual that rounding of p to float32 leaves, relative to |p| (L2). Further iterations cannot reduce it; only a
# new solve for the remaining divergence can.
ROUNDING_OF_P = 3e-7


class BoxSolve(Protocol):
    """x = B^-1 x in place, with B the matrix of the empty box."""

    def __call__(self, x: torch.Tensor, window: tuple[int, int, int, int] | None = None) -> None:
        """Solve for `x`, flat, one number per cell.

        `window`: (first, one past the last) row along x, then along y. `x` must be zero in other rows (planes of
        constant x outside it may hold anything), and the result is only valid inside it.
        """
        ...


@dataclass(frozen=True)
class SolveReport:
    """The outcome of a projection.

    Attributes:
        iterations: conjugate gradient iterations, each with one application of the preconditioner.
        residual: L2 norm of the divergence relative to its initial value, measured on the velocity itself.
        max_divergence: greatest |net outflow| * dt / h of a fluid cell, which is the share of its volume that a cell
            gains or loses in the substep.
        max_speed: greatest velocity component on a face, m/s.
        converged: whether residual and divergence are within their limits.
    """

    iterations: int
    residual: float
    max_divergence: float
    max_speed: float
    converged: bool

    def followed_by(self, other: SolveReport) -> SolveReport:
        """The report of two successive projections: the sum of the iterations, the worse residual and divergence, the
        later speed."""
        return SolveReport(
            self.iterations + other.iterations,
            max(self.residual, other.residual),
            max(self.max_divergence, other.max_divergence),
            other.max_speed,
            self.converged and other.converged,
        )


class PressureSolve(Protocol):
    """Solves A p = r."""

    exact: bool  # whether one iteration solves the equation up to rounding

    def solve(self, r: torch.Tensor, small_enough: Callable[[Norms], bool], max_iterations: int) -> int:
        """Replace the right-hand side `r` (flat, one number per cell) by the solution p.

        Iterates until `small_enough(norms of the residual)`, the limit of rounding, or `max_iterations`. Returns the
        number of iterations, at least one.
        """
        ...


class DirectSolve:
    """The solution in a box without solids, by one box solve."""

    exact = True

    def __init__(self, box: BoxSolve) -> None:
        self.box = box

    def solve(self, r: torch.Tensor, small_enough: Callable[[Norms], bool], max_iterations: int) -> int:
        """See PressureSolve."""
        self.box(r)
        return 1


class BandedConjugateGradients:
    """Conjugate gradients (Hestenes and Stiefel 1952) on the boundary band. The preconditioner smooths in the band,
    solves the box as if it were empty, and smooths again.

    With S the smoothing and G the box solve, restricted to fluid cells, the error propagation of one application is
    (1 - S^T A)(1 - G A)(1 - S A): symmetric, and positive definite because A <= B. The box solve is exact except for
    the solids. Its error is largest in cells that are nearly full of solid, whose rows of A are tiny; smoothing reduces
    this part. Bodies of fluid that thin plates separate cost iterations, because the box solve ignores the plates.

    An iteration accesses the whole box only in its box solve; all vectors live in the band. The solution is assembled
    at the end by one more box solve, of the right-hand side plus the `source` that the iterations have accumulated in
    the band, to which their `local` parts are added.
    """

    exact = False

    def __init__(self, box: BoxSolve, band: BoundaryBand, work: torch.Tensor) -> None:
        """`work`: flat float32 scratch, one number per cell of the box."""
        self.box, self.band, self.work = box, band, work
        device = str(work.device)
        vectors = [zeros(band.count + 1, device) for _ in range(14)]
        self.r, self.z, self.image, self.before, self.s, self.g, self.left, self.after = vectors[:8]
        self.d, self.ad, self.ds, self.dl, self.source, self.local = vectors[8:]
        self.sums = Sums(-(-band.count // band_kernels.CHUNK), device)

    def solve(self, r: torch.Tensor, small_enough: Callable[[Norms], bool], max_iterations: int) -> int:
        """See PressureSolve."""
        band, count = self.band, self.band.count
        self.work.copy_(r)
        self.box(self.work)
        self._matrix_difference(self.r)  # the residual of the box's own solution
        band.level(self.r)
        unseen = ROUNDING_OF_P * float(torch.linalg.vector_norm(self.work))
        left = Norms(float(torch.linalg.vector_norm(self.r)), float(self.r.abs().max()))
        for vector in (self.source, self.local, self.d, self.ad, self.ds, self.dl):
            vector.zero_()
        old, iterations = 0.0, 1
        while iterations < max_iterations and not (small_enough(left) or left.l2 < unseen):
            self._precondition()
            new = self.sums.sum()
            if not new > 0.0:  # r is zero, or rounding
                break
            step = (new / old if old else 0.0, self.z, self.image, self.s, self.before)
            band_kernels.cg_direction(*step, self.d, self.ad, self.ds, self.dl, self.sums.buffer, count)
            curvature = self.sums.sum()
            if not curvature > 0.0:
                break
            moves = (new / curvature, self.ad, self.ds, self.dl, self.r, self.source, self.local)
            band_kernels.cg_update(*moves, self.sums.buffer, count)
            left = self.sums.norms()
            old = new
            iterations += 1
        if old == 0.0:
            r.copy_(self.work)
            return iterations
        band_kernels.scatter_add(self.source, band.cells, r, count)
        self.box(r)
        band_kernels.scatter_add(self.local, band.cells, r, count)
        return iterations

    def _precondition(self) -> None:
        """In the band, compute z = M^-1 r, image = A z, and s with z = B^-1 s + before. Leaves r . z in `sums`."""
        band = self.band
        band.smooth(self.before, self.r, forward=True)
        band_kernels.residual(self.r, self.before, self.s, band.beside, band.weights, band.count)
        first, last = band.window[:2]
        self.work.view(band.cells_of_box[0], -1)[first:last].zero_()
        band_kernels.scatter(self.s, band.cells, self.work, band.count)
        self.box(self.work, band.window)
        self._matrix_difference(self.left)
        band.smooth(self.after, self.left, forward=False)
        band_kernels.gather_step(
            self.r, self.before, self.g, self.after, self.left, self.z, self.image, band.beside, band.weights,
            self.sums.buffer, band.count,
        )  # fmt: skip

    def _matrix_difference(self, out: torch.Tensor) -> None:
        """out = s - A g after the box solve g = B^-1 s, which is (B - A) g."""
        band = self.band
        band_kernels.matrix_difference(
            self.work, band.cells, band.weights, self.g, out, band.count, *band.cells_of_box, band.ends
        )


class ConjugateGradients:
    """Conjugate gradients without a preconditioner (Saad 2003, alg. 6.18). The iterations grow with the resolution."""

    exact = False

    def __init__(
        self, cells: tuple[int, int, int], weights: tuple[torch.Tensor, ...], ends: int, device: str
    ) -> None:
        self.cells, self.weights, self.ends = cells, weights, ends
        self.p, self.direction, self.image = (zeros(cells[0] * cells[1] * cells[2], device) for _ in range(3))
        self.sums = Sums(cells[0] * cells[1], device)

    def solve(self, r: torch.Tensor, small_enough: Callable[[Norms], bool], max_iterations: int) -> int:
        """See PressureSolve."""
        self.p.zero_()
        old, new, iterations = 0.0, float(torch.dot(r, r)), 0
        while iterations < max_iterations and new > 0.0:
            cg_direction(self.direction, r, new / old if old else 0.0, *self.cells)
            apply_matrix(self.direction, self.image, *self.weights, self.sums.buffer, *self.cells, self.ends)
            step = (new / self.sums.sum(), self.sums.buffer)
            cg_update(self.p, r, self.direction, self.image, *step, *self.cells)
            left = self.sums.norms()
            old, new = new, left.l2**2
            iterations += 1
            if small_enough(left):
                break
        r.copy_(self.p)
        return max(1, iterations)
