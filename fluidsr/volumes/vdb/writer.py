"""Writing a VDB file: version 224, active-mask compression with Blosc, the same bytes for the same grids."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from fluidsr.volumes.rounding import check_finite
from fluidsr.volumes.vdb import compression, tree
from fluidsr.volumes.vdb.binary import pack_string
from fluidsr.volumes.vdb.compression import ValueType
from fluidsr.volumes.vdb.metadata import pack_metadata
from fluidsr.volumes.vdb.transform import Vector, pack_transform

_VERSION, _LIBRARY = 224, (10, 0)
_UUID = b"f1d5c0de-0000-4000-8000-000000000000"  # fixed, so that the same frame gives the same bytes
_FLAGS = compression.ACTIVE_MASK | compression.BLOSC
_SMALLEST_HALF = 2.0**-25  # what is not above this rounds to zero as a half
_EMPTY_BOX = ((2**31 - 1,) * 3, (-(2**31),) * 3)  # OpenVDB's own sign for "no voxels"


@dataclass(frozen=True)
class DenseGrid:
    """A dense array to be written as a sparse grid: float32 `[x, y, z]`, or `[3, x, y, z]` for vectors.

    Cell 0 has the index 0. `metadata` as `pack_metadata` takes it, on top of what every grid gets.
    """

    name: str
    values: np.ndarray
    metadata: Mapping[str, tuple[str, Any]]

    @property
    def channels(self) -> int:
        """1 for a scalar grid, 3 for a vector grid."""
        return 3 if self.values.ndim == 4 else 1


def write_grids(
    file: BinaryIO,
    grids: Sequence[DenseGrid],
    *,
    cell_size: float,
    translation: Vector,
    half: bool,
    threshold: float,
    metadata: Mapping[str, tuple[str, Any]],
) -> None:
    """Write `grids`, all on one transform, into `file`.

    A voxel is stored where a component's magnitude is above `threshold`, and everything else is the
    background, zero. Raises InputError for values that are not finite or, in half precision, too large.
    """
    file.write(struct.pack("<q3IB", 0x56444220, _VERSION, *_LIBRARY, 1) + _UUID)
    file.write(pack_metadata(metadata) + struct.pack("<i", len(grids)))
    position = file.tell()
    for grid in grids:
        kind = ValueType(grid.channels, half)
        sparse = _sparse(grid, kind, threshold)
        name = ("Tree_vec3s_5_4_3" if grid.channels == 3 else "Tree_float_5_4_3") + "_HalfFloat" * half
        descriptor = pack_string(grid.name) + pack_string(name) + pack_string("")
        head = struct.pack("<I", _FLAGS) + pack_metadata(_grid_metadata(grid, half, sparse))
        head += pack_transform(cell_size, translation)
        topology, buffers = _tree(sparse, kind)
        start = position + len(descriptor) + 24
        at_buffers = start + len(head) + len(topology)
        position = at_buffers + len(buffers)
        file.write(descriptor + struct.pack("<3q", start, at_buffers, position) + head)
        file.write(topology)
        file.write(buffers)


@dataclass(frozen=True)
class _Sparse:
    origins: np.ndarray
    masks: np.ndarray
    values: np.ndarray  # [active voxels, channels], in the stored dtype


def _sparse(grid: DenseGrid, kind: ValueType, threshold: float) -> _Sparse:
    values = grid.values

    def slab(low: int, high: int) -> np.ndarray:
        if kind.channels == 1:
            return values[low:high, ..., None]
        return np.ascontiguousarray(np.moveaxis(values[:, low:high], 0, -1))

    if kind.half:
        threshold = max(threshold, _SMALLEST_HALF)
    x, y, z = values.shape[-3:]
    with np.errstate(over="ignore"):
        origins, masks, flat = tree.sparse((x, y, z), slab, threshold, kind.stored)
    check_finite(grid.name, flat, values)
    return _Sparse(*_in_tree_order(origins, masks, flat.reshape(-1, kind.channels)))


def _in_tree_order(
    origins: np.ndarray, masks: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Leaves sorted as a file lists them: by 4096-branch, then by 128-node in it, then by leaf in that."""
    keys = [origins[:, axis] // step for step in (8, 128, 4096) for axis in (2, 1, 0)]
    order = np.lexsort(keys)
    counts = np.unpackbits(masks, axis=1).sum(1, dtype=np.int64)
    starts = np.cumsum(counts) - counts
    moved = counts[order]
    ends = np.cumsum(moved)
    source = np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts[order] - (ends - moved), moved)
    return origins[order], masks[order], values[source]


def _tree(sparse: _Sparse, kind: ValueType) -> tuple[bytes, bytes]:
    """The topology and the buffers of a tree with a zero background and no tiles."""
    parts = [struct.pack("<i", 1) + bytes(kind.full_size)]
    branches = _runs(sparse.origins // 4096)
    parts.append(struct.pack("<2I", 0, len(branches)))
    no_tiles = _no_values(kind)
    for low, high in branches:
        parts.append(struct.pack("<3i", *(sparse.origins[low] // 4096 * 4096).tolist()))
        nodes = [(low + a, low + b) for a, b in _runs(sparse.origins[low:high] // 128)]
        firsts = sparse.origins[[a for a, _ in nodes]]
        parts += [_child_mask(firsts % 4096 // 128, 5), bytes(32**3 // 8), no_tiles]
        for a, b in nodes:
            parts += [_child_mask(sparse.origins[a:b] % 128 // 8, 4), bytes(16**3 // 8), no_tiles]
            parts.append(sparse.masks[a:b].tobytes())
    return b"".join(parts), _buffers(sparse, kind)


def _buffers(sparse: _Sparse, kind: ValueType) -> bytes:
    raw = sparse.values.tobytes()
    masks = sparse.masks.tobytes()
    counts = np.unpackbits(sparse.masks, axis=1).sum(1, dtype=np.int64)
    ends = (np.cumsum(counts) * kind.stored_size).tolist()
    parts = []
    start = 0
    for i, end in enumerate(ends):
        size, body = compression.pack_chunk(raw[start:end], kind.stored.itemsize)
        parts += [masks[64 * i : 64 * i + 64], b"\0", size, body]  # mode 0: the rest is background
        start = end
    return b"".join(parts)


def _no_values(kind: ValueType) -> bytes:
    """The values block of an internal node that has only children: mode 0, and a chunk of nothing."""
    return b"\0" if kind.half else b"\0" + struct.pack("<q", 0)


def _child_mask(at: np.ndarray, log2_edge: int) -> bytes:
    x, y, z = at.T
    bits = np.zeros(8**log2_edge, np.uint8)
    bits[(x << 2 * log2_edge) | (y << log2_edge) | z] = 1
    return np.packbits(bits, bitorder="little").tobytes()


def _runs(keys: np.ndarray) -> list[tuple[int, int]]:
    """Start and end of each run of equal rows in `keys [n, 3]`."""
    if not len(keys):
        return []
    starts = np.flatnonzero(np.r_[True, (keys[1:] != keys[:-1]).any(1)]).tolist()
    return list(zip(starts, [*starts[1:], len(keys)], strict=True))


def _grid_metadata(grid: DenseGrid, half: bool, sparse: _Sparse) -> dict[str, tuple[str, Any]]:
    bounds = tree.leaf_bounds(sparse.origins, sparse.masks)
    low, high = _EMPTY_BOX
    if bounds:
        low, high = tuple(bounds[0].tolist()), tuple((bounds[1] - 1).tolist())
    common: dict[str, tuple[str, Any]] = {
        "name": ("string", grid.name),
        "is_saved_as_half_float": ("bool", half),
        "file_bbox_min": ("vec3i", low),
        "file_bbox_max": ("vec3i", high),
        "file_voxel_count": ("int64", len(sparse.values)),
        "file_compression": ("string", compression.describe(_FLAGS)),
    }
    return common | dict(grid.metadata)
