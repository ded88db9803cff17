"""Kernels about solids: continuing fields into them, and advection that no wall lets through.

Arrays are flat; (px, py, pz) say which axes are periodic (1) or not (0).
"""

import taichi as ti

from fluidsr.solver.launch import kernel
from fluidsr.solver.sampling import F32, I8, I32


@ti.func
def beside(i, step, n, periodic, copies):
    """The index next to `i`, around the corner of a periodic axis (whose first sample is there twice along an
    axis of faces, `copies` = 1); -1 where there is none."""
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
def continue_layer(
    field: F32, layer: I8, samples: I32, wanted: int, mx: int, my: int, mz: int, px: int, py: int, pz: int,
    ex: int, ey: int, ez: int,
):  # fmt: skip
    """Of `samples`, those that `layer [mx, my, mz]` says are `wanted` get the mean of their neighbours in
    lower layers (0: known). (ex, ey, ez): the normal of the faces sampled, or zero."""
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
def uncover(
    phi: F32, uncovered: I32, state: I8, wanted: int, wu: F32, wv: F32, ww: F32, nx: int, ny: int, nz: int,
    px: int, py: int, pz: int,
):  # fmt: skip
    """Cells of the list `uncovered` that have a neighbour with a value behind an open face get the mean of
    all such neighbours. `state [nx, ny, nz]`: 0 for cells with a value; the pass that gave it, from 1;
    127 for those that wait."""
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
    """What stands between cell `c` (indices that may lie beyond a periodic face) and the one below (`up` 0) or
    above (`up` 1) it along `axis`: 0 a wall in the domain, 1 an open way, 2 an open face of the domain, 3 a
    closed one."""
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
    found = 1 if weight > 0.0 else 0
    if border:
        found = 2 if weight > 0.0 else 3
    return found


@kernel
def shielded(
    phi: F32, cells: I32, clearance: I8, came: F32, value: F32, behind: I8, wu: F32, wv: F32, ww: F32,
    nx: int, ny: int, nz: int, px: int, py: int, pz: int,
):  # fmt: skip
    """For each of `cells` whose semi-Lagrangian value would be made of samples behind a wall: `behind` = 1, and
    `value` of samples on this side alone.

    `came [3, n]`, the way back of each particle in cells, is walked cell by cell and ends at the first closed
    face; of the eight samples there, those count that open faces join to the cell it ends in. `clearance`: how
    many cells the nearest wall is away, at least.
    """
    count = cells.shape[0]
    n3, p3 = ti.Vector([nx, ny, nz]), ti.Vector([px, py, pz])
    for n in range(count):
        q = cells[n]
        c = ti.Vector([q // (ny * nz), q // nz % ny, q % nz])
        x = ti.cast(c, ti.f32) + 0.5
        way = ti.Vector([came[n], came[n + count], came[n + 2 * count]])
        behind[n] = ti.cast(0, ti.i8)
        if ti.max(ti.abs(way[0]), ti.abs(way[1]), ti.abs(way[2])) + 1.0 >= ti.cast(clearance[n], ti.f32):
            walled = False
            outside = False
            # Grid traversal (Amanatides and Woo 1987): `ahead` is where along the way the next face of each axis is
            # met.
            ahead = ti.Vector([0.0, 0.0, 0.0])
            for a in ti.static(range(3)):
                ahead[a] = 0.5 / ti.max(ti.abs(way[a]), 1e-9)
            reached = 1.0
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
                    found = passage(wu, wv, ww, c, axis, up, n3, p3)
                    if found == 1:
                        for a in ti.static(range(3)):
                            if a == axis:
                                c[a] += 2 * up - 1
                                ahead[a] += 1.0 / ti.max(ti.abs(way[a]), 1e-9)
                    else:
                        walking = False
                        reached = soonest
                        walled = found == 0
                        outside = found == 2
            y = x + reached * way
            total = 0.0
            parts = 0.0
            if not outside:
                # (o: which of the two samples of each axis is the cell that the particle came to)
                o = ti.Vector([0, 0, 0])
                share = ti.Vector([0.0, 0.0, 0.0])
                for a in ti.static(range(3)):
                    f = ti.min(ti.max(y[a] - ti.cast(c[a], ti.f32), 0.0), 1.0)
                    if f < 0.5:
                        o[a] = 1
                        share[a] = 0.5 - f
                    else:
                        share[a] = f - 0.5
                reach = ti.Vector([1, 0, 0, 0, 0, 0, 0, 0])
                for corner in ti.static(range(8)):
                    at = c
                    weight = 1.0
                    for a in ti.static(range(3)):
                        if ti.static((corner >> a) & 1):
                            at[a] += 1 - 2 * o[a]
                            weight *= share[a]
                        else:
                            weight *= 1.0 - share[a]
                    # 1: joined; 2: empty air outside, behind an open face; 0: neither
                    for a in ti.static(range(3)):
                        if ti.static((corner >> a) & 1):
                            before = at
                            before[a] -= 1 - 2 * o[a]
                            if reach[corner - (1 << a)] == 1 and reach[corner] != 1:
                                found = passage(wu, wv, ww, before, a, 1 - o[a], n3, p3)
                                if found == 1 or found == 2:
                                    reach[corner] = found
                                elif found == 0 and weight > 0.0:
                                    walled = True
                            elif reach[corner - (1 << a)] == 2 and reach[corner] == 0:
                                reach[corner] = 2
                    if reach[corner] == 1:
                        i, j, k = wrapped(at[0], nx, px), wrapped(at[1], ny, py), wrapped(at[2], nz, pz)
                        total += weight * phi[(i * ny + j) * nz + k]
                        parts += weight
                    elif reach[corner] == 2:
                        parts += weight
            if walled:
                behind[n] = ti.cast(1, ti.i8)
                value[n] = total / ti.max(parts, 1e-12)
