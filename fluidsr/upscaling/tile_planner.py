"""TilePlanner: which tiles a frame needs, with their halo, and how many of them run at once, within a memory bound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from fluidsr.errors import InputError
from fluidsr.upscaling.memory import MemoryModel
from fluidsr.upscaling.tile_cover import bounding_box, cover
from fluidsr.upscaling.tiles import Box, Tile, plan, tile_of, uncovered_boxes

# The largest tiles, of nearly equal size and cropped at different sides, among which the peak of memory is sought.
_CANDIDATES = 16


@dataclass(frozen=True)
class TilePlan:
    """Tiles to compute, how many of a regular grid were skipped, and coarse boxes to fill with the background."""

    tiles: list[Tile]
    skipped: int
    background: Sequence[Box] = ()


class TilePlanner:
    """Plans tiles for one generator.

    `tile` is the largest edge of a tile in coarse cells, its halo not counted; None lays tiles around the occupied
    cells so that the fewest cells are computed (`tile_cover.cover`), each launch counted as `launch_cost` cells.
    `halo` is the generator's receptive radius, `effective_halo` what it costs, `factor` its scale, `memory` its
    memory model, `max_memory` the bytes that it may hold; `exhausted` lowers that bound.
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
        """The tiles that write every true cell of `occupied [*S]`; with `background` also the boxes of all others in
        `domain`, outside of which no cell is true.

        Raises InputError where even one coarse cell, or a tile of the size asked for, exceeds the memory.
        """
        boxes, skipped = self._boxes(occupied, domain)
        tiles = [self.tile_of(box, occupied.shape) for box in boxes]
        fine_bytes = 2 * 4 * self.factor**occupied.ndim  # of a coarse cell's output, while it is put together
        rest = uncovered_boxes(domain, boxes, self.max_memory // fine_bytes) if background else []
        return TilePlan(tiles, skipped, rest)

    def batches(self, tiles: Sequence[Tile], largest: int) -> Iterator[list[Tile]]:
        """Tiles of equal shape, cropped at the same sides, together: `largest` at most, as many as memory allows."""
        for _, group in groupby(sorted(tiles, key=_layout), key=_layout):
            alike = list(group)
            bound = self._memory.at_most(alike[0].read.shape)
            size = max(1, min(largest, self.max_memory // bound))
            for first in range(0, len(alike), size):
                yield alike[first : first + size]

    def exhausted(self, batch: Sequence[Tile], shape: Sequence[int]) -> list[list[Tile]]:
        """Smaller batches for the same voxels, in about half the memory, which from here on is the bound."""
        half = sum(self.bytes_of(tile) for tile in batch) // 2
        minimum = self._memory.at_most([min(2 * self.halo + 1, n) for n in shape])  # of any single cell
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
        """Bytes that the generator holds for it at its peak."""
        return self._memory.of(tile.read.shape, tile.cropped)

    def peak_bytes(self, tiles: Sequence[Tile]) -> int:
        """The most of `bytes_of` over `tiles`, sought among the largest."""
        largest = sorted(tiles, key=lambda tile: tile.computed_cells)[-_CANDIDATES:]
        return max(self.bytes_of(tile) for tile in largest)

    def _boxes(self, occupied: np.ndarray, domain: Box) -> tuple[list[Box], int]:
        """Disjoint boxes of coarse cells that hold every true cell; how many tiles of a regular grid hold none."""
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
        """`bytes_of`, or a cheap bound of it where that already decides whether it fits into the memory."""
        bound = self._memory.at_most(tile.read.shape)
        if bound <= self.max_memory:
            return bound
        written = tile.write.divided(self.factor)
        least = self._memory.at_least(written.shape)
        return least if least > self.max_memory and written.cells > 1 else self.bytes_of(tile)


def _layout(tile: Tile) -> tuple[tuple[int, ...], tuple[tuple[bool, bool], ...]]:
    return tile.read.shape, tile.cropped


def _mib(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"
