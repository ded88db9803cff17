"""Forces on the smoke: buoyancy and vorticity confinement."""

from collections.abc import Sequence

import taichi as ti
import torch

from fluidsr.solver.grid import Grid
from fluidsr.solver.kernels_advection import beside, centre_velocity
from fluidsr.solver.launch import kernel
from fluidsr.solver.layout import Layout
from fluidsr.solver.sampling import F32, I3
from fluidsr.solver.setup import Physics
from fluidsr.solver.state import State
from fluidsr.solver.workspace import Workspace

STAGE = "forces"


@kernel
def add_buoyancy(
    v: F32, density: F32, temperature: F32, n: I3, normal: I3, periods: I3,
    per_density: ti.f32, per_temperature: ti.f32, tile: ti.template(), heated: ti.template(),
):  # fmt: skip
    """Add to the faces with this normal the speed gained by buoyancy, from the mean of their two cells. Without
    `heated`, `temperature` is not read. Moves 12 (16) bytes per cell."""
    size = n + normal
    tiles = (size[2] + tile - 1) // tile
    for t in range(size[0] * size[1] * tiles):
        row = t // tiles
        k0 = (t - row * tiles) * tile
        i = row // size[1]
        j = row - i * size[1]
        i0, i1 = beside(i, normal[0], n[0], periods[0])
        j0, j1 = beside(j, normal[1], n[1], periods[1])
        below, above = (i0 * n[1] + j0) * n[2], (i1 * n[1] + j1) * n[2]
        new = ti.Vector.zero(ti.f32, tile)
        count = ti.min(tile, size[2] - k0)
        for m in range(count):
            k1, k2 = beside(k0 + m, normal[2], n[2], periods[2])
            gained = per_density * (density[below + k1] + density[above + k2])
            if ti.static(heated):
                gained += per_temperature * (temperature[below + k1] + temperature[above + k2])
            new[m] = v[row * size[2] + k0 + m] + 0.5 * gained
        for m in range(count):
            v[row * size[2] + k0 + m] = new[m]


@ti.func
def around(i, n, period):
    """Indices of the two neighbours of cell i along one axis (i itself at a border), and the factor that turns the
    difference of their values into a slope per cell."""
    lower = ti.select(i > 0, i - 1, ti.max(period - 1, 0))
    upper = ti.select(i < n - 1, i + 1, ti.select(period > 0, 0, n - 1))
    span = ti.select(period > 0, 2, ti.max(upper - lower, 1))
    return lower, upper, 1.0 / span


@ti.func
def slopes(c: ti.template(), i, j, k, n, periods):
    """The gradient of the centred velocity `c [3, nx, ny, nz]` at a cell: the change of component a per cell along axis
    b at [a, b]."""
    size = n[0] * n[1] * n[2]
    i0, i1, per_x = around(i, n[0], periods[0])
    j0, j1, per_y = around(j, n[1], periods[1])
    k0, k1, per_z = around(k, n[2], periods[2])
    result = ti.Matrix.zero(ti.f32, 3, 3)
    for a in ti.static(range(3)):
        at = a * size
        result[a, 0] = (c[at + (i1 * n[1] + j) * n[2] + k] - c[at + (i0 * n[1] + j) * n[2] + k]) * per_x
        result[a, 1] = (c[at + (i * n[1] + j1) * n[2] + k] - c[at + (i * n[1] + j0) * n[2] + k]) * per_y
        result[a, 2] = (c[at + (i * n[1] + j) * n[2] + k1] - c[at + (i * n[1] + j) * n[2] + k0]) * per_z
    return result


@kernel
def curl(c: F32, vorticity: F32, magnitude: F32, n: I3, periods: I3):
    """vorticity [3, nx, ny, nz] = the curl of the centred velocity `c`, in m/s per cell, and its magnitude. Moves 28
    bytes per cell."""
    for row in range(n[0] * n[1]):
        size = n[0] * n[1] * n[2]
        i = row // n[1]
        j = row - i * n[1]
        for k in range(n[2]):
            s = slopes(c, i, j, k, n, periods)
            omega = ti.Vector([s[2, 1] - s[1, 2], s[0, 2] - s[2, 0], s[1, 0] - s[0, 1]])
            for a in ti.static(range(3)):
                vorticity[a * size + row * n[2] + k] = omega[a]
            magnitude[row * n[2] + k] = omega.norm()


@kernel
def confinement(
    vorticity: F32, magnitude: F32, force: F32, fuel: F32, temperature: F32, n: I3, periods: I3, strength: ti.f32,
    of_flame: ti.f32, coldest: ti.f32, burns: ti.template(),
):  # fmt: skip
    """force [3, nx, ny, nz] = strength * N x omega with N = grad |omega| / |grad |omega||.

    If fuel `burns`, `of_flame` times the brightness of the flame is added to `strength`; otherwise fuel and temperature
    are not read. Moves 28 (36) bytes per cell.
    """
    for row in range(n[0] * n[1]):
        size = n[0] * n[1] * n[2]
        i = row // n[1]
        j = row - i * n[1]
        i0, i1, _ = around(i, n[0], periods[0])
        j0, j1, _ = around(j, n[1], periods[1])
        for k in range(n[2]):
            q = row * n[2] + k
            k0, k1, _ = around(k, n[2], periods[2])
            g = ti.Vector(
                [
                    magnitude[(i1 * n[1] + j) * n[2] + k] - magnitude[(i0 * n[1] + j) * n[2] + k],
                    magnitude[(i * n[1] + j1) * n[2] + k] - magnitude[(i * n[1] + j0) * n[2] + k],
                    magnitude[row * n[2] + k1] - magnitude[row * n[2] + k0],
                ]
            )
            omega = ti.Vector([vorticity[q], vorticity[q + size], vorticity[q + 2 * size]])
            epsilon = strength
            if ti.static(burns):
                flame = ti.sqrt(ti.min(fuel[q], 1.0))  # as combustion.flame_of
                epsilon += ti.select(temperature[q] < coldest, 0.0, of_flame * flame)
            f = epsilon * (g / (g.norm() + 1e-12)).cross(omega)
            for a in ti.static(range(3)):
                force[q + a * size] = f[a]


@kernel
def add_to_faces(v: F32, force: F32, n: I3, normal: I3, periods: I3):
    """Add one component of a centred force to the faces with this normal: the mean of their two cells. Moves 12 bytes
    per cell."""
    for row in range((n[0] + normal[0]) * (n[1] + normal[1])):
        i = row // (n[1] + normal[1])
        j = row % (n[1] + normal[1])
        i0, i1 = beside(i, normal[0], n[0], periods[0])
        j0, j1 = beside(j, normal[1], n[1], periods[1])
        for k in range(n[2] + normal[2]):
            k0, k1 = beside(k, normal[2], n[2], periods[2])
            a, b = (i0 * n[1] + j0) * n[2] + k0, (i1 * n[1] + j1) * n[2] + k1
            v[row * (n[2] + normal[2]) + k] += 0.5 * (force[a] + force[b])


class Forces:
    """Applies buoyancy and vorticity confinement to the velocity. Closed faces are changed, too; the projection that
    follows resets them."""

    def __init__(
        self, grid: Grid, physics: Physics, device: str, workspace: Workspace, burns: bool = False
    ) -> None:
        self.grid, self.physics, self.layout = grid, physics, Layout.of(grid, device)
        self.of_flame = physics.combustion.vorticity if burns else 0.0
        if physics.vorticity_confinement or self.of_flame:
            cells = grid.cells[0] * grid.cells[1] * grid.cells[2]
            self.centred, self.vorticity = (workspace.take(STAGE, 3 * cells) for _ in range(2))
            self.magnitude = workspace.take(STAGE, cells)

    def add_buoyancy(self, state: State, seconds: float) -> None:
        """Accelerate the velocity of `state` for `seconds` by gravity * (b_T * T - b_rho * density), m/s², against
        gravity."""
        p, layout = self.physics, self.layout
        heavy, light = -p.gravity * p.buoyancy_density * seconds, p.gravity * p.buoyancy_temperature * seconds
        heated = state.temperature is not None and light != 0
        if heavy or heated:
            temperature = state.temperature if heated else state.density
            add_buoyancy(
                state.velocity[self.grid.up], state.density, temperature, layout.cells,
                layout.normal(self.grid.up), layout.periods, heavy, light, layout.tile, heated,
            )  # fmt: skip
            layout.join(state.velocity[self.grid.up], self.grid.up)

    def confine_vorticity(
        self,
        velocity: Sequence[torch.Tensor],
        seconds: float,
        calm: torch.Tensor | None = None,
        fuel: torch.Tensor | None = None,
        temperature: torch.Tensor | None = None,
    ) -> None:
        """Accelerate `velocity` for `seconds` by epsilon * h * (N x omega) (Fedkiw, Stam and Jensen 2001, eq. 11).

        Args:
            velocity: (u, v, w), flat, m/s, changed in place.
            seconds: length of the substep.
            calm: cells (flat indices) without acceleration: beside a solid, the jump of velocity at its surface would
                be taken for a vortex.
            fuel: increases epsilon where it burns; None if nothing burns.
            temperature: of the fuel, kelvin above ambient.
        """
        epsilon = self.physics.vorticity_confinement
        if not epsilon and not self.of_flame:
            return
        layout = self.layout
        cells, periods = layout.cells, layout.periods
        u, v, w = (velocity[axis] for axis in layout.order)
        centre_velocity(u, v, w, self.centred, cells, layout.tile)
        curl(self.centred, self.vorticity, self.magnitude, cells, periods)
        # The vorticity in m/s per cell is h * omega, the term of the equation.
        force = self.centred  # the centred velocity is no longer needed
        burning, heat = (self.magnitude if field is None else field for field in (fuel, temperature))
        confinement(
            self.vorticity, self.magnitude, force, burning, heat, cells, periods, epsilon * seconds,
            self.of_flame * seconds, self.physics.combustion.coldest, fuel is not None,
        )  # fmt: skip
        if calm is not None:
            force.view(3, -1)[:, calm] = 0.0
        for component, source in zip(force.view(3, -1), layout.order, strict=True):
            if source < self.grid.dim:
                add_to_faces(velocity[source], component, cells, layout.normal(source), periods)
                layout.join(velocity[source], source)
