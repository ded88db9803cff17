"""Kernels of the boundary band, the list of fluid cells near solids (boundary_band.py explains it).

A vector of the band has `count` numbers, followed by a zero that represents all cells outside. Each cell has six
neighbours and six weights, in the order low and high of x, y, z. At an open end of the box the neighbour is that zero
and the weight is doubled (the pressure of the cell beyond is -p). Sums are written per chunk of CHUNK cells.
"""

import taichi as ti

from fluidsr.solver.kernels_pressure import neighbour
from fluidsr.solver.launch import kernel
from fluidsr.solver.sampling import F32, F64, I32, U8

CHUNK = 256
FAR, CUT, SOLID = 0, 1, 255  # levels of a cell; levels in between are layers around CUT cells


@ti.func
def face(side, i, j, k, q, wu: ti.template(), wv: ti.template(), ww: ti.template(), nx, ny, nz, ends):
    """One of the six faces of cell q = (i, j, k): its weight, and what `neighbour` returns for it."""
    plane = ny * nz
    weight = 0.0
    offset = 0
    sign = 1.0
    flows = 1.0
    high = side % 2
    if side < 2:
        weight = wu[q + high * plane]
        offset, sign, flows = neighbour(i, nx, plane, high, ends, 0)
    elif side < 4:
        weight = wv[q + i * nz + high * nz]
        offset, sign, flows = neighbour(j, ny, nz, high, ends, 1)
    else:
        weight = ww[q + q // nz + high]
        offset, sign, flows = neighbour(k, nz, 1, high, ends, 2)
    return weight * flows, offset, sign, flows


@ti.func
def as_empty(w: ti.template(), first, count, flows):
    """Whether the `count` weights from `first` on all equal `flows`."""
    same = 1
    for k in range(count):
        if w[first + k] != flows:
            same = 0
    return same


@kernel
def classify(
    wu: F32, wv: F32, ww: F32, level: U8, layer: U8, plain: U8, nx: int, ny: int, nz: int, ends: int
):  # fmt: skip
    """level = SOLID for cells without an open face, CUT for cells with a face that is not as in the empty box, else
    FAR. plain [rows] = 1 if all cells of the row are FAR. layer [rows] = FAR for plain rows, else CUT."""
    for row in range(nx * ny):
        i = row // ny
        j = row % ny
        plane = ny * nz
        q0 = row * nz
        _o, _s, xa = neighbour(i, nx, plane, 0, ends, 0)
        _p, _t, xb = neighbour(i, nx, plane, 1, ends, 0)
        _q, _u, ya = neighbour(j, ny, nz, 0, ends, 1)
        _r, _v, yb = neighbour(j, ny, nz, 1, ends, 1)
        _x, _w, za = neighbour(0, nz, 1, 0, ends, 2)
        _z, _y, zb = neighbour(nz - 1, nz, 1, 1, ends, 2)
        same = as_empty(wu, q0, nz, xa) * as_empty(wu, q0 + plane, nz, xb)
        same *= as_empty(wv, q0 + i * nz, nz, ya) * as_empty(wv, q0 + i * nz + nz, nz, yb)
        same *= as_empty(ww, q0 + row + 1, nz - 1, 1.0)
        if ww[q0 + row] != za or ww[q0 + row + nz] != zb:
            same = 0
        plain[row] = ti.cast(same, ti.u8)
        layer[row] = ti.cast(ti.select(same != 0, FAR, CUT), ti.u8)
        for k in range(nz):
            q = q0 + k
            kind = FAR
            if same == 0:
                total = 0.0
                for side in ti.static(range(6)):
                    weight, offset, sign, flows = face(side, i, j, k, q, wu, wv, ww, nx, ny, nz, ends)
                    if offset != 0 or sign < 0.0:  # an axis of one cell wraps onto the cell itself
                        total += weight
                    if weight != flows:
                        kind = CUT
                if total == 0.0:
                    kind = SOLID
            level[q] = ti.cast(kind, ti.u8)


@kernel
def dilate(level: U8, layer: U8, old: int, nx: int, ny: int, nz: int, ends: int):
    """Set FAR cells beside a cell of level `old` to level `old` + 1, and the `layer` of FAR rows beside a row of a
    layer up to `old` likewise."""
    for row in range(nx * ny):
        i = row // ny
        j = row % ny
        xa, _a, _b = neighbour(i, nx, ny, 0, ends, 0)
        xb, _c, _d = neighbour(i, nx, ny, 1, ends, 0)
        ya, _e, _f = neighbour(j, ny, 1, 0, ends, 1)
        yb, _g, _h = neighbour(j, ny, 1, 1, ends, 1)
        # Other rows may be writing old + 1 into theirs meanwhile: that does not count.
        near = (
            (layer[row] != FAR and layer[row] <= old)
            or (layer[row + xa] != FAR and layer[row + xa] <= old)
            or (layer[row + xb] != FAR and layer[row + xb] <= old)
            or (layer[row + ya] != FAR and layer[row + ya] <= old)
            or (layer[row + yb] != FAR and layer[row + yb] <= old)
        )
        if near:
            if layer[row] == FAR:
                layer[row] = ti.cast(old + 1, ti.u8)
            for k in range(nz):
                q = row * nz + k
                if level[q] == FAR:
                    za, _i, _j = neighbour(k, nz, 1, 0, ends, 2)
                    zb, _k, _l = neighbour(k, nz, 1, 1, ends, 2)
                    if (
                        level[q + xa * nz] == old or level[q + xb * nz] == old or level[q + ya * nz] == old
                        or level[q + yb * nz] == old or level[q + za] == old or level[q + zb] == old
                    ):  # fmt: skip
                        level[q] = ti.cast(old + 1, ti.u8)


@kernel
def build_stencil(
    cells: I32, place: I32, wu: F32, wv: F32, ww: F32, beside: I32, weights: F32,
    count: int, nx: int, ny: int, nz: int, ends: int,
):  # fmt: skip
    """beside, weights [count, 6] = the neighbours (positions in the band) and weights of each band cell.
    `place [nx, ny, nz]`: the position of each cell of the box in the band."""
    for n in range(count):
        q = cells[n]
        i = q // (ny * nz)
        j = q // nz % ny
        k = q % nz
        for side in ti.static(range(6)):
            weight, offset, sign, _flows = face(side, i, j, k, q, wu, wv, ww, nx, ny, nz, ends)
            at = count
            if sign < 0.0:
                weight *= 2.0
            elif weight > 0.0 and offset != 0:
                at = place[q + offset]
            if offset == 0 and sign > 0.0:
                weight = 0.0
            beside[6 * n + side] = at
            weights[6 * n + side] = weight


@kernel
def number_cells(cells: I32, place: I32, count: int):
    """place[cells[n]] = n."""
    for n in range(count):
        place[cells[n]] = n


@kernel
def scatter(values: F32, cells: I32, box: F32, count: int):
    """box[cells] = values."""
    for n in range(count):
        box[cells[n]] = values[n]


@kernel
def scatter_add(values: F32, cells: I32, box: F32, count: int):
    """box[cells] += values."""
    for n in range(count):
        box[cells[n]] += values[n]


@kernel
def matrix_difference(
    box: F32, cells: I32, weights: F32, g: F32, out: F32, count: int, nx: int, ny: int, nz: int, ends: int
):  # fmt: skip
    """g = box in band cells; out = (B - A) box there, with B the matrix of the empty box: the flow through faces that
    solids close."""
    for n in range(count):
        q = cells[n]
        i = q // (ny * nz)
        j = q // nz % ny
        k = q % nz
        c = box[q]
        total = 0.0
        for side in ti.static(range(6)):
            offset = 0
            sign = 1.0
            flows = 1.0
            if side < 2:
                offset, sign, flows = neighbour(i, nx, ny * nz, side % 2, ends, 0)
            elif side < 4:
                offset, sign, flows = neighbour(j, ny, nz, side % 2, ends, 1)
            else:
                offset, sign, flows = neighbour(k, nz, 1, side % 2, ends, 2)
            weight = weights[6 * n + side]
            if sign < 0.0:
                total += (2.0 - weight) * c
            elif offset != 0:
                total += (flows - weight) * (c - box[q + offset])
        g[n] = c
        out[n] = total


@kernel
def gauss_seidel_sweep(z: F32, r: F32, beside: I32, weights: F32, first: int, last: int):
    """Solve each of the rows `first` to `last` - 1 of A z = r for its own unknown. Rows of one colour are not
    neighbours, so they can be solved in parallel."""
    for n in range(first, last):
        total = 0.0
        diagonal = 0.0
        for side in ti.static(range(6)):
            weight = weights[6 * n + side]
            diagonal += weight
            total += weight * z[beside[6 * n + side]]
        z[n] = (r[n] + total) / diagonal


@ti.func
def row_of(z: ti.template(), beside: ti.template(), weights: ti.template(), n):
    """The entry of A z for band cell n."""
    total = 0.0
    for side in ti.static(range(6)):
        total += weights[6 * n + side] * (z[n] - z[beside[6 * n + side]])
    return total


@kernel
def residual(r: F32, z: F32, out: F32, beside: I32, weights: F32, count: int):
    """out = r - A z."""
    for n in range(count):
        out[n] = r[n] - row_of(z, beside, weights, n)


@kernel
def gather_step(
    r: F32, before: F32, g: F32, after: F32, left: F32, z: F32, image: F32, beside: I32, weights: F32,
    sums: F64, count: int,
):  # fmt: skip
    """z = before + g + after; image = A z = r - (left - A after); sums[., 0] = r . z. Also replaces `before` by
    z - g."""
    for chunk in range((count + CHUNK - 1) // CHUNK):
        total = ti.cast(0.0, ti.f64)
        for n in range(chunk * CHUNK, ti.min(count, chunk * CHUNK + CHUNK)):
            local = before[n] + after[n]
            before[n] = local
            z[n] = local + g[n]
            image[n] = r[n] - (left[n] - row_of(after, beside, weights, n))
            total += ti.cast(r[n], ti.f64) * ti.cast(z[n], ti.f64)
        sums[3 * chunk] = total


@kernel
def cg_direction(
    beta: ti.f32, z: F32, image: F32, source: F32, local: F32, d: F32, ad: F32, ds: F32, dl: F32, sums: F64,
    count: int,
):  # fmt: skip
    """Update the search direction in its four forms: d in the band, its image ad = A d, and ds and dl with
    d = B^-1 ds + dl in the whole box. sums[., 0] = d . ad."""
    for chunk in range((count + CHUNK - 1) // CHUNK):
        total = ti.cast(0.0, ti.f64)
        for n in range(chunk * CHUNK, ti.min(count, chunk * CHUNK + CHUNK)):
            d[n] = z[n] + beta * d[n]
            ad[n] = image[n] + beta * ad[n]
            ds[n] = source[n] + beta * ds[n]
            dl[n] = local[n] + beta * dl[n]
            total += ti.cast(d[n], ti.f64) * ti.cast(ad[n], ti.f64)
        sums[3 * chunk] = total


@kernel
def cg_update(
    alpha: ti.f32, ad: F32, ds: F32, dl: F32, r: F32, source: F32, local: F32, sums: F64, count: int
):  # fmt: skip
    """r -= alpha A d, and (source, local) += alpha (ds, dl), which adds alpha d to the solution. sums = (r . r, max
    |r|, 0)."""
    for chunk in range((count + CHUNK - 1) // CHUNK):
        total = ti.cast(0.0, ti.f64)
        greatest = 0.0
        for n in range(chunk * CHUNK, ti.min(count, chunk * CHUNK + CHUNK)):
            left = r[n] - alpha * ad[n]
            r[n] = left
            source[n] += alpha * ds[n]
            local[n] += alpha * dl[n]
            total += ti.cast(left, ti.f64) * ti.cast(left, ti.f64)
            greatest = ti.max(greatest, ti.abs(left))
        sums[3 * chunk] = total
        sums[3 * chunk + 1] = ti.cast(greatest, ti.f64)
        sums[3 * chunk + 2] = ti.cast(0.0, ti.f64)
