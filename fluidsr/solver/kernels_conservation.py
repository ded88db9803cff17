"""Kernels that conserve the total of an advected field (advection.py explains the scheme).

All of them loop over rows along z and write their sums per row, in float64. `region` and `limits` are those of
kernels_advection.py; rows outside the box contribute zero.
"""

import taichi as ti

from fluidsr.solver.kernels_advection import beyond, tiles_of, triple
from fluidsr.solver.launch import kernel
from fluidsr.solver.sampling import F32, F64, I32

# Cells near a clamped one are corrected first, each by at most this multiple of its smoothed cut (the change by
# clamping, smoothed over 27 cells); only then do other cells share the remainder. With 4, noisy sources used all of
# this room; from 16 on they use about a third, and smoke stays sharpest.
NEAR = 16.0


@ti.func
def row_of(row, region: ti.template()):
    """Indices i and j of row `row` of the grid, and the first cell and one past the last of its part inside the box
    (0, 0 if there is none)."""
    n, start, stop = triple(region, 0), triple(region, 2), triple(region, 3)
    i = row // n[1]
    j = row - i * n[1]
    held = i >= start[0] and i < stop[0] and j >= start[1] and j < stop[1]
    return i, j, ti.select(held, start[2], 0), ti.select(held, stop[2], 0)


@ti.func
def share_taken_out(forth: ti.template(), i, j, k, n, lower, upper):
    """The share of cell (i, j, k) that the flow carries out of the domain, beyond `lower` and `upper`: how many cells
    its centre ends up beyond the outermost cell centre, at most 1. In uniform flow this agrees with linear
    interpolation."""
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
    """sums [rows, 2] = the sum of phi, and the part of it that the flow carries out beyond `limits`. `reach`: the most
    cells that the flow crosses. Moves 4 bytes per cell, 16 more within `reach` cells of open ends."""
    for row in range(region[0] * region[1]):
        n, lower, upper = triple(region, 0), triple(limits, 0), triple(limits, 1)
        i, j, first, last = row_of(row, region)
        total, gone = ti.cast(0.0, ti.f64), 0.0
        for k in range(first, last):
            total += ti.cast(phi[row * n[2] + k], ti.f64)
        # (The limits of ends that are not open are farther away than any domain is wide.)
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
def room(value, least, greatest, cut):
    """The room of a cell: how much `value` may decrease and increase without leaving [least, most], changing sign or
    more than doubling; then the parts of both that are used first, which the smoothed `cut` at the cell bounds."""
    most_change = ti.abs(value)
    down = ti.max(ti.min(value - least, most_change), 0.0)
    up = ti.max(ti.min(greatest - value, most_change), 0.0)
    return down, up, ti.min(down, ti.max(-NEAR * cut, 0.0)), ti.min(up, ti.max(NEAR * cut, 0.0))


@kernel
def rooms(phi: F32, low: F32, high: F32, smoothed: F32, region: I32, sums: F64):
    """sums [rows, 6] = the sums of phi, of the smoothed cut (`smoothed` - phi), and of the four values of `room`. Moves
    16 bytes per cell."""
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
    """Change phi within [low, high] by shares of its room, and multiply it by `decay`.

    phi decreases by the share `near` of the room that is used first and the share `far` of its other room; negative
    shares increase it. Magnitudes up to `nothing` become 0. Moves 20 bytes per cell.
    """
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
