"""Opening a VDB file: its header and the descriptors of its grids; and reading a box of one grid.

Opening parses headers only and maps the file into memory: only requested data is read. Everything in the file is
checked before it is used.
"""

from __future__ import annotations

import dataclasses
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from fluidsr.atomic import check_regular
from fluidsr.errors import VolumeError
from fluidsr.volumes.vdb import compression
from fluidsr.volumes.vdb.binary import Cursor, Data
from fluidsr.volumes.vdb.grid import Grid, TreeLocation
from fluidsr.volumes.vdb.metadata import read_metadata
from fluidsr.volumes.vdb.transform import FRUSTUM, read_transform
from fluidsr.volumes.vdb.tree import Index
from fluidsr.volumes.vdb.values import value_type

MAGIC = 0x56444220
OLDEST, NEWEST = 220, 225
_FIRST_WITH_OWN_FLAGS = 222  # before, one byte in the header says whether all grids use zlib
_MAX_GRIDS = 10_000


@dataclass(frozen=True, eq=False)
class VdbFile:
    """An open VDB file: its version, metadata and grids, in the order of the file.

    As a context manager it closes the file at its end; arrays that have been read remain valid. Otherwise the file is
    closed when neither it nor its grids are referenced any longer.
    """

    path: Path
    version: int
    library: str
    bytes: int
    metadata: dict[str, Any]
    grids: tuple[Grid, ...]
    _data: Data = field(repr=False)

    def grid(self, name: str) -> Grid:
        """The grid of that name; if several have it, the first. Raises VolumeError if none has it."""
        for grid in self.grids:
            if name in (grid.name, grid.unique_name):
                return grid
        names = ", ".join(repr(grid.name) for grid in self.grids[:20]) or "no grids"
        raise VolumeError(str(self.path), f"there is no grid {name!r}", f"name one of: {names}")

    def close(self) -> None:
        """Close the file; its grids can no longer be read."""
        if isinstance(self._data, mmap.mmap):
            self._data.close()

    def __enter__(self) -> VdbFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_file(path: str | os.PathLike[str], max_bytes: int | None = None) -> VdbFile:
    """Open a VDB file of version 220 to 225.

    Grids whose values are not supported are listed (`Grid.supported`) and skipped. A file that was written as a
    stream does not say where such grids end, and is refused. `max_bytes` bounds every array made from the file
    (default: half of the machine's memory). The file must not be truncated while it is open. Raises VolumeError for a
    missing or damaged file and for an unsupported version.
    """
    path = Path(path)
    location = str(path)
    data = _map(path)
    if not len(data):
        raise VolumeError(location, "it is empty (0 bytes)", "write or copy the file again")
    if data[:8] != MAGIC.to_bytes(8, "little"):
        raise VolumeError(location, "it is not an OpenVDB file", "give a .vdb file")
    cursor = Cursor(data, location, 8)
    version, major, minor, has_offsets = cursor.unpack("IIIB")
    if not OLDEST <= version <= NEWEST:
        raise VolumeError(
            location, f"file version {version} is not supported", "save it again with OpenVDB 3 or newer"
        )
    flags = None if version >= _FIRST_WITH_OWN_FLAGS else compression.ZIP * bool(cursor.one("B"))
    cursor.skip(36)  # UUID
    metadata = read_metadata(cursor)
    count = cursor.one("i")
    if not 0 <= count <= _MAX_GRIDS:
        cursor.fail(f"{count} grids")
    grids = [_read_grid(cursor, version, flags, bool(has_offsets), max_bytes) for _ in range(count)]
    whole = tuple(_with_trees(location, grids))
    return VdbFile(path, version, f"{major}.{minor}", len(data), metadata, whole, data)


def _map(path: Path) -> Data:
    try:
        check_regular(path)
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return b""  # an empty file cannot be mapped
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or error
        raise VolumeError(str(path), f"cannot be read ({problem})", "check the path") from error


def _read_grid(
    cursor: Cursor, version: int, flags: int | None, has_offsets: bool, max_bytes: int | None
) -> Grid:
    start = cursor.position
    unique_name, kind, parent = cursor.string(), cursor.string(), cursor.string()
    grid_at, buffers_at, end = cursor.unpack("3q")
    name = unique_name.split("\x1e")[0]
    if has_offsets:
        # Bodies follow their descriptors, so positions only increase: a file cannot cause an endless loop.
        if parent:
            buffers_at = grid_at  # an instance has no buffers of its own; the file says 0
        if not cursor.position <= grid_at <= buffers_at <= end <= cursor.end:
            cursor.fail(f"grid {name!r} claims the bytes {grid_at}, {buffers_at}, {end}")
        cursor.seek(grid_at)
    if flags is None:
        flags = compression.check_flags(cursor.one("I"), cursor)
    metadata = read_metadata(cursor)
    at_transform = cursor.position
    transform = read_transform(cursor) if value_type(kind) else None
    frustum = False
    if value_type(kind) and transform is None:
        cursor.seek(at_transform)
        frustum = cursor.string() == FRUSTUM
    if transform is None and not has_offsets:
        raise VolumeError(
            cursor.where,
            f"grid {name!r} ({kind}) is not supported, and cannot be skipped in a file written as a stream",
            "save the file again with grid offsets, or without that grid",
        )
    source = TreeLocation(
        cursor.where,
        cursor.data,
        version,
        flags,
        value_type(kind) if transform else None,
        cursor.position,
        buffers_at if has_offsets else None,
        end if has_offsets else cursor.end,
        max_bytes,
    )
    grid = Grid(cursor.where, name, unique_name, kind, metadata, transform, flags, 0, parent, source, frustum)
    if has_offsets:
        cursor.seek(end)
    elif not parent:
        cursor.seek(source.end_of_tree())
    return dataclasses.replace(grid, size=cursor.position - start)


def _with_trees(location: str, grids: list[Grid]) -> Iterator[Grid]:
    """The grids; instances get the trees of their parents."""
    parents: dict[tuple[str, str], Grid] = {}
    for grid in grids:
        if not grid.parent:
            parents.setdefault((grid.unique_name, grid.type), grid)
            parents.setdefault((grid.name, grid.type), grid)
    for grid in grids:
        if not grid.parent or not grid.supported:
            yield grid
            continue
        parent = parents.get((grid.parent, grid.type))
        if parent is None:
            problem = f"grid {grid.name!r} shares the tree of {grid.parent!r}, which is not there"
            raise VolumeError(location, problem, "write it again")
        yield dataclasses.replace(grid, flags=parent.flags, _source=parent._source)


def read_window(
    path: str | os.PathLike[str], grid: str, low: Index, high: Index, max_bytes: int | None = None
) -> np.ndarray:
    """The values of one grid in an index box.

    Args:
        path: the file.
        grid: name of the grid.
        low: index of the first voxel.
        high: upper corner, exclusive.
        max_bytes: bound of the array; None: half of the machine's memory.

    Returns `[x, y, z]`, or `[3, x, y, z]` for a vector grid, in the grid's own type (halves as float32). Inactive
    voxels have the values that OpenVDB gives them; voxels that are not stored have the background value. Only the
    leaves that the box touches are read. To read many windows of one file, open it once (`vdb.open`) and use
    `Grid.dense`. Raises VolumeError for a damaged file, an unknown grid, and a box that needs more than `max_bytes`.
    """
    with open_file(path, max_bytes) as file:
        return file.grid(grid).dense(low, high)
