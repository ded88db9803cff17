"""One grid of an open VDB file: its properties, its tree (parsed once, however many grids share it), and its voxels as
windows, leaves or tiles.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from fluidsr.errors import VolumeError
from fluidsr.volumes import memory
from fluidsr.volumes.vdb import node_buffers, tree
from fluidsr.volumes.vdb.binary import Cursor, Data
from fluidsr.volumes.vdb.node_buffers import Blocks
from fluidsr.volumes.vdb.topology import Topology, count_on, read_topology, unpack_masks
from fluidsr.volumes.vdb.transform import Transform
from fluidsr.volumes.vdb.tree import LEAF, Index, index_of
from fluidsr.volumes.vdb.values import ValueType, scalar_or_vector


@dataclass(frozen=True, eq=False)
class TreeLocation:
    """The position of a tree in the file.

    Its topology begins at byte `start`, its buffers at `buffers` (None: directly after the topology); both end before
    `end`. `kind` is None for values that this package does not read.
    """

    where: str
    data: Data
    version: int
    flags: int
    kind: ValueType | None
    start: int
    buffers: int | None
    end: int
    max_bytes: int | None

    @cached_property
    def topology(self) -> Topology:
        """The shape of the tree. Raises VolumeError if it is damaged."""
        cursor = self.cursor(self.start)
        return read_topology(cursor, self.version, self.flags, self._kind(), self.buffers, self.max_bytes)

    @cached_property
    def blocks(self) -> Blocks:
        """The positions of the values of each leaf. Raises VolumeError if the buffers are damaged."""
        return self._scan(self.cursor(self.topology.buffers))

    def end_of_tree(self) -> int:
        """The end of a tree that was written as a stream, found by walking through all of it."""
        cursor = self.cursor(self.topology.buffers)
        self._scan(cursor)
        return cursor.position

    def cursor(self, position: int) -> Cursor:
        """A cursor at `position`. Raises VolumeError for a closed file."""
        if isinstance(self.data, mmap.mmap) and self.data.closed:
            raise VolumeError(self.where, "the file is closed", "read its grids before closing it")
        return Cursor(self.data, self.where, position, self.end)

    def _scan(self, cursor: Cursor) -> Blocks:
        counts = count_on(self.topology.packed_masks).tolist()
        return node_buffers.scan_leaves(cursor, self.version, self.flags, self._kind(), counts)

    def _kind(self) -> ValueType:
        if self.kind is None:
            problem = "the values or the transform of a grid are not supported"
            raise VolumeError(self.where, problem, "convert it to a float grid")
        return self.kind


@dataclass(frozen=True)
class LeafBatch:
    """Some leaves of a grid, decoded.

    `origins [n, 3]` int64: index of each leaf's first voxel. `values [n, 8, 8, 8]`, for vector grids
    `[n, 8, 8, 8, 3]`, in the grid's own type (halves as float32), including inactive voxels. `masks [n, 8, 8, 8]`
    bool: which voxels are active.
    """

    origins: np.ndarray
    values: np.ndarray
    masks: np.ndarray


@dataclass(frozen=True, eq=False)
class Grid:
    """One grid of an open file.

    `name` is shown to users; `unique_name` and `type` (`Tree_float_5_4_3_HalfFloat`) are as in the file. `flags`: its
    compression. `size`: its bytes in the file. `parent`: for an instance, the name of the grid whose tree it shares.
    `transform` is None, and `supported` False, for values or transforms that this package does not read (`frustum`:
    the view of a camera).

    Nothing is decoded before it is requested. Everything that decodes raises VolumeError for a damaged file, and if
    it needs more memory than the `max_bytes` of `vdb.open`.
    """

    where: str
    name: str
    unique_name: str
    type: str
    metadata: dict[str, Any]
    transform: Transform | None
    flags: int
    size: int
    parent: str
    _source: TreeLocation = field(repr=False)
    frustum: bool = False

    @property
    def supported(self) -> bool:
        """Whether values can be read: a tree of a known type and the standard shape, not in a frustum.

        For an instance this must also hold for its parent, from which the beginning of the tree is known.
        """
        return self.transform is not None and self._source.kind is not None

    @property
    def value_type(self) -> ValueType:
        """Type and precision of the stored values. Raises VolumeError for an unsupported grid."""
        if self._source.kind is None or not self.supported:
            problem = f"its type {self.type} or its transform is not supported"
            raise VolumeError(f"{self.where}: grid {self.name!r}", problem, "convert it to a float grid")
        return self._source.kind

    @property
    def background(self) -> Any:
        """The value of every voxel that the file does not store: a number, or a tuple of three."""
        return scalar_or_vector(self.topology.background).tolist()

    @property
    def topology(self) -> Topology:
        """The shape of the tree; parsed once for all of its instances."""
        return self._source.topology

    @cached_property
    def bounds(self) -> tuple[Index, Index] | None:
        """Lower and upper corner (exclusive) of the active voxels and tiles; None for an empty grid."""
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
        return index_of(low), index_of(high)

    @property
    def active_voxels(self) -> int:
        """How many voxels are active, including those in active tiles."""
        tiles = self.topology.tiles
        in_tiles = sum(int(edge) ** 3 for edge in tiles.edges[tiles.active])
        return int(count_on(self.topology.packed_masks).sum()) + in_tiles

    @property
    def leaf_count(self) -> int:
        """How many leaves of 8^3 voxels the file holds."""
        return len(self.topology.leaf_origins)

    def dense(self, low: Index, high: Index) -> np.ndarray:
        """Values in the index box from `low` to `high` (exclusive): `[x, y, z]`, or `[3, x, y, z]` for vectors.

        The dtype is the grid's own; halves become float32. Inactive voxels have the values that OpenVDB gives them;
        voxels that the file does not store have the background value. Only the leaves that the box touches are
        decoded. Raises VolumeError for a damaged file, and for a box that needs too much memory.
        """
        kind, topology = self.value_type, self.topology
        chosen = self._touched(low, high)
        size = kind.channels * kind.memory.itemsize
        out = self._box(low, high, kind.channels, kind.memory, size)
        tree.fill(
            out,
            low,
            topology.background,
            topology.tiles,
            topology.tiles.values,
            topology.leaf_origins[chosen],
            lambda numbers: self._decode(chosen[numbers]).values,
        )
        return out if kind.channels > 1 else out[0]

    def dense_mask(self, low: Index, high: Index) -> np.ndarray:
        """Which voxels are active in the box from `low` to `high` (exclusive): bool `[x, y, z]`. Raises VolumeError as
        `dense` does.
        """
        topology = self.topology
        chosen = self._touched(low, high)
        out = self._box(low, high, 1, np.dtype(bool), 1)
        tree.fill(
            out,
            low,
            np.zeros(1, bool),
            topology.tiles,
            topology.tiles.active[:, None],
            topology.leaf_origins[chosen],
            lambda numbers: unpack_masks(topology.packed_masks[chosen[numbers]])[:, :, None],
        )
        return out[0]

    def leaves(
        self, low: Index | None = None, high: Index | None = None, *, batch: int = 4096
    ) -> Iterator[LeafBatch]:
        """The leaves in the order of the file, at most `batch` at a time.

        All leaves, or those that touch the box from `low` to `high` (exclusive). Only one batch is in memory. Raises
        VolumeError for a damaged file.
        """
        kind = self.value_type
        chosen = np.arange(self.leaf_count) if low is None or high is None else self._touched(low, high)
        for first in range(0, len(chosen), batch):
            some = self._decode(chosen[first : first + batch])
            values = some.values.reshape(-1, LEAF, LEAF, LEAF, kind.channels)
            yield LeafBatch(some.origins, scalar_or_vector(values), some.masks.reshape(-1, LEAF, LEAF, LEAF))

    def tiles(self) -> tree.Tiles:
        """The constant cubes of the tree: active ones, and inactive ones whose value is not the background.

        A tile of 4096^3 voxels takes as much memory as one of 8^3. `values` is `[m]`, or `[m, 3]` for vectors.
        """
        tiles = self.topology.tiles
        return tree.Tiles(tiles.origins, tiles.edges, scalar_or_vector(tiles.values), tiles.active)

    def _box(self, low: Index, high: Index, channels: int, dtype: np.dtype[Any], itemsize: int) -> np.ndarray:
        """An uninitialized array for the box, if it may be that large."""
        location = f"{self.where}: grid {self.name!r}"
        memory.check(location, tree.window_bytes(low, high, itemsize), self._source.max_bytes)
        return np.empty((channels, *(max(b - a, 0) for a, b in zip(low, high, strict=True))), dtype)

    def _touched(self, low: Index, high: Index) -> np.ndarray:
        """The numbers of the leaves that touch the box."""
        if any(a >= b for a, b in zip(low, high, strict=True)):
            return np.empty(0, np.int64)
        origins = self.topology.leaf_origins
        return np.flatnonzero(((origins < high) & (origins + LEAF > low)).all(1))

    def _decode(self, chosen: np.ndarray) -> tree.Leaves:
        topology, kind, source = self.topology, self.value_type, self._source
        size = LEAF**3 * (kind.channels * kind.memory.itemsize + 1)
        memory.check(f"{self.where}: grid {self.name!r}", len(chosen) * size, source.max_bytes)
        masks = unpack_masks(topology.packed_masks[chosen])
        cursor = source.cursor(0)
        blocks = source.blocks if len(chosen) == self.leaf_count else source.blocks.take(chosen)
        if kind.in_bits:
            values = node_buffers.decode_bits(cursor, blocks)
        else:
            values = node_buffers.decode(cursor, blocks, source.flags, kind, masks, topology.background)
        return tree.Leaves(topology.leaf_origins[chosen], masks, values)
