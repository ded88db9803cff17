"""Argument types of the kernels, and linear interpolation in flat arrays.

Positions are in index coordinates of the array: its sample (i, j, k) is at the position (i, j, k).
"""

import taichi as ti

F32 = ti.types.ndarray(dtype=ti.f32, ndim=1)
F64 = ti.types.ndarray(dtype=ti.f64, ndim=1)
I8 = ti.types.ndarray(dtype=ti.i8, ndim=1)
I32 = ti.types.ndarray(dtype=ti.i32, ndim=1)
U8 = ti.types.ndarray(dtype=ti.u8, ndim=1)
I3 = ti.types.vector(3, ti.i32)
V3 = ti.types.vector(3, ti.f32)

# Displacements are clamped to this: wider than any domain, and small enough for exact integers in float32.
FARTHEST = 4e6


@ti.func
def whole(x):
    """The greatest integer up to x. Unlike `ti.floor`, this is vectorised on all machines."""
    n = ti.cast(x, ti.i32)
    return n - ti.select(x < ti.cast(n, ti.f32), 1, 0)


@ti.func
def unit(x):
    return ti.min(ti.max(x, 0.0), 1.0)


@ti.func
def lattice(i, d, n, stride, period, periodic: ti.template()):
    """The two samples around the index coordinate i + d on an axis of `n` samples: the index of the first, the distance
    in memory to the second, and the weights of both.

    Beyond the ends the last sample is repeated; if `period` is not 0, the axis repeats after that many samples. Weights
    depend on `d` only, so that they are rounded in the same way everywhere in the domain; they are exactly 1 and 0 at
    samples. There are no branches and the distance in memory is constant, so that compilers can vectorise the function:
    `periodic` (a compile-time constant) says whether any axis has a period.
    """
    x = ti.min(ti.max(i + d, -FARTHEST), FARTHEST)
    first = ti.cast(ti.min(ti.max(x, 0.0), n - 1.5), ti.i32)  # at most n - 2, or 0
    start = ti.cast(first - i, ti.f32)
    second = stride
    if ti.static(periodic):
        unbounded = whole(x)
        laps = whole((unbounded + 0.5) / ti.max(period, 1))
        wraps = period > 0
        first = ti.select(wraps, unbounded - laps * period, first)
        start = ti.select(wraps, ti.cast(unbounded - i, ti.f32), start)
        second = ti.select(wraps & (first == n - 1), (1 - n) * stride, stride)
    return first, second, unit(start + 1.0 - d), unit(d - start)


@ti.func
def lattice_3d(at, d, n, strides, periods, periodic: ti.template()):
    """`lattice` along x, y and z. Returns the flat index of the first of the eight samples around `at` + `d` in an
    array of shape `n`, the three distances in memory, the weights of the first samples and those of the second.
    The stride of an axis with a single sample is 0."""
    i, ox, gx, fx = lattice(at[0], d[0], n[0], strides[0], periods[0], periodic)
    j, oy, gy, fy = lattice(at[1], d[1], n[1], strides[1], periods[1], periodic)
    k, oz, gz, fz = lattice(at[2], d[2], n[2], strides[2], periods[2], periodic)
    offsets = ti.Vector([ox, oy, oz])
    return (i * n[1] + j) * n[2] + k, offsets, ti.Vector([gx, gy, gz]), ti.Vector([fx, fy, fz])


@ti.func
def corners(a: ti.template(), q, o):
    """The eight samples around a position, for the index `q` and distances `o` of `lattice_3d`; z changes fastest."""
    return (
        a[q], a[q + o[2]], a[q + o[1]], a[q + o[1] + o[2]],
        a[q + o[0]], a[q + o[0] + o[2]], a[q + o[0] + o[1]], a[q + o[0] + o[1] + o[2]],
    )  # fmt: skip


@ti.func
def trilinear(a000, a001, a010, a011, a100, a101, a110, a111, g, f):
    """The weighted sum of the eight samples with the weights `g` and `f` from `lattice_3d`."""
    return g[0] * (g[1] * (g[2] * a000 + f[2] * a001) + f[1] * (g[2] * a010 + f[2] * a011)) + f[0] * (
        g[1] * (g[2] * a100 + f[2] * a101) + f[1] * (g[2] * a110 + f[2] * a111)
    )
