"""Kernels of the pressure equation (pressure.py has the equation; projection.py the velocity that it is
about).

All loop over rows along z, and leave per-row sums in `sums [rows, 3]`.
"""

import taichi as ti

from fluidsr.solver.sampling import F32, F64


@ti.kernel
def apply_matrix(p: F32, image: F32, wu: F32, wv: F32, ww: F32, sums: F64, nx: int, ny: int, nz: int):
    """image = A p; sums[., 0] = p . A p."""
    for row in range(nx * ny):
        i = row // ny
        j = row % ny
        q0 = row * nz
        plane = ny * nz
        # Beyond the border of the domain stands -p of the cell itself; the weight of a closed face makes it
        # void.
        xa = plane if i > 0 else 0
        xb = plane if i < nx - 1 else 0
        ya = nz if j > 0 else 0
        yb = nz if j < ny - 1 else 0
        fxa = 1.0 if i > 0 else -1.0
        fxb = 1.0 if i < nx - 1 else -1.0
        fya = 1.0 if j > 0 else -1.0
        fyb = 1.0 if j < ny - 1 else -1.0
        total = ti.cast(0.0, ti.f64)
        for k in range(nz):
            q = q0 + k
            c = p[q]
            below = p[q - 1] if k > 0 else -c
            above = p[q + 1] if k < nz - 1 else -c
            a = (
                wu[q] * (c - fxa * p[q - xa])
                + wu[q + plane] * (c - fxb * p[q + xb])
                + (wv[q + i * nz] * (c - fya * p[q - ya]) + wv[q + i * nz + nz] * (c - fyb * p[q + yb]))
                + (ww[q + row] * (c - below) + ww[q + row + 1] * (c - above))
            )
            image[q] = a
            total += ti.cast(a * c, ti.f64)
        sums[3 * row] = total


@ti.kernel
def descend(
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


@ti.kernel
def dot(a: F32, b: F32, sums: F64, nx: int, ny: int, nz: int):
    """sums[., 0] = a . b."""
    for row in range(nx * ny):
        total = ti.cast(0.0, ti.f64)
        for k in range(nz):
            total += ti.cast(a[row * nz + k] * b[row * nz + k], ti.f64)
        sums[3 * row] = total


@ti.kernel
def search(direction: F32, z: F32, beta: ti.f32, nx: int, ny: int, nz: int):
    """direction = z + beta * direction."""
    for row in range(nx * ny):
        for k in range(nz):
            q = row * nz + k
            direction[q] = z[q] + beta * direction[q]


@ti.kernel
def outflow(
    u: F32, v: F32, w: F32, wu: F32, wv: F32, ww: F32, r: F32, sums: F64, nx: int, ny: int, nz: int
):  # fmt: skip
    """r = -(net outflow through the open shares of a cell's faces); sums = (r . r, max |r|, max face
    speed)."""
    for row in range(nx * ny):
        i = row // ny
        total = ti.cast(0.0, ti.f64)
        greatest = 0.0
        speed = 0.0
        for k in range(nz):
            q = row * nz + k
            ua, ub = wu[q] * u[q], wu[q + ny * nz] * u[q + ny * nz]
            va, vb = wv[q + i * nz] * v[q + i * nz], wv[q + i * nz + nz] * v[q + i * nz + nz]
            wa, wb = ww[q + row] * w[q + row], ww[q + row + 1] * w[q + row + 1]
            inflow = (ua - ub) + (va - vb) + (wa - wb)
            r[q] = inflow
            total += ti.cast(inflow * inflow, ti.f64)
            greatest = ti.max(greatest, ti.abs(inflow))
            speed = ti.max(speed, ti.max(ti.abs(ua), ti.max(ti.abs(va), ti.abs(wa))))
            speed = ti.max(speed, ti.max(ti.abs(ub), ti.max(ti.abs(vb), ti.abs(wb))))
        sums[3 * row] = total
        sums[3 * row + 1] = ti.cast(greatest, ti.f64)
        sums[3 * row + 2] = ti.cast(speed, ti.f64)


@ti.kernel
def subtract_gradient(
    v: F32, weight: F32, p: F32, nx: int, ny: int, nz: int, ex: int, ey: int, ez: int
):  # fmt: skip
    """v -= difference of p across the faces normal to (ex, ey, ez); closed faces become 0."""
    my = ny + ey
    mz = nz + ez
    for row in range((nx + ex) * my):
        i = row // my
        j = row % my
        below = (ti.max(i - ex, 0) * ny + ti.max(j - ey, 0)) * nz
        above = (ti.min(i, nx - 1) * ny + ti.min(j, ny - 1)) * nz
        for k in range(mz):
            f = row * mz + k
            a, b = p[below + ti.max(k - ez, 0)], p[above + ti.min(k, nz - 1)]
            # On the border both are the one cell beside it, and p = 0 on the face: p is -p of that cell
            # outside.
            if (ex != 0 and i == 0) or (ey != 0 and j == 0) or (ez != 0 and k == 0):
                a = -a
            if (ex != 0 and i == nx) or (ey != 0 and j == ny) or (ez != 0 and k == nz):
                b = -b
            v[f] = v[f] - (b - a) if weight[f] > 0.0 else 0.0
