"""Pockets: bodies of fluid that touch no open face, in which the pressure is determined up to a constant."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage, sparse

from fluidsr.solver.grid import Grid


def pockets_of(grid: Grid, fluid: np.ndarray, weights: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The pockets of a grid, each as the ascending flat indices of its cells.

    The cells of a body of fluid are connected by faces of positive weight, including periodic ones.
    """
    labels, pairs = _labelled(fluid, weights)
    for axis in range(3):
        if grid.periodic[axis]:
            crossed = np.take(weights[axis], 0, axis) > 0
            pairs.append(np.stack([np.take(labels, side, axis)[crossed] for side in (0, -1)]))
    names, count = _joined(int(labels.max(initial=0)), pairs)
    vented = np.zeros(count, bool)
    vented[names[0]] = True
    for axis, pair in enumerate(grid.opened):
        for side, is_open in zip((0, -1), pair, strict=True):
            if is_open:
                reached = np.take(labels, side, axis)[np.take(weights[axis], side, axis) > 0]
                vented[names[np.unique(reached)]] = True
    if vented.all():
        return []
    if count == 2 and fluid.all():
        return [np.arange(labels.size)]
    bodies = names[labels]
    order = np.argsort(bodies, axis=None, kind="stable")
    bounds = np.searchsorted(bodies.reshape(-1)[order], np.arange(count + 1))
    return [order[bounds[n] : bounds[n + 1]] for n in range(count) if not vented[n]]


def _labelled(fluid: np.ndarray, weights: Sequence[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Label connected cells with numbers from 1 (0: solid). Returns the labels and arrays `[2, n]` of pairs of labels
    that belong to the same body."""
    # A thin wall may separate two adjacent cells of fluid, which `ndimage.label` cannot know. Cells at such walls get
    # a label each, and are joined through their open faces.
    walled = np.zeros(fluid.shape, bool)
    for axis in range(3):
        low, high = _beside(fluid, axis)
        shut = (_inner(weights[axis], axis) == 0) & low & high
        for side in _beside(walled, axis):
            side |= shut
    labels, count = ndimage.label(fluid & ~walled if walled.any() else fluid)
    single = np.flatnonzero(walled)
    if not len(single):
        return labels, []
    labels.reshape(-1)[single] = np.arange(count + 1, count + 1 + len(single), dtype=labels.dtype)
    pairs = []
    for axis in range(3):
        low, high = _beside(walled, axis)
        is_open = np.nonzero((low | high) & (_inner(weights[axis], axis) > 0))
        pairs.append(np.stack([side[is_open] for side in _beside(labels, axis)]))
    return labels, pairs


def _joined(last: int, pairs: list[np.ndarray]) -> tuple[np.ndarray, int]:
    """Join `pairs` of labels. Returns the number of the body of each label from 0 to `last`, and the count of bodies
    (the solid cells, label 0, count as one)."""
    if not pairs:
        return np.arange(last + 1), last + 1
    ends = np.concatenate(pairs, axis=1)
    graph = sparse.coo_matrix((np.ones(ends.shape[1], np.int8), tuple(ends)), shape=(last + 1,) * 2)
    count, names = sparse.csgraph.connected_components(graph, directed=False)
    return names, count


def _inner(faces: np.ndarray, axis: int) -> np.ndarray:
    """The faces along `axis` without the first and the last layer."""
    return _layers(faces, axis, slice(1, -1))


def _beside(cells: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """The values of the cells below and above each inner face."""
    return _layers(cells, axis, slice(None, -1)), _layers(cells, axis, slice(1, None))


def _layers(array: np.ndarray, axis: int, chosen: slice) -> np.ndarray:
    return array[(slice(None),) * axis + (chosen,)]
