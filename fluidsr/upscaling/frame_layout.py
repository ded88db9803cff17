"""The layout of frames with periodic axes, so that a generator reads the cells of the other end beyond each end.

The frame is cut open where it has the least smoke and extended by copies of the other end on both sides. The cut
depends on the density only, so a frame that is shifted along a periodic axis gives the same array and the same voxels.
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

_STEPS = 2**20  # density is rounded to these steps per unit: sums of integers do not depend on their order


@dataclass(frozen=True)
class FrameLayout:
    """The layout of a frame as an array for tiles.

    Attributes:
        shape: coarse cells of the frame.
        periodic: for each axis.
        start: for each axis the cell that comes first; 0 if it is not periodic.
        reach: for each axis the number of copied cells on both sides; 0 if it is not periodic.
    """

    shape: tuple[int, ...]
    periodic: tuple[bool, ...]
    start: tuple[int, ...]
    reach: tuple[int, ...]

    @classmethod
    def of(cls, density: Tensor, periodic: Sequence[bool], reach: int) -> FrameLayout:
        """The layout of `density [*S]`, with `reach` cells on both sides of the `periodic` axes."""
        start = [0] * density.dim()
        for axis, is_periodic in enumerate(periodic):
            if is_periodic:
                other_axes = [other for other in range(density.dim()) if other != axis]
                profile = (density.double() * _STEPS).round().long().sum(other_axes)
                start[axis] = _emptiest(profile.tolist())
        reaches = tuple(reach if is_periodic else 0 for is_periodic in periodic)
        return cls(tuple(density.shape), tuple(periodic), tuple(start), reaches)

    @property
    def interior(self) -> Box:
        """The cells of the array that are to be computed: each cell of the frame once."""
        return Box((0,) * len(self.shape), self.shape).moved(self.reach)

    def numbers(self, axis: int) -> Tensor:
        """The index in the frame of each cell of the array along one axis."""
        first, count, reach = self.start[axis], self.shape[axis], self.reach[axis]
        return torch.arange(first - reach, first + count + reach) % count

    def opened(self, array: Tensor) -> Tensor:
        """Convert `array [..., *S]` of the frame to this layout."""
        for axis, is_periodic in enumerate(self.periodic):
            if is_periodic:
                array = array.index_select(axis - len(self.shape), self.numbers(axis).to(array.device))
        return array

    def opened_frame(self, frame: Frame) -> Frame:
        """Convert density and velocity of `frame`, this or an earlier one, to this layout. Raises InputError if it has
        another shape."""
        if not any(self.periodic):
            return frame
        if frame.shape != self.shape:
            problem = f"a frame of {frame.shape} cells does not fit one of {self.shape} whose ends are joined"
            raise InputError("history", problem, "give frames of the whole domain")
        fields = {"density": frame.density, "velocity": frame.velocity}
        opened = frame.with_fields(
            {name: field for name, field in fields.items() if field is not None}
        ).torch()
        return opened.with_fields({name: self.opened(field) for name, field in opened.fields().items()})

    def refined(self, factor: int) -> FrameLayout:
        """The same layout for cells `factor` times finer."""
        shape, start, reach = (
            tuple(n * factor for n in counts) for counts in (self.shape, self.start, self.reach)
        )
        return FrameLayout(shape, self.periodic, start, reach)

    def placed(self, block: FieldBlock, factor: int) -> Iterator[FieldBlock]:
        """Split a fine `block` of the interior into parts at their positions in the frame."""
        first = tuple(factor * (a - b) for a, b in zip(self.start, self.reach, strict=True))
        box, frame = block.box.moved(first), Box((0,) * len(self.shape), self.shape).scaled(factor)
        copies = (
            (0, n) if is_periodic else (0,) for n, is_periodic in zip(frame.hi, self.periodic, strict=True)
        )
        for copy in itertools.product(*copies):
            part = box.within(frame.moved(copy))
            if part is not None:
                in_frame = part.moved(tuple(-n for n in copy))
                yield FieldBlock(block.name, in_frame, part.relative_to(box).of(block.values))


def _emptiest(profile: Sequence[int]) -> int:
    """The middle of the longest run of the least number in the ring `profile`: the same cell however it is rotated."""
    first = _least_rotation(profile)
    rotated = [*profile[first:], *profile[:first]]
    run = next((i for i, value in enumerate(rotated) if value != rotated[0]), 0)
    return (first + run // 2) % len(profile)


def _least_rotation(ring: Sequence[int]) -> int:
    """The first index from which `ring` is lexicographically smallest (Shiloach 1981), that is, where it begins with
    its longest run of the least number."""
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
