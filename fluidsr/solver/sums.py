"""Sums over a grid that are the same to the last bit on every run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from fluidsr.solver.state import zeros


@dataclass(frozen=True)
class Norms:
    """Norms of a right-hand side (m/s): Euclidean and greatest; and the greatest face speed met while computing
    it."""

    l2: float
    greatest: float
    max_speed: float = 0.0


class Sums:
    """Collects what kernels sum up in float64 part by part, some numbers (`columns`) for each part; adding the parts
    in a fixed order gives the same bits on every run, whatever thread did which part."""

    def __init__(self, parts: int, device: str, columns: int = 3) -> None:
        self.buffer = zeros(columns * parts, device, torch.float64)
        self.parts, self.columns = parts, columns

    def sum(self) -> float:
        """The sum of the first number of each part."""
        return float(self._columns()[0].sum())

    def totals(self) -> list[float]:
        """The sum of each of the numbers of a part."""
        return [float(column.sum()) for column in self._columns()]

    def norms(self) -> Norms:
        """The norms of parts that hold (sum of squares, greatest magnitude, greatest speed)."""
        squares, greatest, speed = self._columns()
        return Norms(float(np.sqrt(squares.sum())), float(greatest.max()), float(speed.max()))

    def _columns(self) -> np.ndarray:
        return np.ascontiguousarray(self.buffer.cpu().numpy().reshape(self.parts, self.columns).T)
