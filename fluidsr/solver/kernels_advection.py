"""Kernels of semi-Lagrangian advection (advection.py explains the scheme).

The parallel loop goes over *tiles* of `tile` cells in a row along z (1 on a GPU, so that neighbouring threads access
neighbouring memory). The results of a tile are collected in local vectors and stored at its end. This makes the loops
fast: after a store the compiler must assume that the array pointers themselves may have changed, so with a store per
cell it would reload them for each cell and vectorise nothing (2.1 times slower, measured on one thread).

Displacements are in cells, `[3, nx, ny, nz + 2]`: along z each row has one more sample at either end, so that the mean
of two neighbours needs no special case there. `region` [18] packs six triples of integers, `limits` [6] two triples of
floats (see `Advection.region`), because an array is passed faster than vectors. The bytes moved per cell are those that
a pass must read and write if each number comes from memory once.
"""

import taichi as ti

from fluidsr.solver.launch import kernel
from fluidsr.solver.sampling import F32, I3, I32, corners, lattice_3d, trilinear


@ti.func
def triple(packed: ti.template(), which: ti.template()):
    """The triple number `which` of `packed`."""
    return ti.Vector([packed[3 * which], packed[3 * which + 1], packed[3 * which + 2]])


@ti.func
def unpacked(region: ti.template()):
    """The triples of `region`: cells of the grid; normal of the sampled faces (0 for cells); first index of the box to
    work on, and one past its last; strides between samples; periods in cells (0 along axes that are not periodic)."""
    return (
        triple(region, 0), triple(region, 1), triple(region, 2), triple(region, 3), triple(region, 4), triple(region, 5)
    )  # fmt: skip


@ti.func
def tiles_of(region: ti.template(), tile: ti.template()):
    """The number of tiles of the box."""
    first, last = triple(region, 2), triple(region, 3)
    return (last[0] - first[0]) * (last[1] - first[1]) * ((last[2] - first[2] + tile - 1) // tile)


@kernel
def centre_velocity(u: F32, v: F32, w: F32, c: F32, n: I3, tile: ti.template()):
    """c [3, nx, ny, nz] = the means of opposite faces. Moves 24 bytes per cell."""
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


@kernel
def trace(
    c: F32, back: F32, forth: F32, region: I32, step: ti.f32, tile: ti.template(), periodic: ti.template(),
    maccormack: ti.template(),
):  # fmt: skip
    """back, forth [3, nx, ny, nz + 2] = the displacements (cells) of a particle at each cell centre to its position a
    step ago and a step ahead; `forth` only with `maccormack`. The extra samples at the two ends of each row are copies
    of their neighbours, or of the other end of a periodic axis. `step` = seconds / cell size. Moves 36 bytes per cell.

    `back` follows the midpoint rule, -step * c(x - step * c(x) / 2). `forth` = 2 * step * c(x) + back, which differs
    from a midpoint step forwards by terms of third order, like the midpoint rule from the exact path.
    """
    for t in range(tiles_of(region, tile)):
        n, _, _, _, strides, periods = unpacked(region)
        tiles = (n[2] + tile - 1) // tile
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
                midpoint = trilinear(*corners(c, base[m] + a * size, o), 1.0 - f, f)
                came[m] = -step * midpoint
                if ti.static(maccormack):
                    goes[m] = step * (2.0 * c[q0 + m + a * size] - midpoint)
            for m in range(count):
                back[s0 + m + a * padded] = came[m]
                if ti.static(maccormack):
                    forth[s0 + m + a * padded] = goes[m]
            lower = row * (n[2] + 2) + a * padded
            upper = lower + n[2] + 1
            if k0 == 0:
                end = upper if periods[2] > 0 else lower
                back[end] = came[0]
                if ti.static(maccormack):
                    forth[end] = goes[0]
            if k0 + count == n[2]:
                end = lower if periods[2] > 0 else upper
                back[end] = came[count - 1]
                if ti.static(maccormack):
                    forth[end] = goes[count - 1]


@ti.func
def beside(i, e, n, period):
    """Indices along one axis of the two cells beside face i (e = 1), or twice the index of cell i (e = 0)."""
    lower = ti.select(i < e, ti.max(period - 1, 0), i - e)
    upper = ti.select(i < n, i, ti.select(period > 0, 0, n - 1))
    return lower, upper


@ti.func
def beyond(x, low, high):
    """How far x lies outside [low, high]."""
    return ti.abs(x - ti.min(ti.max(x, low), high))


@ti.func
def tile_of(t, tile: ti.template(), n, normal, first, last, periods):
    """Tile `t` of the box: indices i, j of its row; index k0 and flat index q0 of its first sample; its length; flat
    indices s0 and s1 of the two displacements whose mean is the displacement of the first sample."""
    tiles = (last[2] - first[2] + tile - 1) // tile
    row = t // tiles
    k0 = first[2] + (t - row * tiles) * tile
    i = first[0] + row // (last[1] - first[1])
    j = first[1] + row % (last[1] - first[1])
    i0, i1 = beside(i, normal[0], n[0], periods[0])
    j0, j1 = beside(j, normal[1], n[1], periods[1])
    s0 = (i0 * n[1] + j0) * (n[2] + 2) + k0 + 1 - normal[2]
    s1 = (i1 * n[1] + j1) * (n[2] + 2) + k0 + 1
    q0 = (i * (n[1] + normal[1]) + j) * (n[2] + normal[2]) + k0
    return i, j, k0, q0, ti.min(tile, last[2] - k0), s0, s1


@ti.func
def samples_along(
    shift: ti.template(), s0, s1, at, n, size, strides, periods, lower, upper, periodic: ti.template()
):
    """`lattice_3d` at the position to which the mean of the displacements at s0 and s1 leads from the sample `at`, and
    how far that position lies beyond `lower` and `upper`."""
    padded = n[0] * n[1] * (n[2] + 2)
    dx = 0.5 * (shift[s0] + shift[s1])
    dy = 0.5 * (shift[s0 + padded] + shift[s1 + padded])
    dz = 0.5 * (shift[s0 + 2 * padded] + shift[s1 + 2 * padded])
    q, o, v, w = lattice_3d(at, ti.Vector([dx, dy, dz]), size, strides, periods, periodic)
    outside = (
        beyond(at[0] + dx, lower[0], upper[0])
        + beyond(at[1] + dy, lower[1], upper[1])
        + beyond(at[2] + dz, lower[2], upper[2])
    )
    return q, o, v, w, outside


@ti.func
def between(phi: ti.template(), q, o, v, w, outside, inflow):
    """phi at a position from `samples_along`, and the extremes of the samples that it is interpolated from. Beyond the
    ends phi blends into `inflow` over one cell."""
    share = ti.min(outside, 1.0)
    a000, a001, a010, a011, a100, a101, a110, a111 = corners(phi, q, o)
    below = ti.min(
        ti.min(ti.min(a000, a001), ti.min(a010, a011)), ti.min(ti.min(a100, a101), ti.min(a110, a111))
    )
    above = ti.max(
        ti.max(ti.max(a000, a001), ti.max(a010, a011)), ti.max(ti.max(a100, a101), ti.max(a110, a111))
    )
    moved = (1.0 - share) * trilinear(a000, a001, a010, a011, a100, a101, a110, a111, v, w) + share * inflow
    least = ti.select(share > 0.0, ti.min(below, inflow), below)
    greatest = ti.select(share > 0.0, ti.max(above, inflow), above)
    return moved, least, greatest


@kernel
def advect_back(
    phi: F32, shift: F32, hat: F32, low: F32, high: F32, region: I32, limits: F32, inflow: ti.f32,
    tile: ti.template(), periodic: ti.template(),
):  # fmt: skip
    """hat = phi at the position that the flow came from; low, high = the extremes of the samples that it is
    interpolated from. `limits`: lower and upper index coordinates beyond which phi is `inflow`. Moves 28 bytes per
    sample."""
    for t in range(tiles_of(region, tile)):
        n, normal, first, last, strides, periods = unpacked(region)
        lower, upper = triple(limits, 0), triple(limits, 1)
        size = n + normal
        i, j, k0, q0, count, s0, s1 = tile_of(t, tile, n, normal, first, last, periods)
        value, least, greatest = (
            ti.Vector.zero(ti.f32, tile), ti.Vector.zero(ti.f32, tile), ti.Vector.zero(ti.f32, tile)
        )  # fmt: skip
        for m in range(count):
            q, o, v, w, outside = samples_along(
                shift,
                s0 + m,
                s1 + m,
                ti.Vector([i, j, k0 + m]),
                n,
                size,
                strides,
                periods,
                lower,
                upper,
                periodic,
            )
            value[m], least[m], greatest[m] = between(phi, q, o, v, w, outside, inflow)
        for m in range(count):
            hat[q0 + m] = value[m]
            low[q0 + m] = least[m]
            high[q0 + m] = greatest[m]


@kernel
def advection_error(
    phi: F32, shift: F32, hat: F32, error: F32, region: I32, limits: F32, tile: ti.template(),
    periodic: ti.template(),
):  # fmt: skip
    """error = (phi - hat at the position that the flow goes to) / 2: half the loss of a step forwards and back. It is 0
    where the flow leaves beyond `limits`, as there are no samples to compare with. Moves 24 bytes per sample."""
    for t in range(tiles_of(region, tile)):
        n, normal, first, last, strides, periods = unpacked(region)
        lower, upper = triple(limits, 0), triple(limits, 1)
        size = n + normal
        i, j, k0, q0, count, s0, s1 = tile_of(t, tile, n, normal, first, last, periods)
        value = ti.Vector.zero(ti.f32, tile)
        for m in range(count):
            q, o, v, w, outside = samples_along(
                shift,
                s0 + m,
                s1 + m,
                ti.Vector([i, j, k0 + m]),
                n,
                size,
                strides,
                periods,
                lower,
                upper,
                periodic,
            )
            lost = phi[q0 + m] - trilinear(*corners(hat, q, o), v, w)
            value[m] = ti.select(outside > 0.0, 0.0, 0.5 * lost)
        for m in range(count):
            error[q0 + m] = value[m]


@ti.func
def smoothed_across(a: ti.template(), i0, i1, i2, j0, j1, j2, k, size):
    """`a` smoothed with the weights 1 2 1 along x and along y, at index k."""
    below = 0.25 * (a[(i0 * size[1] + j0) * size[2] + k] + a[(i0 * size[1] + j2) * size[2] + k])
    here = 0.25 * (a[(i1 * size[1] + j0) * size[2] + k] + a[(i1 * size[1] + j2) * size[2] + k])
    above = 0.25 * (a[(i2 * size[1] + j0) * size[2] + k] + a[(i2 * size[1] + j2) * size[2] + k])
    below += 0.5 * a[(i0 * size[1] + j1) * size[2] + k]
    here += 0.5 * a[(i1 * size[1] + j1) * size[2] + k]
    above += 0.5 * a[(i2 * size[1] + j1) * size[2] + k]
    return 0.5 * here + 0.25 * (below + above)


@ti.func
def neighbours(i, first, last, period):
    """Indices of the two neighbours of sample i along one axis: at an end of the box the sample itself, or the sample
    at the other end if the box covers a whole periodic axis."""
    around = (period > 0) & (last - first >= period)
    lower = ti.select(i > first, i - 1, ti.select(around, period - 1, i))
    upper = ti.select(i < last - 1, i + 1, ti.select(around, last - period, i))
    return lower, upper


@kernel
def add_smoothed(
    phi: F32, error: F32, corrected: F32, region: I32, tile: ti.template(),
):  # fmt: skip
    """corrected = phi + error smoothed with the weights 1 2 1 along each axis. Moves 12 bytes per sample."""
    for t in range(tiles_of(region, tile)):
        n, normal, first, last, _, periods = unpacked(region)
        size = n + normal
        ny_box = last[1] - first[1]
        tiles = (last[2] - first[2] + tile - 1) // tile
        row = t // tiles
        k0 = first[2] + (t - row * tiles) * tile
        i = first[0] + row // ny_box
        j = first[1] + row % ny_box
        count = ti.min(tile, last[2] - k0)
        i0, i2 = neighbours(i, first[0], last[0], periods[0])
        j0, j2 = neighbours(j, first[1], last[1], periods[1])
        before, _ = neighbours(k0, first[2], last[2], periods[2])
        _, after = neighbours(k0 + count - 1, first[2], last[2], periods[2])
        sums = ti.Vector.zero(ti.f32, tile + 2)
        value = ti.Vector.zero(ti.f32, tile)
        for m in range(count):
            sums[m + 1] = smoothed_across(error, i0, i, i2, j0, j, j2, k0 + m, size)
        sums[0] = smoothed_across(error, i0, i, i2, j0, j, j2, before, size)
        sums[count + 1] = smoothed_across(error, i0, i, i2, j0, j, j2, after, size)
        q0 = (i * size[1] + j) * size[2] + k0
        for m in range(count):
            value[m] = phi[q0 + m] + 0.5 * sums[m + 1] + 0.25 * (sums[m] + sums[m + 2])
        for m in range(count):
            corrected[q0 + m] = value[m]


@kernel
def advect_limited(
    phi: F32, corrected: F32, shift: F32, low: F32, high: F32, region: I32, limits: F32, inflow: ti.f32,
    decay: ti.f32, nothing: ti.f32, cut: F32, tile: ti.template(), periodic: ti.template(),
    maccormack: ti.template(), record_cut: ti.template(),
):  # fmt: skip
    """phi = decay * `corrected` at the position that the flow came from, clamped to [low, high]; magnitudes up to
    `nothing` become 0. Moves 28 bytes per sample.

    `limits` and `inflow` as in `advect_back`. With `record_cut`, cut = what clamping took away (4 bytes more). Without
    `maccormack`, `corrected` is a copy of phi, the result is clamped to the samples that it is interpolated from, and
    low and high are not read.
    """
    for t in range(tiles_of(region, tile)):
        n, normal, first, last, strides, periods = unpacked(region)
        lower, upper = triple(limits, 0), triple(limits, 1)
        size = n + normal
        i, j, k0, q0, count, s0, s1 = tile_of(t, tile, n, normal, first, last, periods)
        value = ti.Vector.zero(ti.f32, tile)
        removed = ti.Vector.zero(ti.f32, tile if ti.static(record_cut) else 1)
        for m in range(count):
            q, o, v, w, outside = samples_along(
                shift,
                s0 + m,
                s1 + m,
                ti.Vector([i, j, k0 + m]),
                n,
                size,
                strides,
                periods,
                lower,
                upper,
                periodic,
            )
            moved, least, greatest = between(corrected, q, o, v, w, outside, inflow)
            if ti.static(maccormack):
                least, greatest = low[q0 + m], high[q0 + m]
            # Clamping also removes rounding errors, so constants stay the same to the last bit.
            within = ti.min(ti.max(moved, least), greatest)
            new = decay * within
            if ti.static(record_cut):
                removed[m] = moved - within
            value[m] = ti.select(ti.abs(new) > nothing, new, 0.0)
        for m in range(count):
            phi[q0 + m] = value[m]
            if ti.static(record_cut):
                cut[q0 + m] = removed[m]


@kernel
def row_extents(phi: F32, extents: I32, rows: int, nz: int):
    """extents [rows, 2] = for each row the first index that is not zero, and one past the last; (nz, 0) if all are.
    Moves 4 bytes per cell."""
    for row in range(rows):
        first = nz
        last = 0
        for k in range(nz):
            if phi[row * nz + k] != 0.0:
                first = ti.min(first, k)
                last = k + 1
        extents[2 * row] = first
        extents[2 * row + 1] = last
