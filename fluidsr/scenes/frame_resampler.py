"""FrameResampler: the fields of one frame on the cells of another grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fluidsr.frame import Frame


class FrameResampler:
    """Resamples scalar fields from the cells of `frame` to a grid of `shape` cells of edge `cell_size` (m) with its
    lower corner at `origin` (m), axis by axis.

    Linear interpolation, after averaging over whole cells where the grid's are at least twice as large; equal
    cells are copied. Beyond the faces of the frame's outermost cells the value is `outside`.
    """

    def __init__(self, frame: Frame, shape: Sequence[int], cell_size: float, origin: Sequence[float]) -> None:
        self.block = max(1, int(cell_size / frame.cell_size + 1e-6))
        step = self.block * frame.cell_size
        self.axes = []
        for n, corner, first, cells in zip(frame.shape, frame.origin, origin, shape, strict=True):
            count = -(-n // self.block)
            position = ((np.arange(cells) + 0.5) * cell_size + first - corner) / step - 0.5
            nearest = np.round(position)  # equal cells are exactly equal, whatever rounding says
            position = np.where(np.abs(position - nearest) < 1e-4, nearest, position)
            inside = (position > -0.5 - 1e-4) & (position < count - 0.5 + 1e-4)
            position = np.clip(position, 0, count - 1)
            low = np.minimum(np.floor(position).astype(int), count - 1)
            self.axes.append(
                (low, np.minimum(low + 1, count - 1), (position - low).astype(np.float32), inside)
            )

    def __call__(self, field: Any, outside: float = 0.0) -> np.ndarray:
        values = self._averaged(np.asarray(field, np.float32), outside)
        for axis, (low, high, share, inside) in enumerate(self.axes):
            along = tuple(-1 if a == axis else 1 for a in range(values.ndim))
            a, b = np.take(values, low, axis), np.take(values, high, axis)
            values = a + share.reshape(along) * (b - a)
            values = np.where(inside.reshape(along), values, np.float32(outside))
        return np.ascontiguousarray(values, np.float32)

    def _averaged(self, field: np.ndarray, outside: float) -> np.ndarray:
        if self.block == 1:
            return field
        k = self.block
        padded = np.pad(field, [(0, -n % k) for n in field.shape], constant_values=outside)
        split = padded.reshape([size for n in padded.shape for size in (n // k, k)])
        return np.asarray(split.mean(axis=tuple(range(1, split.ndim, 2))), np.float32)
