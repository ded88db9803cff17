"""Where a patch lies, and how it is cut out of both sides of a pair in the same way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fluidsr.dataset.affine import Affine
from fluidsr.dataset.augment import Symmetry


class Crop(Protocol):
    """`low [1 + d, *S]` (density, then velocity in coarse cells per frame) and `high [*(S * factor)]` (density)
    to patches of the same place, seen in the same way."""

    def low(self, fields: np.ndarray) -> np.ndarray: ...
    def high(self, density: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Straight:
    """Whole cells from `corner` on, under an exact symmetry of the grid: nothing is resampled."""

    corner: tuple[int, ...]
    tile: int
    factor: int
    symmetry: Symmetry

    def low(self, fields: np.ndarray) -> np.ndarray:
        """`[1 + d, tile, ...]`."""
        window = (slice(None), *(slice(c, c + self.tile) for c in self.corner))
        patch = fields[window]
        return np.concatenate([self.symmetry.scalar(patch[:1]), self.symmetry.vector(patch[1:])])

    def high(self, density: np.ndarray) -> np.ndarray:
        """`[tile * factor, ...]`."""
        window = tuple(slice(c * self.factor, (c + self.tile) * self.factor) for c in self.corner)
        return self.symmetry.scalar(density[window])


@dataclass(frozen=True)
class Turned:
    """A patch around `centre` (in coarse cells), turned and scaled. Density stays at or above 0, where splines
    swing below it."""

    centre: tuple[float, ...]
    tile: int
    factor: int
    affine: Affine

    def low(self, fields: np.ndarray) -> np.ndarray:
        """`[1 + d, tile, ...]`."""
        density = self.affine.scalar(fields[0], self.centre, self.tile)
        return np.concatenate(
            [np.maximum(density, 0)[None], self.affine.vector(fields[1:], self.centre, self.tile)]
        )

    def high(self, density: np.ndarray) -> np.ndarray:
        """`[tile * factor, ...]`."""
        return np.maximum(self.affine.scalar(density, self.centre, self.tile, self.factor), 0)


def window_means(field: np.ndarray, tile: int) -> np.ndarray:
    """The mean of `field [*S]` over every window of `tile` cells along each axis: `[*(S - tile + 1)]`,
    float64.

    By running sums (Crow 1984), axis by axis: the cost does not grow with the window.
    """
    total = field.astype(np.float64)
    for axis in range(field.ndim):
        sums = np.cumsum(total, axis=axis)
        upper = np.take(sums, range(tile - 1, field.shape[axis]), axis=axis)
        zero = np.zeros_like(np.take(sums, [0], axis=axis))
        lower = np.concatenate([zero, np.take(sums, range(field.shape[axis] - tile), axis=axis)], axis=axis)
        total = (upper - lower) / tile
    return total
