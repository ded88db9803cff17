"""Making the velocity divergence-free (Chorin 1968; Bridson 2015, ch. 5)."""

from __future__ import annotations

import math

import numpy as np
import torch

from fluidsr.solver import backend, kernels_pressure
from fluidsr.solver.boundary_band import Rim
from fluidsr.solver.fast_poisson import FastBoxSolve, MatrixBoxSolve
from fluidsr.solver.geometry import Geometry
from fluidsr.solver.grid import Grid
from fluidsr.solver.kernels_pressure import outflow, subtract_gradient
from fluidsr.solver.pressure import (
    BoxAndRim,
    BoxSolve,
    ConjugateGradients,
    EmptyBox,
    PressureSolve,
    SolveReport,
)
from fluidsr.solver.setup import Numerics
from fluidsr.solver.sums import Norms, Sums
from fluidsr.solver.workspace import Workspace

# A cell may gain or lose at most this share of its volume in a substep: every projection ends below it.
MAX_DIVERGENCE = 1e-3
# Divergence below this share of the greatest speed (root mean square) is float32 rounding of the velocity
# itself.
ROUNDING = 3e-7

Faces = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class Projection:
    """Owns the pressure solve of one grid; the geometry may change from one substep to the next."""

    def __init__(
        self,
        grid: Grid,
        geometry: Geometry,
        numerics: Numerics,
        device: str,
        workspace: Workspace,
        made: torch.Tensor | None = None,
    ) -> None:
        """`made`: flat, m/s, what is to flow out of each cell that solids and sources do not push; read again by every
        projection."""
        self.grid, self.numerics, self.device, self.made = grid, numerics, device, made
        self.ends = grid.beyond(grid.opened)
        cells = math.prod(grid.cells)
        self.r = workspace.take("projection", cells)
        # An empty box needs no more; memory that nothing touches is never there.
        self.work = workspace.take("projection", cells)
        self.sums = Sums(grid.cells[0] * grid.cells[1], device)
        self.box: BoxSolve | None = None
        if numerics.preconditioner != "none":
            fast = device == "cpu"
            self.box = FastBoxSolve(grid, backend.threads()) if fast else MatrixBoxSolve(grid, device)
        self.update(geometry)

    def update(self, geometry: Geometry) -> None:
        """Solve for another geometry from now on.

        Costs about three passes over the weights, and 140 bytes of memory for each cell near a solid.
        """
        self.weights = self._faces(geometry.weights)
        rim = Rim(geometry, self.weights, self.ends, self.work.view(torch.int32), self.device)
        self.plain = rim.plain
        if geometry.wall_flux is not None:  # rows where volume is made without a wall
            made = torch.from_numpy(np.any(geometry.wall_flux != 0, axis=2).reshape(-1)).to(self.device)
            self.plain[made] = 0
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
        if moving or self.made is not None:
            self.pockets = [torch.from_numpy(pocket).to(self.device) for pocket in geometry.pockets]
        self.solver: PressureSolve
        if self.box is None:
            self.solver = ConjugateGradients(self.grid.cells, self.weights, self.ends, self.device)
        elif rim.count == 0:
            self.solver = EmptyBox(self.box)
            if bool(self.plain.all()):
                self.weights = (nothing, nothing, nothing)  # nobody reads them
        else:
            self.solver = BoxAndRim(self.box, rim, self.work)

    def measure(self, velocity: Faces) -> Norms:
        """Norms of the net outflow of cells, less what is `made` there, and the greatest face speed; leaves it negated
        in `self.r`. Where walls move into a pocket, which nothing can leave, or gas is made in one, the mean that no
        pressure can take away is left out."""
        cells, buffer = self.grid.cells, self.sums.buffer
        outflow(
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
        now = self.sums.norms()
        if not self.pockets and self.made is None:
            return now
        if self.made is not None:
            self.r += self.made
        for pocket in self.pockets:
            self.r[pocket] -= self.r[pocket].to(torch.float64).mean().to(torch.float32)
        kernels_pressure.norms(self.r, buffer, *cells)
        left = self.sums.norms()
        return Norms(left.l2, left.greatest, now.max_speed)

    def project(self, velocity: Faces, seconds: float) -> SolveReport:
        """Make `velocity` (MAC faces, m/s, in place) discretely divergence-free in fluid cells.

        On return shut faces carry the flow of their solid (none through the walls of the box), the L2 norm of
        the divergence is at most `tolerance` of what it was (or rounding), and no cell gains or loses more
        than MAX_DIVERGENCE of its volume in `seconds`; or the report says that it has not converged, for want
        of iterations or because a number is not finite. The residual is measured on the velocity itself, and
        solved for again where rounding hid a part of it (iterative refinement).
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
            # The margin leaves room between the residual that a solve carries along and the true one.
            most = numerics.max_iterations - iterations
            iterations += self.solver.solve(self.r, lambda left: small_enough(left, 0.8), most)
            self._subtract_gradient(velocity)
            now = self.measure(velocity)
        if iterations == 0:
            self.r.zero_()
            self._subtract_gradient(velocity)  # sets the shut faces, which advection knows nothing of
            now = self.measure(velocity)
        residual = now.l2 / before.l2 if before.l2 != 0 else 0.0
        return SolveReport(
            iterations, residual, now.greatest * per_volume, now.max_speed, converged=small_enough(now)
        )

    def _subtract_gradient(self, velocity: Faces) -> None:
        """Of the pressure in `self.r`. The second copy of a periodic face is made from the first: compilers may
        round twice the same formula differently."""
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
