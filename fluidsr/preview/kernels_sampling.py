"""Taichi functions and kernels that sample flat fields. Arrays are flat, the last axis fastest.

The index space has cell i at [i, i + 1], its centre at i + 1/2. Outside the box there is no smoke; between
the outermost centres and the walls the outermost value holds.
"""

import taichi as ti

from fluidsr.solver.launch import kernel
from fluidsr.solver.sampling import F32

V2 = ti.types.vector(2, ti.f32)


@ti.func
def pair(x: ti.f32, n: ti.i32):
    """The two samples around `x` (index space, centres at + 1/2), held at the ends, and the weight of the
    second.
    """
    q = ti.min(ti.max(x - 0.5, 0.0), ti.cast(n - 1, ti.f32))
    i = ti.min(ti.cast(q, ti.i32), ti.max(n - 2, 0))
    return i, ti.min(i + 1, n - 1), q - ti.cast(i, ti.f32)


@ti.func
def trilinear(a: F32, x: ti.f32, y: ti.f32, z: ti.f32, nx: ti.i32, ny: ti.i32, nz: ti.i32):
    i0, i1, fx = pair(x, nx)
    j0, j1, fy = pair(y, ny)
    k0, k1, fz = pair(z, nz)
    r00, r01, r10, r11 = (i0 * ny + j0) * nz, (i0 * ny + j1) * nz, (i1 * ny + j0) * nz, (i1 * ny + j1) * nz
    c00 = a[r00 + k0] * (1 - fz) + a[r00 + k1] * fz
    c01 = a[r01 + k0] * (1 - fz) + a[r01 + k1] * fz
    c10 = a[r10 + k0] * (1 - fz) + a[r10 + k1] * fz
    c11 = a[r11 + k0] * (1 - fz) + a[r11 + k1] * fz
    return (c00 * (1 - fy) + c01 * fy) * (1 - fx) + (c10 * (1 - fy) + c11 * fy) * fx


@kernel
def occupancy(
    a: F32, nx: int, ny: int, nz: int, rows: F32, block_max: F32, bx: int, by: int, bz: int,
    edge_x: float, edge_y: float, edge_z: float,
):  # fmt: skip
    """Raise `block_max` to the largest value that interpolation can meet in each block of `edge` cells: of its cells
    and one more on every side. `rows` [bx * by * nz] is working memory.
    """
    for bi, bj in ti.ndrange(bx, by):
        row = (bi * by + bj) * nz
        for k in range(nz):
            rows[row + k] = 0.0
        i0, i1 = ti.cast(bi * edge_x, ti.i32) - 1, ti.cast(ti.ceil((bi + 1) * edge_x), ti.i32) + 1
        j0, j1 = ti.cast(bj * edge_y, ti.i32) - 1, ti.cast(ti.ceil((bj + 1) * edge_y), ti.i32) + 1
        for i in range(ti.max(i0, 0), ti.min(i1, nx)):
            for j in range(ti.max(j0, 0), ti.min(j1, ny)):
                first = (i * ny + j) * nz
                for k in range(nz):  # a plain loop over neighbours in memory, which compilers make vectors of
                    rows[row + k] = ti.max(rows[row + k], a[first + k])
        for bk in range(bz):
            at = (bi * by + bj) * bz + bk
            k0, k1 = ti.cast(bk * edge_z, ti.i32) - 1, ti.cast(ti.ceil((bk + 1) * edge_z), ti.i32) + 1
            largest = block_max[at]
            for k in range(ti.max(k0, 0), ti.min(k1, nz)):
                largest = ti.max(largest, rows[row + k])
            block_max[at] = largest


@ti.func
def _overlap(i: ti.i32, low: ti.f32, high: ti.f32):
    """Length of cell `i` inside [low, high]."""
    return ti.max(ti.min(ti.cast(i + 1, ti.f32), high) - ti.max(ti.cast(i, ti.f32), low), 0.0)


@kernel
def resample(a: F32, nx: int, ny: int, nz: int, rows: F32, out: F32, mx: int, my: int, mz: int):
    """A field on another grid over the same box: the mean over each of its cells, or interpolated where they are the
    finer. `rows` [mx * my * nz] is working memory.
    """
    rx, ry, rz = nx / ti.cast(mx, ti.f32), ny / ti.cast(my, ti.f32), nz / ti.cast(mz, ti.f32)
    for i, j in ti.ndrange(mx, my):
        row = (i * my + j) * mz
        if ti.max(rx, ry, rz) <= 1.0:
            for k in range(mz):
                out[row + k] = trilinear(a, (i + 0.5) * rx, (j + 0.5) * ry, (k + 0.5) * rz, nx, ny, nz)
        else:
            gathered = (i * my + j) * nz
            for k in range(nz):
                rows[gathered + k] = 0.0
            x0, y0 = i * rx, j * ry
            for u in range(ti.cast(x0, ti.i32), ti.min(ti.cast(ti.ceil(x0 + rx), ti.i32), nx)):
                wx = _overlap(u, x0, x0 + rx)
                for v in range(ti.cast(y0, ti.i32), ti.min(ti.cast(ti.ceil(y0 + ry), ti.i32), ny)):
                    weight = wx * _overlap(v, y0, y0 + ry) / (rx * ry * rz)
                    first = (u * ny + v) * nz
                    for k in range(nz):
                        rows[gathered + k] += weight * a[first + k]
            for k in range(mz):
                z0, value = k * rz, 0.0
                for w in range(ti.cast(z0, ti.i32), ti.min(ti.cast(ti.ceil(z0 + rz), ti.i32), nz)):
                    value += _overlap(w, z0, z0 + rz) * rows[gathered + w]
                out[row + k] = value
