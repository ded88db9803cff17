"""Boxes that cover the occupied cells at the least cost.

Most generators' output is exactly zero wherever no density lies within their support radius, whatever the
velocity; that of the others is a known background wherever all that they read within their receptive radius is zero.
Those cells are never computed.

The cost of a tile is the coarse cells it computes, halo included, plus a constant for its launch. Every cut adds two
halos, so it pays only where it removes more empty cells than it adds: two puffs far apart are two tiles, a dense plume
is one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from fluidsr.errors import InputError
from fluidsr.upscaling.tiles import Box


def cover(
    mask: np.ndarray,
    halo: int,
    *,
    launch_cost: int,
    bytes_needed: Callable[[Box], int],
    max_bytes: int,
    effective_halo: int | None = None,
) -> list[Box]:
    """Disjoint boxes that hold every true cell of `mask [*S]`, cheap to compute with a halo of `halo` cells.

    Costs are counted with a halo of `effective_halo` cells (`halo` unless given), for generators that do not compute
    all of it. The bounding box of the mask is cut in two along the plane that saves most, and so on for the halves,
    until no cut saves more than `launch_cost` (of one more tile, in cells): the clustering of Berger and Rigoutsos
    1991, with the exact cost in place of their signatures. On return no box needs more than `max_bytes` by
    `bytes_needed(box)`. Raises InputError where a single cell does.
    """
    whole = bounding_box(mask, Box((0,) * mask.ndim, mask.shape))
    cost_halo = halo if effective_halo is None else effective_halo
    pending = [] if whole is None else [whole]
    boxes = []
    while pending:
        box = pending.pop()
        size = box.grown(cost_halo, mask.shape).cells
        cut = _best_cut(mask, box, cost_halo, smaller=False)
        if (cut is None or cut.cells + launch_cost >= size) and bytes_needed(box) > max_bytes:
            cut = _best_cut(mask, box, halo, smaller=True)
            if cut is None:
                megabytes = math.ceil(bytes_needed(box) / 1e6)
                problem = f"too little: one coarse cell with its halo needs {megabytes} MB"
                remedy = f"give at least {bytes_needed(box)} bytes ({megabytes}MB)"
                raise InputError("max_memory", problem, remedy)
        elif cut is None or cut.cells + launch_cost >= size:
            boxes.append(box)
            continue
        halves = (bounding_box(mask, half) for half in _halves(box, cut))
        pending += [half for half in halves if half is not None]
    return sorted(boxes)


class _Cut(NamedTuple):
    """A cut of a box across `axis`, below cell `plane`; `cells` is the cost of both halves together."""

    cells: int
    axis: int
    plane: int


def _halves(box: Box, cut: _Cut) -> tuple[Box, Box]:
    lo, hi = list(box.lo), list(box.hi)
    hi[cut.axis] = lo[cut.axis] = cut.plane
    return Box(box.lo, tuple(hi)), Box(tuple(lo), box.hi)


def _best_cut(mask: np.ndarray, box: Box, halo: int, *, smaller: bool) -> _Cut | None:
    """The cheapest cut of `box`, which is tight around its true cells; None where the box is a single cell.

    The halves are counted shrunk to their own true cells, with their halo. With `smaller` it is the cut whose larger
    half is smallest. Among equals the one nearest to the middle wins.
    """
    best: tuple[tuple[int, int], _Cut] | None = None
    part = mask[box.slices]
    for axis, n in enumerate(part.shape):
        if n < 2:
            continue
        sizes = np.ones((2, n - 1), dtype=np.int64)
        for other in range(part.ndim):
            for size, (first, last) in zip(sizes, _spans(part, axis, other), strict=True):
                low = np.maximum(box.lo[other] + first - halo, 0)
                high = np.minimum(box.lo[other] + last + 1 + halo, mask.shape[other])
                size *= high - low
        costs = sizes.max(axis=0) if smaller else sizes.sum(axis=0)
        off_centre = np.abs(2 * np.arange(1, n) - n)
        index = int(np.lexsort((off_centre, costs))[0])
        rank = int(costs[index]), int(off_centre[index])
        if best is None or rank < best[0]:
            best = rank, _Cut(int(sizes[:, index].sum()), axis, box.lo[axis] + index + 1)
    return best[1] if best is not None else None


def _spans(part: np.ndarray, axis: int, other: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """First and last true index along `other`, below and above every plane `1 .. n-1` across `axis`."""
    if axis == other:
        hits = np.asarray(part.any(axis=tuple(a for a in range(part.ndim) if a != axis)))
        index = np.arange(len(hits))
        last = np.maximum.accumulate(np.where(hits, index, 0))[:-1]
        first = np.minimum.accumulate(np.where(hits, index, len(hits))[::-1])[::-1][1:]
        ends = np.flatnonzero(hits)[[0, -1]]
        return [(np.full_like(last, ends[0]), last), (first, np.full_like(first, ends[1]))]
    hits = np.asarray(part.any(axis=tuple(a for a in range(part.ndim) if a not in (axis, other))))
    if other < axis:
        hits = hits.T
    below = np.logical_or.accumulate(hits, axis=0)[:-1]
    above = np.logical_or.accumulate(hits[::-1], axis=0)[::-1][1:]
    return [(np.argmax(h, axis=1), h.shape[1] - 1 - np.argmax(h[:, ::-1], axis=1)) for h in (below, above)]


def dilate_mask(field: torch.Tensor, radius: int) -> np.ndarray:
    """Coarse cells with anything in `field` within `radius` cells (a cube) of them, a bool array on the host.

    `field [*S]`, on any device. The maximum is taken axis by axis, which a cube allows.
    """
    mask = (field != 0).to(torch.float32)
    for axis in range(mask.ndim):
        line = mask.movedim(axis, -1)
        pooled = F.max_pool1d(line.reshape(1, -1, line.shape[-1]), 2 * radius + 1, 1, radius)
        mask = pooled.reshape(line.shape).movedim(-1, axis)
    return mask.bool().cpu().numpy()


def bounding_box(mask: np.ndarray, within: Box) -> Box | None:
    """The smallest box that holds the true cells of `mask [*S]` inside `within`; None where there is none."""
    part = mask[within.slices]
    lo, hi = [], []
    for axis, start in enumerate(within.lo):
        others = tuple(a for a in range(part.ndim) if a != axis)
        hits = np.flatnonzero(part.any(axis=others))
        if hits.size == 0:
            return None
        lo.append(start + int(hits[0]))
        hi.append(start + int(hits[-1]) + 1)
    return Box(tuple(lo), tuple(hi))
