"""History: the smoke of earlier frames, advected to the present on the fine grid along the coarse flow.

The backward flow map over a few frames is smooth, so it is traced on the coarse grid and interpolated. An earlier
density, sampled through this map, shows the sheets and rolls that the flow has formed since, finer than any coarse
frame can show them (Tessendorf and Pelfrey 2011, *The Characteristic Map for Fast and Efficient VFX Fluid
Simulations*).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fluidsr.models.resample import downsample, upsample
from fluidsr.models.trace import centres, grid_sample, sample

_INTERPOLATED = 2  # coarse cells that cubic interpolation reads around a cell
# Coarse cells around the displaced cell centers: half a cell, the overshoot of interpolated displacements, and what
# interpolation reads.
_MARGIN = _INTERPOLATED + 2
# The tolerated difference between advected and present density: a share of the density, plus a density.
_TOLERANCE, _LITTLE = 0.4, 0.02
_PER_READ = 3  # memory of one read by interpolation, in numbers per value
_LEAST_PART = 4  # coarse cells; the margins of smaller parts cost more than splitting saves
# Coarse cells around a cell that downsampling a field and interpolating the result read.
_FILTERED = _INTERPOLATED + 1
HISTORY_REACH = _FILTERED + _MARGIN  # detail depends on coarse cells this far from where its smoke came from


def trace_back(velocities: Sequence[Tensor], ages: Sequence[int]) -> Tensor:
    """The displacements from each cell's center to where its contents were `ages` frames ago: `[A, d, *S]`, in coarse
    cells.

    `velocities`: `[d, *S]` each, in coarse cells per frame, of the present frame, the one before it, and so on. The
    path follows the midpoint rule with one step per frame and the mean of the velocities at its two ends; beyond the
    border the outermost value is repeated. An age needs `age + 1` velocities; without them its displacements are NaN.
    """
    origin = centres(velocities[0].shape[1:], velocities[0])
    place, traced = origin, {0: origin}
    for step in range(min(max(ages, default=0), len(velocities) - 1)):
        velocity = 0.5 * (velocities[step] + velocities[step + 1])
        middle = place - 0.5 * sample(velocity, place)
        place = place - sample(velocity, middle)
        traced[step + 1] = place
    unknown = torch.full_like(origin, torch.nan)
    return torch.stack([traced.get(age, unknown) - origin for age in ages])


@dataclass(frozen=True)
class History:
    """The earlier frames of one frame.

    Attributes:
        present: `[*S]`, the frame's density.
        earlier: `[A, *S]`, the density of some earlier frames.
        displacement: `[A, d, *S]`, by `trace_back`; NaN if the earlier frame is unknown.
        offset: the cell of these arrays that is cell 0 of the frame.
    """

    present: Tensor
    earlier: Tensor
    displacement: Tensor
    offset: tuple[int, ...]

    @classmethod
    def of(
        cls,
        frames: Sequence[Tensor],
        ages: Sequence[int],
        *,
        displacement: Tensor | None = None,
        offset: tuple[int, ...] = (),
    ) -> History:
        """The history of the first of `frames`.

        Args:
            frames: `[1 + d, *S]` each (density, velocity in cells per frame): the present frame, the one before it, and
                so on. Missing frames are unknown.
            ages: how many frames ago the earlier frames are.
            displacement: that of these frames, if it has been computed already.
            offset: see the class; zeros by default.
        """
        earlier = [frames[age][0] if age < len(frames) else torch.zeros_like(frames[0][0]) for age in ages]
        if displacement is None:
            displacement = trace_back([frame[1:] for frame in frames], ages)
        return cls(frames[0][0], torch.stack(earlier), displacement, offset or (0,) * (frames[0].dim() - 1))

    def detail(
        self, low: Sequence[int], high: Sequence[int], factor: int, max_bytes: float = math.inf
    ) -> Tensor:
        """The detail of advected smoke that the coarse grid cannot represent: `[A, *((high - low) * factor)]`.

        Adding it to the interpolation of a coarse density nearly preserves the coarse density. It is 0 if the earlier
        frame is unknown, and small where the advected smoke differs from the present one: near sources, and where clear
        air has entered the domain.

        Args:
            low, high: first cell and one past the last of the frame, for each axis.
            factor: fine cells along a coarse one.
            max_bytes: limit for the memory besides the result. The box is split to respect it, but not into parts of
                fewer than a few cells.
        """
        low, high = ([n + shift for n, shift in zip(ends, self.offset, strict=True)] for ends in (low, high))
        fine = [(b - a) * factor for a, b in zip(low, high, strict=True)]
        detail = torch.zeros(len(self.earlier), *fine, device=self.earlier.device)
        for a, b in self._parts(low, high, factor, max_bytes):
            inside = (slice((x - n) * factor, (y - n) * factor) for x, y, n in zip(a, b, low, strict=True))
            window = slice(None), *inside
            self._add_detail(detail[window], a, b, factor)
        return detail

    def _parts(
        self, low: Sequence[int], high: Sequence[int], factor: int, max_bytes: float
    ) -> Iterator[tuple[Sequence[int], Sequence[int]]]:
        """Split the box from `low` up to but excluding `high` into boxes that are small enough for `max_bytes`."""
        if max_bytes == math.inf or self._bytes_made(low, high, factor) <= max_bytes:
            yield low, high
            return
        axis = max(range(len(low)), key=lambda n: high[n] - low[n])
        middle = (low[axis] + high[axis]) // 2
        if high[axis] - low[axis] < 2 * _LEAST_PART:
            yield low, high
            return
        yield from self._parts(low, [*high[:axis], middle, *high[axis + 1 :]], factor, max_bytes)
        yield from self._parts([*low[:axis], middle, *low[axis + 1 :]], high, factor, max_bytes)

    def _bytes_made(self, low: Sequence[int], high: Sequence[int], factor: int) -> int:
        """The peak memory, in bytes, of `_add_detail` for one age."""
        shape = self.earlier.shape[1:]
        start = [max(0, a - _FILTERED) for a in low]
        end = [min(n, b + _FILTERED) for b, n in zip(high, shape, strict=True)]
        cells = math.prod(b - a + 2 * _INTERPOLATED for a, b in zip(start, end, strict=True))
        read = [
            math.prod(b - a for a, b in zip(*_source(displacement, start, end), strict=True))
            for displacement in self.displacement
            if not displacement.isnan().any()
        ]
        numbers = (2 * len(shape) + 2) * cells + _PER_READ * max(read, default=0)
        return 4 * factor ** len(shape) * numbers

    def _add_detail(self, detail: Tensor, low: Sequence[int], high: Sequence[int], factor: int) -> None:
        """Write the detail of the cells from `low` up to but excluding `high`, in these arrays, to `detail`."""
        shape = self.earlier.shape[1:]
        start = [max(0, a - _FILTERED) for a in low]
        end = [min(n, b + _FILTERED) for b, n in zip(high, shape, strict=True)]
        inner = tuple(
            slice((a - s) * factor, (b - s) * factor) for a, b, s in zip(low, high, start, strict=True)
        )
        box = tuple(slice(a, b) for a, b in zip(start, end, strict=True))
        for values, earlier, displacement in zip(detail, self.earlier, self.displacement, strict=True):
            if displacement.isnan().any():
                continue
            carried = _carried(earlier, displacement, start, end, factor)[None, None]
            downsampled = downsample(carried, factor)
            trust = upsample(_trust(downsampled, self.present[box][None, None]), factor, "linear")
            values.copy_((trust * (carried - upsample(downsampled, factor, "cubic")))[0, 0][inner])


def _trust(carried: Tensor, present: Tensor) -> Tensor:
    """The factor on detail: 1 where the coarse densities agree, 0.5 where they differ by 0.4 of their mean, smaller for
    larger differences."""
    scale = _TOLERANCE * (carried + present).abs() / 2 + _LITTLE
    return 1 / (1 + ((carried - present) / scale) ** 2)


def _carried(
    density: Tensor, displacement: Tensor, start: Sequence[int], end: Sequence[int], factor: int
) -> Tensor:
    """The `density [*S]`, interpolated at the positions that the cells from `start` up to but excluding `end` came
    from, at `factor` times the resolution: `[*((end - start) * factor)]`.

    Outside the domain the value at its border is used, because a flow that is known at cell centers only may seem to
    come through a closed floor.
    """
    shape = density.shape
    near = [max(0, a - _INTERPOLATED) for a in start]
    window = (
        slice(None),
        *(slice(a, min(n, b + _INTERPOLATED)) for a, b, n in zip(near, end, shape, strict=True)),
    )
    inner = (
        slice(None),
        *(slice((a - n) * factor, (b - n) * factor) for a, b, n in zip(start, end, near, strict=True)),
    )
    moved = displacement[window]
    first, last = _source(displacement, start, end)
    part = density[tuple(slice(a, b) for a, b in zip(first, last, strict=True))]
    # To grid_sample's coordinates, -1 to 1 over that part, the contiguous axis first; scaled before it is upsampled.
    scale = torch.tensor([2 / n for n in part.shape]).view(-1, *(1,) * len(shape)).to(moved)
    grid = upsample((moved * scale).flip(0)[None], factor, "cubic")[0][inner]
    for axis, (a, b, origin, n) in enumerate(zip(start, end, first, part.shape, strict=True)):
        cells = torch.arange((b - a) * factor, device=grid.device)
        position = 2 * ((cells + 0.5) / factor + a - origin) / n - 1
        grid[-1 - axis] += position.view(-1, *(1,) * (len(shape) - 1 - axis))
    fine = upsample(part[None, None], factor, "cubic")[0]
    return grid_sample(fine, grid, "border")[0]


def _source(displacement: Tensor, start: Sequence[int], end: Sequence[int]) -> tuple[list[int], list[int]]:
    """The part of the earlier density that the cells from `start` up to but excluding `end` came from, including what
    interpolation reads around it: its first cell and one past the last, for each axis."""
    shape = displacement.shape[1:]
    near = [max(0, a - _INTERPOLATED) for a in start]
    inside = (slice(a, min(n, b + _INTERPOLATED)) for a, b, n in zip(near, end, shape, strict=True))
    window = slice(None), *inside
    moved = displacement[window]
    # Interpolated displacements may overshoot by less than a cell, which _MARGIN includes.
    places = (
        moved + centres(moved.shape[1:], moved) + torch.tensor(near).view(-1, *(1,) * len(shape)).to(moved)
    )
    lowest = (places.flatten(1).amin(1).floor().int() - _MARGIN).tolist()
    highest = (places.flatten(1).amax(1).ceil().int() + _MARGIN + 1).tolist()
    first = [min(max(0, a), n - 1) for a, n in zip(lowest, shape, strict=True)]
    last = [max(min(n, b), a + 1) for b, n, a in zip(highest, shape, first, strict=True)]
    return first, last
