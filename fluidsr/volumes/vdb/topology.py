"""The shape of a VDB tree as it stands in the file: leaves, masks, tiles, and where the values are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from fluidsr.volumes.vdb import compression, tree
from fluidsr.volumes.vdb.binary import Cursor
from fluidsr.volumes.vdb.compression import Block, ValueType
from fluidsr.volumes.vdb.tree import Index

_MAX_TILES = 4_000_000  # a few bytes of zlib can claim 32768 of them
_NODES = {5: (32, 128), 4: (16, 8)}  # log2-edge level -> children per edge, voxels per child edge


@dataclass(frozen=True)
class Topology:
    """The tree's shape: `leaf_origins [n, 3]`, `packed_masks [n, 64]` uint8 in buffer order, constant
    tiles, and the position in the file where the buffers begin.
    """

    background: np.ndarray
    leaf_origins: np.ndarray
    packed_masks: np.ndarray
    tiles: tree.Tiles
    buffers: int


class _TreeParser:
    """Gathers leaves and tiles while walking the topology."""

    def __init__(self, cursor: Cursor, flags: int, kind: ValueType) -> None:
        self.cursor, self.flags, self.kind = cursor, flags, kind
        self.leaves: list[tuple[np.ndarray, np.ndarray]] = []
        self.tiles: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
        self.tile_count = 0
        self.background = np.zeros(kind.channels, np.float32)

    def value(self) -> tuple[float, ...]:
        return self.cursor.unpack(f"{self.kind.channels}f")

    def root(self) -> None:
        cursor = self.cursor
        if cursor.one("i") != 1:
            cursor.fail("the tree has not one buffer")
        self.background = np.array(self.value(), np.float32)
        tiles, children = cursor.unpack("2I")
        layout = np.dtype([("at", "<i4", 3), ("value", "<f4", self.kind.channels), ("active", "u1")])
        table = np.frombuffer(cursor.take(tiles * layout.itemsize), layout)
        if (table["at"] % 4096).any():
            cursor.fail("a tile between branches")
        values = table["value"].reshape(tiles, self.kind.channels)
        self.add_tiles(table["at"].astype(np.int64), 4096, values, table["active"] != 0)
        branches = {}
        for _ in range(children):
            origin = self.origin()
            if origin in branches:
                cursor.fail(f"two branches at {origin}")
            outer, self.leaves = self.leaves, []
            self.node(5, np.array(origin, np.int64))
            branches[origin], self.leaves = self.leaves, outer
        # Whatever the order here, the buffers follow in ascending order of the branches' origins.
        for origin in sorted(branches):
            self.leaves += branches[origin]

    def origin(self) -> Index:
        origin = self.cursor.unpack("3i")
        if any(n % 4096 for n in origin):
            self.cursor.fail(f"a branch at {origin}")
        return origin

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
        block = compression.scan(cursor, self.flags, self.kind, total, int(active.sum()))
        after = cursor.position
        values = self.tile_values(block, active, total)
        cursor.position = after
        # Entries that are neither active nor different from the background are not tiles but emptiness.
        tiles = np.flatnonzero(~children & (active | (values != self.background).any(1)))
        offsets = _child_offsets(edge, step)
        self.add_tiles(origin + offsets[tiles], step, values[tiles], active[tiles])
        at = np.flatnonzero(children)
        if level == 4:
            masks = np.frombuffer(cursor.take(64 * len(at)), np.uint8).reshape(-1, 64)
            self.leaves.append((origin + offsets[at], masks))
            return
        for child in at:
            self.node(4, origin + offsets[child])

    def tile_values(self, block: Block, active: np.ndarray, total: int) -> np.ndarray:
        if block.count == 0 and block.mode in (0, 6):  # by far the most frequent: only children
            return np.broadcast_to(self.background, (total, self.kind.channels))
        raw = compression.chunk(self.cursor.data, block, self.flags, self.kind, self.cursor)
        stored = as_floats(raw, self.kind)
        values = np.empty((1, total, self.kind.channels), np.float32)
        set_inactive(self.cursor.data, values, active[None], [block], self.background)
        if block.count == total:
            return stored
        values[0, active] = stored
        return values[0]

    def add_tiles(self, origins: np.ndarray, edge: int, values: np.ndarray, active: np.ndarray) -> None:
        if len(origins):
            self.tile_count += len(origins)
            if self.tile_count > _MAX_TILES:
                self.cursor.fail(f"more than {_MAX_TILES} constant regions")
            self.tiles.append((origins, np.full(len(origins), edge, np.int64), values, active))


def read_topology(cursor: Cursor, flags: int, kind: ValueType, buffers_at: int | None) -> Topology:
    """The tree at the cursor, which ends behind it. `buffers_at` is where its buffers begin, or
    None if that is right there.

    Raises VolumeError where the tree is damaged.
    """
    parser = _TreeParser(cursor, flags, kind)
    parser.root()
    if buffers_at is not None:
        cursor.seek(buffers_at)
    empty_leaf = (np.empty((0, 3), np.int64), np.empty((0, 64), np.uint8))
    leaf_origins, masks = map(np.concatenate, zip(empty_leaf, *parser.leaves, strict=True))
    empty_tile = (
        np.empty((0, 3), np.int64),
        np.empty(0, np.int64),
        np.empty((0, kind.channels), np.float32),
        np.empty(0, bool),
    )
    tiles = tree.Tiles(*map(np.concatenate, zip(empty_tile, *parser.tiles, strict=True)))
    return Topology(parser.background, leaf_origins, masks, tiles, cursor.position)


def scan_buffers(cursor: Cursor, flags: int, kind: ValueType, topology: Topology) -> tuple[list[Block], int]:
    """Where the values of each leaf are, and where the grid ends. Raises VolumeError for damaged buffers."""
    cursor.seek(topology.buffers)
    blocks = []
    for count in count_on(topology.packed_masks).tolist():
        cursor.skip(64)  # the mask again
        blocks.append(compression.scan(cursor, flags, kind, 512, count))
    return blocks, cursor.position


def set_inactive(
    data: bytes, values: np.ndarray, masks: np.ndarray, blocks: list[Block], background: np.ndarray
) -> None:
    """Fill `values [n, total, channels]` with what each block's mode says of inactive entries.

    Active entries get something too, and are overwritten by the caller.
    """
    values[...] = background
    total = values.shape[1]
    for i, block in enumerate(blocks):
        if block.mode == 1:
            values[i] = -background
        elif block.mode == 2:
            values[i] = block.inactive[0]
        elif block.mode in (3, 4, 5):
            packed = np.frombuffer(data, np.uint8, total // 8, block.selection)
            selected = np.unpackbits(packed, bitorder="little").astype(bool)
            if block.mode == 3:
                off, on = -background, background
            elif block.mode == 4:
                off, on = np.array(block.inactive[0]), background
            else:
                off, on = map(np.array, block.inactive)
            values[i] = np.where(selected[:, None], on, off)


@cache
def _child_offsets(edge: int, step: int) -> np.ndarray:
    """Where the children of a node are, relative to it: `[edge ** 3, 3]` voxels."""
    return np.stack(np.unravel_index(np.arange(edge**3), (edge,) * 3), axis=1) * step


_BITS_ON = np.array([value.bit_count() for value in range(256)], np.uint8)


def count_on(packed: np.ndarray) -> np.ndarray:
    """Bits that are on in each row of `packed [n, 64]`: int64 `[n]`."""
    return _BITS_ON[packed].sum(1, dtype=np.int64)


def as_floats(raw: bytes, kind: ValueType) -> np.ndarray:
    """Stored values as float32 `[n, channels]`."""
    with np.errstate(invalid="ignore"):  # a damaged file may hold signalling NaNs
        return np.frombuffer(raw, kind.stored).astype(np.float32).reshape(-1, kind.channels)


def unpack_masks(packed: np.ndarray) -> np.ndarray:
    return np.unpackbits(packed, axis=1, bitorder="little").astype(bool)
