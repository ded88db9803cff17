"""Fire: fuel that burns gives heat, smoke and volume."""

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
    fuel: F32, density: F32, temperature: F32, made: F32, most: ti.f32, coldest: ti.f32, smoke: ti.f32, heat: ti.f32,
    volume: ti.f32, expands: ti.template(),
):  # fmt: skip
    """Burn at most `most` of the fuel of each cell that is not colder than `coldest`; `made` becomes `volume` for each
    unit of it, where it `expands`. 4 bytes a cell where there is no fuel, 24 (28) where some burns."""
    for q in range(fuel.shape[0]):
        burnt = ti.min(fuel[q], most)
        if burnt > 0.0 and temperature[q] < coldest:
            burnt = 0.0
        if burnt > 0.0:
            fuel[q] -= burnt
            density[q] += smoke * burnt
            temperature[q] += heat * burnt
        if ti.static(expands):
            made[q] = volume * burnt


class Fire:
    """Burns the fuel of one grid. `made`: what its gas pushes out of each cell at present, flat, m/s (the sum over the
    cell's faces); None where burning makes no volume."""

    def __init__(self, grid: Grid, combustion: Combustion, geometry: Geometry, device: str) -> None:
        self.combustion, self.cell_size, self.device = combustion, grid.cell_size, device
        self.made = zeros(math.prod(grid.cells), device) if combustion.expansion else None
        self.update(geometry)

    def update(self, geometry: Geometry) -> None:
        """Nothing pushes out of the solids and nozzles of `geometry` from now on."""
        self._shut = torch.from_numpy(np.flatnonzero(~geometry.fluid)).to(self.device)

    def burn(self, state: State, seconds: float) -> None:
        """Burn for `seconds`: where it is as hot as `ignition` asks for, fuel falls by `burn_rate` * seconds, to 0 at
        the least, and of what is burnt temperature, density and volume are made. What a cell's fuel, its heat and its
        smoke have in all is kept."""
        assert state.fuel is not None and state.temperature is not None
        c, made = self.combustion, self.made
        volume = c.expansion * self.cell_size / seconds
        burn(
            state.fuel, state.density, state.temperature, state.fuel if made is None else made,
            c.burn_rate * seconds, c.coldest, c.smoke, c.heat, volume, made is not None,
        )  # fmt: skip
        if made is not None:
            made[self._shut] = 0.0

    def expand(self, state: State, seconds: float) -> None:
        """Let `made` be what `burn` for `seconds` would make, and burn nothing."""
        assert state.fuel is not None and state.temperature is not None
        if self.made is not None:
            c = self.combustion
            burnt = state.fuel.clamp(max=c.burn_rate * seconds) * ~(state.temperature < c.coldest)
            self.made.copy_(burnt * (c.expansion * self.cell_size / seconds))
            self.made[self._shut] = 0.0


def flame_of(fuel: torch.Tensor, temperature: torch.Tensor, coldest: float) -> torch.Tensor:
    """How bright fuel burns, 0 to 1, and 0 where it is colder than `coldest`: the root of Mantaflow's reaction
    coordinate. That begins at 1, moves with the fuel, and shrinks as the fuel does: of fuel that began at 1 it is the
    fuel itself."""
    return fuel.clamp(max=1.0).sqrt() * ~(temperature < coldest)
