"""What a generator reads beyond the ends of a frame.

Where the ends of an axis are joined, it reads what lies at the other end: the frame is cut open where it holds least,
and gets copies of its own other end on both sides. The cut depends on the density alone, so a frame that is shifted
along the axis is opened into the same array, and becomes the same voxels.

Elsewhere, where there is smoke in the outermost cells, these are repeated for a few cells. A network that finds nothing
beyond a floor takes it for the end of the smoke, and draws a dark line above it and rounds corners that stand on it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.upscaling.network_input import THRESHOLD
from fluidsr.upscaling.tiles import Box, FieldBlock

# Cells that are repeated. A network reads farther, but heeds what is near: with 0, 2, 3, 4 and 6 of them the voxels
# within four cells of the floor of `plume` are 0.018, 0.0044, 0.0021, 0.0008 and 0.0001 (rms) off those with as many as
# `smoke3d-x4-gan` reads, and from 2 on the line is gone.
REPEATED = 3
_STEPS = 2**20  # per unit of density; a sum of whole numbers does not depend on where it begins


@dataclass(frozen=True)
class FrameLayout:
    """How a frame of `shape` coarse cells is laid out for tiles: on each axis cell `start` (0 unless `periodic`) comes
    first, after `below` and before `above` cells more, of the other end or repeated."""

    shape: tuple[int, ...]
    periodic: tuple[bool, ...]
    start: tuple[int, ...]
    below: tuple[int, ...]
    above: tuple[int, ...]

    @classmethod
    def of(cls, density: Tensor, periodic: Sequence[bool], reach: int) -> FrameLayout:
        """Of `density [*S]`, with `reach` cells on both sides of the `periodic` axes."""
        start, below, above = [], [], []
        for axis, wraps in enumerate(periodic):
            if wraps:
                others = [other for other in range(density.dim()) if other != axis]
                profile = (density.double() * _STEPS).round().long().sum(others)
                start.append(_emptiest(profile.tolist()))
                below.append(reach)
                above.append(reach)
            else:
                start.append(0)
                below.append(REPEATED if bool((density.select(axis, 0) > THRESHOLD).any()) else 0)
                above.append(REPEATED if bool((density.select(axis, -1) > THRESHOLD).any()) else 0)
        return cls(tuple(density.shape), tuple(periodic), tuple(start), tuple(below), tuple(above))

    @property
    def is_plain(self) -> bool:
        """Whether the frame stays as it is."""
        return not any((*self.below, *self.above))

    @property
    def interior(self) -> Box:
        """The cells of the array laid out that are to be computed: all of the frame, once."""
        return Box((0,) * len(self.shape), self.shape).moved(self.below)

    def numbers(self, axis: int) -> Tensor:
        """The number that each cell of the array laid out has in the frame, along one axis: repeated cells are counted
        on, to below 0 and beyond the last."""
        first, count = self.start[axis] - self.below[axis], self.shape[axis]
        numbers = torch.arange(first, first + self.below[axis] + count + self.above[axis])
        return numbers % count if self.periodic[axis] else numbers

    def opened(self, array: Tensor) -> Tensor:
        """`array [..., *S]` laid out so."""
        for axis, count in enumerate(self.shape):
            if self.below[axis] or self.above[axis]:
                index = self.numbers(axis).clamp(0, count - 1).to(array.device)
                array = array.index_select(axis - len(self.shape), index)
        return array

    def opened_frame(self, frame: Frame) -> Frame:
        """`frame`, this or an earlier one, laid out so, its density and velocity; where no ends are joined it may have
        other cells, and its own outermost ones are repeated. Raises InputError for other cells where ends are joined.
        """
        layout = self
        if not any(self.periodic):
            layout = FrameLayout.of(frame.torch().density, self.periodic, 0)
        elif frame.shape != self.shape:
            problem = f"a frame of {frame.shape} cells does not fit one of {self.shape} whose ends are joined"
            raise InputError("history", problem, "give frames of the whole domain")
        if layout.is_plain:
            return frame
        fields = {"density": frame.density, "velocity": frame.velocity}
        seen = frame.with_fields({name: field for name, field in fields.items() if field is not None}).torch()
        opened = {name: layout.opened(field) for name, field in seen.fields().items()}
        origin = (
            x if wraps else x - below * frame.cell_size
            for x, wraps, below in zip(frame.origin, layout.periodic, layout.below, strict=True)
        )
        return seen.with_fields(opened).replace(origin=tuple(origin))

    def refined(self, factor: int) -> FrameLayout:
        """The same layout in cells `factor` times finer."""
        shape, start, below, above = (
            tuple(n * factor for n in counts) for counts in (self.shape, self.start, self.below, self.above)
        )
        return FrameLayout(shape, self.periodic, start, below, above)

    def placed(self, block: FieldBlock, factor: int) -> Iterator[FieldBlock]:
        """The parts of a fine `block` of the interior, where they lie in the frame."""
        first = tuple(factor * (a - b) for a, b in zip(self.start, self.below, strict=True))
        box, frame = block.box.moved(first), Box((0,) * len(self.shape), self.shape).scaled(factor)
        copies = ((0, n) if wraps else (0,) for n, wraps in zip(frame.hi, self.periodic, strict=True))
        for copy in itertools.product(*copies):
            part = box.within(frame.moved(copy))
            if part is not None:
                there = part.moved(tuple(-n for n in copy))
                yield FieldBlock(block.name, there, part.relative_to(box).of(block.values))


def _emptiest(profile: Sequence[int]) -> int:
    """The middle of the longest run of the least number in the ring `profile`: the same place however it is rotated."""
    first = _least_rotation(profile)
    rotated = [*profile[first:], *profile[:first]]
    run = next((i for i, value in enumerate(rotated) if value != rotated[0]), 0)
    return (first + run // 2) % len(profile)


def _least_rotation(ring: Sequence[int]) -> int:
    """Where `ring` must begin to be first in lexicographic order (Shiloach 1981): with its longest run of the least.

    Where several places are equal to it, the first.
    """
    n, i, j, same = len(ring), 0, 1, 0
    while i < n and j < n and same < n:
        a, b = ring[(i + same) % n], ring[(j + same) % n]
        if a == b:
            same += 1
            continue
        if a > b:
            i += same + 1
        else:
            j += same + 1
        j += i == j
        same = 0
    return min(i, j)
