"""Boxes of cells, tiles with their halo, and the blocks of a fine frame that tiles write.

A generator of receptive radius `halo` computes a voxel from the coarse cells within `halo` of it, so a tile that reads
`halo` cells more than it writes computes the same values as the whole domain. A tile at the border of the domain does
not read beyond it: the network repeats the outermost cells there, exactly as without tiles.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from fluidsr.errors import InputError


@dataclass(frozen=True, order=True)
class Box:
    """The cells `lo <= i < hi` of a grid, one number per axis."""

    lo: tuple[int, ...]
    hi: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Cells along each axis."""
        return tuple(b - a for a, b in zip(self.lo, self.hi, strict=True))

    @property
    def cells(self) -> int:
        """Number of cells."""
        return math.prod(self.shape)

    @property
    def slices(self) -> tuple[slice, ...]:
        """The index of the box in an array `[x, y(, z)]`."""
        return tuple(slice(a, b) for a, b in zip(self.lo, self.hi, strict=True))

    def of(self, array: Any) -> Any:
        """A view of the box's part of `array [..., x, y(, z)]` (NumPy or torch)."""
        index = (..., *self.slices)
        return array[index]

    def grown(self, by: int, shape: Sequence[int]) -> Box:
        """The box with `by` more cells on each side, clipped to a domain of `shape` cells."""
        return Box(
            tuple(max(a - by, 0) for a in self.lo),
            tuple(min(b + by, n) for b, n in zip(self.hi, shape, strict=True)),
        )

    def moved(self, by: Sequence[int]) -> Box:
        """The box moved by `by` cells along each axis."""
        return Box(
            tuple(a + n for a, n in zip(self.lo, by, strict=True)),
            tuple(b + n for b, n in zip(self.hi, by, strict=True)),
        )

    def scaled(self, factor: int) -> Box:
        """The same box in cells `factor` times finer."""
        return Box(tuple(a * factor for a in self.lo), tuple(b * factor for b in self.hi))

    def divided(self, factor: int) -> Box:
        """The inverse of `scaled(factor)`."""
        return Box(tuple(a // factor for a in self.lo), tuple(b // factor for b in self.hi))

    def halves(self) -> tuple[Box, Box]:
        """Cut the box in two across its longest axis, which must have at least two cells."""
        axis = max(range(len(self.lo)), key=lambda a: self.shape[a])
        middle = (self.lo[axis] + self.hi[axis]) // 2
        low = Box(self.lo, (*self.hi[:axis], middle, *self.hi[axis + 1 :]))
        return low, Box((*self.lo[:axis], middle, *self.lo[axis + 1 :]), self.hi)

    def without(self, other: Box) -> list[Box]:
        """The part of the box outside of `other`, as disjoint boxes: at most two slabs per axis."""
        if any(a >= d or c >= b for a, b, c, d in zip(self.lo, self.hi, other.lo, other.hi, strict=True)):
            return [self]
        parts = []
        lo, hi = list(self.lo), list(self.hi)
        for axis, (low, high) in enumerate(zip(other.lo, other.hi, strict=True)):
            if lo[axis] < low:
                parts.append(Box(tuple(lo), (*hi[:axis], low, *hi[axis + 1 :])))
                lo[axis] = low
            if high < hi[axis]:
                parts.append(Box((*lo[:axis], high, *lo[axis + 1 :]), tuple(hi)))
                hi[axis] = high
        return parts

    def within(self, other: Box) -> Box | None:
        """The intersection of both boxes, or None."""
        low = tuple(max(a, b) for a, b in zip(self.lo, other.lo, strict=True))
        high = tuple(min(a, b) for a, b in zip(self.hi, other.hi, strict=True))
        return Box(low, high) if all(a < b for a, b in zip(low, high, strict=True)) else None

    def relative_to(self, other: Box) -> Box:
        """The same box relative to the lower corner of `other`."""
        return self.moved(tuple(-n for n in other.lo))


@dataclass(frozen=True)
class Tile:
    """The part of a frame that one call of the generator computes.

    Attributes:
        read: the coarse cells that the generator reads.
        write: the fine voxels that it computes.
        crop: the voxels of `write` in the generator's output.
        cropped: for each axis whether the domain continues below and above `read`. At these sides the output is smaller
            than `read` by the halo.
    """

    read: Box
    write: Box
    crop: Box
    cropped: tuple[tuple[bool, bool], ...]

    @property
    def computed_cells(self) -> int:
        """The number of coarse cells that the generator reads, including the halo."""
        return self.read.cells


def tile_of(box: Box, shape: Sequence[int], halo: int, factor: int) -> Tile:
    """The tile that writes the coarse cells `box` of a domain of `shape` coarse cells."""
    read = box.grown(halo, shape)
    cropped = tuple((a > 0, b < n) for a, b, n in zip(read.lo, read.hi, shape, strict=True))
    output = Box(
        tuple(a + halo * low for a, (low, _) in zip(read.lo, cropped, strict=True)),
        tuple(b - halo * high for b, (_, high) in zip(read.hi, cropped, strict=True)),
    )
    return Tile(read, box.scaled(factor), box.relative_to(output).scaled(factor), cropped)


def uncovered_boxes(domain: Box, boxes: Sequence[Box], max_cells: int) -> list[Box]:
    """The part of `domain` outside of the disjoint `boxes`, as disjoint boxes of at most `max_cells` cells (at least
    1)."""
    pending = [domain]
    for box in boxes:
        pending = [part for other in pending for part in other.without(box)]
    uncovered = []
    while pending:
        box = pending.pop()
        if box.cells <= max(max_cells, 1):
            uncovered.append(box)
        else:
            pending += box.halves()
    return sorted(uncovered)


def plan(shape: Sequence[int], tile: int, halo: int, factor: int) -> list[Tile]:
    """Tiles that write every fine voxel of a domain exactly once, in C order.

    Args:
        shape: coarse cells of the domain.
        tile: the most coarse cells that a tile writes along an axis. The lengths of tiles along an axis differ by at
            most one cell, so none is a sliver.
        halo: the generator's receptive radius, in coarse cells.
        factor: fine cells along a coarse one.

    Raises InputError for a `tile` below 1.
    """
    if tile < 1:
        raise InputError("tile", f"{tile} is not a number of cells", "give 1 or more, or auto")
    axes = [_split(int(n), tile) for n in shape]
    return [
        tile_of(Box(tuple(a for a, _ in spans), tuple(b for _, b in spans)), shape, halo, factor)
        for spans in itertools.product(*axes)
    ]


def _split(cells: int, largest: int) -> list[tuple[int, int]]:
    """Split `cells` into the fewest spans (first, end) of at most `largest`, all of nearly the same length."""
    parts = -(-cells // largest)
    edges = [i * cells // parts for i in range(parts + 1)]
    return list(itertools.pairwise(edges))


class FieldBlock(NamedTuple):
    """The values of the field `name` in a box of fine voxels: `[*box.shape]`, or `[c, *box.shape]` for vectors."""

    name: str
    box: Box
    values: Tensor
