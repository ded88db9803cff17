"""Whether the two sides of a foreign pair show the same smoke: what a wrong pairing, scale or place betrays."""

from __future__ import annotations

import numpy as np

_ALIKE = 0.5  # coupled coarse simulations were seen at 0.9 and more, sides of two scenes below 0.3
_SAME_AMOUNT = 1.5


class Likeness:
    """Compares coarse densities with fine ones, averaged over the coarse cells, frame by frame."""

    def __init__(self, factor: int) -> None:
        self._factor = factor
        self._sums = np.zeros(6)  # of 1, a, b, a², b², ab

    def add(self, low: np.ndarray, high: np.ndarray) -> None:
        """Count a frame: `low [*S]` and `high [*(S * factor)]`."""
        blocks: list[int] = []
        for n in low.shape:
            blocks += [n, self._factor]
        a = low.astype(np.float64)
        b = (
            high.astype(np.float32)
            .reshape(blocks)
            .mean(axis=tuple(range(1, len(blocks), 2)), dtype=np.float64)
        )
        self._sums += [a.size, a.sum(), b.sum(), (a * a).sum(), (b * b).sum(), (a * b).sum()]

    @property
    def correlation(self) -> float:
        """Of both densities, over all cells and frames; 0 where one of them is the same everywhere."""
        n, a, b, aa, bb, ab = self._sums
        spread = (aa - a * a / n) * (bb - b * b / n)
        return float((ab - a * b / n) / np.sqrt(spread)) if spread > 0 else 0.0

    @property
    def amount(self) -> float:
        """Smoke of the coarse side over that of the fine one."""
        return float(self._sums[1] / self._sums[2]) if self._sums[2] > 0 else np.inf

    def doubt(self) -> str | None:
        """A sentence for the user where the sides hardly belong together."""
        if self.correlation < _ALIKE:
            by = f"{self.correlation:.2f}"
            return f"its sides show different smoke (they correlate by {by}): do they belong together?"
        if not 1 / _SAME_AMOUNT < self.amount < _SAME_AMOUNT:
            return f"its coarse side holds {self.amount:.3g} times the smoke of the fine one: are they of one scale?"
        return None
