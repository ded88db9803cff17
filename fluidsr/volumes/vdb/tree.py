"""The sparse tree of one grid as flat arrays, and its conversion from and to dense arrays.

A VDB tree (Museth 2013) holds 8^3 leaves under 16^3 and 32^3 internal nodes. Nothing in this module needs the
internal nodes: a leaf has its origin, and a constant region (a tile) has its origin and edge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

Index = tuple[int, int, int]


def index_of(values: Iterable[Any]) -> Index:
    """Three whole numbers as an index."""
    x, y, z = (int(n) for n in values)
    return x, y, z


# Voxels along the edge of a leaf, of its parent node, and of a child of the root.
LEAF, NODE, BRANCH = 8, 128, 4096


@dataclass(frozen=True)
class Leaves:
    """`n` decoded leaves: `origins [n, 3]` int64, `masks [n, 512]` bool, `values [n, 512, channels]`.

    The voxels of a leaf are in the order `x * 64 + y * 8 + z`.
    """

    origins: np.ndarray
    masks: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class Tiles:
    """`m` constant cubes: `origins [m, 3]` int64, `edges [m]` int64 (voxels), `values [m, channels]`,
    `active [m]`.
    """

    origins: np.ndarray
    edges: np.ndarray
    values: np.ndarray
    active: np.ndarray


def leaf_bounds(origins: np.ndarray, packed: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Lower and upper corner (exclusive) of the active voxels of leaves; None if there are none.

    `packed [n, 64]` uint8 are the value masks as in the file: byte `x * 8 + y`, bit `z`.
    """
    rows = packed.reshape(-1, LEAF, LEAF)
    some = rows.any((1, 2))
    if not some.any():
        return None
    rows, origins = rows[some], origins[some]
    columns = np.bitwise_or.reduce(rows, axis=(1, 2))
    on = np.stack(
        [rows.any(2), rows.any(1), np.unpackbits(columns[:, None], axis=1, bitorder="little").astype(bool)],
        axis=1,
    )
    low = origins + on.argmax(2)
    high = origins + LEAF - on[:, :, ::-1].argmax(2)
    return low.min(0), high.max(0)


def window_bytes(low: Index, high: Index, itemsize: int) -> int:
    """The bytes that `fill` needs for the box from `low` to `high` (exclusive): the box, and one layer of whole
    leaves.
    """
    edges = [max(b - a, 0) for a, b in zip(low, high, strict=True)]
    whole = [-(-b // LEAF) * LEAF - a // LEAF * LEAF for a, b in zip(low, high, strict=True)]
    box = edges[0] * edges[1] * edges[2]
    return itemsize * (box + (LEAF * max(whole[1], 0) * max(whole[2], 0) if box else 0))


def fill(
    out: np.ndarray,
    low: Index,
    background: np.ndarray,
    tiles: Tiles,
    tile_values: np.ndarray,
    origins: np.ndarray,
    read: Callable[[np.ndarray], np.ndarray],
) -> None:
    """Fill a box from leaves and tiles.

    Args:
        out: `[channels, x, y, z]`, the box.
        low: index of its first voxel.
        background: `[channels]`.
        tiles: the tiles of the grid.
        tile_values: `[m, channels]`: the value to write for each tile.
        origins: `[n, 3]`: all leaves that touch the box.
        read: gives the values `[k, 512, channels]` of the leaves with these numbers.

    Leaves are read one layer at a time, so that few are decoded at once.
    """
    channels, *shape = out.shape
    if 0 in shape:
        return
    first = np.array(low) // LEAF
    blocks = -(-(np.array(low) + shape) // LEAF) - first
    # If the box consists of whole leaves, write them directly into it; otherwise into a buffer that does.
    whole = not (np.array(low) % LEAF).any() and not (np.array(shape) % LEAF).any()
    layer_shape = (channels, LEAF, *(blocks[1:] * LEAF))
    buffer = np.empty(0 if whole else layer_shape, out.dtype)
    of_leaves = _by_layer(origins // LEAF - first, blocks)
    small = np.flatnonzero(tiles.edges == LEAF)
    of_tiles = _by_layer(tiles.origins[small] // LEAF - first, blocks)
    start = np.maximum(tiles.origins - first * LEAF, 0)
    stop = np.minimum(tiles.origins + tiles.edges[:, None] - first * LEAF, blocks * LEAF)
    large = np.flatnonzero((start < stop).all(1) & (tiles.edges != LEAF))
    for layer in range(blocks[0]):
        a, b = max(low[0], (first[0] + layer) * LEAF), min(low[0] + shape[0], (first[0] + layer + 1) * LEAF)
        target = out[:, a - low[0] : b - low[0]]
        slab = target if whole else buffer
        slab[...] = background[:, None, None, None]
        for i in large[(start[large, 0] <= layer * LEAF) & (layer * LEAF < stop[large, 0])]:
            (y0, z0), (y1, z1) = start[i, 1:], stop[i, 1:]
            slab[:, :, y0:y1, z0:z1] = tile_values[i][:, None, None, None]
        at, numbers = of_tiles(layer)
        _place(slab, at, np.broadcast_to(tile_values[small[numbers], None], (len(at), LEAF**3, channels)))
        at, numbers = of_leaves(layer)
        if len(at):
            _place(slab, at, read(numbers))
        if not whole:
            x, y, z = a - (first[0] + layer) * LEAF, low[1] % LEAF, low[2] % LEAF
            target[...] = slab[:, x : x + b - a, y : y + shape[1], z : z + shape[2]]


def _by_layer(at: np.ndarray, blocks: np.ndarray) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """A function that gives, for each layer of blocks along x, (y, z) of the entries of `at [n, 3]` in it, and their
    numbers.
    """
    inside = np.flatnonzero(((at >= 0) & (at < blocks)).all(1))
    order = inside[np.argsort(at[inside, 0], kind="stable")]
    ends = np.searchsorted(at[order, 0], np.arange(blocks[0] + 1))

    def in_layer(layer: int) -> tuple[np.ndarray, np.ndarray]:
        numbers = order[ends[layer] : ends[layer + 1]]
        return at[numbers, 1:], numbers

    return in_layer


def _place(slab: np.ndarray, at: np.ndarray, values: np.ndarray) -> None:
    """Write leaves `values [n, 512, channels]` into `slab [channels, 8, y, z]` at the blocks `at [n, 2]`."""
    y, z = at.T
    for channel, part in enumerate(slab):
        blocks = part.reshape(LEAF, part.shape[1] // LEAF, LEAF, part.shape[2] // LEAF, LEAF)
        blocks[:, y, :, z] = values[..., channel].reshape(-1, LEAF, LEAF, LEAF)
