"""The position of a patch, and how it is cut out of both sides of a pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fluidsr.dataset.augmentation import Affine, Symmetry
from fluidsr.dataset.frame_cache import CachedFrames
from fluidsr.dataset.source import PairedSimulation


class Crop(Protocol):
    """The same region of both sides of a pair in consecutive frames, under the same transform."""

    def coarse(
        self, frames: CachedFrames, simulation: PairedSimulation, first: int, count: int
    ) -> np.ndarray: ...
    def fine(
        self, frames: CachedFrames, simulation: PairedSimulation, first: int, count: int
    ) -> np.ndarray: ...


@dataclass(frozen=True)
class AxisAlignedCrop:
    """`tile` whole cells from `corner` on, under an exact symmetry of the grid; nothing is resampled."""

    corner: tuple[int, ...]
    tile: int
    factor: int
    symmetry: Symmetry

    def coarse(
        self, frames: CachedFrames, simulation: PairedSimulation, first: int, count: int
    ) -> np.ndarray:
        """`[count, 1 + d, tile, ...]`: density, then velocity in coarse cells per frame."""
        window = (slice(None), *(slice(c, c + self.tile) for c in self.corner))
        patches = np.stack([frames.coarse(simulation, first + t)[window] for t in range(count)])
        return np.concatenate(
            [self.symmetry.scalar(patches[:, :1]), self.symmetry.vector(patches[:, 1:])], axis=1
        )

    def fine(self, frames: CachedFrames, simulation: PairedSimulation, first: int, count: int) -> np.ndarray:
        """`[count, tile * factor, ...]`: density."""
        window = tuple(slice(c * self.factor, (c + self.tile) * self.factor) for c in self.corner)
        return self.symmetry.scalar(
            np.stack([frames.fine(simulation, first + t)[window] for t in range(count)])
        )

    def history(
        self,
        frames: CachedFrames,
        simulation: PairedSimulation,
        first: int,
        count: int,
        ages: tuple[int, ...],
        known: int,
    ) -> np.ndarray:
        """Detail of smoke that is carried from earlier frames: `[count, len(ages), tile * factor, ...]`.

        Args:
            frames: reads the simulation.
            simulation: the simulation.
            first: the first frame.
            count: number of frames.
            ages: how many frames ago the smoke is taken.
            known: the most frames before a frame that are known; detail of older ones is 0.
        """
        upper = [c + self.tile for c in self.corner]
        details = [
            frames.history(simulation, first + t, ages, known).detail(self.corner, upper, self.factor)
            for t in range(count)
        ]
        return self.symmetry.scalar(np.stack([detail.numpy() for detail in details]))


@dataclass(frozen=True)
class AffineCrop:
    """A patch around `centre` (in coarse cells), rotated and scaled. Density is at least 0; splines may
    undershoot it.
    """

    centre: tuple[float, ...]
    tile: int
    factor: int
    affine: Affine

    def coarse(
        self, frames: CachedFrames, simulation: PairedSimulation, first: int, count: int
    ) -> np.ndarray:
        """`[count, 1 + d, tile, ...]`: density, then velocity in coarse cells per frame."""
        splines = [field for t in range(count) for field in frames.coarse_spline(simulation, first + t)]
        resampled = self.affine.resample(splines, self.centre, self.tile)
        resampled = resampled.reshape(count, -1, *resampled.shape[1:])
        return np.concatenate(
            [np.maximum(resampled[:, :1], 0), self.affine.transform_vectors(resampled[:, 1:])], axis=1
        )

    def fine(self, frames: CachedFrames, simulation: PairedSimulation, first: int, count: int) -> np.ndarray:
        """`[count, tile * factor, ...]`: density."""
        splines = [frames.fine_spline(simulation, first + t) for t in range(count)]
        return np.maximum(self.affine.resample(splines, self.centre, self.tile, self.factor), 0)

    def density(self, frames: CachedFrames, simulation: PairedSimulation, index: int) -> float:
        """The mean coarse density of one frame."""
        spline = frames.coarse_spline(simulation, index)[0]
        resampled = np.maximum(self.affine.resample([spline], self.centre, self.tile), 0)
        return float(resampled.mean(dtype=np.float64))


def window_means(field: np.ndarray, tile: int) -> np.ndarray:
    """The mean of `field [*S]` over every window of `tile` cells along each axis: `[*(S - tile + 1)]`, float64.

    It uses running sums along each axis (Crow 1984), so the cost does not grow with the window.
    """
    total = field.astype(np.float64)
    for axis in range(field.ndim):
        sums = np.cumsum(total, axis=axis)
        upper = np.take(sums, range(tile - 1, field.shape[axis]), axis=axis)
        zero = np.zeros_like(np.take(sums, [0], axis=axis))
        lower = np.concatenate([zero, np.take(sums, range(field.shape[axis] - tile), axis=axis)], axis=axis)
        total = (upper - lower) / tile
    return total
