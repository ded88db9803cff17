"""Moving fields with the flow: semi-Lagrangian steps and the MacCormack correction built from two of them.

Stam 1999; Selle, Fedkiw, Kim, Liu and Rossignac 2008. Tracing costs more than interpolating, so each
substep traces once from every cell centre, forward and back, by the midpoint rule (RK2), and all fields use
that: cells as it is, faces as the mean of the two cells beside them, which is as accurate (second order) as
the interpolation itself.
"""

import math
from collections.abc import Sequence

import numpy as np
import taichi as ti
import torch

from fluidsr.solver.grid import Grid
from fluidsr.solver.sampling import F32, face_mean, sample, sample_velocity, triple
from fluidsr.solver.state import zeros

NOTHING = 1e-6  # smaller densities and temperatures are set to zero: they cost like smoke and show like air
NO_FACE = (0, 0, 0)


@ti.kernel
def centre_velocity(u: F32, v: F32, w: F32, c: F32, nx: int, ny: int, nz: int):
    """c [nx, ny, nz, 3] = mean of opposite faces."""
    for row in range(nx * ny):
        i = row // ny
        q0 = row * nz
        for k in range(nz):
            q = q0 + k
            c[3 * q] = 0.5 * (u[q] + u[q + ny * nz])
            c[3 * q + 1] = 0.5 * (v[q + i * nz] + v[q + i * nz + nz])
            c[3 * q + 2] = 0.5 * (w[q + row] + w[q + row + 1])


@ti.kernel
def trace_cells(c: F32, back: F32, forth: F32, nx: int, ny: int, nz: int, step: ti.f32):
    """back, forth [nx, ny, nz, 3] = how far (in cells) the particle at each cell centre has come and will
    go."""
    for row in range(nx * ny):
        i = row // ny
        j = row % ny
        for k in range(nz):
            q = row * nz + k
            p = ti.Vector([i + 0.5, j + 0.5, k + 0.5])
            half = 0.5 * step * triple(c, q)
            came = step * sample_velocity(c, p - half, nx, ny, nz)
            goes = step * sample_velocity(c, p + half, nx, ny, nz)
            for a in ti.static(range(3)):
                back[3 * q + a] = -came[a]
                forth[3 * q + a] = goes[a]


@ti.func
def inflow_weight(x, n, low, high):
    """1 inside, falling to 0 within the first cell outside an open face, where there is nothing but empty
    air."""
    weight = 1.0
    if low != 0 and x < 0.0:
        weight = ti.max(1.0 + x, 0.0)
    if high != 0 and x > n - 1:
        weight = ti.max(n - x, 0.0)
    return weight


@ti.kernel
def advect_back(
    phi: F32, shift: F32, hat: F32, low: F32, high: F32,
    mx: int, my: int, mz: int, nx: int, ny: int, nz: int, ex: int, ey: int, ez: int,
    x0: int, x1: int, y0: int, y1: int, z0: int, z1: int, vacuum: int,
):  # fmt: skip
    """hat = phi where the flow came from; low and high are the extremes of the samples it was made of.

    `vacuum`: six bits, (low, high) of x, y, z: open faces through which nothing but zeros comes in.
    """
    for row in range((x1 - x0) * (y1 - y0)):
        i = x0 + row // (y1 - y0)
        j = y0 + row % (y1 - y0)
        for k in range(z0, z1):
            d = face_mean(shift, i, j, k, ex, ey, ez, nx, ny, nz)
            x, y, z = i + d[0], j + d[1], k + d[2]
            s = sample(phi, x, y, z, mx, my, mz)
            if vacuum != 0:
                weight = (
                    inflow_weight(x, mx, vacuum & 1, vacuum & 2)
                    * inflow_weight(y, my, vacuum & 4, vacuum & 8)
                    * inflow_weight(z, mz, vacuum & 16, vacuum & 32)
                )
                if weight < 1.0:
                    s = ti.Vector([s[0] * weight, ti.min(s[1], 0.0), ti.max(s[2], 0.0)])
            q = (i * my + j) * mz + k
            hat[q] = s[0]
            low[q] = s[1]
            high[q] = s[2]


@ti.func
def leaves(x, y, z, opened, mx, my, mz):
    """Whether index coordinates are beyond the last sample at an open face."""
    return (
        ((opened & 1) != 0 and x < 0.0)
        or ((opened & 2) != 0 and x > mx - 1)
        or ((opened & 4) != 0 and y < 0.0)
        or ((opened & 8) != 0 and y > my - 1)
        or ((opened & 16) != 0 and z < 0.0)
        or ((opened & 32) != 0 and z > mz - 1)
    )


@ti.kernel
def advect_correct(
    phi: F32, shift: F32, hat: F32, low: F32, high: F32,
    mx: int, my: int, mz: int, nx: int, ny: int, nz: int, ex: int, ey: int, ez: int,
    x0: int, x1: int, y0: int, y1: int, z0: int, z1: int, opened: int, correct: int,
    decay: ti.f32, nothing: ti.f32,
):  # fmt: skip
    """phi = decay * clamp(hat + (phi - hat where the flow goes to) / 2, low, high), in place; or, where
    `correct` is 0, decay * hat, the semi-Lagrangian step. Values up to `nothing` become 0.

    Samples that flow out through an open face keep hat: what lies outside cannot tell the error.
    """
    for row in range((x1 - x0) * (y1 - y0)):
        i = x0 + row // (y1 - y0)
        j = y0 + row % (y1 - y0)
        for k in range(z0, z1):
            q = (i * my + j) * mz + k
            value = hat[q]
            if correct != 0:
                d = face_mean(shift, i, j, k, ex, ey, ez, nx, ny, nz)
                x, y, z = i + d[0], j + d[1], k + d[2]
                if not leaves(x, y, z, opened, mx, my, mz):
                    error = 0.5 * (phi[q] - sample(hat, x, y, z, mx, my, mz)[0])
                    value = ti.min(ti.max(value + error, low[q]), high[q])
            value *= decay
            phi[q] = value if ti.abs(value) > nothing else 0.0


@ti.kernel
def row_extents(phi: F32, extents: ti.types.ndarray(dtype=ti.i32, ndim=1), rows: int, nz: int):
    """extents [rows, 2] = first and last-plus-one index of what is not zero; (nz, 0) where all is."""
    for row in range(rows):
        first = nz
        last = 0
        for k in range(nz):
            if phi[row * nz + k] != 0.0:
                first = ti.min(first, k)
                last = k + 1
        extents[2 * row] = first
        extents[2 * row + 1] = last


class Advection:
    """Advects the fields of one grid; owns the scratch arrays that takes (six numbers a cell)."""

    def __init__(self, grid: Grid, device: str, maccormack: bool) -> None:
        nx, ny, nz = self.cells = grid.cells
        self.grid, self.maccormack, self.device = grid, maccormack, device
        most = max(math.prod(grid.faces(axis)) for axis in range(3))
        self.hat, self.low, self.high = (zeros(most, device) for _ in range(3))
        self.centred, self.back, self.forth = (zeros(3 * nx * ny * nz, device) for _ in range(3))
        self.extents = zeros(2 * nx * ny, device, torch.int32)
        bits = [is_open for pair in grid.opened for is_open in pair]
        self.opened = sum(1 << bit for bit, is_open in enumerate(bits) if is_open)

    def trace(self, velocity: Sequence[torch.Tensor], seconds: float) -> None:
        """Trace all particles through `velocity` for `seconds`; `scalar` and `velocity` then move fields
        along.

        Leaves the velocity at cell centres, [x, y, z, 3] flat, in `self.centred`.
        """
        centre_velocity(*velocity, self.centred, *self.cells)
        trace_cells(self.centred, self.back, self.forth, *self.cells, seconds / self.grid.cell_size)

    def scalar(self, phi: torch.Tensor, reach: float, decay: float = 1.0) -> None:
        """Move the cell-centred `phi` in place along the last trace and multiply it by `decay`.

        `reach` bounds how many cells the flow crosses. Open faces bring in zeros. Costs in proportion to
        the box that is not empty.
        """
        box = self._occupied(phi, math.ceil(reach) + 1)
        if box is not None:
            self._advect(phi, NO_FACE, box, self.opened, decay, NOTHING)

    def velocity(self, velocity: Sequence[torch.Tensor]) -> None:
        """Move the three face arrays in place along the last trace. Open faces bring in air at rest.

        Were it to come in as fast as the air beside the face, inflow would feed on itself, and the air in an
        open box would run away without any smoke in it.
        """
        for axis in range(self.grid.dim):  # the third component of a 2-D grid stays zero
            normal = tuple(int(a == axis) for a in range(3))
            self._advect(velocity[axis], normal, _whole(self.grid.faces(axis)), self.opened, 1.0, 0.0)

    def _advect(
        self,
        phi: torch.Tensor,
        normal: tuple[int, ...],
        box: tuple[int, ...],
        vacuum: int,
        decay: float,
        nothing: float,
    ) -> None:
        sizes = tuple(n + e for n, e in zip(self.cells, normal, strict=True))
        hat = self.hat[: phi.numel()]
        if box != _whole(sizes):
            hat.zero_()  # the second pass may look a little beyond the box
        where = (*sizes, *self.cells, *normal, *box)
        advect_back(phi, self.back, hat, self.low, self.high, *where, vacuum)
        correct = int(self.maccormack)
        advect_correct(
            phi, self.forth, hat, self.low, self.high, *where, self.opened, correct, decay, nothing
        )

    def _occupied(self, phi: torch.Tensor, margin: int) -> tuple[int, ...] | None:
        """The box that `phi` can reach within `margin` cells, as (x0, x1, y0, y1, z0, z1); None where it is
        empty."""
        nx, ny, nz = self.cells
        row_extents(phi, self.extents, nx * ny, nz)
        extents = self.extents.cpu().numpy().reshape(nx, ny, 2)
        filled = extents[..., 1] > 0
        if not filled.any():
            return None
        xs, ys = np.nonzero(filled.any(axis=1))[0], np.nonzero(filled.any(axis=0))[0]
        spans = [(xs[0], xs[-1] + 1), (ys[0], ys[-1] + 1), (extents[..., 0].min(), extents[..., 1].max())]
        return tuple(
            int(edge)
            for (first, last), n in zip(spans, self.cells, strict=True)
            for edge in (max(first - margin, 0), min(last + margin, n))
        )


def _whole(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(edge for n in shape for edge in (0, n))
