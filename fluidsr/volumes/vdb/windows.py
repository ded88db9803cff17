"""A mostly empty frame of a VDB file, read block by block: memory depends on the filled part, not on the box
around it.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from fluidsr.errors import InputError
from fluidsr.frame_grid import FrameGrid
from fluidsr.volumes.units import Taken
from fluidsr.volumes.vdb.fields import FileLayout, Joined, Part, Placed
from fluidsr.volumes.vdb.fields import find as find_fields
from fluidsr.volumes.vdb.fields import place as place_of
from fluidsr.volumes.vdb.frames import box_of, open_frame, take_window
from fluidsr.volumes.vdb.inspect import value_range
from fluidsr.volumes.vdb.metadata import BASE_RESOLUTION, SHAPE, triple
from fluidsr.volumes.vdb.reader import VdbFile
from fluidsr.volumes.vdb.topology import count_on
from fluidsr.volumes.vdb.tree import LEAF, NODE, Index, index_of


@dataclass(frozen=True)
class Windows:
    """An open file as one frame: `place` is its whole box; blocks and windows are given in cells of it."""

    file: VdbFile
    layout: FileLayout
    low: Index
    place: FrameGrid

    @property
    def components(self) -> int:
        """How many numbers a cell holds."""
        layout = self.layout
        return 1 + len(layout.others) + 3 * (bool(layout.velocity) + len(layout.vectors))

    @property
    def dense_bytes(self) -> int:
        """The bytes of the frame as dense arrays, without a velocity on faces."""
        return 4 * self.components * math.prod(self.place.shape)

    def take(self, low: Sequence[int], high: Sequence[int]) -> Taken:
        """The cells from `low` to `high` (exclusive) as a separate frame. Raises VolumeError for damaged data."""
        a, b = (index_of(np.add(corner, self.low)) for corner in (low, high))
        return take_window(self.file, self.layout, a, b)

    def ranges(self) -> dict[str, tuple[tuple[float, ...], tuple[float, ...]]]:
        """Smallest and largest value of each component of each field except velocity, over the whole frame."""
        ranges = {}
        for name, grid in self.layout.grids.items():
            if name == "velocity":
                continue
            least, greatest = value_range(grid)
            zero = (0.0,) * grid.value_type.channels
            ranges[name] = (
                tuple(min(value, 0.0) for value in least or zero),
                tuple(max(value, 0.0) for value in greatest or zero),
            )
        return ranges

    def typical_density(self) -> float:
        """The mean of the density weighted by itself, over the whole frame; 0 if there is no smoke."""
        grid, total, squares = self.layout.grids["density"], 0.0, 0.0
        tiles = grid.tiles()
        parts = itertools.chain(
            [(tiles.values, tiles.edges.astype(np.float64) ** 3)],
            ((leaves.values, 1.0) for leaves in grid.leaves()),
        )
        for values, voxels in parts:
            smoke = np.maximum(values, 0).astype(np.float64)
            total += float((smoke * voxels).sum())
            squares += float((smoke * smoke * voxels).sum())
        return squares / total if total > 0 else 0.0

    def is_whole(self, name: str) -> bool:
        """Whether `name` is a scalar field other than the density whose values are all whole numbers."""
        if name not in self.layout.others:
            return False
        grid = self.layout.grids[name]
        values = itertools.chain([grid.tiles().values], (leaves.values for leaves in grid.leaves()))
        return all(bool((part == np.round(part)).all()) for part in values)

    def blocks(self, edge: int, reach: int) -> list[tuple[Index, Index]]:
        """The blocks of `edge` cells (a multiple of 8) within `reach` cells of an active voxel, in order: (low,
        high).
        """
        blocks: set[tuple[int, ...]] = set()
        for part in _parts(self.layout):
            for placed in _placed(part):
                topology = placed.grid.topology
                filled = count_on(topology.packed_masks) > 0
                tiles = topology.tiles
                origins = np.concatenate([topology.leaf_origins[filled], tiles.origins[tiles.active]])
                edges = np.concatenate([np.full(int(filled.sum()), LEAF), tiles.edges[tiles.active]])
                start = origins + np.array(placed.shift) - np.array(self.low)
                blocks |= _touched(start - reach, start + edges[:, None] + reach, edge)
        shape = self.place.shape
        boxes = []
        for at in sorted(blocks):
            low = index_of(np.maximum(np.multiply(at, edge), 0))
            high = index_of(np.minimum(np.multiply(np.add(at, 1), edge), shape))
            if all(a < b for a, b in zip(low, high, strict=True)):
                boxes.append((low, high))
        return boxes


@contextmanager
def open_windows(
    path: str | os.PathLike[str],
    *,
    density_grid: str | None = None,
    velocity_grid: str | None = None,
    fields: Sequence[str] | None = None,
    margin: int = 0,
    max_bytes: int | None = None,
) -> Iterator[Windows | None]:
    """Open a file to read it block by block.

    Args:
        path: the file.
        density_grid: as of `fluidsr.volumes.read`.
        velocity_grid: as of `fluidsr.volumes.read`.
        fields: as of `fluidsr.volumes.read`.
        margin: empty cells around the box, as in `frame_reading.read`.
        max_bytes: bound of each window; None: see `memory.limit`.

    Gives None for a file that must be read as a whole: empty, flat, turned, with huge tiles, or from a cache of
    Blender. Raises VolumeError for a damaged file.
    """
    with open_frame(path, max_bytes) as file:
        if not file.grids:
            yield None
            return
        layout = find_fields(file, density_grid, velocity_grid, fields)
        box = box_of(layout)
        parts = [placed for part in _parts(layout) for placed in _placed(part)]
        straight = all(placed.axes.straight for placed in parts)
        huge = any((placed.grid.topology.tiles.edges > NODE).any() for placed in parts)
        if box is None or not parts or not straight or huge or BASE_RESOLUTION in layout.reference.metadata:
            yield None
            return
        low, high = np.array(box[0]), np.array(box[1])
        if triple(layout.reference.metadata, SHAPE) is None:
            # Begin on a multiple of 8, so that blocks hold whole leaves.
            low, high = (low - margin) // LEAF * LEAF, high + margin
        size, translation = place_of(layout.reference)
        shape = tuple((high - low).tolist())
        origin = tuple(t + (n - 0.5) * size for t, n in zip(translation, low.tolist(), strict=True))
        yield None if min(shape) < 2 else Windows(file, layout, index_of(low), FrameGrid(shape, size, origin))


def _parts(layout: FileLayout) -> list[Part]:
    return [layout.density, *layout.velocity, *layout.others.values(), *layout.vectors.values()]


def _placed(part: Part) -> Sequence[Placed]:
    """The grids on the density's voxels that form a part; none for a resampled part, which depends on the others."""
    if isinstance(part, Joined):
        return part.parts
    return [part] if isinstance(part, Placed) else []


def _touched(low: np.ndarray, high: np.ndarray, edge: int) -> set[tuple[int, ...]]:
    """The blocks of `edge` cells that boxes from `low` to `high` (exclusive) touch."""
    first, last = low // edge, (high - 1) // edge
    count = int((last - first).max(initial=0)) + 1
    if count > NODE:
        raise InputError("blocks", "a tile covers too many blocks", "read the file as a whole")
    touched: set[tuple[int, ...]] = set()
    for offset in itertools.product(range(count), repeat=3):
        at = np.unique(np.minimum(first + offset, last), axis=0)
        touched |= set(map(tuple, at.tolist()))
    return touched
