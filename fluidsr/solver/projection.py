"""Making the velocity divergence-free (Chorin 1968; Bridson 2015, ch. 5)."""

from __future__ import annotations

import math

import torch

from fluidsr.solver import backend
from fluidsr.solver.grid import Grid
from fluidsr.solver.kernels_pressure import outflow, subtract_gradient
from fluidsr.solver.obstacles import Geometry
from fluidsr.solver.pressure import ConjugateGradients, Norms, Preconditioner, SolveReport
from fluidsr.solver.setup import Numerics
from fluidsr.solver.state import zeros
from fluidsr.solver.transforms import FastBoxSolve, MatrixBoxSolve

# A cell may gain or lose at most this share of its volume in a substep: every projection ends below it.
MAX_DIVERGENCE = 1e-3
# Divergence below this share of the greatest speed (root mean square) is float32 rounding of the velocity
# itself.
ROUNDING = 3e-7


class Projection:
    """Owns the pressure solve of one geometry."""

    def __init__(self, grid: Grid, geometry: Geometry, numerics: Numerics, device: str) -> None:
        self.grid, self.numerics = grid, numerics
        u, v, w = (torch.from_numpy(weight.reshape(-1)).to(device) for weight in geometry.weights)
        self.weights = (u, v, w)
        self.solver = ConjugateGradients(
            geometry, self.weights, _preconditioner(grid, numerics, device), device
        )
        self.r = zeros(geometry.fluid.size, device)
        self.fluid_cells = int(geometry.fluid.sum())
        self.exact = self.solver.precondition is not None and bool(geometry.fluid.all())

    def measure(self, velocity: tuple[torch.Tensor, ...]) -> Norms:
        """Norms of the net outflow of cells and the greatest face speed; leaves the negated outflow in
        `self.r`."""
        sums = self.solver.sums
        outflow(*velocity, *self.weights, self.r, sums.buffer, *self.grid.cells)
        return sums.norms()

    def project(self, velocity: tuple[torch.Tensor, ...], seconds: float) -> SolveReport:
        """Make `velocity` (MAC faces, m/s, in place) discretely divergence-free in fluid cells.

        On return closed faces carry no flow, the L2 norm of the divergence is at most `tolerance` of what it
        was (or rounding), and no cell gains or loses more than MAX_DIVERGENCE of its volume in `seconds`; or
        the report says that it has not converged, for want of iterations or because a number is not finite.
        The residual is measured on the velocity itself, and solved for again where rounding hid a part of it
        (iterative refinement).
        """
        numerics, per_volume = self.numerics, seconds / self.grid.cell_size
        before = now = self.measure(velocity)
        iterations = 0

        def small_enough(left: Norms, margin: float = 1.0) -> bool:
            rounding = ROUNDING * now.max_speed * math.sqrt(self.fluid_cells)
            return (
                left.l2 <= margin * max(numerics.tolerance * before.l2, rounding)
                and left.greatest * per_volume <= margin * MAX_DIVERGENCE
            )

        while not small_enough(now) and math.isfinite(now.l2) and iterations < numerics.max_iterations:
            # Where the preconditioner is the inverse, one iteration leaves nothing but rounding, which only
            # the true residual shows. Elsewhere the margin leaves room between the residual carried along
            # and that.
            most = 1 if self.exact else numerics.max_iterations - iterations
            iterations += self.solver.solve(self.r, lambda left: small_enough(left, 0.8), most)
            self._subtract_gradient(velocity)
            now = self.measure(velocity)
        if iterations == 0:
            self.solver.p.zero_()
            self._subtract_gradient(velocity)  # closes the closed faces, which advection knows nothing of
            now = self.measure(velocity)
        residual = now.l2 / before.l2 if before.l2 != 0 else 0.0
        return SolveReport(
            iterations, residual, now.greatest * per_volume, now.max_speed, converged=small_enough(now)
        )

    def _subtract_gradient(self, velocity: tuple[torch.Tensor, ...]) -> None:
        for axis in range(3):
            normal = tuple(int(a == axis) for a in range(3))
            subtract_gradient(velocity[axis], self.weights[axis], self.solver.p, *self.grid.cells, *normal)


def _preconditioner(grid: Grid, numerics: Numerics, device: str) -> Preconditioner | None:
    if numerics.preconditioner == "none":
        return None
    if device == "cpu":
        return FastBoxSolve(grid, backend.threads())
    return MatrixBoxSolve(grid, device)
