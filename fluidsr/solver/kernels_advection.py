"""Kernels that move fields with the flow (advection.py has the scheme).

The parallel loop goes over *tiles*: `tile` cells in a row along z, 1 of them on a GPU (neighbouring threads then touch
neighbouring memory). Within a tile the results are gathered in local vectors and stored when all are there. That is
what makes the loops fast: a store in between could, as far as a compiler knows, change the very pointers that the next
cell is read through, so it would reload all of them for each cell and vectorise nothing (measured, one thread: 2.1
times slower).

Displacements are in cells, [3, nx, ny, nz + 2]: along z each row has one more at either end, so that the mean of two
neighbours needs no special case there. Bytes moved per cell are what a pass must read and write if each number comes
from memory once.
"""

import taichi as ti

from fluidsr.solver.sampling import F32, I3, I32, V3, corners, lattice_3d, trilinear


@ti.kernel
def centre_velocity(u: F32, v: F32, w: F32, c: F32, n: I3, tile: ti.template()):
    """c [3, nx, ny, nz] = mean of opposite faces. 24 bytes a cell."""
    tiles = (n[2] + tile - 1) // tile
    for t in range(n[0] * n[1] * tiles):
        row = t // tiles
        k0 = (t - row * tiles) * tile
        i = row // n[1]
        size, plane = n[0] * n[1] * n[2], n[1] * n[2]
        count = ti.min(tile, n[2] - k0)
        q0 = row * n[2] + k0
        x, y, z = ti.Vector.zero(ti.f32, tile), ti.Vector.zero(ti.f32, tile), ti.Vector.zero(ti.f32, tile)
        for m in range(count):
            q = q0 + m
            x[m] = 0.5 * (u[q] + u[q + plane])
            y[m] = 0.5 * (v[q + i * n[2]] + v[q + i * n[2] + n[2]])
            z[m] = 0.5 * (w[q + row] + w[q + row + 1])
        for m in range(count):
            c[q0 + m] = x[m]
            c[q0 + m + size] = y[m]
            c[q0 + m + 2 * size] = z[m]


@ti.kernel
def trace(c: F32, back: F32, forth: F32, n: I3, strides: I3, periods: I3, step: ti.f32,
          tile: ti.template(), periodic: ti.template()):  # fmt: skip
    """back, forth [3, nx, ny, nz + 2] = how far (cells) the particle at each cell centre has come and will go;
    `step` = seconds / cell size. 36 bytes a cell.

    Back by the midpoint rule, -step * c(x - step * c(x) / 2). Forth by the same slope, continued: 2 * step * c(x)
    differs from a midpoint step forth, less the one back, by terms of third order, as much as both do from the truth.
    """
    tiles = (n[2] + tile - 1) // tile
    for t in range(n[0] * n[1] * tiles):
        row = t // tiles
        k0 = (t - row * tiles) * tile
        i = row // n[1]
        j = row - i * n[1]
        size, padded = n[0] * n[1] * n[2], n[0] * n[1] * (n[2] + 2)
        count = ti.min(tile, n[2] - k0)
        q0, s0 = row * n[2] + k0, row * (n[2] + 2) + k0 + 1
        base = ti.Vector.zero(ti.i32, tile)
        ax, ay, az = ti.Vector.zero(ti.i32, tile), ti.Vector.zero(ti.i32, tile), ti.Vector.zero(ti.i32, tile)
        wx, wy, wz = ti.Vector.zero(ti.f32, tile), ti.Vector.zero(ti.f32, tile), ti.Vector.zero(ti.f32, tile)
        for m in range(count):
            half = -0.5 * step * ti.Vector([c[q0 + m], c[q0 + m + size], c[q0 + m + 2 * size]])
            at = ti.Vector([i, j, k0 + m])
            q, o, _, f = lattice_3d(at, half, n, strides, periods, periodic)
            base[m] = q
            wx[m], wy[m], wz[m] = f[0], f[1], f[2]
            if ti.static(periodic):
                ax[m], ay[m], az[m] = o[0], o[1], o[2]
        for a in ti.static(range(3)):
            came = ti.Vector.zero(ti.f32, tile)
            goes = ti.Vector.zero(ti.f32, tile)
            for m in range(count):
                o = strides
                if ti.static(periodic):
                    o = ti.Vector([ax[m], ay[m], az[m]])
                f = ti.Vector([wx[m], wy[m], wz[m]])
                there = trilinear(*corners(c, base[m] + a * size, o), 1.0 - f, f)
                came[m] = -step * there
                goes[m] = step * (2.0 * c[q0 + m + a * size] - there)
            for m in range(count):
                back[s0 + m + a * padded] = came[m]
                forth[s0 + m + a * padded] = goes[m]


@ti.kernel
def pad_rows(back: F32, forth: F32, n: I3, periodic: int):
    """Fill the two ends of each row of displacements: with their neighbour, or with the other end's."""
    for row in range(3 * n[0] * n[1]):
        first = row * (n[2] + 2) + 1
        last = first + n[2] - 1
        below = last if periodic != 0 else first
        above = first if periodic != 0 else last
        back[first - 1] = back[below]
        back[last + 1] = back[above]
        forth[first - 1] = forth[below]
        forth[last + 1] = forth[above]


@ti.func
def beside(i, e, n, period):
    """Numbers along one axis of the two cells beside face i (e = 1), of cell i itself twice (e = 0)."""
    lower = ti.select(i < e, ti.max(period - 1, 0), i - e)
    upper = ti.select(i < n, i, ti.select(period > 0, 0, n - 1))
    return lower, upper


@ti.func
def beyond(x, low, high):
    """How far x lies outside [low, high]."""
    return ti.abs(x - ti.min(ti.max(x, low), high))


@ti.kernel
def advect_back(
    phi: F32, shift: F32, hat: F32, low: F32, high: F32, n: I3, normal: I3, first: I3, last: I3,
    strides: I3, periods: I3, lower: V3, upper: V3, inflow: ti.f32, tile: ti.template(), periodic: ti.template(),
):  # fmt: skip
    """hat = phi where the flow came from; low and high are the extremes of what it was made of. 28 bytes a sample,
    on the box from `first` to `last`.

    `lower`, `upper`: index coordinates beyond which nothing but `inflow` comes in, growing to all within a cell.
    """
    ny_box = last[1] - first[1]
    tiles = (last[2] - first[2] + tile - 1) // tile
    for t in range((last[0] - first[0]) * ny_box * tiles):
        row = t // tiles
        k0 = first[2] + (t - row * tiles) * tile
        i = first[0] + row // ny_box
        j = first[1] + row % ny_box
        size = n + normal
        padded = n[0] * n[1] * (n[2] + 2)
        count = ti.min(tile, last[2] - k0)
        i0, i1 = beside(i, normal[0], n[0], periods[0])
        j0, j1 = beside(j, normal[1], n[1], periods[1])
        s0 = (i0 * n[1] + j0) * (n[2] + 2) + k0 + 1 - normal[2]
        s1 = (i1 * n[1] + j1) * (n[2] + 2) + k0 + 1
        value, least, most = (
            ti.Vector.zero(ti.f32, tile), ti.Vector.zero(ti.f32, tile), ti.Vector.zero(ti.f32, tile)
        )  # fmt: skip
        for m in range(count):
            dx = 0.5 * (shift[s0 + m] + shift[s1 + m])
            dy = 0.5 * (shift[s0 + m + padded] + shift[s1 + m + padded])
            dz = 0.5 * (shift[s0 + m + 2 * padded] + shift[s1 + m + 2 * padded])
            at, d = ti.Vector([i, j, k0 + m]), ti.Vector([dx, dy, dz])
            q, o, v, w = lattice_3d(at, d, size, strides, periods, periodic)
            a000, a001, a010, a011, a100, a101, a110, a111 = corners(phi, q, o)
            outside = ti.min(
                beyond(i + dx, lower[0], upper[0])
                + beyond(j + dy, lower[1], upper[1])
                + beyond(k0 + m + dz, lower[2], upper[2]),
                1.0,
            )
            inside = 1.0 - outside
            below = ti.min(
                ti.min(ti.min(a000, a001), ti.min(a010, a011)), ti.min(ti.min(a100, a101), ti.min(a110, a111))
            )
            above = ti.max(
                ti.max(ti.max(a000, a001), ti.max(a010, a011)), ti.max(ti.max(a100, a101), ti.max(a110, a111))
            )
            below = ti.select(inside < 1.0, ti.min(below, inflow), below)
            above = ti.select(inside < 1.0, ti.max(above, inflow), above)
            new = inside * trilinear(a000, a001, a010, a011, a100, a101, a110, a111, v, w) + outside * inflow
            # Rounding must not leave the range either: constants stay what they are to the last bit.
            value[m] = ti.min(ti.max(new, below), above)
            least[m] = below
            most[m] = above
        q0 = (i * size[1] + j) * size[2] + k0
        for m in range(count):
            hat[q0 + m] = value[m]
            low[q0 + m] = least[m]
            high[q0 + m] = most[m]


@ti.kernel
def advect_correct(
    phi: F32, shift: F32, hat: F32, low: F32, high: F32, n: I3, normal: I3, first: I3, last: I3,
    strides: I3, periods: I3, lower: V3, upper: V3, decay: ti.f32, nothing: ti.f32,
    tile: ti.template(), periodic: ti.template(),
):  # fmt: skip
    """phi = decay * clamp(hat + (phi - hat where the flow goes to) / 2, low, high), in place; up to `nothing` becomes
    0. 32 bytes a sample, on the box from `first` to `last`.

    Samples that flow out beyond `lower` or `upper` keep hat: what lies outside cannot tell the error.
    """
    ny_box = last[1] - first[1]
    tiles = (last[2] - first[2] + tile - 1) // tile
    for t in range((last[0] - first[0]) * ny_box * tiles):
        row = t // tiles
        k0 = first[2] + (t - row * tiles) * tile
        i = first[0] + row // ny_box
        j = first[1] + row % ny_box
        size = n + normal
        padded = n[0] * n[1] * (n[2] + 2)
        count = ti.min(tile, last[2] - k0)
        i0, i1 = beside(i, normal[0], n[0], periods[0])
        j0, j1 = beside(j, normal[1], n[1], periods[1])
        s0 = (i0 * n[1] + j0) * (n[2] + 2) + k0 + 1 - normal[2]
        s1 = (i1 * n[1] + j1) * (n[2] + 2) + k0 + 1
        q0 = (i * size[1] + j) * size[2] + k0
        value = ti.Vector.zero(ti.f32, tile)
        for m in range(count):
            dx = 0.5 * (shift[s0 + m] + shift[s1 + m])
            dy = 0.5 * (shift[s0 + m + padded] + shift[s1 + m + padded])
            dz = 0.5 * (shift[s0 + m + 2 * padded] + shift[s1 + m + 2 * padded])
            at, d = ti.Vector([i, j, k0 + m]), ti.Vector([dx, dy, dz])
            q, o, v, w = lattice_3d(at, d, size, strides, periods, periodic)
            outside = (
                beyond(i + dx, lower[0], upper[0])
                + beyond(j + dy, lower[1], upper[1])
                + beyond(k0 + m + dz, lower[2], upper[2])
            )
            lost = phi[q0 + m] - trilinear(*corners(hat, q, o), v, w)
            lost *= ti.select(outside > 0.0, 0.0, 0.5)
            new = decay * ti.min(ti.max(hat[q0 + m] + lost, low[q0 + m]), high[q0 + m])
            value[m] = ti.select(ti.abs(new) > nothing, new, 0.0)
        for m in range(count):
            phi[q0 + m] = value[m]


@ti.kernel
def keep(phi: F32, hat: F32, size: I3, first: I3, last: I3, decay: ti.f32, nothing: ti.f32):
    """phi = decay * hat on the box, which ends a semi-Lagrangian step; up to `nothing` becomes 0. 8 bytes a
    sample."""
    ny_box = last[1] - first[1]
    for row in range((last[0] - first[0]) * ny_box):
        q0 = ((first[0] + row // ny_box) * size[1] + first[1] + row % ny_box) * size[2]
        for k in range(first[2], last[2]):
            new = decay * hat[q0 + k]
            phi[q0 + k] = ti.select(ti.abs(new) > nothing, new, 0.0)


@ti.kernel
def row_extents(phi: F32, extents: I32, rows: int, nz: int):
    """extents [rows, 2] = first and last-plus-one index of what is not zero; (nz, 0) where all is. 4 bytes a cell."""
    for row in range(rows):
        first = nz
        last = 0
        for k in range(nz):
            if phi[row * nz + k] != 0.0:
                first = ti.min(first, k)
                last = k + 1
        extents[2 * row] = first
        extents[2 * row + 1] = last
