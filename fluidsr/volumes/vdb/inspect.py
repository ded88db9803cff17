"""The contents of VDB files, for `fluidsr.volumes.inspect`."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from fluidsr.volumes.info import GridInfo, VolumeInfo
from fluidsr.volumes.vdb import compression
from fluidsr.volumes.vdb.grid import Grid, TreeLocation
from fluidsr.volumes.vdb.metadata import DIM, DT, TIME, number
from fluidsr.volumes.vdb.reader import VdbFile, open_file

_Range = tuple[tuple[float, ...] | None, tuple[float, ...] | None]


def inspect(path: str | os.PathLike[str], *, max_bytes: int | None = None) -> VolumeInfo:
    """The contents of the file; see `fluidsr.volumes.inspect`. Time and `dt` are those of the first grid that has
    them.
    """
    with open_file(path, max_bytes) as file:
        return _describe_file(file)


def _describe_file(file: VdbFile) -> VolumeInfo:
    notes = [grid.metadata for grid in file.grids]
    ranges: dict[TreeLocation, _Range] = {}  # by tree, since instances share trees

    def first(key: str) -> float | None:
        return next((value for note in notes if (value := number(note, key)) is not None), None)

    dim = first(DIM)
    return VolumeInfo(
        path=str(file.path),
        format=f"vdb {file.version}",
        bytes=file.bytes,
        grids=[_describe(grid, ranges) for grid in file.grids],
        time=first(TIME),
        dt=first(DT),
        dim=None if dim is None else int(dim),
        metadata=file.metadata,
    )


def _describe(grid: Grid, ranges: dict[TreeLocation, _Range]) -> GridInfo:
    common: dict[str, Any] = {
        "name": grid.name,
        "type": grid.type,
        "compression": compression.describe(grid.flags),
        "bytes": grid.size,
        "value_class": grid.metadata.get("class"),
        "metadata": grid.metadata,
    }
    if not grid.supported or grid.transform is None:
        return GridInfo(**common, readable=False)
    if grid._source not in ranges:
        ranges[grid._source] = value_range(grid)
    minimum, maximum = ranges[grid._source]
    origin = None
    if grid.bounds is not None:
        corner = np.subtract(grid.bounds[0], 0.5)
        origin = tuple((np.array(grid.transform.matrix) @ corner + grid.transform.translation).tolist())
    return GridInfo(
        **common,
        box=grid.bounds,
        cell_size=grid.transform.scale,
        origin=origin,
        minimum=minimum,
        maximum=maximum,
        active_voxels=grid.active_voxels,
    )


def value_range(grid: Grid) -> _Range:
    """Smallest and largest active value of each component; (None, None) if no voxel is active."""
    tiles = grid.tiles()
    parts = [tiles.values[tiles.active]]
    with np.errstate(invalid="ignore"):  # NaNs show in the range
        for leaves in grid.leaves():
            active = leaves.values[leaves.masks]
            if len(active):
                parts.append(np.stack([active.min(0), active.max(0)]))
        active = np.concatenate(parts)
        if not len(active):
            return None, None
        low, high = np.atleast_1d(active.min(0)), np.atleast_1d(active.max(0))
    return tuple(low.tolist()), tuple(high.tolist())
