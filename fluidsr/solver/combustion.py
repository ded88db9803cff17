"""Combustion: burning fuel produces heat, smoke and volume."""

import math

import numpy as np
import taichi as ti
import torch

from fluidsr.solver.geometry import Geometry
from fluidsr.solver.grid import Grid
from fluidsr.solver.launch import kernel
from fluidsr.solver.sampling import F32
from fluidsr.solver.setup import Combustion
from fluidsr.solver.state import State, zeros


@kernel
def burn(
    fuel: F32, density: F32, temperature: F32, outflow: F32, limit: ti.f32, coldest: ti.f32, smoke: ti.f32,
    heat: ti.f32, volume: ti.f32, expands: ti.template(),
):  # fmt: skip
    """Burn at most `limit` of the fuel of each cell that is not colder than `coldest`. If gas `expands`, `outflow`
    becomes `volume` times the burnt fuel. Moves 4 bytes per cell without fuel, 24 (28) per burning cell."""
    for q in range(fuel.shape[0]):
        burnt = ti.min(fuel[q], limit)
        if burnt > 0.0 and temperature[q] < coldest:
            burnt = 0.0
        if burnt > 0.0:
            fuel[q] -= burnt
            density[q] += smoke * burnt
            temperature[q] += heat * burnt
        if ti.static(expands):
            outflow[q] = volume * burnt


class Fire:
    """Burns the fuel of one grid.

    `outflow` (flat, m/s): the flux, summed over a cell's faces, that expanding gas drives out of each cell at present;
    None if burning produces no volume.
    """

    def __init__(self, grid: Grid, combustion: Combustion, geometry: Geometry, device: str) -> None:
        self.combustion, self.cell_size, self.device = combustion, grid.cell_size, device
        self.outflow = zeros(math.prod(grid.cells), device) if combustion.expansion else None
        self.update(geometry)

    def update(self, geometry: Geometry) -> None:
        """Change the geometry. No gas expands in its solids and nozzles."""
        self._shut = torch.from_numpy(np.flatnonzero(~geometry.fluid)).to(self.device)

    def burn(self, state: State, seconds: float) -> None:
        """Burn the fuel of `state` in place for `seconds`.

        In cells that are at least as hot as `ignition`, fuel decreases by `burn_rate` * seconds, but not below 0, and
        the burnt amount is converted to temperature, density and volume.
        """
        assert state.fuel is not None and state.temperature is not None
        c, outflow = self.combustion, self.outflow
        volume = c.expansion * self.cell_size / seconds
        burn(
            state.fuel, state.density, state.temperature, state.fuel if outflow is None else outflow,
            c.burn_rate * seconds, c.coldest, c.smoke, c.heat, volume, outflow is not None,
        )  # fmt: skip
        if outflow is not None:
            outflow[self._shut] = 0.0

    def expand(self, state: State, seconds: float) -> None:
        """Set `outflow` to what `burn` for `seconds` would set it to, without burning anything."""
        assert state.fuel is not None and state.temperature is not None
        if self.outflow is not None:
            c = self.combustion
            burnt = state.fuel.clamp(max=c.burn_rate * seconds) * ~(state.temperature < c.coldest)
            self.outflow.copy_(burnt * (c.expansion * self.cell_size / seconds))
            self.outflow[self._shut] = 0.0


def flame_of(fuel: torch.Tensor, temperature: torch.Tensor, coldest: float) -> torch.Tensor:
    """Brightness of the flame, 0 to 1; 0 in cells colder than `coldest`.

    It is the square root of Mantaflow's reaction coordinate, which starts at 1, is advected with the fuel and decreases
    at the same rate: for fuel that started at 1 it equals the fuel.
    """
    return fuel.clamp(max=1.0).sqrt() * ~(temperature < coldest)
