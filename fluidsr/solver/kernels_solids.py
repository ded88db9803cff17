"""Kernels for solids: extrapolation of fields into them, and advection that does not leak through walls.

Arrays are flat; (px, py, pz) say which axes are periodic (1) or not (0).
"""

import taichi as ti

from fluidsr.solver.launch import kernel
from fluidsr.solver.sampling import F32, I8, I32

WALL, OPEN, OUTSIDE, BORDER = 0, 1, 2, 3  # kinds of faces, see `passage`


@ti.func
def beside(i, step, n, periodic, copies):
    """The index `step` samples from `i`, across the end of a periodic axis; -1 outside the grid. `copies`: 1 along an
    axis of faces, where a periodic axis stores its first sample twice, otherwise 0."""
    a = i + step
    if periodic != 0:
        length = n - copies
        a = (a + length) % length
        if copies != 0 and i + step == length:
            a = length
    elif a >= n:
        a = -1
    return a


@kernel
def extrapolate_layer(
    field: F32, layer: I8, samples: I32, wanted: int, mx: int, my: int, mz: int, px: int, py: int, pz: int,
    ex: int, ey: int, ez: int,
):  # fmt: skip
    """Set those of `samples` (flat indices) whose `layer [mx, my, mz]` is `wanted` to the mean of their neighbours in
    lower layers (0: known values). (ex, ey, ez): the normal of the sampled faces, zero for cells."""
    for n in range(samples.shape[0]):
        q = samples[n]
        if int(layer[q]) == wanted:
            i, j, k = q // (my * mz), q // mz % my, q % mz
            total = 0.0
            count = 0.0
            for side in ti.static((-1, 1)):
                a = beside(i, side, mx, px, ex)
                if a >= 0:
                    r = (a * my + j) * mz + k
                    if int(layer[r]) < wanted:
                        total += field[r]
                        count += 1.0
                b = beside(j, side, my, py, ey)
                if b >= 0:
                    r = (i * my + b) * mz + k
                    if int(layer[r]) < wanted:
                        total += field[r]
                        count += 1.0
                c = beside(k, side, mz, pz, ez)
                if c >= 0:
                    r = (i * my + j) * mz + c
                    if int(layer[r]) < wanted:
                        total += field[r]
                        count += 1.0
            if count > 0.0:
                field[q] = total / count


@kernel
def fill_uncovered(
    phi: F32, uncovered: I32, state: I8, wanted: int, wu: F32, wv: F32, ww: F32, nx: int, ny: int, nz: int,
    px: int, py: int, pz: int,
):  # fmt: skip
    """One pass over the cells of the list `uncovered`: those without a value are set to the mean of the neighbours
    with a value behind an open face (of weight wu, wv, ww > 0).

    `state [nx, ny, nz]`: 0 for cells with an original value, the number of the pass that set it, from 1 (`wanted` for
    this one), or 127 for cells still without a value.
    """
    for n in range(uncovered.shape[0]):
        q = uncovered[n]
        if state[q] == 127:
            i, j, k = q // (ny * nz), q // nz % ny, q % nz
            total = 0.0
            count = 0.0
            for side in ti.static((0, 1)):
                a = beside(i, 2 * side - 1, nx, px, 0)
                if a >= 0 and wu[((i + side) * ny + j) * nz + k] > 0.0:
                    r = (a * ny + j) * nz + k
                    if int(state[r]) < wanted:
                        total += phi[r]
                        count += 1.0
                b = beside(j, 2 * side - 1, ny, py, 0)
                if b >= 0 and wv[(i * (ny + 1) + j + side) * nz + k] > 0.0:
                    r = (i * ny + b) * nz + k
                    if int(state[r]) < wanted:
                        total += phi[r]
                        count += 1.0
                c = beside(k, 2 * side - 1, nz, pz, 0)
                if c >= 0 and ww[(i * ny + j) * (nz + 1) + k + side] > 0.0:
                    r = (i * ny + j) * nz + c
                    if int(state[r]) < wanted:
                        total += phi[r]
                        count += 1.0
            if count > 0.0:
                phi[q] = total / count
                state[q] = ti.cast(wanted, ti.i8)


@ti.func
def wrapped(i, n, periodic):
    return (i % n + n) % n if periodic != 0 else i


@ti.func
def passage(wu: ti.template(), wv: ti.template(), ww: ti.template(), c, axis, up, n, p):
    """The kind of the face between cell `c` (indices that may lie beyond a periodic face) and the one below (`up` 0) or
    above (`up` 1) it along `axis`: WALL, OPEN, OUTSIDE (an open face of the domain) or BORDER (a closed one)."""
    i, j, k = wrapped(c[0], n[0], p[0]), wrapped(c[1], n[1], p[1]), wrapped(c[2], n[2], p[2])
    weight = 0.0
    border = False
    if axis == 0:
        weight = wu[((i + up) * n[1] + j) * n[2] + k]
        border = p[0] == 0 and i + up == (n[0] if up == 1 else 0)
    elif axis == 1:
        weight = wv[(i * (n[1] + 1) + j + up) * n[2] + k]
        border = p[1] == 0 and j + up == (n[1] if up == 1 else 0)
    else:
        weight = ww[(i * n[1] + j) * (n[2] + 1) + k + up]
        border = p[2] == 0 and k + up == (n[2] if up == 1 else 0)
    kind = OPEN if weight > 0.0 else WALL
    if border:
        kind = OUTSIDE if weight > 0.0 else BORDER
    return kind


@ti.func
def path_to_first_closed_face(wu: ti.template(), wv: ti.template(), ww: ti.template(), start, way, n, p):
    """Follow the displacement `way` (cells) from the centre of cell `start` to its end or to the first face that is not
    OPEN. Returns the last cell, the part of `way` that leads there, and the kind of that face (OPEN at the end).

    Grid traversal after Amanatides and Woo 1987: `ahead` is the part of `way` up to the next face along each axis.
    """
    c = start
    ahead = ti.Vector([0.0, 0.0, 0.0])
    for a in ti.static(range(3)):
        ahead[a] = 0.5 / ti.max(ti.abs(way[a]), 1e-9)
    reached = 1.0
    kind = OPEN
    walking = True
    while walking:
        axis = 0
        if ahead[1] < ahead[axis]:
            axis = 1
        if ahead[2] < ti.min(ahead[0], ahead[1]):
            axis = 2
        soonest = ti.min(ahead[0], ahead[1], ahead[2])
        if soonest >= 1.0:
            walking = False
        else:
            up = 1
            for a in ti.static(range(3)):
                if a == axis and way[a] < 0.0:
                    up = 0
            kind = passage(wu, wv, ww, c, axis, up, n, p)
            if kind == OPEN:
                for a in ti.static(range(3)):
                    if a == axis:
                        c[a] += 2 * up - 1
                        ahead[a] += 1.0 / ti.max(ti.abs(way[a]), 1e-9)
            else:
                walking = False
                reached = soonest
    return c, reached, kind


@ti.func
def interpolated_in_reach(
    phi: ti.template(), wu: ti.template(), wv: ti.template(), ww: ti.template(), c, position, n, p
):
    """phi at `position` (cells, from the lower corner of the grid) in cell `c`, interpolated from those of the eight
    samples around it that a chain of open faces connects to `c`. Samples outside open faces of the domain are 0.
    Returns the value and whether a wall separates any sample from `c`."""
    # side[a]: which of the two samples along axis a cell c is.
    side = ti.Vector([0, 0, 0])
    share = ti.Vector([0.0, 0.0, 0.0])
    for a in ti.static(range(3)):
        f = ti.min(ti.max(position[a] - ti.cast(c[a], ti.f32), 0.0), 1.0)
        if f < 0.5:
            side[a] = 1
            share[a] = 0.5 - f
        else:
            share[a] = f - 0.5
    total = 0.0
    parts = 0.0
    walled = False
    # Of each sample: OPEN if it is connected to c; OUTSIDE for the empty air outside an open face; WALL if neither.
    reach = ti.Vector([OPEN, WALL, WALL, WALL, WALL, WALL, WALL, WALL])
    for corner in ti.static(range(8)):
        at = c
        weight = 1.0
        for a in ti.static(range(3)):
            if ti.static((corner >> a) & 1):
                at[a] += 1 - 2 * side[a]
                weight *= share[a]
            else:
                weight *= 1.0 - share[a]
        for a in ti.static(range(3)):
            if ti.static((corner >> a) & 1):
                before = at
                before[a] -= 1 - 2 * side[a]
                if reach[corner - (1 << a)] == OPEN and reach[corner] != OPEN:
                    kind = passage(wu, wv, ww, before, a, 1 - side[a], n, p)
                    if kind != WALL and kind != BORDER:
                        reach[corner] = kind
                    elif kind == WALL and weight > 0.0:
                        walled = True
                elif reach[corner - (1 << a)] == OUTSIDE and reach[corner] == WALL:
                    reach[corner] = OUTSIDE
        if reach[corner] == OPEN:
            i, j, k = wrapped(at[0], n[0], p[0]), wrapped(at[1], n[1], p[1]), wrapped(at[2], n[2], p[2])
            total += weight * phi[(i * n[1] + j) * n[2] + k]
            parts += weight
        elif reach[corner] == OUTSIDE:
            parts += weight
    return total / ti.max(parts, 1e-12), walled


@kernel
def block_leaks(
    phi: F32, cells: I32, clearance: I8, came: F32, value: F32, behind: I8, wu: F32, wv: F32, ww: F32,
    nx: int, ny: int, nz: int, px: int, py: int, pz: int,
):  # fmt: skip
    """For each of `cells` whose semi-Lagrangian value would come from samples behind a wall, set `behind` = 1 and
    `value` to an interpolation of the samples on this side of it; `behind` = 0 for the other cells.

    `came [3, n]`: displacement of each cell to where its gas was (cells). It is followed cell by cell to the first
    closed face at most, and the samples that open faces connect to the last cell are interpolated. `clearance`: lower
    bound of the distance to the nearest wall, in cells.
    """
    count = cells.shape[0]
    n3, p3 = ti.Vector([nx, ny, nz]), ti.Vector([px, py, pz])
    for n in range(count):
        q = cells[n]
        start = ti.Vector([q // (ny * nz), q // nz % ny, q % nz])
        way = ti.Vector([came[n], came[n + count], came[n + 2 * count]])
        behind[n] = ti.cast(0, ti.i8)
        if ti.max(ti.abs(way[0]), ti.abs(way[1]), ti.abs(way[2])) + 1.0 >= ti.cast(clearance[n], ti.f32):
            c, reached, kind = path_to_first_closed_face(wu, wv, ww, start, way, n3, p3)
            if kind != OUTSIDE:
                position = ti.cast(start, ti.f32) + 0.5 + reached * way
                moved, walled = interpolated_in_reach(phi, wu, wv, ww, c, position, n3, p3)
                if walled or kind == WALL:
                    behind[n] = ti.cast(1, ti.i8)
                    value[n] = moved
