"""Where a patch lies, and how it is cut out of both sides of a pair in the same way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fluidsr.dataset.augmentation import Affine, Symmetry
from fluidsr.dataset.frame_cache import Frames
from fluidsr.dataset.store import Simulation


class Crop(Protocol):
    """The same place of both sides of a pair, in consecutive frames, seen in the same way."""

    def low(self, frames: Frames, simulation: Simulation, first: int, count: int) -> np.ndarray: ...
    def high(self, frames: Frames, simulation: Simulation, first: int, count: int) -> np.ndarray: ...


@dataclass(frozen=True)
class Straight:
    """Whole cells from `corner` on, under an exact symmetry of the grid: nothing is resampled."""

    corner: tuple[int, ...]
    tile: int
    factor: int
    symmetry: Symmetry

    def low(self, frames: Frames, simulation: Simulation, first: int, count: int) -> np.ndarray:
        """`[count, 1 + d, tile, ...]`: density, then velocity in coarse cells per frame."""
        window = (slice(None), *(slice(c, c + self.tile) for c in self.corner))
        patches = np.stack([frames.low(simulation, first + t)[window] for t in range(count)])
        return np.concatenate(
            [self.symmetry.scalar(patches[:, :1]), self.symmetry.vector(patches[:, 1:])], axis=1
        )

    def high(self, frames: Frames, simulation: Simulation, first: int, count: int) -> np.ndarray:
        """`[count, tile * factor, ...]`: density."""
        window = tuple(slice(c * self.factor, (c + self.tile) * self.factor) for c in self.corner)
        return self.symmetry.scalar(
            np.stack([frames.high(simulation, first + t)[window] for t in range(count)])
        )


@dataclass(frozen=True)
class Turned:
    """A patch around `centre` (in coarse cells), turned and scaled. Density stays at or above 0, where splines
    swing below it."""

    centre: tuple[float, ...]
    tile: int
    factor: int
    affine: Affine

    def low(self, frames: Frames, simulation: Simulation, first: int, count: int) -> np.ndarray:
        """`[count, 1 + d, tile, ...]`: density, then velocity in coarse cells per frame."""
        splines = [field for t in range(count) for field in frames.low_spline(simulation, first + t)]
        seen = self.affine.see(splines, self.centre, self.tile)
        seen = seen.reshape(count, -1, *seen.shape[1:])
        return np.concatenate([np.maximum(seen[:, :1], 0), self.affine.carry(seen[:, 1:])], axis=1)

    def high(self, frames: Frames, simulation: Simulation, first: int, count: int) -> np.ndarray:
        """`[count, tile * factor, ...]`: density."""
        splines = [frames.high_spline(simulation, first + t) for t in range(count)]
        return np.maximum(self.affine.see(splines, self.centre, self.tile, self.factor), 0)

    def density(self, frames: Frames, simulation: Simulation, index: int) -> float:
        """The mean coarse density of one frame."""
        spline = frames.low_spline(simulation, index)[0]
        seen = np.maximum(self.affine.see([spline], self.centre, self.tile), 0)
        return float(seen.mean(dtype=np.float64))


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
