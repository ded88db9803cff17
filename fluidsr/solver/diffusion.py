"""Viscosity, by backward Euler: stable for every viscosity and every step (Stam 1999; Bridson 2015, ch. 10)."""

from __future__ import annotations

import math

import numpy as np
import torch

from fluidsr.errors import SolverError
from fluidsr.solver.geometry import Geometry
from fluidsr.solver.grid import Grid
from fluidsr.solver.kernels_diffusion import fix_wall_faces, implicit_diffusion
from fluidsr.solver.kernels_pressure import cg_direction, cg_update
from fluidsr.solver.sums import Sums
from fluidsr.solver.workspace import Workspace

# Residual, relative to the L2 norm of the component, at which it counts as solved. The matrix has no eigenvalue below
# 1, so the relative error of the velocity is no greater.
TOLERANCE = 1e-6


class Diffusion:
    """Diffuses the velocity of one grid. Borrows 12 bytes of scratch memory per cell."""

    def __init__(
        self, grid: Grid, geometry: Geometry, viscosity: float, device: str, workspace: Workspace
    ) -> None:
        """`viscosity`: the kinematic viscosity, m²/s."""
        self.grid, self.viscosity, self.device = grid, viscosity, device
        largest = max(math.prod(grid.faces(axis)) for axis in range(3))
        self.scratch = [workspace.take("diffusion", largest) for _ in range(3)]
        self.sums = [Sums(grid.faces(axis)[0] * grid.faces(axis)[1], device) for axis in range(3)]
        self.update(geometry)

    def update(self, geometry: Geometry) -> None:
        """Change the geometry, whose solids are no-slip walls."""
        self.solid = int(not geometry.fluid.all())
        nothing = np.zeros(1, np.float32)
        weights = geometry.weights if self.solid else (nothing,) * 3
        self.weights = [self._flat(weight) for weight in weights]
        self.moving = int(geometry.solid_velocity is not None)
        self.speeds = [self._flat(speed) for speed in geometry.solid_velocity or (nothing,) * 3]

    def diffuse(self, velocity: tuple[torch.Tensor, ...], seconds: float) -> tuple[int, ...]:
        """Replace each component u of `velocity` (MAC faces, m/s, in place) by the solution of
        (1 - seconds * viscosity * Laplacian) u_new = u, by conjugate gradients. Returns the iterations per component.

        The walls of the box and solids are no-slip. Faces of which a solid covers more than half take the solid's
        velocity; the distance from their neighbours to the surface follows from the covered shares. At open faces the
        normal derivative is zero. The front and back of a 2-D grid are not walls. No component exceeds the greatest
        magnitude that it and the solids had before. Raises SolverError if conjugate gradients fail, which happens only
        for values that are not finite.
        """
        share = self.viscosity * seconds / self.grid.cell_size**2
        return tuple(self._component(velocity[axis], axis, share) for axis in range(self.grid.dim))

    def _component(self, u: torch.Tensor, axis: int, share: float) -> int:
        shape, sums, wraps = self.grid.faces(axis), self.sums[axis], self.grid.periodic[axis]
        r, direction, image = (scratch[: u.numel()] for scratch in self.scratch)
        held = (
            sum(1 << side for side in range(2) if not self.grid.opened[axis][side] and not wraps) or 2 * wraps
        )
        fix_wall_faces(
            u,
            self.weights[axis],
            self.speeds[axis],
            *shape,
            axis,
            0 if wraps else held,
            self.solid,
            self.moving,
        )
        how = (*shape, axis, self._ends(axis), held, self.solid, int(wraps))

        implicit_diffusion(u, image, self.weights[axis], sums.buffer, share, *how)
        torch.sub(u, image, out=r)
        direction.zero_()
        aim = TOLERANCE * float(torch.linalg.vector_norm(u))
        old, new, iterations = 0.0, float(torch.linalg.vector_norm(r)), 0
        max_iterations = 20 + math.ceil(20 * math.sqrt(1 + 36 * share))
        while new > aim and iterations < max_iterations:
            cg_direction(direction, r, (new / old) ** 2 if old else 0.0, *shape)
            implicit_diffusion(direction, image, self.weights[axis], sums.buffer, share, *how)
            cg_update(u, r, direction, image, new**2 / sums.sum(), sums.buffer, *shape)
            old, new = new, sums.norms().l2
            iterations += 1
        if not new <= aim:
            raise SolverError(
                "viscosity", f"a velocity component cannot be diffused (residual {new:.2g})",
                "lower time.cfl or physics.viscosity",
            )  # fmt: skip
        if wraps:
            faces = u.view(shape)
            faces.select(axis, -1).copy_(faces.select(axis, 0))
        return iterations

    def _ends(self, normal: int) -> int:
        """Boundary conditions, packed as in `Grid.beyond`, of the velocity component along `normal`: zero on the walls
        that it is parallel to, zero gradient at open faces."""
        free = (normal, *range(self.grid.dim, 3))
        sides = enumerate(self.grid.opened)
        return self.grid.beyond([[not (opened or axis in free) for opened in pair] for axis, pair in sides])

    def _flat(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.require(array, np.float32, ["C", "W"]).reshape(-1)).to(self.device)
