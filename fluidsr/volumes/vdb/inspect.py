"""What is in a VDB file."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from fluidsr.volumes.info import GridInfo, VolumeInfo
from fluidsr.volumes.vdb import compression
from fluidsr.volumes.vdb.frames import DIM, DT, TIME
from fluidsr.volumes.vdb.metadata import number
from fluidsr.volumes.vdb.reader import Grid, open_file


def inspect(path: str | os.PathLike[str], *, max_bytes: int | None = None) -> VolumeInfo:
    """What is in the file; see `fluidsr.volumes.inspect`. Time and step are those of the first grid that
    has them.
    """
    file = open_file(path, max_bytes)
    notes = [grid.metadata for grid in file.grids]

    def first(key: str) -> float | None:
        return next((value for note in notes if (value := number(note, key)) is not None), None)

    dim = first(DIM)
    return VolumeInfo(
        path=str(path),
        format=f"vdb {file.version}",
        bytes=file.bytes,
        grids=[_describe(grid) for grid in file.grids],
        time=first(TIME),
        dt=first(DT),
        dim=None if dim is None else int(dim),
        metadata=file.metadata,
    )


def _describe(grid: Grid) -> GridInfo:
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
    minimum, maximum = _range(grid)
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


def _range(grid: Grid) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Least and greatest active value of each component."""
    leaves, tiles = grid.leaves(), grid.topology.tiles
    active = np.concatenate([leaves.values[leaves.masks], tiles.values[tiles.active]])
    if not len(active):
        return None, None
    with np.errstate(invalid="ignore"):  # NaNs show in the range
        return tuple(active.min(0).tolist()), tuple(active.max(0).tolist())
