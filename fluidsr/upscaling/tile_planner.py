"""TilePlanner chooses the tiles of a frame and how many of them run at once, within a limit of memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from fluidsr.errors import InputError
from fluidsr.upscaling.memory import MemoryModel
from fluidsr.upscaling.tile_cover import bounding_box, cover
from fluidsr.upscaling.tiles import Box, Tile, plan, tile_of, uncovered_boxes

# The number of largest tiles for which the peak memory is computed; tiles of nearly equal size may be cropped at
# different sides, so the largest tile need not have the highest peak.
_CANDIDATES = 16


@dataclass(frozen=True)
class TilePlan:
    """The plan for one frame.

    Attributes:
        tiles: to compute.
        skipped: number of tiles of a regular grid that are empty.
        background: boxes of coarse cells to fill with the background.
    """

    tiles: list[Tile]
    skipped: int
    background: Sequence[Box] = ()


class TilePlanner:
    """Plans tiles for one generator.

    Args:
        memory: the memory model of the generator.
        halo: its receptive radius, in coarse cells.
        effective_halo: see `Generator.effective_halo`.
        factor: fine cells along a coarse one.
        tile: the largest edge of a tile in coarse cells without the halo; None for tiles that cover the occupied cells
            at the lowest cost (`tile_cover.cover`).
        launch_cost: cost of one more tile, in cells.
        max_memory: limit for the memory of the generator, in bytes; `exhausted` lowers it.
    """

    def __init__(
        self,
        memory: MemoryModel,
        *,
        halo: int,
        effective_halo: int,
        factor: int,
        tile: int | None,
        launch_cost: int,
        max_memory: int,
    ) -> None:
        self.halo, self.factor, self.tile, self.max_memory = halo, factor, tile, max_memory
        self._memory, self._effective_halo, self._launch_cost = memory, effective_halo, launch_cost

    def plan(self, occupied: np.ndarray, domain: Box, *, background: bool) -> TilePlan:
        """Plan disjoint tiles that write all true cells of `occupied [*S]`.

        `domain` contains all true cells. With `background` the plan also has the boxes of `domain` that no tile writes.
        Raises InputError if a single coarse cell, or a tile of the requested size, exceeds the memory.
        """
        boxes, skipped = self._boxes(occupied, domain)
        tiles = [self.tile_of(box, occupied.shape) for box in boxes]
        fine_bytes = (
            2 * 4 * self.factor**occupied.ndim
        )  # per coarse cell: the output, and a copy while it is assembled
        uncovered = uncovered_boxes(domain, boxes, self.max_memory // fine_bytes) if background else []
        return TilePlan(tiles, skipped, uncovered)

    def batches(self, tiles: Sequence[Tile], largest: int) -> Iterator[list[Tile]]:
        """Iterate over batches of tiles that have the same shape and are cropped at the same sides.

        A batch has at most `largest` tiles, and no more than fit into the memory.
        """
        for _, group in groupby(sorted(tiles, key=_layout), key=_layout):
            same_layout = list(group)
            bound = self._memory.at_most(same_layout[0].read.shape)
            size = max(1, min(largest, self.max_memory // bound))
            for first in range(0, len(same_layout), size):
                yield same_layout[first : first + size]

    def exhausted(self, batch: Sequence[Tile], shape: Sequence[int]) -> list[list[Tile]]:
        """Split a batch for which the device had too little memory, and lower the limit of memory to about half of what
        it needs.

        Returns batches that write the same voxels. `shape`: coarse cells of the frame.
        """
        half = sum(self.bytes_of(tile) for tile in batch) // 2
        minimum = self._memory.at_most(
            [min(2 * self.halo + 1, n) for n in shape]
        )  # enough for any single cell
        self.max_memory = min(self.max_memory, max(half, minimum))
        if len(batch) > 1:
            middle = len(batch) // 2
            return [list(batch[:middle]), list(batch[middle:])]
        box = batch[0].write.divided(self.factor)
        return [[self.tile_of(part, shape)] for part in box.halves()]

    def tile_of(self, box: Box, shape: Sequence[int]) -> Tile:
        """The tile that writes the coarse cells `box` of a domain of `shape` coarse cells."""
        return tile_of(box, shape, self.halo, self.factor)

    def bytes_of(self, tile: Tile) -> int:
        """The peak memory of the generator for a tile, in bytes."""
        return self._memory.of(tile.read.shape, tile.cropped)

    def peak_bytes(self, tiles: Sequence[Tile]) -> int:
        """The largest `bytes_of` of any tile, computed for the largest tiles only."""
        largest = sorted(tiles, key=lambda tile: tile.computed_cells)[-_CANDIDATES:]
        return max(self.bytes_of(tile) for tile in largest)

    def _boxes(self, occupied: np.ndarray, domain: Box) -> tuple[list[Box], int]:
        """Disjoint boxes of coarse cells that contain all true cells, and the number of tiles of a regular grid that
        contain none."""
        shape = occupied.shape
        if self.tile is None:
            boxes = cover(
                occupied,
                self.halo,
                launch_cost=self._launch_cost,
                bytes_needed=lambda box: self._bytes_or_bound(self.tile_of(box, shape)),
                max_bytes=self.max_memory,
                effective_halo=self._effective_halo,
            )
            return boxes, 0
        regular = [tile.write.moved(domain.lo) for tile in plan(domain.shape, self.tile, self.halo, 1)]
        boxes = [box for part in regular if (box := bounding_box(occupied, part)) is not None]
        largest = max((self._bytes_or_bound(self.tile_of(box, shape)) for box in boxes), default=0)
        if largest > self.max_memory:
            raise InputError(
                "tile",
                f"tiles of {self.tile} cells and their halo need {_mib(largest)},"
                f" {_mib(self.max_memory)} are allowed",
                "give a smaller `tile`, auto, or more `max_memory`",
            )
        return boxes, len(regular) - len(boxes)

    def _bytes_or_bound(self, tile: Tile) -> int:
        """`bytes_of`, or a bound of it, which is faster, if that suffices to tell whether the tile fits into memory."""
        bound = self._memory.at_most(tile.read.shape)
        if bound <= self.max_memory:
            return bound
        written = tile.write.divided(self.factor)
        least = self._memory.at_least(written.shape)
        return least if least > self.max_memory and written.cells > 1 else self.bytes_of(tile)


def _layout(tile: Tile) -> tuple[tuple[int, ...], tuple[tuple[bool, bool], ...]]:
    """The properties of a tile that all tiles of a batch must share."""
    return tile.read.shape, tile.cropped


def _mib(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"
