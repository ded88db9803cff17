"""Kernels of the pressure equation over the whole box (pressure.py states the equation, projection.py uses them).

All of them loop over rows along z and write their sums per row to `sums [rows, 3]`. A row is *plain* if all faces of
its cells are as in the empty box; its weights are not read, which saves memory traffic in most rows of most scenes.
`ends`: the boundary conditions at the six ends of the box (`Grid.beyond`), EVEN at closed ends, ODD at open ones."""

import taichi as ti

from fluidsr.solver.grid import ODD, WRAPPED
from fluidsr.solver.launch import kernel
from fluidsr.solver.sampling import F32, F64, U8


@ti.func
def neighbour(index, n, stride, high, ends, axis):
    """The neighbour of the cell at `index` of `n` along an axis, on its low (high = 0) or high (1) side: its offset in
    the flat array; the sign of its value (-1 beyond an ODD end, where p = 0 on the face); and whether flow can pass the
    face between them in the empty box (1; 0 at an EVEN end)."""
    offset = ti.select(high != 0, stride, -stride)
    sign = 1.0
    flows = 1.0
    if (high == 0 and index == 0) or (high != 0 and index == n - 1):
        end = (ends >> (4 * axis + 2 * high)) & 3
        offset = 0
        if end == WRAPPED:
            offset = ti.select(high != 0, -(n - 1) * stride, (n - 1) * stride)
        elif end == ODD:
            sign = -1.0
        else:
            flows = 0.0
    return offset, sign, flows


@kernel
def divide_by_sum(wave: F32, x: F32, y: F32, z: F32, nx: int, ny: int, nz: int):
    """wave /= x + y + z, outer sum [nx, ny, nz]; where that is 0, wave becomes 0. 8 bytes a cell."""
    for row in range(nx * ny):
        a = x[row // ny] + y[row % ny]
        for k in range(nz):
            s = a + z[k]
            wave[row * nz + k] = wave[row * nz + k] / s if s > 0.0 else 0.0


@kernel
def negative_divergence(
    u: F32, v: F32, w: F32, wu: F32, wv: F32, ww: F32, flux: F32, plain: U8, r: F32, sums: F64,
    nx: int, ny: int, nz: int, ends: int, moving: int,
):  # fmt: skip
    """r = the negative net outflow of each cell: that through the open shares of its faces, plus `flux` if `moving` is
    1; 0 in cells without an open face. sums = (r . r, max |r|, max speed of an open face).

    Reads 12 bytes per cell and writes 4; reads 12 (16) more in rows that are not plain.
    """
    for row in range(nx * ny):
        i = row // ny
        j = row % ny
        plane = ny * nz
        a0 = row * nz + i * nz  # first face of the row in v
        b0 = row * nz + row  # and in w
        total = 0.0  # of one row: float32 will do
        greatest = 0.0
        speed = 0.0
        if plain[row] != 0:
            xa = neighbour(i, nx, plane, 0, ends, 0)[2]
            xb = neighbour(i, nx, plane, 1, ends, 0)[2]
            ya = neighbour(j, ny, nz, 0, ends, 1)[2]
            yb = neighbour(j, ny, nz, 1, ends, 1)[2]
            za = neighbour(0, nz, 1, 0, ends, 2)[2]
            zb = neighbour(nz - 1, nz, 1, 1, ends, 2)[2]
            low = za * w[b0]
            for k in range(nz):
                q = row * nz + k
                high = w[b0 + k + 1]
                if k == nz - 1:
                    high *= zb
                ua, ub = xa * u[q], xb * u[q + plane]
                va, vb = ya * v[a0 + k], yb * v[a0 + k + nz]
                inflow = (ua - ub) + (va - vb) + (low - high)
                r[q] = inflow
                total += inflow * inflow
                greatest = ti.max(greatest, ti.abs(inflow))
                speed = ti.max(speed, ti.max(ti.abs(ua), ti.max(ti.abs(va), ti.abs(low))))
                low = high
            speed = ti.max(speed, ti.abs(low))  # the high faces of other rows are the low ones of the next
            if i == nx - 1 or j == ny - 1:
                for k in range(nz):
                    speed = ti.max(speed, ti.abs(xb * u[row * nz + k + plane]))
                    speed = ti.max(speed, ti.abs(yb * v[a0 + k + nz]))
        else:
            for k in range(nz):
                q = row * nz + k
                xa, xb = wu[q], wu[q + plane]
                ya, yb = wv[a0 + k], wv[a0 + k + nz]
                za, zb = ww[b0 + k], ww[b0 + k + 1]
                inflow = (
                    (xa * u[q] - xb * u[q + plane])
                    + (ya * v[a0 + k] - yb * v[a0 + k + nz])
                    + (za * w[b0 + k] - zb * w[b0 + k + 1])
                )
                if moving != 0:
                    inflow -= flux[q]
                if (xa + xb) + (ya + yb) + (za + zb) == 0.0:
                    inflow = 0.0
                r[q] = inflow
                total += inflow * inflow
                greatest = ti.max(greatest, ti.abs(inflow))
                if xa > 0.0:
                    speed = ti.max(speed, ti.abs(u[q]))
                if xb > 0.0:
                    speed = ti.max(speed, ti.abs(u[q + plane]))
                if ya > 0.0:
                    speed = ti.max(speed, ti.abs(v[a0 + k]))
                if yb > 0.0:
                    speed = ti.max(speed, ti.abs(v[a0 + k + nz]))
                if za > 0.0:
                    speed = ti.max(speed, ti.abs(w[b0 + k]))
                if zb > 0.0:
                    speed = ti.max(speed, ti.abs(w[b0 + k + 1]))
        sums[3 * row] = ti.cast(total, ti.f64)
        sums[3 * row + 1] = ti.cast(greatest, ti.f64)
        sums[3 * row + 2] = ti.cast(speed, ti.f64)


@kernel
def norms(r: F32, sums: F64, nx: int, ny: int, nz: int):
    """sums = (r . r, max |r|, 0)."""
    for row in range(nx * ny):
        total = ti.cast(0.0, ti.f64)
        greatest = 0.0
        for k in range(nz):
            total += ti.cast(r[row * nz + k] * r[row * nz + k], ti.f64)
            greatest = ti.max(greatest, ti.abs(r[row * nz + k]))
        sums[3 * row] = total
        sums[3 * row + 1] = ti.cast(greatest, ti.f64)
        sums[3 * row + 2] = ti.cast(0.0, ti.f64)


@ti.func
def apply_pressure_to_face(
    v: ti.template(), f, difference, flows, weight: ti.template(), solid: ti.template(), plain, moving
):
    """Subtract a pressure difference from face `f`; a face that is shut takes the velocity of its solid."""
    if plain != 0:
        v[f] = flows * (v[f] - difference)
    elif flows * weight[f] > 0.0:
        v[f] -= difference
    elif moving != 0:
        v[f] = flows * solid[f]
    else:
        v[f] = 0.0


@kernel
def subtract_gradient(
    u: F32, v: F32, w: F32, p: F32, wu: F32, wv: F32, ww: F32, su: F32, sv: F32, sw: F32, plain: U8,
    nx: int, ny: int, nz: int, ends: int, moving: int,
):  # fmt: skip
    """(u, v, w) -= differences of p across faces; shut faces take the velocity of the solid, (su, sv, sw)
    where `moving` is 1, or 0.

    Each cell does its three low faces, and the last of a line its high one too. Plain rows: 16 bytes a cell
    read, 12 written; others 12 (24) more.
    """
    for row in range(nx * ny):
        i = row // ny
        j = row % ny
        plane = ny * nz
        a0 = row * nz + i * nz
        b0 = row * nz + row
        simple = ti.cast(plain[row], ti.i32)
        xo, xs, xf = neighbour(i, nx, plane, 0, ends, 0)
        yo, ys, yf = neighbour(j, ny, nz, 0, ends, 1)
        if simple != 0:
            zo, zs, zf = neighbour(0, nz, 1, 0, ends, 2)
            low = zs * p[row * nz + zo]
            for k in range(nz):
                q = row * nz + k
                c = p[q]
                u[q] = xf * (u[q] - (c - xs * p[q + xo]))
                v[a0 + k] = yf * (v[a0 + k] - (c - ys * p[q + yo]))
                w[b0 + k] = zf * (w[b0 + k] - (c - low))
                low = c
                zf = 1.0
        else:
            for k in range(nz):
                q = row * nz + k
                zo, zs, zf = neighbour(k, nz, 1, 0, ends, 2)
                apply_pressure_to_face(u, q, p[q] - xs * p[q + xo], xf, wu, su, 0, moving)
                apply_pressure_to_face(v, a0 + k, p[q] - ys * p[q + yo], yf, wv, sv, 0, moving)
                apply_pressure_to_face(w, b0 + k, p[q] - zs * p[q + zo], zf, ww, sw, 0, moving)
        last = row * nz + nz - 1
        zo, zs, zf = neighbour(nz - 1, nz, 1, 1, ends, 2)
        apply_pressure_to_face(w, b0 + nz, zs * p[last + zo] - p[last], zf, ww, sw, simple, moving)
        if i == nx - 1:
            xo, xs, xf = neighbour(i, nx, plane, 1, ends, 0)
            for k in range(nz):
                q = row * nz + k
                apply_pressure_to_face(u, q + plane, xs * p[q + xo] - p[q], xf, wu, su, simple, moving)
        if j == ny - 1:
            yo, ys, yf = neighbour(j, ny, nz, 1, ends, 1)
            for k in range(nz):
                q = row * nz + k
                apply_pressure_to_face(v, a0 + k + nz, ys * p[q + yo] - p[q], yf, wv, sv, simple, moving)


@kernel
def apply_matrix(
    p: F32, image: F32, wu: F32, wv: F32, ww: F32, sums: F64, nx: int, ny: int, nz: int, ends: int
):  # fmt: skip
    """image = A p; sums[., 0] = p . A p."""
    for row in range(nx * ny):
        i = row // ny
        j = row % ny
        plane = ny * nz
        xao, xas, _xa = neighbour(i, nx, plane, 0, ends, 0)
        xbo, xbs, _xb = neighbour(i, nx, plane, 1, ends, 0)
        yao, yas, _ya = neighbour(j, ny, nz, 0, ends, 1)
        ybo, ybs, _yb = neighbour(j, ny, nz, 1, ends, 1)
        total = ti.cast(0.0, ti.f64)
        for k in range(nz):
            q = row * nz + k
            zao, zas, _za = neighbour(k, nz, 1, 0, ends, 2)
            zbo, zbs, _zb = neighbour(k, nz, 1, 1, ends, 2)
            c = p[q]
            a = (
                wu[q] * (c - xas * p[q + xao])
                + wu[q + plane] * (c - xbs * p[q + xbo])
                + (wv[q + i * nz] * (c - yas * p[q + yao]) + wv[q + i * nz + nz] * (c - ybs * p[q + ybo]))
                + (ww[q + row] * (c - zas * p[q + zao]) + ww[q + row + 1] * (c - zbs * p[q + zbo]))
            )
            image[q] = a
            total += ti.cast(a * c, ti.f64)
        sums[3 * row] = total


@kernel
def cg_update(
    p: F32, r: F32, direction: F32, image: F32, alpha: ti.f32, sums: F64, nx: int, ny: int, nz: int
):  # fmt: skip
    """p += alpha * direction; r -= alpha * image; sums = (r . r, max |r|, 0)."""
    for row in range(nx * ny):
        total = ti.cast(0.0, ti.f64)
        greatest = 0.0
        for k in range(nz):
            q = row * nz + k
            p[q] += alpha * direction[q]
            left = r[q] - alpha * image[q]
            r[q] = left
            total += ti.cast(left * left, ti.f64)
            greatest = ti.max(greatest, ti.abs(left))
        sums[3 * row] = total
        sums[3 * row + 1] = ti.cast(greatest, ti.f64)
        sums[3 * row + 2] = ti.cast(0.0, ti.f64)


@kernel
def cg_direction(direction: F32, r: F32, beta: ti.f32, nx: int, ny: int, nz: int):
    """direction = r + beta * direction."""
    for row in range(nx * ny):
        for k in range(nz):
            q = row * nz + k
            direction[q] = r[q] + beta * direction[q]
