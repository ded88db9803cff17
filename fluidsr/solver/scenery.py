"""The sources and solids of a scene, applied to density that is advected outside the solver, on any grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from fluidsr.solver.geometry import CutCellGrid, Geometry
from fluidsr.solver.grid import Grid
from fluidsr.solver.setup import Obstacle, Source
from fluidsr.solver.sources import Emitter
from fluidsr.solver.state import State, zeros


class Scenery:
    """Emits density and removes it from solids. Velocity and temperature are not affected.

    The grid may be finer than that of the simulation, as sources and their noise are functions of position. Cells that
    a moving solid uncovers are empty.
    """

    def __init__(
        self, grid: Grid, sources: Sequence[Source], obstacles: Sequence[Obstacle], device: str
    ) -> None:
        self._device, self._nothing = device, zeros(0, device)
        cut_cells = CutCellGrid(grid, obstacles, 0.0) if obstacles else None
        self._cut_cells = cut_cells if cut_cells is not None and cut_cells.moves else None
        # Only `fluid` is needed here; the other arrays of the cut cells are freed unless solids move.
        self._air = np.broadcast_to(np.True_, grid.cells) if cut_cells is None else cut_cells.fluid
        self._solid = self._solid_cells()
        self._emitters = [
            Emitter(
                replace(source, velocity=None, temperature=None, fuel=None, inflow=False, inherit=0.0),
                grid,
                self._geometry,
                device,
            )
            for source in sources
            if source.density is not None
        ]

    def apply(self, density: torch.Tensor, start: float, end: float) -> None:
        """Apply a substep from `start` to `end` (s) to the flat `density`, in place, after it has been advected.

        The sources that are active in it emit at their positions at `end`. On return no density is in solids.
        """
        if self._cut_cells is not None:
            self._cut_cells.move(end)
            self._air, self._solid = self._cut_cells.fluid, self._solid_cells()
        if self._solid is not None:
            density[self._solid] = 0.0
        state = State(density, None, (self._nothing, self._nothing, self._nothing), start)
        for emitter in self._emitters:
            if emitter.active(start, end) and (self._cut_cells is not None or emitter.moves):
                emitter.place(self._geometry, end)
            emitter.emit(state, end - start)

    @property
    def _geometry(self) -> Geometry:
        none = np.empty(0, np.float32)
        return Geometry(self._air, (none, none, none), ())

    def _solid_cells(self) -> torch.Tensor | None:
        if self._air.all():
            return None
        return torch.from_numpy(np.flatnonzero(~self._air)).to(self._device)
