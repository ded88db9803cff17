"""The positions of obstacles at a time, and the share of each cell that they fill."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fluidsr.solver.cell_boxes import Box, chunks
from fluidsr.solver.grid import Grid
from fluidsr.solver.setup import Obstacle
from fluidsr.solver.shapes import Shape, coverage, positions

CHUNK = 1 << 20  # cells updated at once, which bounds the temporary arrays


@dataclass(frozen=True)
class Body:
    """An obstacle (or its image beyond a periodic face) at one moment."""

    shape: Shape
    velocity: tuple[float, ...]  # m/s
    box: Box  # of the cells that it may touch, not cut to the grid
    moves: bool


class SolidFraction:
    """The share of each cell that obstacles fill, on a grid `factor` times finer than `grid`, window by window."""

    def __init__(self, grid: Grid, obstacles: Sequence[Obstacle], factor: int) -> None:
        self._grid, self._obstacles, self._factor = grid, obstacles, factor
        self._time: float | None = None
        self._bodies: list[Body] = []

    def at(self, time: float) -> Callable[[Any], np.ndarray]:
        """`of` at `time` (s), as a function of a box of fine cells with the attributes `lo` and `hi`."""
        return lambda box: self.of(time, box.lo, box.hi)

    def of(self, time: float, low: Sequence[int], high: Sequence[int]) -> np.ndarray:
        """The solid share, in [0, 1], of the fine cells from `low` up to but excluding `high` (one index per axis) at
        `time` (s). Returns a new float32 array."""
        if time != self._time:
            self._time, self._bodies = time, bodies_at(time, self._grid, self._obstacles)
        window = (*zip(low, high, strict=True), *((0, 1),) * (3 - self._grid.dim))
        share = fraction_in(self._bodies, self._grid, window, self._factor)
        return share.reshape(share.shape[: self._grid.dim])


def bodies_at(time: float, grid: Grid, obstacles: Sequence[Obstacle]) -> list[Body]:
    """All obstacles at their positions at `time` (s), with their images across periodic axes; those that do not touch
    the grid are left out."""
    bodies = []
    for obstacle in obstacles:
        at, velocity = (0.0,) * grid.dim, (0.0,) * grid.dim
        if obstacle.motion is not None:
            at, velocity = obstacle.motion.offset(time), obstacle.motion.velocity(time)
        moved = tuple(c + o for c, o in zip(obstacle.shape.center, at, strict=True))
        for shape in replace(obstacle.shape, center=moved).images(grid.periods):
            box = tuple(
                (int(np.floor((c - reach) / grid.cell_size)), int(np.ceil((c + reach) / grid.cell_size)))
                for axis, c in enumerate(shape.center)
                for reach in (shape.half_extent(axis) + 1.5 * grid.cell_size,)
            )
            box += ((0, 1),) * (3 - grid.dim)
            if all(a < n and b > 0 for (a, b), n in zip(box, grid.cells, strict=True)):
                bodies.append(Body(shape, velocity, box, obstacle.motion is not None))
    return bodies


def fraction_in(
    bodies: Sequence[Body], grid: Grid, window: Sequence[tuple[int, int]], factor: int = 1
) -> np.ndarray:
    """The share of each cell of `window` that `bodies` fill, float32; surfaces are smoothed over one cell.

    `window`: (first, end) along three axes, of cells `factor` times finer than those of `grid`.
    """
    share, h = np.zeros([hi - lo for lo, hi in window], np.float32), grid.cell_size / factor
    scale = [factor if axis < grid.dim else 1 for axis in range(3)]
    for body in bodies:
        common = tuple(
            (max(a * k, c), min(b * k, d)) for (a, b), (c, d), k in zip(body.box, window, scale, strict=True)
        )
        if any(lo >= hi for lo, hi in common):
            continue
        for box in chunks(common, CHUNK):
            counts = tuple(hi - lo for lo, hi in box[: grid.dim])
            at = positions(counts, (0.5,) * grid.dim, h, tuple(lo for lo, _ in box))
            part = coverage(body.shape.signed_distance(*at), h)
            inside = share[tuple(slice(lo - c, hi - c) for (lo, hi), (c, _) in zip(box, window, strict=True))]
            np.maximum(inside, part.reshape(inside.shape), out=inside)
    return share
