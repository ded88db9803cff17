"""Random forces that stir the flow with divergence-free noise where there is smoke, heat or shear."""

import math

import taichi as ti
import torch

from fluidsr.solver.forces import slopes
from fluidsr.solver.grid import Grid
from fluidsr.solver.kernels_advection import beside, centre_velocity
from fluidsr.solver.launch import kernel
from fluidsr.solver.layout import Layout
from fluidsr.solver.noise import impulse
from fluidsr.solver.sampling import F32, I3, V3
from fluidsr.solver.setup import NoiseForce
from fluidsr.solver.state import State
from fluidsr.solver.workspace import Workspace

STAGE = "noise forces"
# Root mean square of the curl of value noise in lattice units, by dimension: sqrt(2 p q² / 3) and sqrt(6 p q³ / 3) with
# p and q the means of 2 fade'² and of fade² + (1 - fade)².
CURL = {2: 1.0814, 3: 1.6580}
# From one octave to the next: eddies of half the size turn over in 2^(-2/3) of the time (Kolmogorov 1941), so their
# speeds fall by 2^(-1/3) and their accelerations rise by 2^(1/3).
SIZE, LIFETIME, ACCELERATION = 2.0**-1, 2.0 ** (-2 / 3), 2.0 ** (1 / 3)


@kernel
def shear(c: F32, magnitude: F32, n: I3, periods: I3, per_cell: ti.f32):
    """magnitude [nx, ny, nz] = sqrt(2 S:S), 1/s, of the strain rate S of the centred velocity `c`. `per_cell` = 1 /
    cell size. Moves 16 bytes per cell."""
    for row in range(n[0] * n[1]):
        i = row // n[1]
        j = row - i * n[1]
        for k in range(n[2]):
            s = slopes(c, i, j, k, n, periods)
            total = 0.0
            for a in ti.static(range(3)):
                for b in ti.static(range(3)):
                    strain = 0.5 * (s[a, b] + s[b, a])
                    total += 2.0 * strain * strain
            magnitude[row * n[2] + k] = ti.sqrt(total) * per_cell


@kernel
def add_potential(
    psi: F32, share: F32, size: I3, across: I3, n: I3, periods: I3, step: V3, laps: I3, first: int, begin: ti.f32,
    end: ti.f32, seed: int, amplitude: ti.f32,
):  # fmt: skip
    """Add the impulse of noise between two times (see `noise.impulse`), times `amplitude` and the least `share` of the
    four cells around an edge, to `psi` on the edges parallel to the axis where `across` is 0. `step`: lattice units per
    cell."""
    for row in range(size[0] * size[1]):
        i = row // size[1]
        j = row - i * size[1]
        i0, i1 = beside(i, across[0], n[0], periods[0])
        j0, j1 = beside(j, across[1], n[1], periods[1])
        for k in range(size[2]):
            k0, k1 = beside(k, across[2], n[2], periods[2])
            least = 1.0
            for corner in ti.static(range(8)):
                x = i1 if ti.static(corner & 1) else i0
                y = j1 if ti.static(corner & 2) else j0
                z = k1 if ti.static(corner & 4) else k0
                least = ti.min(least, share[(x * n[1] + y) * n[2] + z])
            if least > 0.0:
                at = ti.Vector([i, j, k])
                p = ti.Vector([0.0, 0.0, 0.0])
                for a in ti.static(range(3)):
                    if periods[a] > 0:
                        at[a] = at[a] % periods[a]
                    p[a] = (ti.cast(at[a], ti.f32) + 0.5 * (1 - across[a])) * step[a]
                psi[row * size[2] + k] += amplitude * least * impulse(p, laps, first, begin, end, seed)


@kernel
def add_slope(v: F32, psi: F32, faces: I3, edges: I3, along: I3, sign: ti.f32):
    """Add to each face `sign` times the difference of `psi` between its two edges `along` an axis."""
    for row in range(faces[0] * faces[1]):
        i = row // faces[1]
        j = row - i * faces[1]
        for k in range(faces[2]):
            low = (i * edges[1] + j) * edges[2] + k
            high = ((i + along[0]) * edges[1] + j + along[1]) * edges[2] + k + along[2]
            v[row * faces[2] + k] += sign * (psi[high] - psi[low])


class NoiseForces:
    """Applies the noise forces of a scene to the velocity.

    A force is the curl of a potential on the edges of cells, so its divergence is zero in every cell. It acts on a face
    only if the control exceeds the threshold in both adjacent cells. The time integral of the force is exact, so in
    still air the result does not depend on the substeps. It is a function of position, time and state only.
    """

    def __init__(self, grid: Grid, forces: tuple[NoiseForce, ...], device: str, workspace: Workspace) -> None:
        self.grid, self.forces, self.layout = grid, forces, Layout.of(grid, device)
        if not forces:
            return
        cells = math.prod(self.layout.cells)
        self._share = workspace.take(STAGE, cells)
        if any(force.control == "shear" for force in forces):
            self._centred = workspace.take(STAGE, 3 * cells)
        # Kernel axes along which the potentials point: all in 3-D; in 2-D only the one across the grid.
        self._axes = (0,) if grid.dim == 2 else (0, 1, 2)
        self._edges = [tuple(n + (a != axis) for a, n in enumerate(self.layout.cells)) for axis in self._axes]
        self._potentials = [workspace.take(STAGE, math.prod(size)) for size in self._edges]

    def add(self, state: State, seconds: float) -> None:
        """Add the impulse of the forces during the `seconds` after the state's time to its velocity."""
        for force in self.forces:
            self._fill_share(force, state)
            for potential in self._potentials:
                potential.zero_()
            self._fill_potentials(force, state.time, seconds)
            self._add_curl(state)

    def _fill_share(self, force: NoiseForce, state: State) -> None:
        """Compute the share of each cell in the force: 0 up to the threshold of the control, 1 from twice of it."""
        layout, share = self.layout, self._share
        if force.control == "shear":
            u, v, w = (state.velocity[axis] for axis in layout.order)
            centre_velocity(u, v, w, self._centred, layout.cells, layout.tile)
            shear(self._centred, share, layout.cells, layout.periods, 1.0 / self.grid.cell_size)
        elif force.control == "temperature":
            share.zero_() if state.temperature is None else torch.abs(state.temperature, out=share)
        else:
            share.copy_(state.density)
        if force.threshold > 0:
            share.div_(force.threshold).sub_(1.0).clamp_(0.0, 1.0)
        else:
            share.sign_()

    def _fill_potentials(self, force: NoiseForce, time: float, seconds: float) -> None:
        layout, h = self.layout, self.grid.cell_size
        total = math.sqrt(sum(ACCELERATION ** (2 * octave) for octave in range(force.octaves)))
        for octave in range(force.octaves):
            size, lifetime = force.size * SIZE**octave, force.lifetime * LIFETIME**octave
            strength = force.strength * ACCELERATION**octave / total
            laps = [max(2, round(period * h / size)) if period else 0 for period in layout.periods]
            step = [lap / n if lap else h / size for lap, n in zip(laps, layout.cells, strict=True)]
            if self.grid.dim == 2:
                step[0] = 0.0  # a slice through the noise, whatever the thickness of the cells
            first = math.floor(time / lifetime)
            begin, end = time / lifetime - first, (time + seconds) / lifetime - first
            amplitude = strength * (size / h) * lifetime / CURL[self.grid.dim]
            for axis, edges, potential in zip(self._axes, self._edges, self._potentials, strict=True):
                across = tuple(int(a != axis) for a in range(3))
                add_potential(
                    potential, self._share, edges, across, layout.cells, layout.periods, step, laps, first, begin,
                    end, force.seed + 7919 * octave + 104729 * axis, amplitude,
                )  # fmt: skip

    def _add_curl(self, state: State) -> None:
        layout = self.layout
        for axis, edges, potential in zip(self._axes, self._edges, self._potentials, strict=True):
            first, second = (axis + 1) % 3, (axis + 2) % 3
            # (curl psi)_first = d psi_axis / d second, (curl psi)_second = -d psi_axis / d first.
            for normal, along, sign in ((first, second, 1.0), (second, first, -1.0)):
                component = layout.order[normal]
                unit = tuple(int(a == along) for a in range(3))
                faces = state.velocity[component]
                add_slope(faces, potential, layout.faces(normal), edges, unit, sign)
        for axis in range(self.grid.dim):
            layout.join(state.velocity[axis], axis)
