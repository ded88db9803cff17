"""A box out of one grid."""

from __future__ import annotations

import os

import numpy as np

from fluidsr.volumes.vdb.reader import open_file
from fluidsr.volumes.vdb.tree import Index


def read_window(
    path: str | os.PathLike[str], grid: str, low: Index, high: Index, max_bytes: int | None = None
) -> np.ndarray:
    """The values of one grid in the index box from `low` to `high` (exclusive).

    Returns `[x, y, z]`, or `[3, x, y, z]` for a vector grid, in the grid's own type (halves as float32):
    inactive voxels as OpenVDB gives them, the background where nothing is stored. Only the leaves that the
    box touches are read; for many windows of one file, open it once (`vdb.open`) and use `Grid.dense`. Raises
    VolumeError for a damaged file, an unknown grid, or a box that needs more than `max_bytes` (default:
    half of the memory).
    """
    with open_file(path, max_bytes) as file:
        return file.grid(grid).dense(low, high)
