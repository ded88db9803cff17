"""Reading a VDB file: header, grid descriptors, and each grid's topology and values.

Nothing is decoded before it is asked for: opening parses headers only, `Grid.topology` the shape of the
tree, and `Grid.dense` the leaves that a window needs. Everything in the file is checked before it is
believed.
"""

from __future__ import annotations

import dataclasses
import os
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fluidsr.errors import VolumeError
from fluidsr.volumes import memory
from fluidsr.volumes.vdb import compression, tree
from fluidsr.volumes.vdb.binary import Cursor
from fluidsr.volumes.vdb.compression import Block, ValueType
from fluidsr.volumes.vdb.metadata import read_metadata
from fluidsr.volumes.vdb.topology import (
    Topology,
    as_floats,
    count_on,
    read_topology,
    scan_buffers,
    set_inactive,
    unpack_masks,
)
from fluidsr.volumes.vdb.transform import Transform, read_transform
from fluidsr.volumes.vdb.tree import Index

MAGIC = 0x56444220
OLDEST, NEWEST = 222, 225
_MAX_GRIDS = 10_000
_TYPE = re.compile(r"Tree_(float|vec3s)_5_4_3(_HalfFloat)?$")


@dataclass(frozen=True, eq=False)
class Grid:
    """One grid of an open file.

    `name` as shown to users, `type` as in the file; `supported` is False for types whose values we do not
    read.
    """

    where: str
    name: str
    unique_name: str
    type: str
    metadata: dict[str, Any]
    transform: Transform | None
    flags: int
    size: int
    _data: bytes = field(repr=False)
    _topology_at: int = field(repr=False)
    _buffers_at: int | None = field(repr=False)
    _max_bytes: int | None = field(repr=False)
    _parent: str = ""  # the grid whose tree an instance shares

    @property
    def supported(self) -> bool:
        """Whether values can be read: float and vec3s trees of the standard shape, but not in a frustum."""
        return self.transform is not None and _TYPE.match(self.type) is not None

    @property
    def value_type(self) -> ValueType:
        """Channels and precision of the stored values. Raises VolumeError for an unsupported type."""
        return _value_type(self.type, self.where)

    @cached_property
    def topology(self) -> Topology:
        """The shape of the tree; parsed once."""
        cursor = Cursor(self._data, self.where, self._topology_at)
        return read_topology(cursor, self.flags, self.value_type, self._buffers_at)

    @cached_property
    def _blocks(self) -> list[Block]:
        return scan_buffers(Cursor(self._data, self.where), self.flags, self.value_type, self.topology)[0]

    @cached_property
    def bounds(self) -> tuple[Index, Index] | None:
        """Lower corner and upper corner (exclusive) of the active voxels and tiles, or None for an empty
        grid.
        """
        topology, tiles = self.topology, self.topology.tiles
        corners = []
        of_leaves = tree.leaf_bounds(topology.leaf_origins, topology.packed_masks)
        if of_leaves:
            corners.append(of_leaves)
        if tiles.active.any():
            origins, edges = tiles.origins[tiles.active], tiles.edges[tiles.active]
            corners.append((origins.min(0), (origins + edges[:, None]).max(0)))
        if not corners:
            return None
        low = np.min([c[0] for c in corners], axis=0)
        high = np.max([c[1] for c in corners], axis=0)
        return _index(low), _index(high)

    @property
    def active_voxels(self) -> int:
        """How many voxels are active, those in active tiles included."""
        tiles = self.topology.tiles
        in_tiles = sum(int(edge) ** 3 for edge in tiles.edges[tiles.active])
        return int(count_on(self.topology.packed_masks).sum()) + in_tiles

    def leaves(self, low: Index | None = None, high: Index | None = None) -> tree.Leaves:
        """The decoded leaves, or only those that touch the box from `low` to `high` (exclusive)."""
        topology = self.topology
        chosen = np.arange(len(topology.leaf_origins))
        if low is not None and high is not None:
            origins = topology.leaf_origins
            chosen = np.flatnonzero(((origins < high) & (origins + tree.LEAF > low)).all(1))
        memory.check(self.where, len(chosen) * 512 * (4 * self.value_type.channels + 1), self._max_bytes)
        return self._decode(chosen)

    def dense(self, low: Index, high: Index) -> np.ndarray:
        """Values in the box from `low` to `high` (exclusive): float32 `[x, y, z]`, or `[3, x, y, z]` for
        vectors.

        Voxels that the file does not hold have the background value. Raises VolumeError where the box needs
        too much memory or the file is damaged.
        """
        channels = self.value_type.channels
        voxels = int(np.prod([max(b - a, 0) for a, b in zip(low, high, strict=True)], dtype=object))
        memory.check(f"{self.where}: grid {self.name!r}", voxels * channels * 4, self._max_bytes)
        topology = self.topology
        box = tree.dense(self.leaves(low, high), topology.tiles, topology.background, low, high)
        return box[..., 0] if channels == 1 else np.ascontiguousarray(np.moveaxis(box, -1, 0))

    def dense_mask(self, low: Index, high: Index) -> np.ndarray:
        """Which voxels are active in the box from `low` to `high` (exclusive): bool `[x, y, z]`."""
        topology = self.topology
        masks = unpack_masks(topology.packed_masks)
        leaves = tree.Leaves(topology.leaf_origins, masks, np.empty(0, np.float32))
        return tree.dense_mask(leaves, topology.tiles, low, high)

    def _decode(self, chosen: np.ndarray) -> tree.Leaves:
        topology, kind = self.topology, self.value_type
        cursor = Cursor(self._data, self.where)
        blocks = [self._blocks[i] for i in chosen]
        raw = b"".join([compression.chunk(self._data, b, self.flags, kind, cursor) for b in blocks])
        stored = as_floats(raw, kind)
        masks = unpack_masks(topology.packed_masks[chosen])
        values = np.empty((len(blocks), 512, kind.channels), np.float32)
        partial = np.array([block.count != 512 for block in blocks], bool)
        # Chunks that hold active values only, and those that hold all of them, follow one another in
        # `stored`.
        filled = masks | ~partial[:, None]
        set_inactive(self._data, values, masks, blocks, topology.background)
        values[filled] = stored
        return tree.Leaves(topology.leaf_origins[chosen], masks, values)


@dataclass(frozen=True)
class VdbFile:
    """An open VDB file: its version, metadata and grids, in the order of the file."""

    path: Path
    version: int
    library: str
    bytes: int
    metadata: dict[str, Any]
    grids: tuple[Grid, ...]

    def grid(self, name: str) -> Grid:
        """The grid of that name. Raises VolumeError where there is none."""
        for grid in self.grids:
            if name in (grid.name, grid.unique_name):
                return grid
        names = ", ".join(repr(grid.name) for grid in self.grids) or "no grids"
        raise VolumeError(str(self.path), f"there is no grid {name!r}", f"name one of: {names}")


def open_file(path: str | os.PathLike[str], max_bytes: int | None = None) -> VdbFile:
    """Open a VDB file of version 222 to 225.

    `max_bytes` bounds every array made from it (default: half of the machine's memory). Raises VolumeError
    for a missing or damaged file and for an unsupported version.
    """
    path = Path(path)
    where = str(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise VolumeError(where, f"cannot be read ({error.strerror})", "check the path") from error
    if data[:8] != MAGIC.to_bytes(8, "little"):
        raise VolumeError(where, "not an OpenVDB file", "give a .vdb file")
    cursor = Cursor(data, where, 8)
    version, major, minor, has_offsets = cursor.unpack("IIIB")
    if not OLDEST <= version <= NEWEST:
        raise VolumeError(
            where, f"file version {version} is not supported", "save it again with OpenVDB 3 or newer"
        )
    cursor.skip(36)  # UUID
    metadata = read_metadata(cursor)
    count = cursor.one("i")
    if not 0 <= count <= _MAX_GRIDS:
        cursor.fail(f"{count} grids")
    grids = [_read_grid(cursor, bool(has_offsets), max_bytes) for _ in range(count)]
    whole = tuple(_with_tree(grid, grids) for grid in grids)
    return VdbFile(path, version, f"{major}.{minor}", len(data), metadata, whole)


def _read_grid(cursor: Cursor, has_offsets: bool, max_bytes: int | None) -> Grid:
    start = cursor.position
    unique_name, kind, parent = cursor.string(), cursor.string(), cursor.string()
    grid_at, buffers_at, end = cursor.unpack("3q")
    name = unique_name.split("\x1e")[0]
    if has_offsets:
        # Bodies follow their descriptors, so positions only grow: a file cannot send us in circles.
        if parent:
            buffers_at = grid_at  # an instance has no buffers of its own, and says 0
        if not cursor.position <= grid_at <= buffers_at <= end <= len(cursor.data):
            cursor.fail(f"grid {name!r} claims the bytes {grid_at}, {buffers_at}, {end}")
        cursor.seek(grid_at)
    flags = compression.check_flags(cursor.one("I"), cursor)
    metadata = read_metadata(cursor)
    transform = read_transform(cursor) if _TYPE.match(kind) else None
    if transform is None and not has_offsets:
        raise VolumeError(
            cursor.where,
            f"grid {name!r} ({kind}) is not supported, and cannot be skipped in a file written as a stream",
            "save the file again with grid offsets, or without that grid",
        )
    topology_at = cursor.position
    if has_offsets:
        cursor.seek(end)
    elif not parent:
        value_type = _value_type(kind, cursor.where)
        topology = read_topology(cursor, flags, value_type, None)
        cursor.position = scan_buffers(cursor, flags, value_type, topology)[1]
    return Grid(
        cursor.where,
        name,
        unique_name,
        kind,
        metadata,
        transform,
        flags,
        cursor.position - start,
        cursor.data,
        topology_at,
        buffers_at if has_offsets else None,
        max_bytes,
        parent,
    )


def _with_tree(grid: Grid, grids: list[Grid]) -> Grid:
    """The grid itself, or, if it is an instance, the grid with its parent's tree."""
    if not grid._parent:
        return grid
    for parent in grids:
        if (
            grid._parent in (parent.unique_name, parent.name)
            and parent.type == grid.type
            and not parent._parent
        ):
            return dataclasses.replace(
                grid, flags=parent.flags, _topology_at=parent._topology_at, _buffers_at=parent._buffers_at
            )
    raise VolumeError(
        grid.where,
        f"grid {grid.name!r} shares the tree of {grid._parent!r}, which is not there",
        "write it again",
    )


def _value_type(kind: str, where: str) -> ValueType:
    match = _TYPE.match(kind)
    if not match:
        raise VolumeError(where, f"grids of type {kind} are not supported", "convert it to float or vec3s")
    return ValueType(channels=3 if match[1] == "vec3s" else 1, half=match[2] is not None)


def _index(values: np.ndarray) -> Index:
    x, y, z = (int(n) for n in values)
    return x, y, z
