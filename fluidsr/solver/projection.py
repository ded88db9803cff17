"""Making the velocity divergence-free (Chorin 1968; Bridson 2015, ch. 5)."""

from __future__ import annotations

import math

import numpy as np
import torch

from fluidsr.solver import backend, kernels_pressure
from fluidsr.solver.boundary_band import BoundaryBand
from fluidsr.solver.fast_poisson import FastBoxSolve, MatrixBoxSolve
from fluidsr.solver.geometry import Geometry
from fluidsr.solver.grid import Grid
from fluidsr.solver.kernels_pressure import negative_divergence, subtract_gradient
from fluidsr.solver.pressure import (
    BandedConjugateGradients,
    BoxSolve,
    ConjugateGradients,
    DirectSolve,
    PressureSolve,
    SolveReport,
)
from fluidsr.solver.setup import Numerics
from fluidsr.solver.sums import Norms, Sums
from fluidsr.solver.workspace import Workspace

# A projection converges only if no cell gains or loses more than this share of its volume in a substep.
MAX_DIVERGENCE = 1e-3
# A root mean square of the divergence below this share of the greatest speed is float32 rounding of the velocity.
ROUNDING = 3e-7

Faces = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class Projection:
    """Projects the velocity of one grid, whose geometry may change between substeps."""

    def __init__(
        self,
        grid: Grid,
        geometry: Geometry,
        numerics: Numerics,
        device: str,
        workspace: Workspace,
        outflow: torch.Tensor | None = None,
    ) -> None:
        """Args:
        grid: the grid of the velocity.
        geometry: the initial geometry.
        numerics: preconditioner, tolerance and iterations of the pressure solve.
        device: torch device of the velocity.
        workspace: lends scratch memory, two numbers per cell.
        outflow: flat, m/s, the flux that expanding gas drives out of each cell; read again by every projection.
        """
        self.grid, self.numerics, self.device, self.outflow = grid, numerics, device, outflow
        self.ends = grid.beyond(grid.opened)
        cells = math.prod(grid.cells)
        self.r = workspace.take("projection", cells)
        # An empty box needs no more: the operating system provides memory when it is first touched.
        self.work = workspace.take("projection", cells)
        self.sums = Sums(grid.cells[0] * grid.cells[1], device)
        self.box: BoxSolve | None = None
        if numerics.preconditioner != "none":
            fast = device == "cpu"
            self.box = FastBoxSolve(grid, backend.threads()) if fast else MatrixBoxSolve(grid, device)
        self.update(geometry)

    def update(self, geometry: Geometry) -> None:
        """Change the geometry. Costs about three passes over the weights, and 140 bytes of memory per cell near a
        solid."""
        self.weights = self._faces(geometry.weights)
        band = BoundaryBand(geometry, self.weights, self.ends, self.work.view(torch.int32), self.device)
        self.plain = band.plain
        if geometry.wall_flux is not None:  # rows with a volume source are not plain, even far from any wall
            sourced = torch.from_numpy(np.any(geometry.wall_flux != 0, axis=2).reshape(-1)).to(self.device)
            self.plain[sourced] = 0
        self.fluid_cells = int(np.count_nonzero(geometry.fluid))
        moving = geometry.wall_flux is not None and geometry.solid_velocity is not None
        self.moving = int(moving)
        nothing = torch.zeros(1, device=self.device)
        self.wall_flux, self.solid_velocity = nothing, (nothing, nothing, nothing)
        self.pockets: list[torch.Tensor] = []
        if moving:
            assert geometry.wall_flux is not None and geometry.solid_velocity is not None
            self.wall_flux = self._flat(geometry.wall_flux)
            self.solid_velocity = self._faces(geometry.solid_velocity)
        if moving or self.outflow is not None:
            self.pockets = [torch.from_numpy(pocket).to(self.device) for pocket in geometry.pockets]
        self.solver: PressureSolve
        if self.box is None:
            self.solver = ConjugateGradients(self.grid.cells, self.weights, self.ends, self.device)
        elif band.count == 0:
            self.solver = DirectSolve(self.box)
            if bool(self.plain.all()):
                self.weights = (nothing, nothing, nothing)  # not read by DirectSolve where all rows are plain
        else:
            self.solver = BandedConjugateGradients(self.box, band, self.work)

    def measure(self, velocity: Faces) -> Norms:
        """Compute the right-hand side of the pressure equation, `self.r` = prescribed less actual net outflow of each
        cell (m/s), and return its norms and the greatest face speed.

        The mean over a pocket is subtracted if walls move into it or gas expands in it: no pressure can remove it.
        """
        cells, buffer = self.grid.cells, self.sums.buffer
        negative_divergence(
            *velocity,
            *self.weights,
            self.wall_flux,
            self.plain,
            self.r,
            buffer,
            *cells,
            self.ends,
            self.moving,
        )
        norms = self.sums.norms()
        if not self.pockets and self.outflow is None:
            return norms
        if self.outflow is not None:
            self.r += self.outflow
        for pocket in self.pockets:
            self.r[pocket] -= self.r[pocket].to(torch.float64).mean().to(torch.float32)
        kernels_pressure.norms(self.r, buffer, *cells)
        deflated = self.sums.norms()
        return Norms(deflated.l2, deflated.greatest, norms.max_speed)

    def project(self, velocity: Faces, seconds: float) -> SolveReport:
        """Make `velocity` (MAC faces, m/s, in place) discretely divergence-free in fluid cells.

        On return closed faces carry the velocity of their solid (0 on the walls of the box), the L2 norm of the
        divergence has been reduced to `tolerance` times its initial value (or to rounding), and no cell gains or loses
        more than MAX_DIVERGENCE of its volume in `seconds`. If `converged` is false in the report, iterations did not
        suffice or a value is not finite. The residual is measured on the velocity itself; if rounding has hidden a part
        of it, the remainder is solved for again (iterative refinement).
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
            # The margin allows for the difference between the residual that the solve updates and the true one.
            remaining = numerics.max_iterations - iterations
            iterations += self.solver.solve(self.r, lambda left: small_enough(left, 0.8), remaining)
            self._subtract_gradient(velocity)
            now = self.measure(velocity)
        if iterations == 0:
            self.r.zero_()
            self._subtract_gradient(velocity)  # for the closed faces, which advection does not set
            now = self.measure(velocity)
        residual = now.l2 / before.l2 if before.l2 != 0 else 0.0
        return SolveReport(
            iterations, residual, now.greatest * per_volume, now.max_speed, converged=small_enough(now)
        )

    def _subtract_gradient(self, velocity: Faces) -> None:
        """Subtract the gradient of the pressure in `self.r` from `velocity` and set its closed faces. The second copy
        of a periodic face is copied from the first, as a compiler may round the two computations differently."""
        subtract_gradient(
            *velocity, self.r, *self.weights, *self.solid_velocity, self.plain, *self.grid.cells, self.ends,
            self.moving,
        )  # fmt: skip
        for axis in range(3):
            if self.grid.periodic[axis]:
                faces = velocity[axis].view(self.grid.faces(axis))
                faces.select(axis, -1).copy_(faces.select(axis, 0))

    def _flat(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.require(array, np.float32, ["C", "W"]).reshape(-1)).to(self.device)

    def _faces(self, arrays: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Faces:
        u, v, w = (self._flat(array) for array in arrays)
        return u, v, w
