"""The Taichi kernels of wavelet turbulence.

Arrays are flat. Coarse arrays have `nx * ny * nz` cells, fine ones `f` times as many along x and y and `fz` times as
many along z (1 in 2-D). The three components of a vector are adjacent. Fine values are computed only in the coarse
cells where `need [nx, ny, nz]` is set, within the box of fine cells `x0 <= i < x1`, `y0 <= j < y1`, `z0 <= k < z1`.
Positions are in cells from the corner of the domain. `wraps` has a bit for each periodic axis; `opened` and `closed`
have a bit for each side that is open or closed, low before high, axis by axis.

The advection (`move_back`, `correct`) differs from `solver.advection`, which stores ten numbers per cell to reuse the
paths for all fields. Here a single density is advected on a much finer grid, and three numbers per cell suffice, which
share memory with the potential. The error is corrected at the position where it was measured, as published (Selle et
al. 2008; see docs/adr/0011-advection.md for the difference).
"""

import taichi as ti

from fluidsr.solver.launch import kernel
from fluidsr.solver.sampling import F32, U8


@ti.func
def pair(x, n, wraps, low, high):
    """The two samples around the index coordinate `x`, and their weights.

    Values are zero beyond sides that are open (`low`, `high` not 0), and those of the outermost cell beyond others.
    """
    base = ti.floor(x)
    second = x - base
    first = 1.0 - second
    i = int(base)
    j = i + 1
    if wraps != 0:
        i = ((i % n) + n) % n
        j = ((j % n) + n) % n
    else:
        if (i < 0 and low != 0) or (i >= n and high != 0):
            first = 0.0
        if (j < 0 and low != 0) or (j >= n and high != 0):
            second = 0.0
        i = ti.min(ti.max(i, 0), n - 1)
        j = ti.min(ti.max(j, 0), n - 1)
    return i, j, first, second


@ti.func
def triple(a: ti.template(), q):
    """The vector of cell `q`."""
    return ti.Vector([a[3 * q], a[3 * q + 1], a[3 * q + 2]])


@ti.func
def sample_triple(a: ti.template(), p, nx, ny, nz, wraps):
    """The vectors `a` at cell centers, interpolated trilinearly at position `p`; clamped beyond the border."""
    i0, i1, x0, x1 = pair(p[0] - 0.5, nx, wraps & 1, 0, 0)
    j0, j1, y0, y1 = pair(p[1] - 0.5, ny, wraps & 2, 0, 0)
    k0, k1, z0, z1 = pair(p[2] - 0.5, nz, wraps & 4, 0, 0)
    q00, q01 = (i0 * ny + j0) * nz, (i0 * ny + j1) * nz
    q10, q11 = (i1 * ny + j0) * nz, (i1 * ny + j1) * nz
    near = y0 * (z0 * triple(a, q00 + k0) + z1 * triple(a, q00 + k1)) + y1 * (
        z0 * triple(a, q01 + k0) + z1 * triple(a, q01 + k1)
    )
    far = y0 * (z0 * triple(a, q10 + k0) + z1 * triple(a, q10 + k1)) + y1 * (
        z0 * triple(a, q11 + k0) + z1 * triple(a, q11 + k1)
    )
    return x0 * near + x1 * far


@ti.func
def sample_scalar(a: ti.template(), p, nx, ny, nz, wraps):
    """As `sample_triple`, for scalars."""
    i0, i1, x0, x1 = pair(p[0] - 0.5, nx, wraps & 1, 0, 0)
    j0, j1, y0, y1 = pair(p[1] - 0.5, ny, wraps & 2, 0, 0)
    k0, k1, z0, z1 = pair(p[2] - 0.5, nz, wraps & 4, 0, 0)
    q00, q01 = (i0 * ny + j0) * nz, (i0 * ny + j1) * nz
    q10, q11 = (i1 * ny + j0) * nz, (i1 * ny + j1) * nz
    near = y0 * (z0 * a[q00 + k0] + z1 * a[q00 + k1]) + y1 * (z0 * a[q01 + k0] + z1 * a[q01 + k1])
    far = y0 * (z0 * a[q10 + k0] + z1 * a[q10 + k1]) + y1 * (z0 * a[q11 + k0] + z1 * a[q11 + k1])
    return x0 * near + x1 * far


@ti.func
def sample_density(a: ti.template(), p, nx, ny, nz, wraps, opened):
    """The density interpolated trilinearly at position `p`, and the least and greatest of the eight values used."""
    i0, i1, x0, x1 = pair(p[0] - 0.5, nx, wraps & 1, opened & 1, opened & 2)
    j0, j1, y0, y1 = pair(p[1] - 0.5, ny, wraps & 2, opened & 4, opened & 8)
    k0, k1, z0, z1 = pair(p[2] - 0.5, nz, wraps & 4, opened & 16, opened & 32)
    value, least, greatest = 0.0, 1e30, -1e30
    for corner in ti.static(range(8)):
        i, x = (i1, x1) if corner & 4 else (i0, x0)
        j, y = (j1, y1) if corner & 2 else (j0, y0)
        k, z = (k1, z1) if corner & 1 else (k0, z0)
        corner_value = a[(i * ny + j) * nz + k]
        value += x * y * z * corner_value
        least = ti.min(least, corner_value)
        greatest = ti.max(greatest, corner_value)
    if x0 + x1 < 1.0 or y0 + y1 < 1.0 or z0 + z1 < 1.0:
        least = ti.min(least, 0.0)
    return ti.Vector([value, least, greatest])


@kernel
def carry(c: F32, d: F32, moved: F32, nx: int, ny: int, nz: int, wraps: int, seconds: ti.f32):
    """Advect the texture coordinates by `seconds`: moved = displacement after the step.

    The displacement `d` of the texture (cells) is the difference of the texture coordinates from the position. They are
    constant along the flow, so their value after the step is the one at the position from which the flow came. The
    argument `c` is the velocity (cells/s). Traced by the midpoint rule.
    """
    for row in range(nx * ny):
        i = row // ny
        j = row % ny
        for k in range(nz):
            q = row * nz + k
            x = ti.Vector([i + 0.5, j + 0.5, k + 0.5])
            middle = x - 0.5 * seconds * triple(c, q)
            back = -seconds * sample_triple(c, middle, nx, ny, nz, wraps)
            new = sample_triple(d, x + back, nx, ny, nz, wraps) + back
            for a in ti.static(range(3)):
                moved[3 * q + a] = new[a]


@ti.func
def around(middle, n):
    """The indices of the coefficients before, at and after `middle` in a periodic tile of `n` cells.

    They are computed as floats, which is exact here, because integer remainders would take most of the time.
    """
    first = middle - 1.0
    first -= n * ti.floor(first / n)
    second = first + 1.0
    second = second if second < n else 0.0
    third = second + 1.0
    third = third if third < n else 0.0
    return ti.Vector([int(first), int(second), int(third)])


@ti.func
def noise(tile: ti.template(), p, tx, ty, tz):
    """The three noises at position `p`: quadratic B-splines with the coefficients `tile`."""
    middle = ti.ceil(p - 0.5)
    t = middle - (p - 0.5)
    weight = ti.Matrix.rows([0.5 * t * t, 0.5 + t * (1.0 - t), 0.5 * (1.0 - t) * (1.0 - t)])
    i, j, k = around(middle[0], float(tx)), around(middle[1], float(ty)), around(middle[2], float(tz))
    value = ti.Vector([0.0, 0.0, 0.0])
    for a in ti.static(range(3)):
        slab = ti.Vector([0.0, 0.0, 0.0])
        for b in ti.static(range(3)):
            line = (i[a] * ty + j[b]) * tz
            inner = ti.Vector([0.0, 0.0, 0.0])
            for c in ti.static(range(3)):
                inner += weight[c, 2] * triple(tile, line + k[c])
            slab += weight[b, 1] * inner
        value += weight[a, 0] * slab
    return value


@ti.func
def beside(i, f, n):
    """The coarse cells that contain the fine cells before and after node `i`."""
    return ti.max(i - 1, 0) // f, ti.min(i // f, n - 1)


@ti.func
def clear_of(i, last, reach, low, high):
    """A factor that decreases linearly to 0 at walls, from 1 at a distance of `reach` nodes."""
    share = 1.0
    if low != 0:
        share = ti.min(share, ti.cast(i, ti.f32) / reach)
    if high != 0:
        share = ti.min(share, ti.cast(last - i, ti.f32) / reach)
    return share


@kernel
def potential(
    psi: F32, need: U8, d: F32, amplitude: F32, tile: F32, scales: F32,
    nx: int, ny: int, nz: int, f: int, fz: int, x0: int, x1: int, y0: int, y1: int, z0: int, z1: int,
    tx: int, ty: int, tz: int, octaves: int, wraps: int, closed: int,
):  # fmt: skip
    """psi = `A(x) sum_i scale_i n(2^i c(x))` at the corners of fine cells: the vector potential of the turbulence.

    These are equations 6 and 7 of Kim et al. 2008, but with the amplitude inside of the curl, so the added velocity is
    divergence-free for any amplitude and texture. In 2-D only the third component is not zero. At walls the potential
    is zero, so nothing flows through them.
    """
    my = ny * f + 1
    mz = nz * fz + 1
    for row in range((x1 - x0 + 1) * (y1 - y0 + 1)):
        i = x0 + row // (y1 - y0 + 1)
        j = y0 + row % (y1 - y0 + 1)
        a0, a1 = beside(i, f, nx)
        b0, b1 = beside(j, f, ny)
        rows = ti.Vector([(a0 * ny + b0) * nz, (a0 * ny + b1) * nz, (a1 * ny + b0) * nz, (a1 * ny + b1) * nz])
        for k in range(z0, z1 + 1):
            c0, c1 = beside(k, fz, nz)
            is_needed = 0
            for r in ti.static(range(4)):
                is_needed |= ti.cast(need[rows[r] + c0] | need[rows[r] + c1], ti.i32)
            if is_needed != 0:
                p = ti.Vector([i / ti.cast(f, ti.f32), j / ti.cast(f, ti.f32), k / ti.cast(fz, ti.f32)])
                strength = sample_scalar(amplitude, p, nx, ny, nz, wraps)
                strength *= clear_of(i, nx * f, f, closed & 1, closed & 2)
                strength *= clear_of(j, ny * f, f, closed & 4, closed & 8)
                if nz > 1:
                    strength *= clear_of(k, nz * fz, f, closed & 16, closed & 32)
                value = ti.Vector([0.0, 0.0, 0.0])
                if strength != 0.0:
                    c = p + sample_triple(d, p, nx, ny, nz, wraps)
                    size = 1.0
                    for octave in range(octaves):
                        value += scales[octave] * noise(tile, c * size, tx, ty, tz)
                        size *= 2.0
                    value *= strength
                if nz == 1:
                    value[0] = 0.0
                    value[1] = 0.0
                q = (i * my + j) * mz + k
                for a in ti.static(range(3)):
                    psi[3 * q + a] = value[a]


@ti.func
def slope(psi: ti.template(), component, axis: ti.template(), q, sx, sy, sz):
    """The difference of a component across a cell along `axis`, the mean of its four edges along that axis."""
    low = 0.0
    high = 0.0
    for corner in ti.static(range(8)):
        node = (
            q + ti.static(corner >> 2) * sx + ti.static((corner >> 1) & 1) * sy + ti.static(corner & 1) * sz
        )
        if ti.static(((corner >> (2 - axis)) & 1) != 0):
            high += psi[3 * node + component]
        else:
            low += psi[3 * node + component]
    return 0.25 * (high - low)


@kernel
def flow(
    psi: F32, need: U8, coarse: F32, fine: F32,
    nx: int, ny: int, nz: int, f: int, fz: int, x0: int, x1: int, y0: int, y1: int, z0: int, z1: int, wraps: int,
):  # fmt: skip
    """fine = interpolated coarse velocity + curl psi, at the centers of fine cells (Kim et al. 2008, eq. 10).

    `coarse` is in cells/s, `fine` in fine cells/s.
    """
    my = ny * f
    mz = nz * fz
    for row in range((x1 - x0) * (y1 - y0)):
        i = x0 + row // (y1 - y0)
        j = y0 + row % (y1 - y0)
        for k in range(z0, z1):
            if need[((i // f) * ny + j // f) * nz + k // fz] != 0:
                p = ti.Vector(
                    [
                        (i + 0.5) / ti.cast(f, ti.f32),
                        (j + 0.5) / ti.cast(f, ti.f32),
                        (k + 0.5) / ti.cast(fz, ti.f32),
                    ]
                )
                v = f * sample_triple(coarse, p, nx, ny, nz, wraps)
                sy = mz + 1
                sx = (my + 1) * sy
                node = i * sx + j * sy + k
                v[0] += slope(psi, 2, 1, node, sx, sy, 1) - slope(psi, 1, 2, node, sx, sy, 1)
                v[1] += slope(psi, 0, 2, node, sx, sy, 1) - slope(psi, 2, 0, node, sx, sy, 1)
                v[2] += slope(psi, 1, 0, node, sx, sy, 1) - slope(psi, 0, 1, node, sx, sy, 1)
                q = (i * my + j) * mz + k
                for a in ti.static(range(3)):
                    fine[3 * q + a] = v[a]


@ti.func
def limited(v, greatest):
    """`v` with components clamped to `greatest`, so that no cell is read in which nothing was computed."""
    return ti.min(ti.max(v, -greatest), greatest)


@kernel
def move_back(
    phi: F32, need: U8, fine: F32, hat: F32, least: F32, greatest: F32,
    nx: int, ny: int, nz: int, f: int, fz: int, x0: int, x1: int, y0: int, y1: int, z0: int, z1: int,
    wraps: int, opened: int, seconds: ti.f32, reach: ti.f32,
):  # fmt: skip
    """hat = phi advected by `seconds`, traced by the midpoint rule; least, greatest: the bounds of the values used.

    `reach`: the greatest distance in fine cells.
    """
    mx, my, mz = nx * f, ny * f, nz * fz
    for row in range((x1 - x0) * (y1 - y0)):
        i = x0 + row // (y1 - y0)
        j = y0 + row % (y1 - y0)
        for k in range(z0, z1):
            if need[((i // f) * ny + j // f) * nz + k // fz] != 0:
                q = (i * my + j) * mz + k
                x = ti.Vector([i + 0.5, j + 0.5, k + 0.5])
                middle = x - limited(0.5 * seconds * triple(fine, q), 0.5 * reach)
                back = limited(seconds * sample_triple(fine, middle, mx, my, mz, wraps), reach)
                s = sample_density(phi, x - back, mx, my, mz, wraps, opened)
                hat[q] = s[0]
                least[q] = s[1]
                greatest[q] = s[2]


@ti.func
def leaves(x, n, low, high):
    """Whether position `x` along an axis of `n` cells is beyond the outermost cell center at an open side."""
    return (low != 0 and x < 0.5) or (high != 0 and x > n - 0.5)


@kernel
def correct(
    phi: F32, need: U8, fine: F32, hat: F32, least: F32, greatest: F32,
    nx: int, ny: int, nz: int, f: int, fz: int, x0: int, x1: int, y0: int, y1: int, z0: int, z1: int,
    wraps: int, opened: int, seconds: ti.f32, reach: ti.f32, maccormack: int, decay: ti.f32, nothing: ti.f32,
):  # fmt: skip
    """Replace phi by the corrected result of `move_back` (Selle et al. 2008).

    phi = decay * clamp(hat + (phi - hat advected back) / 2, least, greatest), or decay * hat without `maccormack` and
    where the flow leaves through an open side. Values of at most `nothing` become zero.
    """
    mx, my, mz = nx * f, ny * f, nz * fz
    for row in range((x1 - x0) * (y1 - y0)):
        i = x0 + row // (y1 - y0)
        j = y0 + row % (y1 - y0)
        for k in range(z0, z1):
            if need[((i // f) * ny + j // f) * nz + k // fz] != 0:
                q = (i * my + j) * mz + k
                value = hat[q]
                if maccormack != 0 and (phi[q] != 0.0 or value != 0.0):
                    x = ti.Vector([i + 0.5, j + 0.5, k + 0.5])
                    middle = x + limited(0.5 * seconds * triple(fine, q), 0.5 * reach)
                    to = x + limited(seconds * sample_triple(fine, middle, mx, my, mz, wraps), reach)
                    if not (
                        leaves(to[0], mx, opened & 1, opened & 2)
                        or leaves(to[1], my, opened & 4, opened & 8)
                        or leaves(to[2], mz, opened & 16, opened & 32)
                    ):
                        again = sample_density(hat, to, mx, my, mz, wraps, opened)[0]
                        value = ti.min(ti.max(value + 0.5 * (phi[q] - again), least[q]), greatest[q])
                value *= decay
                phi[q] = value if value > nothing else 0.0
