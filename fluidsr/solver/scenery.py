"""The sources and solids of a scene on a grid of their own, as smoke that is carried elsewhere meets them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from fluidsr.solver.grid import Grid
from fluidsr.solver.obstacles import Geometry
from fluidsr.solver.setup import Obstacle, Source
from fluidsr.solver.sources import Emitter
from fluidsr.solver.state import State, zeros


class Scenery:
    """Emits density and keeps solids free of it; knows nothing of velocity and heat.

    The grid may be finer than the one that is simulated on: sources and their noise are functions of place.
    """

    def __init__(
        self, grid: Grid, sources: Sequence[Source], obstacles: Sequence[Obstacle], device: str
    ) -> None:
        geometry = Geometry.of(grid, obstacles)
        solid = np.flatnonzero(~geometry.fluid.reshape(-1))
        self._solid = torch.from_numpy(solid).to(device) if solid.size else None
        self._nothing = zeros(0, device)
        self._emitters = [
            Emitter(replace(source, velocity=None, temperature=None), grid, geometry, device)
            for source in sources
            if source.density is not None
        ]

    def apply(self, density: torch.Tensor, start: float, end: float) -> None:
        """What happens to the flat `density` (in place) in a substep from `start` to `end` (s), after it has been
        carried along: it is emitted as at the start, and none is left in solids."""
        if self._solid is not None:
            density[self._solid] = 0.0
        none = self._nothing
        for emitter in self._emitters:
            emitter.emit(State(density, none, (none, none, none), start))
