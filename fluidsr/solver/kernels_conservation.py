"""Kernels that keep the total of an advected field (advection.py has the scheme).

All loop over rows along z; what they sum up is left per row, in float64. `region` and `limits` as in
kernels_advection.py; rows outside the box count nothing.
"""

import taichi as ti

from fluidsr.solver.kernels_advection import beyond, tiles_of, triple
from fluidsr.solver.launch import kernel
from fluidsr.solver.sampling import F32, F64, I32

# What limits have cut off is smoothed, over 27 cells; a cell gives or takes at most this many times its part of that
# before other places are asked. (With 4, noisy sources used all of it; from 16 on about a third, and smoke stays
# sharpest.)
NEAR = 16.0


@ti.func
def row_of(row, region: ti.template()):
    """Indices i and j of row `row` of the grid; whether the box holds a part of it, which begins at cell `first` and
    ends before cell `last`."""
    n, start, stop = triple(region, 0), triple(region, 2), triple(region, 3)
    i = row // n[1]
    j = row - i * n[1]
    held = i >= start[0] and i < stop[0] and j >= start[1] and j < stop[1]
    return i, j, ti.select(held, start[2], 0), ti.select(held, stop[2], 0)


@ti.func
def share_taken_out(forth: ti.template(), i, j, k, n, lower, upper):
    """Of cell (i, j, k), what the flow takes out beyond `lower` and `upper`: all where its centre is taken a cell or
    more beyond the outermost one, up to there a part. In uniform flow that is what linear interpolation does."""
    s = (i * n[1] + j) * (n[2] + 2) + k + 1
    padded = n[0] * n[1] * (n[2] + 2)
    outside = (
        beyond(i + forth[s], lower[0], upper[0])
        + beyond(j + forth[s + padded], lower[1], upper[1])
        + beyond(k + forth[s + 2 * padded], lower[2], upper[2])
    )
    return ti.min(outside, 1.0)


@kernel
def amount_and_outflow(phi: F32, forth: F32, region: I32, limits: F32, reach: int, sums: F64):
    """sums [rows, 2] = the sum of phi; how much of it the flow takes out beyond `limits`. 4 bytes a cell, 16 more
    within `reach` cells of open ends, the most that the flow crosses."""
    for row in range(region[0] * region[1]):
        n, lower, upper = triple(region, 0), triple(limits, 0), triple(limits, 1)
        i, j, first, last = row_of(row, region)
        total, gone = ti.cast(0.0, ti.f64), 0.0
        for k in range(first, last):
            total += ti.cast(phi[row * n[2] + k], ti.f64)
        # (Ends that nothing leaves through lie farther than any domain is wide.)
        near = i < lower[0] + reach or i > upper[0] - reach or j < lower[1] + reach or j > upper[1] - reach
        low_end = first if lower[2] < 0.0 else ti.min(first + reach, last)
        high_end = last if upper[2] > n[2] else ti.max(last - reach, low_end)
        if near:
            low_end = last
            high_end = last
        for k in range(first, low_end):
            gone += phi[row * n[2] + k] * share_taken_out(forth, i, j, k, n, lower, upper)
        for k in range(high_end, last):
            gone += phi[row * n[2] + k] * share_taken_out(forth, i, j, k, n, lower, upper)
        sums[2 * row] = total
        sums[2 * row + 1] = ti.cast(gone, ti.f64)


@ti.func
def room(value, least, most, cut):
    """How much `value` can lose and gain within its limits, and without more than going to 0 or doubling; and how much
    of that it is asked for first, beside a `cut` (what limits took away, smoothed)."""
    most_change = ti.abs(value)
    down = ti.max(ti.min(value - least, most_change), 0.0)
    up = ti.max(ti.min(most - value, most_change), 0.0)
    return down, up, ti.min(down, ti.max(-NEAR * cut, 0.0)), ti.min(up, ti.max(NEAR * cut, 0.0))


@kernel
def rooms(phi: F32, low: F32, high: F32, smoothed: F32, region: I32, sums: F64):
    """sums [rows, 6] = the sums of phi; of the smoothed cut, `smoothed` - phi; of `room`. 16 bytes a cell."""
    for row in range(region[0] * region[1]):
        _, _, first, last = row_of(row, region)
        total, cuts = ti.cast(0.0, ti.f64), ti.cast(0.0, ti.f64)
        downs, ups, near_downs, near_ups = 0.0, 0.0, 0.0, 0.0  # of one row: float32 will do
        for k in range(first, last):
            q = row * region[2] + k
            value = phi[q]
            cut = smoothed[q] - value
            down, up, near_down, near_up = room(value, low[q], high[q], cut)
            total += ti.cast(value, ti.f64)
            cuts += ti.cast(cut, ti.f64)
            downs += down
            ups += up
            near_downs += near_down
            near_ups += near_up
        sums[6 * row], sums[6 * row + 1] = total, cuts
        sums[6 * row + 2], sums[6 * row + 3] = ti.cast(downs, ti.f64), ti.cast(ups, ti.f64)
        sums[6 * row + 4], sums[6 * row + 5] = ti.cast(near_downs, ti.f64), ti.cast(near_ups, ti.f64)


@kernel
def use_room(
    phi: F32, low: F32, high: F32, smoothed: F32, region: I32, near: ti.f32, far: ti.f32, decay: ti.f32,
    nothing: ti.f32, tile: ti.template(),
):  # fmt: skip
    """phi = decay * (phi less the share `near` of its near room downwards and `far` of the rest of it; more, upwards,
    where they are negative), within [low, high]; up to `nothing` becomes 0. 20 bytes a cell."""
    for t in range(tiles_of(region, tile)):
        n, start, stop = triple(region, 0), triple(region, 2), triple(region, 3)
        tiles = (stop[2] - start[2] + tile - 1) // tile
        row = t // tiles
        k0 = start[2] + (t - row * tiles) * tile
        i = start[0] + row // (stop[1] - start[1])
        j = start[1] + row % (stop[1] - start[1])
        q0 = (i * n[1] + j) * n[2] + k0
        count = ti.min(tile, stop[2] - k0)
        upwards = near < 0.0
        changed = ti.Vector.zero(ti.f32, tile)
        for m in range(count):
            q = q0 + m
            value = phi[q]
            down, up, near_down, near_up = room(value, low[q], high[q], smoothed[q] - value)
            all_room, near_room = ti.select(upwards, up, down), ti.select(upwards, near_up, near_down)
            new = value - near * near_room - far * (all_room - near_room)
            new = decay * ti.min(ti.max(new, low[q]), high[q])
            changed[m] = ti.select(ti.abs(new) > nothing, new, 0.0)
        for m in range(count):
            phi[q0 + m] = changed[m]
