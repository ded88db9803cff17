"""The sparse tree of one grid as flat arrays, and its way from and to dense arrays.

A VDB tree (Museth 2013) holds 8^3 leaves under 16^3 and 32^3 internal nodes. Nothing here needs the internal
nodes: a leaf knows its place, and a constant region (a tile) knows its place and edge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Index = tuple[int, int, int]
LEAF, NODE, BRANCH = (
    8,
    128,
    4096,
)  # voxels along the edge of a leaf, of the node above it, of a child of the root


@dataclass(frozen=True)
class Leaves:
    """`n` decoded leaves: `origins [n, 3]` int64, `masks [n, 512]` bool, `values [n, 512, channels]`.

    Voxels of a leaf are in the order `x * 64 + y * 8 + z`.
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
    """Lower and upper corner (exclusive) of the active voxels of leaves, or None if there are none.

    `packed [n, 64]` uint8 are the value masks as they stand in the file: byte `x * 8 + y`, bit `z`.
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


def dense(leaves: Leaves, tiles: Tiles, background: np.ndarray, low: Index, high: Index) -> np.ndarray:
    """Values in the box from `low` to `high` (exclusive): `[x, y, z, channels]`."""
    return _assemble(background, leaves.origins, leaves.values, tiles, tiles.values, low, high)


def dense_mask(leaves: Leaves, tiles: Tiles, low: Index, high: Index) -> np.ndarray:
    """Which voxels are active in the box from `low` to `high` (exclusive): bool `[x, y, z]`."""
    off = np.zeros(1, bool)
    mask = _assemble(off, leaves.origins, leaves.masks[:, :, None], tiles, tiles.active[:, None], low, high)
    return mask[..., 0]


def _assemble(
    background: np.ndarray,
    leaf_origins: np.ndarray,
    leaf_values: np.ndarray,
    tiles: Tiles,
    tile_values: np.ndarray,
    low: Index,
    high: Index,
) -> np.ndarray:
    channels = len(background)
    # A box of whole leaves around the window lets one assignment place all leaves at once.
    first = np.array([n // LEAF for n in low])
    blocks = np.array([-(-n // LEAF) for n in high]) - first
    corner, size = first * LEAF, blocks * LEAF
    box = np.empty((*size, channels), leaf_values.dtype)
    box[...] = background
    by_leaf = box.reshape(blocks[0], LEAF, blocks[1], LEAF, blocks[2], LEAF, channels)

    def place(origins: np.ndarray, values: np.ndarray) -> None:
        at = origins // LEAF - first
        inside = ((at >= 0) & (at < blocks)).all(1)
        x, y, z = at[inside].T
        by_leaf[x, :, y, :, z] = values[inside]

    small = tiles.edges == LEAF
    place(tiles.origins[small], tile_values[small][:, None, None, None, :])
    start = np.maximum(tiles.origins - corner, 0)
    stop = np.minimum(tiles.origins - corner + tiles.edges[:, None], size)
    for i in np.flatnonzero((start < stop).all(1) & ~small):
        box[tuple(slice(a, b) for a, b in zip(start[i], stop[i], strict=True))] = tile_values[i]
    place(leaf_origins, leaf_values.reshape(-1, LEAF, LEAF, LEAF, channels))
    window = tuple(slice(a - c, b - c) for a, b, c in zip(low, high, corner, strict=True))
    return np.ascontiguousarray(box[window])
