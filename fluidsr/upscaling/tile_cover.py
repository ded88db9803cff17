"""Covering the occupied cells of a frame with boxes of low cost.

The output of most generators is exactly zero in cells without density within their support radius, whatever the
velocity. Others give a known background in cells where everything within their receptive radius is zero. Such cells
need not be computed.

The cost of a tile is the number of coarse cells that it reads, including the halo, plus a constant for its launch. A
cut adds two halos, so it pays only if it removes more empty cells than that: two distant puffs become two tiles, a
dense plume remains one."""

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
    """Disjoint boxes that contain all true cells of `mask [*S]` and are cheap to compute.

    The bounding box of the mask is cut in two at the plane that saves most, then its halves, until no cut saves more
    than the launch of another tile costs. This is the clustering of Berger and Rigoutsos 1991 with the exact cost in
    place of their signatures.

    Args:
        mask: the occupied coarse cells.
        halo: halo of the tiles, in cells.
        launch_cost: cost of one more tile, in cells.
        bytes_needed: the memory that a box needs.
        max_bytes: limit for the memory of each box.
        effective_halo: the halo that costs are computed with, for generators that do not compute all of it; `halo` by
            default.

    Raises InputError if a single cell needs more than `max_bytes`.
    """
    bounds = bounding_box(mask, Box((0,) * mask.ndim, mask.shape))
    cost_halo = halo if effective_halo is None else effective_halo
    pending = [] if bounds is None else [bounds]
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
    """A cut of a box across `axis`, below the cell with the index `plane`; `cells` is the cost of both halves."""

    cells: int
    axis: int
    plane: int


def _halves(box: Box, cut: _Cut) -> tuple[Box, Box]:
    lo, hi = list(box.lo), list(box.hi)
    hi[cut.axis] = lo[cut.axis] = cut.plane
    return Box(box.lo, tuple(hi)), Box(tuple(lo), box.hi)


def _best_cut(mask: np.ndarray, box: Box, halo: int, *, smaller: bool) -> _Cut | None:
    """The cheapest cut of `box`, the bounding box of its true cells; None if it is a single cell.

    The cost of a half is that of the bounding box of its true cells, including the halo. With `smaller`, the cut with
    the smallest larger half is chosen instead. Of equal cuts the one nearest to the middle wins.
    """
    best: tuple[tuple[int, int], _Cut] | None = None
    part = mask[box.slices]
    for axis, n in enumerate(part.shape):
        if n < 2:
            continue
        sizes = np.ones((2, n - 1), dtype=np.int64)
        for across in range(part.ndim):
            for size, (first, last) in zip(sizes, _spans(part, axis, across), strict=True):
                low = np.maximum(box.lo[across] + first - halo, 0)
                high = np.minimum(box.lo[across] + last + 1 + halo, mask.shape[across])
                size *= high - low
        costs = sizes.max(axis=0) if smaller else sizes.sum(axis=0)
        off_center = np.abs(2 * np.arange(1, n) - n)
        index = int(np.lexsort((off_center, costs))[0])
        rank = int(costs[index]), int(off_center[index])
        if best is None or rank < best[0]:
            best = rank, _Cut(int(sizes[:, index].sum()), axis, box.lo[axis] + index + 1)
    return best[1] if best is not None else None


def _spans(part: np.ndarray, axis: int, along: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The first and last true index along the axis `along`, below and above each plane 1 to n - 1 across `axis`."""
    if axis == along:
        hits = np.asarray(part.any(axis=tuple(a for a in range(part.ndim) if a != axis)))
        index = np.arange(len(hits))
        last = np.maximum.accumulate(np.where(hits, index, 0))[:-1]
        first = np.minimum.accumulate(np.where(hits, index, len(hits))[::-1])[::-1][1:]
        ends = np.flatnonzero(hits)[[0, -1]]
        return [(np.full_like(last, ends[0]), last), (first, np.full_like(first, ends[1]))]
    hits = np.asarray(part.any(axis=tuple(a for a in range(part.ndim) if a not in (axis, along))))
    if along < axis:
        hits = hits.T
    below = np.logical_or.accumulate(hits, axis=0)[:-1]
    above = np.logical_or.accumulate(hits[::-1], axis=0)[::-1][1:]
    return [(np.argmax(h, axis=1), h.shape[1] - 1 - np.argmax(h[:, ::-1], axis=1)) for h in (below, above)]


def dilate_mask(field: torch.Tensor, radius: int) -> np.ndarray:
    """Whether `field [*S]` (on any device) has a value other than zero in the cube of `radius` cells around each cell.
    Returns a bool array on the CPU."""
    mask = (field != 0).to(torch.float32)
    for axis in range(mask.ndim):
        line = mask.movedim(axis, -1)
        pooled = F.max_pool1d(line.reshape(1, -1, line.shape[-1]), 2 * radius + 1, 1, radius)
        mask = pooled.reshape(line.shape).movedim(-1, axis)
    return mask.bool().cpu().numpy()


def bounding_box(mask: np.ndarray, within: Box) -> Box | None:
    """The smallest box that contains the true cells of `mask [*S]` inside `within`; None if there are none."""
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
