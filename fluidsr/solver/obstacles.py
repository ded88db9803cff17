"""Where the fluid is: face weights of the pressure equation, and what moving solids do to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fluidsr.solver.geometry import Terrain
from fluidsr.solver.grid import Grid
from fluidsr.solver.setup import Obstacle


@dataclass(frozen=True)
class Geometry:
    """Obstacles on a grid at one moment.

    `fluid [nx, ny, nz]`: whether a cell holds fluid, at least in part. `weights`: for each axis the share of
    every face that fluid can flow through, in [0, 1], float32; 0 on closed faces of the domain, in solids, and
    wherever a thin solid stands between two cells. `pockets`: flat indices of the cells of each body of fluid
    that touches no open face, where pressure is known up to a constant.

    Where obstacles move (None elsewhere): `solid_velocity`, m/s, for each axis the speed of the nearest solid
    at every face near one, 0 further off; `wall_flux [nx, ny, nz]`, m/s, what solids push out of a cell: the
    sum over its faces of (1 - weight) * solid velocity * outward sign, so that a cell's divergence is the sum
    of weight * velocity * sign, plus `wall_flux`.
    """

    fluid: np.ndarray
    weights: tuple[np.ndarray, np.ndarray, np.ndarray]
    pockets: tuple[np.ndarray, ...]
    wall_flux: np.ndarray | None = None
    solid_velocity: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    @staticmethod
    def of(grid: Grid, obstacles: Sequence[Obstacle], time: float = 0.0) -> Geometry:
        """Of obstacles where they are at `time` (s). Raises InputError where no fluid is left."""
        return Geometry.at_present(Terrain(grid, obstacles, time))

    @staticmethod
    def at_present(terrain: Terrain) -> Geometry:
        """Of `terrain` as it is; shares its arrays, which its next move changes."""
        return Geometry(
            terrain.fluid, terrain.weights, terrain.pockets, terrain.wall_flux, terrain.solid_velocity
        )
