"""The shape of a VDB tree in the file: leaves, masks, tiles, and the positions of the values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from fluidsr.volumes import memory
from fluidsr.volumes.vdb import node_buffers, tree
from fluidsr.volumes.vdb.binary import Cursor
from fluidsr.volumes.vdb.tree import BRANCH, Index
from fluidsr.volumes.vdb.values import ValueType

# Memory per tile, with temporaries; bounded because a few bytes of zlib can claim 32768 tiles.
_TILE_BYTES = 64
_NODES = {5: (32, 128), 4: (16, 8)}  # log2-edge level -> children per edge, voxels per child edge


@dataclass(frozen=True)
class Topology:
    """The shape of a tree.

    `leaf_origins [n, 3]` int64; `packed_masks [n, 64]` uint8, in the order of the buffers; the constant tiles; and
    `buffers`, the position in the file at which the buffers begin.
    """

    background: np.ndarray
    leaf_origins: np.ndarray
    packed_masks: np.ndarray
    tiles: tree.Tiles
    buffers: int


def read_topology(
    cursor: Cursor, version: int, flags: int, kind: ValueType, buffers_at: int | None, max_bytes: int | None
) -> Topology:
    """The topology of the tree at the cursor; the cursor ends after it, at the buffers.

    Args:
        cursor: at the beginning of the tree.
        version: of the file.
        flags: compression of the grid.
        kind: type of the values.
        buffers_at: position of the buffers; None: directly after the topology.
        max_bytes: bound of the memory of the tiles; None: see `memory.limit`.

    Raises VolumeError if the tree is damaged, or has more tiles than fit in `max_bytes`.
    """
    parser = _TreeParser(cursor, version, flags, kind, max_bytes)
    parser.root()
    if buffers_at is not None:
        cursor.seek(buffers_at)
    empty_leaf = (np.empty((0, 3), np.int64), np.empty((0, 64), np.uint8))
    leaf_origins, masks = map(np.concatenate, zip(empty_leaf, *parser.leaves, strict=True))
    empty_tile = (
        np.empty((0, 3), np.int64),
        np.empty(0, np.int64),
        np.empty((0, kind.channels), kind.memory),
        np.empty(0, bool),
    )
    tiles = tree.Tiles(*map(np.concatenate, zip(empty_tile, *parser.tiles, strict=True)))
    return Topology(parser.background, leaf_origins, masks, tiles, cursor.position)


class _TreeParser:
    """Collects leaves and tiles while walking through the topology."""

    def __init__(
        self, cursor: Cursor, version: int, flags: int, kind: ValueType, max_bytes: int | None
    ) -> None:
        self.cursor, self.version, self.flags, self.kind = cursor, version, flags, kind
        self.max_bytes = max_bytes
        self.leaves: list[tuple[np.ndarray, np.ndarray]] = []
        self.tiles: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
        self.tile_count = 0
        self.background = np.zeros(kind.channels, kind.memory)

    def root(self) -> None:
        cursor, kind = self.cursor, self.kind
        if cursor.one("i") != 1:
            cursor.fail("the tree does not have exactly one buffer")
        self.background = kind.decode(cursor.take(kind.full_size), full=True)[0]
        tiles, children = cursor.unpack("2I")
        layout = np.dtype([("at", "<i4", 3), ("value", "u1", kind.full_size), ("active", "u1")])
        table = np.frombuffer(cursor.take(tiles * layout.itemsize), layout)
        values = kind.decode(table["value"].tobytes(), full=True)
        self.add_tiles(table["at"].astype(np.int64), BRANCH, values, table["active"] != 0)
        branches: dict[Index, list[tuple[np.ndarray, np.ndarray]]] = {}
        for _ in range(children):
            origin = cursor.unpack("3i")
            outer, self.leaves = self.leaves, []
            self.node(5, np.array(origin, np.int64))
            branches[origin], self.leaves = self.leaves, outer
        places = np.concatenate([table["at"], np.array(list(branches), np.int64).reshape(-1, 3)])
        if (
            len(branches) != children
            or len(np.unique(places, axis=0)) != len(places)
            or (places % BRANCH).any()
        ):
            cursor.fail("two entries of the root are at one place, or one is between places")
        # Whatever the order in the topology, the buffers are in ascending order of the branches' origins.
        for origin in sorted(branches):
            self.leaves += branches[origin]

    def node(self, level: int, origin: np.ndarray) -> None:
        cursor = self.cursor
        edge, step = _NODES[level]
        total = edge**3
        bits = np.unpackbits(
            np.frombuffer(cursor.take(total // 4), np.uint8).reshape(2, -1), axis=1, bitorder="little"
        )
        children, active = bits.astype(bool)
        if (children & active).any():
            cursor.fail("an entry is both a child and a tile")
        self.entries(origin, edge, step, children, active)
        at = np.flatnonzero(children)
        offsets = _child_offsets(edge, step)[at]
        if level == 4:
            masks = np.frombuffer(cursor.take(64 * len(at)), np.uint8).reshape(-1, 64)
            self.leaves.append((origin + offsets, masks))
            return
        for child in offsets:
            self.node(4, origin + child)

    def entries(
        self, origin: np.ndarray, edge: int, step: int, children: np.ndarray, active: np.ndarray
    ) -> None:
        """Read the value block of a node; entries that are not children become tiles."""
        cursor, kind = self.cursor, self.kind
        total = len(children)
        dense = children  # entries without a stored value
        if self.version < node_buffers.FIRST_WITH_MODES:
            total -= int(children.sum())
        else:
            dense = np.zeros(len(children), bool)
        block = node_buffers.scan_node(cursor, self.version, self.flags, kind, total, int(active.sum()))
        after = cursor.position
        mode, count = int(block.mode[0]), int(block.count[0])
        if count == 0 and mode == 0:  # only children: by far the most frequent case
            return
        stored = node_buffers.decode(cursor, block, self.flags, kind, active[None, ~dense], self.background)[
            0
        ]
        cursor.position = after
        values = np.empty((len(children), kind.channels), kind.memory)
        values[...] = self.background
        values[~dense] = stored
        # Inactive entries with the background value are empty space, not tiles.
        tiles = np.flatnonzero(~children & (active | _differ(values, self.background)))
        offsets = _child_offsets(edge, step)
        self.add_tiles(origin + offsets[tiles], step, values[tiles], active[tiles])

    def add_tiles(self, origins: np.ndarray, edge: int, values: np.ndarray, active: np.ndarray) -> None:
        if len(origins):
            self.tile_count += len(origins)
            memory.check(self.cursor.where, self.tile_count * _TILE_BYTES, self.max_bytes)
            self.tiles.append((origins, np.full(len(origins), edge, np.int64), values, active))


def _differ(values: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Which of `values [n, channels]` differ from the background; two NaNs count as equal."""
    return ((values != background) & ((values == values) | (background == background))).any(1)


@cache
def _child_offsets(edge: int, step: int) -> np.ndarray:
    """The positions of a node's children relative to the node: `[edge ** 3, 3]` voxels."""
    return np.stack(np.unravel_index(np.arange(edge**3), (edge,) * 3), axis=1) * step


_BITS_ON = np.array([value.bit_count() for value in range(256)], np.uint8)


def count_on(packed: np.ndarray) -> np.ndarray:
    """The number of set bits in each row of `packed [n, 64]`: int64 `[n]`."""
    return _BITS_ON[packed].sum(1, dtype=np.int64)


def unpack_masks(packed: np.ndarray) -> np.ndarray:
    """`packed [n, 64]` uint8 as bool `[n, 512]`."""
    return np.unpackbits(packed, axis=1, bitorder="little").view(bool)
