"""Frames whose ends are joined: at one end of such an axis the generator reads what lies at the other.

The frame is cut open where it holds least, and gets copies of its own other end on both sides. The cut depends on the
density alone, so a frame that is shifted along the axis is opened into the same array, and becomes the same voxels.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.upscaling.tiles import Box, FieldBlock

_STEPS = 2**20  # per unit of density; a sum of whole numbers does not depend on where it begins


@dataclass(frozen=True)
class OpenedFrame:
    """How a frame of `shape` coarse cells is laid out for tiles: cell `start` of each axis comes first, after `margin`
    cells of the other end; both are 0 on axes that are not periodic."""

    shape: tuple[int, ...]
    start: tuple[int, ...]
    margin: tuple[int, ...]

    @classmethod
    def of(cls, density: Tensor, periodic: Sequence[bool], reach: int) -> OpenedFrame:
        """Of `density [*S]`, with `reach` cells on both sides of the `periodic` axes."""
        start, margin = [0] * density.dim(), [0] * density.dim()
        for axis, wraps in enumerate(periodic):
            if wraps:
                others = [other for other in range(density.dim()) if other != axis]
                profile = (density.double() * _STEPS).round().long().sum(others)
                start[axis], margin[axis] = _emptiest(profile.tolist()), reach
        return cls(tuple(density.shape), tuple(start), tuple(margin))

    @property
    def interior(self) -> Box:
        """The cells of the opened array that are to be computed: all of the frame, once."""
        return Box((0,) * len(self.shape), self.shape).moved(self.margin)

    def cells(self, axis: int) -> Tensor:
        """The number that each cell of the opened array has in the frame, along one axis."""
        n, start, margin = self.shape[axis], self.start[axis], self.margin[axis]
        return torch.arange(start - margin, start + n + margin) % n if margin else torch.arange(n)

    def opened(self, array: Tensor) -> Tensor:
        """`array [..., *S]` laid out so."""
        for axis, margin in enumerate(self.margin):
            if margin:
                index = self.cells(axis).to(array.device)
                array = array.index_select(axis - len(self.shape), index)
        return array

    def opened_frame(self, frame: Frame) -> Frame:
        """`frame`, of the same cells, laid out so: its density and velocity. Raises InputError for other cells."""
        if not any(self.margin):
            return frame
        if frame.shape != self.shape:
            problem = f"a frame of {frame.shape} cells does not fit one of {self.shape} whose ends are joined"
            raise InputError("history", problem, "give frames of the whole domain")
        fields = {"density": frame.density, "velocity": frame.velocity}
        seen = frame.with_fields({name: field for name, field in fields.items() if field is not None}).torch()
        return seen.with_fields({name: self.opened(field) for name, field in seen.fields().items()})

    def placed(self, block: FieldBlock, factor: int) -> Iterator[FieldBlock]:
        """The parts of a fine `block` of the interior, where they lie in the frame."""
        first = tuple(factor * (a - b) for a, b in zip(self.start, self.margin, strict=True))
        box, frame = block.box.moved(first), Box((0,) * len(self.shape), self.shape).scaled(factor)
        copies = ((0, n) if margin else (0,) for n, margin in zip(frame.hi, self.margin, strict=True))
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
