"""Writing VDB files: version 224, active-mask compression; equal grids give equal bytes."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from fluidsr import atomic
from fluidsr.errors import InputError
from fluidsr.volumes.vdb import compression, topology_writer
from fluidsr.volumes.vdb.binary import pack_string
from fluidsr.volumes.vdb.grid import Grid
from fluidsr.volumes.vdb.leaf_builder import Collector
from fluidsr.volumes.vdb.leaf_writer import LeafStore
from fluidsr.volumes.vdb.metadata import pack_metadata
from fluidsr.volumes.vdb.transform import Transform
from fluidsr.volumes.vdb.tree import BRANCH, LEAF, NODE, Index, Tiles
from fluidsr.volumes.vdb.values import ValueType, value_type

_VERSION, _LIBRARY = 224, (10, 0)
_UUID = b"f1d5c0de-0000-4000-8000-000000000000"  # fixed, so that equal frames give equal bytes
_EMPTY_BOX = ((2**31 - 1,) * 3, (-(2**31),) * 3)  # how OpenVDB marks a grid without voxels
REACH = 2**31 - BRANCH  # indices are 32-bit


@dataclass(frozen=True)
class DenseGrid:
    """A dense array that is written as a sparse grid with a zero background: float32 `[x, y, z]`, or `[3, x, y, z]` for
    vectors.

    Voxel 0 has the index `low`. A voxel is stored if the magnitude of a component exceeds `threshold`. `half` stores
    IEEE halves. `metadata` are further entries: `class` (`fog volume`, `level set`, `staggered`), `vector_type` and
    others (for their types see `metadata.pack_metadata`).
    """

    name: str
    values: np.ndarray
    transform: Transform = field(default_factory=lambda: Transform.uniform(1.0))
    metadata: Mapping[str, Any] = field(default_factory=dict)
    low: Index = (0, 0, 0)
    half: bool = False
    threshold: float = 0.0
    compression: str = "blosc"


@dataclass(frozen=True)
class SparseGrid:
    """A tree that is written unchanged: leaves, constant tiles, and the background everywhere else.

    `origins [n, 3]`: index of each leaf's first voxel, multiples of 8. `values [n, 8, 8, 8]` (vectors: 3 components
    last) and `masks` (bool, active voxels) of the same shape. `tiles` have edges of 8, 128 or 4096 voxels at
    multiples of them. `type` is OpenVDB's name of the values: float, double, half, int32, int64, bool, mask, vec3s,
    vec3d, vec3i. Inactive voxels keep their values.
    """

    name: str
    origins: np.ndarray
    values: np.ndarray
    masks: np.ndarray
    tiles: Tiles | None = None
    background: Any = 0
    type: str = "float"
    transform: Transform = field(default_factory=lambda: Transform.uniform(1.0))
    metadata: Mapping[str, Any] = field(default_factory=dict)
    half: bool = False
    compression: str = "blosc"


@dataclass(frozen=True)
class Tree:
    """A grid whose leaves are compressed, ready to be written."""

    name: str
    store: LeafStore
    tiles: Tiles
    transform: Transform
    metadata: Mapping[str, Any]


def write_grids(
    path: str | os.PathLike[str],
    grids: Sequence[DenseGrid | SparseGrid],
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write grids, and the file's own `metadata`, as a VDB file that every program with OpenVDB reads.

    Equal grids give equal bytes. On return the file is complete under its name; after any failure an earlier file of
    that name is unchanged. Raises InputError for arrays that do not form a grid, and for values that are not finite
    (in a dense grid) or do not fit a half; RunError if the disk is full.
    """
    with atomic.replacing(path) as temporary, temporary.open("wb") as file:
        trees = [_of_dense(grid) if isinstance(grid, DenseGrid) else _of_sparse(grid) for grid in grids]
        write_trees(file, trees, metadata or {})


def write_trees(file: BinaryIO, trees: Sequence[Tree], metadata: Mapping[str, Any]) -> None:
    """Write the header and all `trees` into `file`, from its beginning."""
    file.write(struct.pack("<q3IB", 0x56444220, _VERSION, *_LIBRARY, 1) + _UUID)
    file.write(pack_metadata(metadata) + struct.pack("<i", len(trees)))
    seen: dict[str, int] = {}
    for tree in trees:
        kind = tree.store.kind
        count = seen[tree.name] = seen.get(tree.name, -1) + 1
        unique = f"{tree.name}\x1e{count}" if count else tree.name
        descriptor = pack_string(unique) + pack_string(kind.tree) + pack_string("")
        origins, masks, buffers = tree.store.sorted()
        background = tree.store.background
        topology = topology_writer.topology(kind, tree.store.chunk, background, origins, masks, tree.tiles)
        head = (
            struct.pack("<I", tree.store.flags) + pack_metadata(_grid_metadata(tree)) + tree.transform.pack()
        )
        start = file.tell() + len(descriptor) + 24
        at_buffers = start + len(head) + sum(map(len, topology))
        end = at_buffers + sum(map(len, buffers))
        file.write(descriptor + struct.pack("<3q", start, at_buffers, end) + head)
        file.writelines(topology)
        file.writelines(buffers)


def copy_of(grid: Grid) -> Tree:
    """A grid of an open file, ready to be written: the same tree, values, transform and metadata. Raises VolumeError
    for damaged data.
    """
    kind, tiles, no_origins = grid.value_type, grid.tiles(), np.empty((0, 3), np.int64)
    batches = list(grid.leaves())
    shape = (0, LEAF, LEAF, LEAF, *((kind.channels,) if kind.channels > 1 else ()))
    return _of_sparse(
        SparseGrid(
            grid.name,
            np.concatenate([no_origins, *(leaves.origins for leaves in batches)]),
            np.concatenate([np.empty(shape, kind.memory), *(leaves.values for leaves in batches)]),
            np.concatenate([np.empty((0, LEAF, LEAF, LEAF), bool), *(leaves.masks for leaves in batches)]),
            tiles,
            grid.background,
            kind.name,
            grid.transform or Transform.uniform(1.0),
            {key: value for key, value in grid.metadata.items() if not key.startswith("file_")},
            half=kind.half,
        )
    )


def dense_type(channels: int, half: bool, like: str = "float") -> ValueType:
    """The type of a grid made from a dense array: `like` (OpenVDB's name) if it has as many channels, otherwise float
    or vec3s.

    Raises InputError for numbers of channels other than 1 and 3.
    """
    name = like if value_type(f"Tree_{like}_5_4_3") is not None else "float"
    if name.startswith("vec") != (channels == 3):
        name = {1: "float", 3: "vec3s"}.get(channels, "")
    kind = value_type(f"Tree_{name}_5_4_3" + "_HalfFloat" * half)
    if kind is None:
        raise InputError("values", f"{channels} components", "give [x, y, z] or [3, x, y, z]")
    return kind


def _of_dense(grid: DenseGrid) -> Tree:
    values = np.asarray(grid.values)
    if values.ndim not in (3, 4):
        raise InputError(
            f"grid {grid.name!r}",
            f"an array of shape {values.shape} does not fit",
            "give [x, y, z] or [3, x, y, z]",
        )
    kind = dense_type(len(values) if values.ndim == 4 else 1, grid.half)
    x, y, z = (a + n for a, n in zip(grid.low, values.shape[-3:], strict=True))
    if min(grid.low) < -REACH or max(x, y, z) > REACH:
        raise InputError(f"grid {grid.name!r}", f"it begins at {grid.low}", "stay within 32-bit indices")
    flags = compression.codec(grid.compression)
    collector = Collector(grid.name, kind, flags, grid.low, (x, y, z), grid.threshold)
    collector.put(grid.low, values)
    store, tiles = collector.finish()
    return Tree(grid.name, store, tiles, grid.transform, grid.metadata)


def _of_sparse(grid: SparseGrid) -> Tree:
    location = f"grid {grid.name!r}"
    kind = value_type(f"Tree_{grid.type}_5_4_3" + "_HalfFloat" * grid.half)
    if kind is None or (grid.half and kind.dtype.kind != "f"):
        raise InputError(
            location, f"the type {grid.type!r} is not known", "give one of OpenVDB's names, float or vec3s"
        )
    origins = np.asarray(grid.origins, np.int64).reshape(-1, 3)
    n = len(origins)
    try:
        values = np.asarray(grid.values).astype(kind.memory).reshape(n, LEAF**3, kind.channels)
        packed = np.packbits(np.asarray(grid.masks, bool).reshape(n, LEAF**3), axis=1, bitorder="little")
        background = np.broadcast_to(np.asarray(grid.background, kind.memory), (kind.channels,)).copy()
    except ValueError as error:
        raise InputError(location, f"its arrays do not fit {n} leaves", "give [n, 8, 8, 8]") from error
    tiles = _checked(location, grid.tiles, kind)
    _check_places(location, origins, tiles)
    store = LeafStore(kind, compression.codec(grid.compression), background)
    store.add_whole(origins, packed, values)
    return Tree(grid.name, store, tiles, grid.transform, grid.metadata)


def _checked(location: str, tiles: Tiles | None, kind: ValueType) -> Tiles:
    if tiles is None:
        return Tiles(
            np.empty((0, 3), np.int64),
            np.empty(0, np.int64),
            np.empty((0, kind.channels), kind.memory),
            np.empty(0, bool),
        )
    n = len(tiles.edges)
    try:
        return Tiles(
            np.asarray(tiles.origins, np.int64).reshape(n, 3),
            np.asarray(tiles.edges, np.int64),
            np.asarray(tiles.values).astype(kind.memory).reshape(n, kind.channels),
            np.asarray(tiles.active, bool).reshape(n),
        )
    except ValueError as error:
        raise InputError(location, f"its arrays do not fit {n} tiles", "give one row per tile") from error


def _check_places(location: str, origins: np.ndarray, tiles: Tiles) -> None:
    """Raise InputError unless all leaves and tiles lie on multiples of their edges, within 32-bit indices, without
    overlap.
    """
    edges = np.concatenate([np.full(len(origins), LEAF), tiles.edges])
    places = np.concatenate([origins, tiles.origins])
    if not np.isin(edges, (LEAF, NODE, BRANCH)).all() or (places % edges[:, None]).any():
        raise InputError(
            location, "a leaf or tile is not at a multiple of its edge", "use edges of 8, 128, 4096"
        )
    if (np.abs(places) > REACH).any():
        raise InputError(location, "a leaf or tile is far away", "stay within 32-bit indices")
    taken: set[tuple[int, ...]] = set()
    for edge in (BRANCH, NODE, LEAF):
        here = places[edges == edge]
        for parent in (BRANCH, NODE):
            if parent > edge and taken & {(parent, *row) for row in (here // parent).tolist()}:
                raise InputError(location, "a leaf or tile lies in another tile", "give each voxel once")
        keys = {(edge, *row) for row in (here // edge).tolist()}
        if len(keys) != len(here):
            raise InputError(location, "two leaves or tiles are at the same place", "give each voxel once")
        taken |= keys


def _grid_metadata(tree: Tree) -> dict[str, Any]:
    low, high = _EMPTY_BOX
    boxes = [box for box in (tree.store.bounds, _tile_bounds(tree.tiles)) if box]
    if boxes:
        low = tuple(np.min([box[0] for box in boxes], axis=0).tolist())
        high = tuple((np.max([box[1] for box in boxes], axis=0) - 1).tolist())
    in_tiles = sum(int(edge) ** 3 for edge in tree.tiles.edges[tree.tiles.active])
    common: dict[str, Any] = {
        "name": tree.name,
        "is_saved_as_half_float": tree.store.kind.half,
        "file_bbox_min": low,
        "file_bbox_max": high,
        "file_voxel_count": np.int64(tree.store.active + in_tiles),
        "file_compression": compression.describe(tree.store.flags),
    }
    return common | dict(tree.metadata)


def _tile_bounds(tiles: Tiles) -> tuple[np.ndarray, np.ndarray] | None:
    if not tiles.active.any():
        return None
    origins, edges = tiles.origins[tiles.active], tiles.edges[tiles.active]
    return origins.min(0), (origins + edges[:, None]).max(0)
