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

from fluidsr.solver import kernels_boundary_band as on_rim
from fluidsr.solver.boundary_band import Rim
from fluidsr.solver.kernels_pressure import apply_matrix, descend, search
from fluidsr.solver.state import zeros
from fluidsr.solver.sums import Norms, Sums

# What rounding of p in float32 leaves of a residual, as a share of |p| (L2). To go below it takes another
# solve, of what is left, and iterating on before that one is in vain.
ROUNDING_OF_P = 3e-7


class BoxSolve(Protocol):
    """x = B^-1 x, in place."""

    def __call__(self, x: torch.Tensor, window: tuple[int, int, int, int] | None = None) -> None:
        """With a `window`, (first, one past the last) row along x and along y: `x` is zero elsewhere, and
        planes of x outside it need not even be filled; the result is right there only."""
        ...


@dataclass(frozen=True)
class SolveReport:
    """What a pressure solve did: `iterations` of conjugate gradients, each with one application of the
    preconditioner; `residual`, the L2 norm of what is left of the right-hand side relative to what it was,
    measured on the velocity itself; `max_divergence`, the greatest |net outflow| * dt / h of a fluid cell
    (the share of its volume that a cell gains or loses in the substep); `max_speed`, the greatest velocity
    component on a face, m/s."""

    iterations: int
    residual: float
    max_divergence: float
    max_speed: float
    converged: bool

    def followed_by(self, other: SolveReport) -> SolveReport:
        """What two solves in a row did: iterations of both, the worse residual and divergence, the later speed."""
        return SolveReport(
            self.iterations + other.iterations,
            max(self.residual, other.residual),
            max(self.max_divergence, other.max_divergence),
            other.max_speed,
            self.converged and other.converged,
        )


class PressureSolve(Protocol):
    """Solves A p = r."""

    exact: bool  # one iteration leaves nothing but rounding

    def solve(self, r: torch.Tensor, small_enough: Callable[[Norms], bool], most: int) -> int:
        """Replace `r` (flat, one number a cell) by the solution p, whose residual is small enough but for
        rounding, or what `most` iterations reach; returns their number, at least one."""
        ...


class EmptyBox:
    """Without solids: one box solve."""

    exact = True

    def __init__(self, box: BoxSolve) -> None:
        self.box = box

    def solve(self, r: torch.Tensor, small_enough: Callable[[Norms], bool], most: int) -> int:
        """See PressureSolve."""
        self.box(r)
        return 1


class BoxAndRim:
    """Conjugate gradients (Hestenes and Stiefel 1952) on the rim, preconditioned by smoothing in the rim, a
    solve of the box as if it were empty, and smoothing again.

    With S the smoothing and G the box solve, seen by fluid cells only, the error of one application is
    (1 - S^T A)(1 - G A)(1 - S A): symmetric, and positive definite because A <= B. The box solve knows
    everything about the flow but the solids; what it gets wrong is worst in cells that are nearly full, whose
    rows are tiny, and that is what smoothing repairs. Bodies of fluid kept apart by thin plates cost
    iterations, because the box sees through them.

    A box solve is all that an iteration does to the box: vectors are kept in the rim. The solution is put
    together at the end, by one more box solve of the right-hand side and of what the iterations have added to
    it in the rim.
    """

    exact = False

    def __init__(self, box: BoxSolve, rim: Rim, work: torch.Tensor) -> None:
        """`work`: scratch, one number a cell."""
        self.box, self.rim, self.work = box, rim, work
        device = str(work.device)
        vectors = [zeros(rim.count + 1, device) for _ in range(14)]
        self.r, self.z, self.image, self.before, self.s, self.g, self.left, self.after = vectors[:8]
        self.d, self.ad, self.ds, self.dl, self.source, self.local = vectors[8:]
        self.sums = Sums(-(-rim.count // on_rim.CHUNK), device)

    def solve(self, r: torch.Tensor, small_enough: Callable[[Norms], bool], most: int) -> int:
        """See PressureSolve."""
        rim, count = self.rim, self.rim.count
        self.work.copy_(r)
        self.box(self.work)
        self._defect(self.r)  # the residual of the box's own solution
        rim.level(self.r)
        unseen = ROUNDING_OF_P * float(torch.linalg.vector_norm(self.work))
        left = Norms(float(torch.linalg.vector_norm(self.r)), float(self.r.abs().max()))
        for vector in (self.source, self.local, self.d, self.ad, self.ds, self.dl):
            vector.zero_()
        old, iterations = 0.0, 1
        while iterations < most and not (small_enough(left) or left.l2 < unseen):
            self._precondition()
            new = self.sums.sum()
            if not new > 0.0:  # nothing left to descend along: r is zero, or rounding
                break
            step = (new / old if old else 0.0, self.z, self.image, self.s, self.before)
            on_rim.turn(*step, self.d, self.ad, self.ds, self.dl, self.sums.buffer, count)
            curvature = self.sums.sum()
            if not curvature > 0.0:
                break
            moves = (new / curvature, self.ad, self.ds, self.dl, self.r, self.source, self.local)
            on_rim.follow(*moves, self.sums.buffer, count)
            left = self.sums.norms()
            old = new
            iterations += 1
        if old == 0.0:
            r.copy_(self.work)
            return iterations
        on_rim.scatter_add(self.source, rim.cells, r, count)
        self.box(r)
        on_rim.scatter_add(self.local, rim.cells, r, count)
        return iterations

    def _precondition(self) -> None:
        """In the rim: z = M^-1 r, image = A z, and s, where z = B^-1 s + before. Sums r . z."""
        rim = self.rim
        rim.smooth(self.before, self.r, forward=True)
        on_rim.remainder(self.r, self.before, self.s, rim.beside, rim.weights, rim.count)
        first, last = rim.window[:2]
        self.work.view(rim.cells_of_box[0], -1)[first:last].zero_()
        on_rim.scatter(self.s, rim.cells, self.work, rim.count)
        self.box(self.work, rim.window)
        self._defect(self.left)
        rim.smooth(self.after, self.left, forward=False)
        on_rim.gather_step(
            self.r, self.before, self.g, self.after, self.left, self.z, self.image, rim.beside, rim.weights,
            self.sums.buffer, rim.count,
        )  # fmt: skip

    def _defect(self, out: torch.Tensor) -> None:
        """out = s - A g after the box solve g = B^-1 s, which is (B - A) g."""
        rim = self.rim
        on_rim.defect(self.work, rim.cells, rim.weights, self.g, out, rim.count, *rim.cells_of_box, rim.ends)


class ConjugateGradients:
    """Plain conjugate gradients (Saad 2003, alg. 6.18): iterations grow with the resolution."""

    exact = False

    def __init__(
        self, cells: tuple[int, int, int], weights: tuple[torch.Tensor, ...], ends: int, device: str
    ) -> None:
        self.cells, self.weights, self.ends = cells, weights, ends
        self.p, self.direction, self.image = (zeros(cells[0] * cells[1] * cells[2], device) for _ in range(3))
        self.sums = Sums(cells[0] * cells[1], device)

    def solve(self, r: torch.Tensor, small_enough: Callable[[Norms], bool], most: int) -> int:
        """See PressureSolve."""
        self.p.zero_()
        old, new, iterations = 0.0, float(torch.dot(r, r)), 0
        while iterations < most and new > 0.0:
            search(self.direction, r, new / old if old else 0.0, *self.cells)
            apply_matrix(self.direction, self.image, *self.weights, self.sums.buffer, *self.cells, self.ends)
            step = (new / self.sums.sum(), self.sums.buffer)
            descend(self.p, r, self.direction, self.image, *step, *self.cells)
            left = self.sums.norms()
            old, new = new, left.l2**2
            iterations += 1
            if small_enough(left):
                break
        r.copy_(self.p)
        return max(1, iterations)
