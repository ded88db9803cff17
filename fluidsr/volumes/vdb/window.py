"""A box out of one grid."""

from __future__ import annotations

import os

import numpy as np

from fluidsr.volumes.vdb.reader import open_file
from fluidsr.volumes.vdb.tree import Index


def read_window(
    path: str | os.PathLike[str], grid: str, low: Index, high: Index, max_bytes: int | None = None
) -> np.ndarray:
    """The values of one grid in the index box from `low` to `high` (exclusive), background where none are
    stored.

    Returns float32 `[x, y, z]`, or `[3, x, y, z]` for a vector grid. Only the leaves that the box touches
    are decoded; for many windows of one file, open it once (`open_file`) and use `Grid.dense`. Raises
    VolumeError for a damaged file, an unknown grid, or a box that needs more than `max_bytes` (default:
    half of the memory).
    """
    return open_file(path, max_bytes).grid(grid).dense(low, high)
