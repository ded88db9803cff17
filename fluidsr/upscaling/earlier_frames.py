"""Selection of the earlier frames that a generator reads as history, and the grid that they are put on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from fluidsr.frame import Frame
from fluidsr.models.history import History
from fluidsr.upscaling.network_input import NetworkInput, prepare_input

_LATE = 0.1  # tolerance for two frames to be consecutive, in frames
_OFF = 0.01  # tolerance for equal lattices, in cells


def history_of(
    frame: Frame, earlier: Sequence[Frame], ages: Sequence[int], device: torch.device, unit: float = 1.0
) -> History | None:
    """The history of `frame`; None if none of `ages` is known.

    Earlier frames are used, from the last one back, as long as each comes one frame before the next and its cells are
    those of `frame` moved by a whole number of cells. The grid of the history is the smallest that holds all of them,
    but extends no farther than smoke has moved.

    Args:
        frame: the present frame.
        earlier: the frames before it, the last one last.
        ages: how many frames ago the smoke is that the generator reads.
        device: torch device of the result.
        unit: densities are divided by it.

    Raises InputError if a velocity is missing, and for a NaN or an infinity.
    """
    frames, corners = [frame], [(0,) * frame.dim]
    for past in reversed(earlier[-max(ages, default=0) :] if ages else ()):
        corner = corner_of(past, frame)
        if corner is None or not follows(frames[-1], past):
            break
        frames.append(past)
        corners.append(corner)
    if len(frames) <= min(ages, default=1):
        return None
    inputs = [prepare_input(item, 1.0, device, unit=unit) for item in frames]
    reach = _distance(inputs) + 2
    low, high = [], []
    for axis, cells in enumerate(frame.shape):
        starts = [corner[axis] for corner in corners]
        ends = [start + item.shape[axis] for start, item in zip(starts, frames, strict=True)]
        low.append(max(min(starts), -reach))
        high.append(min(max(ends), cells + reach))
    placed = [_placed(item.coarse, corner, low, high) for item, corner in zip(inputs, corners, strict=True)]
    return History.of(placed, ages, offset=tuple(-n for n in low))


def furthest_distance(frames: Sequence[Frame], device: torch.device, unit: float) -> int:
    """The number of coarse cells that smoke can have crossed in `frames`, whose density is divided by `unit`."""
    return _distance([prepare_input(frame, 1.0, device, unit=unit) for frame in frames])


def _distance(inputs: Sequence[NetworkInput]) -> int:
    """Upper bound of the distance, in coarse cells, that smoke moves during these frames."""
    return math.ceil(sum(item.max_speed for item in inputs))


def follows(frame: Frame, past: Frame) -> bool:
    """Whether `frame` is the next frame after `past`, by its time."""
    return abs(frame.time - past.time - past.dt) <= _LATE * past.dt


def corner_of(past: Frame, frame: Frame) -> tuple[int, ...] | None:
    """The position of cell 0 of `past` in cells of `frame`; None if the frames do not share a lattice of cells."""
    if past.dim != frame.dim or abs(past.cell_size / frame.cell_size - 1) > _OFF / max(frame.shape):
        return None
    moved = [(a - b) / frame.cell_size for a, b in zip(past.origin, frame.origin, strict=True)]
    cells = tuple(round(n) for n in moved)
    return cells if all(abs(n - m) < _OFF for n, m in zip(moved, cells, strict=True)) else None


def _placed(coarse: Tensor, corner: Sequence[int], low: Sequence[int], high: Sequence[int]) -> Tensor:
    """Crop or extend `coarse [1 + d, *S]`, with cell 0 at `corner`, to the cells from `low` up to but excluding `high`.
    Outside its own cells density is zero and velocity that of the nearest cell."""
    axes = [
        torch.arange(a - c, b - c, device=coarse.device) for a, b, c in zip(low, high, corner, strict=True)
    ]
    for axis, (index, cells) in enumerate(zip(axes, coarse.shape[1:], strict=True), start=1):
        coarse = coarse.index_select(axis, index.clamp(0, cells - 1))
        outside = (index < 0) | (index >= cells)
        coarse[:1].index_fill_(axis, outside.nonzero()[:, 0], 0.0)
    return coarse
