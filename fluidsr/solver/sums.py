"""Sums over a grid that are the same to the last bit on every run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from fluidsr.solver.state import zeros


@dataclass(frozen=True)
class Norms:
    """The norms of a right-hand side (m/s), `l2` and `greatest` magnitude, and the greatest face speed on the way."""

    l2: float
    greatest: float
    max_speed: float = 0.0


class Sums:
    """Adds up partial sums that a kernel writes to `buffer`, float64 `[parts, columns]`, in a fixed order. The result
    is the same to the last bit whichever thread computed which part."""

    def __init__(self, parts: int, device: str, columns: int = 3) -> None:
        self.buffer = zeros(columns * parts, device, torch.float64)
        self.parts, self.columns = parts, columns

    def sum(self) -> float:
        """The sum of the first column."""
        return float(self._columns()[0].sum())

    def totals(self) -> list[float]:
        """The sum of each column."""
        return [float(column.sum()) for column in self._columns()]

    def norms(self) -> Norms:
        """The norms, if the columns are (sum of squares, greatest magnitude, greatest speed)."""
        squares, greatest, speed = self._columns()
        return Norms(float(np.sqrt(squares.sum())), float(greatest.max()), float(speed.max()))

    def _columns(self) -> np.ndarray:
        return np.ascontiguousarray(self.buffer.cpu().numpy().reshape(self.parts, self.columns).T)
