"""Interpolation on flat arrays: the Taichi functions of every kernel that advects.

Positions are in cells, measured from the corner of the domain: the centre of cell i is at i + 1/2.
"""

import taichi as ti

F32 = ti.types.ndarray(dtype=ti.f32, ndim=1)
F64 = ti.types.ndarray(dtype=ti.f64, ndim=1)
I32 = ti.types.ndarray(dtype=ti.i32, ndim=1)
U8 = ti.types.ndarray(dtype=ti.u8, ndim=1)


@ti.func
def lattice(x, n):
    """The two samples around index coordinate `x`, clamped to [0, n - 1], and the weight of the second."""
    c = ti.min(ti.max(x, 0.0), ti.cast(n - 1, ti.f32))
    i = int(c)
    return i, ti.min(i + 1, n - 1), c - i


@ti.func
def mix(a, b, f):
    return a + f * (b - a)


@ti.func
def sample(a: ti.template(), x, y, z, nx, ny, nz):
    """Trilinear value of the array `a [nx, ny, nz]` at index coordinates, and the least and greatest of the
    eight samples that it was made of."""
    i0, i1, fx = lattice(x, nx)
    j0, j1, fy = lattice(y, ny)
    k0, k1, fz = lattice(z, nz)
    q00 = (i0 * ny + j0) * nz
    q01 = (i0 * ny + j1) * nz
    q10 = (i1 * ny + j0) * nz
    q11 = (i1 * ny + j1) * nz
    a000, a001 = a[q00 + k0], a[q00 + k1]
    a010, a011 = a[q01 + k0], a[q01 + k1]
    a100, a101 = a[q10 + k0], a[q10 + k1]
    a110, a111 = a[q11 + k0], a[q11 + k1]
    value = mix(
        mix(mix(a000, a001, fz), mix(a010, a011, fz), fy),
        mix(mix(a100, a101, fz), mix(a110, a111, fz), fy),
        fx,
    )
    low = ti.min(
        ti.min(ti.min(a000, a001), ti.min(a010, a011)), ti.min(ti.min(a100, a101), ti.min(a110, a111))
    )
    high = ti.max(
        ti.max(ti.max(a000, a001), ti.max(a010, a011)), ti.max(ti.max(a100, a101), ti.max(a110, a111))
    )
    return ti.Vector([value, low, high])


@ti.func
def triple(c: ti.template(), q):
    """The centred velocity of cell `q`; the three components lie side by side so that one cache line serves
    all."""
    return ti.Vector([c[3 * q], c[3 * q + 1], c[3 * q + 2]])


@ti.func
def sample_velocity(c: ti.template(), p, nx, ny, nz):
    """Trilinear value of the centred velocity `c [nx, ny, nz, 3]` at position `p`."""
    i0, i1, fx = lattice(p[0] - 0.5, nx)
    j0, j1, fy = lattice(p[1] - 0.5, ny)
    k0, k1, fz = lattice(p[2] - 0.5, nz)
    q00 = (i0 * ny + j0) * nz
    q01 = (i0 * ny + j1) * nz
    q10 = (i1 * ny + j0) * nz
    q11 = (i1 * ny + j1) * nz
    return mix(
        mix(
            mix(triple(c, q00 + k0), triple(c, q00 + k1), fz),
            mix(triple(c, q01 + k0), triple(c, q01 + k1), fz),
            fy,
        ),
        mix(
            mix(triple(c, q10 + k0), triple(c, q10 + k1), fz),
            mix(triple(c, q11 + k0), triple(c, q11 + k1), fz),
            fy,
        ),
        fx,
    )


@ti.func
def face_mean(c: ti.template(), i, j, k, ex, ey, ez, nx, ny, nz):
    """Mean of the triples of the two cells beside a face with the unit normal (ex, ey, ez), of the one cell
    beside it on the border; with a zero normal the triple of the cell itself."""
    lower = (ti.max(i - ex, 0) * ny + ti.max(j - ey, 0)) * nz + ti.max(k - ez, 0)
    upper = (ti.min(i, nx - 1) * ny + ti.min(j, ny - 1)) * nz + ti.min(k, nz - 1)
    return 0.5 * (triple(c, lower) + triple(c, upper))
