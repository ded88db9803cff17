"""Forces on the smoke: buoyancy and vorticity confinement."""

from collections.abc import Sequence

import taichi as ti
import torch

from fluidsr.solver.grid import Grid
from fluidsr.solver.sampling import F32
from fluidsr.solver.setup import Physics
from fluidsr.solver.state import State, zeros


@ti.kernel
def add_buoyancy(
    v: F32, density: F32, temperature: F32, nx: int, ny: int, nz: int, ex: int, ey: int, ez: int,
    per_density: ti.f32, per_temperature: ti.f32,
):  # fmt: skip
    """Add the gained speed, at faces normal to (ex, ey, ez), from the mean of the two cells beside each."""
    my = ny + ey
    mz = nz + ez
    for row in range((nx + ex) * my):
        i = row // my
        j = row % my
        below = (ti.max(i - ex, 0) * ny + ti.max(j - ey, 0)) * nz
        above = (ti.min(i, nx - 1) * ny + ti.min(j, ny - 1)) * nz
        for k in range(mz):
            a = below + ti.max(k - ez, 0)
            b = above + ti.min(k, nz - 1)
            v[row * mz + k] += 0.5 * (
                per_density * (density[a] + density[b]) + per_temperature * (temperature[a] + temperature[b])
            )


@ti.func
def central(c: ti.template(), component, q, a, b):
    """Difference of a component between cells b and a, over their distance in cells (one-sided at the
    border)."""
    span = ti.cast(ti.cast(b != q, ti.i32) + ti.cast(a != q, ti.i32), ti.f32)
    return (c[3 * b + component] - c[3 * a + component]) / ti.max(span, 1.0)


@ti.kernel
def curl(c: F32, vorticity: F32, magnitude: F32, nx: int, ny: int, nz: int):
    """vorticity [nx, ny, nz, 3] = curl of the centred velocity, in m/s per cell; and its magnitude."""
    for row in range(nx * ny):
        i = row // ny
        j = row % ny
        for k in range(nz):
            q = row * nz + k
            xa, xb = q - ti.min(i, 1) * ny * nz, q + ti.min(nx - 1 - i, 1) * ny * nz
            ya, yb = q - ti.min(j, 1) * nz, q + ti.min(ny - 1 - j, 1) * nz
            za, zb = q - ti.min(k, 1), q + ti.min(nz - 1 - k, 1)
            omega = ti.Vector(
                [
                    central(c, 2, q, ya, yb) - central(c, 1, q, za, zb),
                    central(c, 0, q, za, zb) - central(c, 2, q, xa, xb),
                    central(c, 1, q, xa, xb) - central(c, 0, q, ya, yb),
                ]
            )
            for a in ti.static(range(3)):
                vorticity[3 * q + a] = omega[a]
            magnitude[q] = omega.norm()


@ti.kernel
def confinement(vorticity: F32, magnitude: F32, force: F32, nx: int, ny: int, nz: int, strength: ti.f32):
    """force [nx, ny, nz, 3] = strength * N x omega with N = grad |omega| / |grad |omega||."""
    for row in range(nx * ny):
        i = row // ny
        j = row % ny
        for k in range(nz):
            q = row * nz + k
            g = ti.Vector(
                [
                    magnitude[q + ti.min(nx - 1 - i, 1) * ny * nz] - magnitude[q - ti.min(i, 1) * ny * nz],
                    magnitude[q + ti.min(ny - 1 - j, 1) * nz] - magnitude[q - ti.min(j, 1) * nz],
                    magnitude[q + ti.min(nz - 1 - k, 1)] - magnitude[q - ti.min(k, 1)],
                ]
            )
            omega = ti.Vector([vorticity[3 * q], vorticity[3 * q + 1], vorticity[3 * q + 2]])
            f = strength * (g / (g.norm() + 1e-12)).cross(omega)
            for a in ti.static(range(3)):
                force[3 * q + a] = f[a]


@ti.kernel
def add_to_faces(v: F32, force: F32, axis: int, nx: int, ny: int, nz: int, ex: int, ey: int, ez: int):
    """Add one component of a centred force to the faces normal to its axis: half from the cell on each
    side."""
    my = ny + ey
    mz = nz + ez
    for row in range((nx + ex) * my):
        i = row // my
        j = row % my
        below = (ti.max(i - ex, 0) * ny + ti.max(j - ey, 0)) * nz
        above = (ti.min(i, nx - 1) * ny + ti.min(j, ny - 1)) * nz
        for k in range(mz):
            a = below + ti.max(k - ez, 0)
            b = above + ti.min(k, nz - 1)
            v[row * mz + k] += 0.5 * (force[3 * a + axis] + force[3 * b + axis])


class Forces:
    """Adds to the velocity what buoyancy and vorticity confinement give it. Closed faces may receive some
    too: the projection that follows sets them right."""

    def __init__(self, grid: Grid, physics: Physics, device: str) -> None:
        self.grid, self.physics = grid, physics
        cells = grid.cells[0] * grid.cells[1] * grid.cells[2]
        self.vorticity = zeros(3 * cells if physics.vorticity_confinement else 0, device)
        self.force = torch.zeros_like(self.vorticity)
        self.magnitude = zeros(cells if physics.vorticity_confinement else 0, device)

    def add_buoyancy(self, state: State, seconds: float) -> None:
        """Acceleration gravity * (b_T * T - b_rho * density) against gravity, m/s²."""
        p, up = self.physics, self.grid.up
        heavy, light = -p.gravity * p.buoyancy_density * seconds, p.gravity * p.buoyancy_temperature * seconds
        if heavy or light:
            normal = tuple(int(a == up) for a in range(3))
            add_buoyancy(
                state.velocity[up], state.density, state.temperature, *self.grid.cells, *normal, heavy, light
            )

    def confine_vorticity(
        self, velocity: Sequence[torch.Tensor], centred: torch.Tensor, seconds: float
    ) -> None:
        """Acceleration epsilon * h * (N x omega) (Fedkiw, Stam and Jensen 2001, eq. 11), from `centred`
        velocity."""
        epsilon = self.physics.vorticity_confinement
        if not epsilon:
            return
        cells = self.grid.cells
        curl(centred, self.vorticity, self.magnitude, *cells)
        # omega is in m/s per cell: h * omega, as the equation has it, without a division.
        confinement(self.vorticity, self.magnitude, self.force, *cells, epsilon * seconds)
        for axis in range(self.grid.dim):
            normal = tuple(int(a == axis) for a in range(3))
            add_to_faces(velocity[axis], self.force, axis, *cells, *normal)
