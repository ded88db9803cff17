"""Moving fields with the flow: semi-Lagrangian steps and the MacCormack correction built from two of them.

Stam 1999; Selle, Fedkiw, Kim, Liu and Rossignac 2008. Both passes trace with the midpoint rule through the
cell-centred velocity, once for each grid (cells, and the three kinds of faces), so that fields on one grid could
share nothing cheaper than what they already share.
"""

import math
from collections.abc import Sequence

import numpy as np
import taichi as ti
import torch

from fluidsr.solver.grid import Grid
from fluidsr.solver.sampling import F32, sample, trace
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


@ti.func
def inflow_weight(x, n, low, high):
    """1 inside, falling to 0 within the first cell outside an open face, where there is nothing but empty air."""
    weight = 1.0
    if low != 0 and x < 0.0:
        weight = ti.max(1.0 + x, 0.0)
    if high != 0 and x > n - 1:
        weight = ti.max(n - x, 0.0)
    return weight


@ti.kernel
def advect_back(
    phi: F32, c: F32, hat: F32, low: F32, high: F32,
    mx: int, my: int, mz: int, nx: int, ny: int, nz: int, ex: int, ey: int, ez: int,
    x0: int, x1: int, y0: int, y1: int, z0: int, z1: int, step: ti.f32, vacuum: int,
):  # fmt: skip
    """hat = phi where the flow came from; low and high are the extremes of the samples it was made of.

    `vacuum`: six bits, (low, high) of x, y, z: open faces through which nothing but zeros comes in.
    """
    for row in range((x1 - x0) * (y1 - y0)):
        i = x0 + row // (y1 - y0)
        j = y0 + row % (y1 - y0)
        for k in range(z0, z1):
            p = trace(c, i, j, k, ex, ey, ez, -step, nx, ny, nz)
            x, y, z = p[0] - 0.5 * (1 - ex), p[1] - 0.5 * (1 - ey), p[2] - 0.5 * (1 - ez)
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
def leaves(p, opened, nx, ny, nz):
    """Whether position p (cells) is beyond the last cell centres at an open face."""
    return (
        ((opened & 1) != 0 and p[0] < 0.5)
        or ((opened & 2) != 0 and p[0] > nx - 0.5)
        or ((opened & 4) != 0 and p[1] < 0.5)
        or ((opened & 8) != 0 and p[1] > ny - 0.5)
        or ((opened & 16) != 0 and p[2] < 0.5)
        or ((opened & 32) != 0 and p[2] > nz - 0.5)
    )


@ti.kernel
def advect_correct(
    phi: F32, c: F32, hat: F32, low: F32, high: F32,
    mx: int, my: int, mz: int, nx: int, ny: int, nz: int, ex: int, ey: int, ez: int,
    x0: int, x1: int, y0: int, y1: int, z0: int, z1: int, step: ti.f32, opened: int, correct: int,
    decay: ti.f32, nothing: ti.f32,
):  # fmt: skip
    """phi = decay * clamp(hat + (phi - hat where the flow goes to) / 2, low, high), in place; or, where `correct` is
    0, decay * hat, the semi-Lagrangian step. Values up to `nothing` become 0.

    Samples that flow out through an open face keep hat: what lies outside cannot tell the error.
    """
    for row in range((x1 - x0) * (y1 - y0)):
        i = x0 + row // (y1 - y0)
        j = y0 + row % (y1 - y0)
        for k in range(z0, z1):
            q = (i * my + j) * mz + k
            value = hat[q]
            if correct != 0:
                p = trace(c, i, j, k, ex, ey, ez, step, nx, ny, nz)
                if not leaves(p, opened, nx, ny, nz):
                    x, y, z = p[0] - 0.5 * (1 - ex), p[1] - 0.5 * (1 - ey), p[2] - 0.5 * (1 - ez)
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
        self.centred = zeros(3 * nx * ny * nz, device)
        self.extents = zeros(2 * nx * ny, device, torch.int32)
        bits = [is_open for pair in grid.opened for is_open in pair]
        self.opened = sum(1 << bit for bit, is_open in enumerate(bits) if is_open)

    def centre(self, velocity: Sequence[torch.Tensor]) -> torch.Tensor:
        """The velocity at cell centres, [x, y, z, 3] flat, kept for the traces of this substep."""
        centre_velocity(*velocity, self.centred, *self.cells)
        return self.centred

    def scalar(self, phi: torch.Tensor, seconds: float, max_speed: float, rate: float) -> None:
        """Advect the cell-centred `phi` in place by `seconds` through the velocity last centred, then let it decay at
        `rate` (1/s). Open faces bring in zeros. Costs in proportion to the box that is not empty."""
        step = seconds / self.grid.cell_size
        box = self._occupied(phi, math.ceil(max_speed * step) + 1)
        if box is not None:
            self._advect(phi, NO_FACE, box, step, self.opened, math.exp(-rate * seconds), NOTHING)

    def velocity(self, velocity: Sequence[torch.Tensor], seconds: float) -> None:
        """Advect the three face arrays in place by `seconds` through the velocity last centred."""
        for axis, component in enumerate(velocity):
            if axis >= self.grid.dim:
                continue  # stays zero: there is no third component in 2-D
            normal = tuple(int(a == axis) for a in range(3))
            self._advect(
                component, normal, _whole(self.grid.faces(axis)), seconds / self.grid.cell_size, 0, 1.0, 0.0
            )

    def _advect(
        self, phi: torch.Tensor, normal: tuple[int, ...], box: tuple[int, ...], step: float, vacuum: int, decay: float,
        nothing: float,
    ) -> None:  # fmt: skip
        sizes = tuple(n + e for n, e in zip(self.cells, normal, strict=True))
        hat = self.hat[: phi.numel()]
        if box != _whole(sizes):
            hat.zero_()  # the second pass may look a little beyond the box
        args = (phi, self.centred, hat, self.low, self.high, *sizes, *self.cells, *normal, *box, step)
        advect_back(*args, vacuum)
        advect_correct(*args, self.opened, int(self.maccormack), decay, nothing)

    def _occupied(self, phi: torch.Tensor, margin: int) -> tuple[int, ...] | None:
        """The box that `phi` can reach within `margin` cells, as (x0, x1, y0, y1, z0, z1); None where it is empty."""
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
