"""The tree of a grid in its file: parsed once, however many grids share it."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from functools import cached_property

from fluidsr.errors import VolumeError
from fluidsr.volumes.vdb import node_buffers
from fluidsr.volumes.vdb.binary import Cursor, Data
from fluidsr.volumes.vdb.node_buffers import Blocks
from fluidsr.volumes.vdb.topology import Topology, count_on, read_topology
from fluidsr.volumes.vdb.values import ValueType


@dataclass(frozen=True, eq=False)
class Source:
    """Where a tree is: its topology at byte `start`, its buffers at `buffers` (None: right behind it), all
    before `end`. `kind` is None for values that are not read.
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
        """The shape of the tree. Raises VolumeError where it is damaged."""
        cursor = self.cursor(self.start)
        return read_topology(cursor, self.version, self.flags, self._kind(), self.buffers, self.max_bytes)

    @cached_property
    def blocks(self) -> Blocks:
        """Where the values of each leaf are. Raises VolumeError where buffers are damaged."""
        return self._scan(self.cursor(self.topology.buffers))

    def end_of_tree(self) -> int:
        """Where the tree ends that was written as a stream: found by walking all of it."""
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
            what = "the values or the transform of a grid are not supported"
            raise VolumeError(self.where, what, "convert it to a float grid")
        return self.kind
