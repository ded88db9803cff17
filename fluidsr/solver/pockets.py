"""Bodies of fluid that touch no open face: their pressure is known up to a constant."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage, sparse

from fluidsr.solver.grid import Grid


def pockets_of(grid: Grid, fluid: np.ndarray, weights: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Flat indices (ascending) of the cells of each body of fluid that touches no open face of the domain.

    Cells of a body are joined by faces of positive weight, across periodic faces too.
    """
    labels, count = _bodies(fluid, weights)
    joined = [
        np.stack([np.take(labels, side, axis)[np.take(weights[axis], 0, axis) > 0] for side in (0, -1)])
        for axis in range(3)
        if grid.periodic[axis]
    ]
    if joined:
        labels, count = _joined(labels, count, np.concatenate(joined, axis=1))
    vented = np.zeros(count + 1, bool)
    vented[0] = True
    for axis, pair in enumerate(grid.opened):
        for side, is_open in zip((0, -1), pair, strict=True):
            if is_open:
                vented[np.unique(np.take(labels, side, axis)[np.take(weights[axis], side, axis) > 0])] = True
    if vented.all():
        return []
    if count == 1 and fluid.all():
        return [np.arange(labels.size)]
    order = np.argsort(labels, axis=None, kind="stable")
    bounds = np.searchsorted(labels.reshape(-1)[order], np.arange(count + 2))
    return [order[bounds[n] : bounds[n + 1]] for n in range(1, count + 1) if not vented[n]]


def _bodies(fluid: np.ndarray, weights: Sequence[np.ndarray]) -> tuple[np.ndarray, int]:
    """Labels from 1 (0: solid) of what hangs together within the box, and how many there are."""
    # A thin wall, or an opening too small to count, may stand between two cells of fluid, which neighbourhood
    # alone does not show: those cells become bodies of their own, to be joined face by face.
    walled = np.zeros(fluid.shape, bool)
    for axis in range(3):
        low, high = _beside(fluid, axis)
        shut = (_inner(weights[axis], axis) == 0) & low & high
        for side in _beside(walled, axis):
            side |= shut
    labels, count = ndimage.label(fluid & ~walled if walled.any() else fluid)
    single = np.flatnonzero(walled)
    if not len(single):
        return labels, int(count)
    labels.reshape(-1)[single] = np.arange(count + 1, count + 1 + len(single), dtype=labels.dtype)
    pairs = []
    for axis in range(3):
        low, high = _beside(walled, axis)
        way = np.nonzero((low | high) & (_inner(weights[axis], axis) > 0))
        pairs.append(np.stack([side[way] for side in _beside(labels, axis)]))
    return _joined(labels, int(count) + len(single), np.concatenate(pairs, axis=1))


def _joined(labels: np.ndarray, count: int, pairs: np.ndarray) -> tuple[np.ndarray, int]:
    """Labels after joining `pairs [2, n]` of them."""
    pairs = np.unique(pairs, axis=1)
    graph = sparse.coo_matrix((np.ones(pairs.shape[1], np.int8), tuple(pairs)), shape=(count + 1,) * 2)
    found, names = sparse.csgraph.connected_components(graph, directed=False)
    names = (names - names[0]) % found  # solid stays 0: nothing is joined to it
    return names[labels], found - 1


def _inner(faces: np.ndarray, axis: int) -> np.ndarray:
    """Without the first and the last layer."""
    return _layers(faces, axis, slice(1, -1))


def _beside(cells: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """The cells below and above each inner face."""
    return _layers(cells, axis, slice(None, -1)), _layers(cells, axis, slice(1, None))


def _layers(array: np.ndarray, axis: int, chosen: slice) -> np.ndarray:
    return array[(slice(None),) * axis + (chosen,)]
