"""The earlier frames that a generator reads as history: which of them are used, and on what grid."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from fluidsr.frame import Frame
from fluidsr.models.history import History
from fluidsr.upscaling.network_input import NetworkInput, prepare_input

_LATE = 0.1  # of a frame; the tolerance for two frames to be consecutive
_OFF = 0.01  # of a cell; the tolerance for equal lattices


def history_of(
    frame: Frame, earlier: Sequence[Frame], ages: Sequence[int], device: torch.device, unit: float = 1.0
) -> History | None:
    """The History that carries the smoke of `earlier` frames, the last one last, to `frame`; None if none of `ages` is
    known. Densities are divided by `unit`.

    A frame counts where the next one comes a frame's time after it and its cells are the present one's, moved by whole
    cells. The grid is the smallest that holds all of them, no farther than smoke has moved. Raises InputError where a
    velocity is missing, and for a NaN or an infinity.
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
    inputs = [prepare_input(each, 1.0, device, unit=unit) for each in frames]
    reach = _distance(inputs) + 2
    low, high = [], []
    for axis, cells in enumerate(frame.shape):
        starts = [corner[axis] for corner in corners]
        ends = [start + each.shape[axis] for start, each in zip(starts, frames, strict=True)]
        low.append(max(min(starts), -reach))
        high.append(min(max(ends), cells + reach))
    placed = [_placed(each.coarse, corner, low, high) for each, corner in zip(inputs, corners, strict=True)]
    return History.of(placed, ages, offset=tuple(-n for n in low))


def furthest_distance(frames: Sequence[Frame], device: torch.device, unit: float) -> int:
    """The number of coarse cells that smoke can have crossed in `frames`, whose density is divided by `unit`."""
    return _distance([prepare_input(frame, 1.0, device, unit=unit) for frame in frames])


def _distance(inputs: Sequence[NetworkInput]) -> int:
    return math.ceil(sum(each.max_speed for each in inputs))


def follows(frame: Frame, past: Frame) -> bool:
    """Whether `frame` comes a frame's time after `past`."""
    return abs(frame.time - past.time - past.dt) <= _LATE * past.dt


def corner_of(past: Frame, frame: Frame) -> tuple[int, ...] | None:
    """Cell 0 of `past` in cells of `frame`; None where the cells are not the same."""
    if past.dim != frame.dim or abs(past.cell_size / frame.cell_size - 1) > _OFF / max(frame.shape):
        return None
    moved = [(a - b) / frame.cell_size for a, b in zip(past.origin, frame.origin, strict=True)]
    whole = tuple(round(n) for n in moved)
    return whole if all(abs(n - m) < _OFF for n, m in zip(moved, whole, strict=True)) else None


def _placed(coarse: Tensor, corner: Sequence[int], low: Sequence[int], high: Sequence[int]) -> Tensor:
    """`coarse [1 + d, *S]`, whose cell 0 is at `corner`, on the cells from `low` to below `high`: no smoke beyond its
    own, the velocity there that of the nearest cell."""
    axes = [
        torch.arange(a - c, b - c, device=coarse.device) for a, b, c in zip(low, high, corner, strict=True)
    ]
    for axis, (index, cells) in enumerate(zip(axes, coarse.shape[1:], strict=True), start=1):
        coarse = coarse.index_select(axis, index.clamp(0, cells - 1))
        outside = (index < 0) | (index >= cells)
        coarse[:1].index_fill_(axis, outside.nonzero()[:, 0], 0.0)
    return coarse
