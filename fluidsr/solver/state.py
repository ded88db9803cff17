"""The state of a simulation: flat torch tensors on one device, which kernels change in place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from fluidsr.solver.grid import Grid

DYES = ("red", "green", "blue")


@dataclass
class State:
    """The fields of a simulation at one time.

    Attributes:
        density: flat, one number per cell.
        temperature: flat, kelvin above ambient; None if no source has a temperature.
        velocity: (u, v, w), flat arrays over the faces normal to x, y, z, m/s (staggering: docs/conventions.md).
        time: s.
        fuel: flat; None if nothing burns.
        dye: density times the red, green and blue of its color; empty if no source has a color.
    """

    density: torch.Tensor
    temperature: torch.Tensor | None
    velocity: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
    time: float = 0.0
    fuel: torch.Tensor | None = None
    dye: tuple[torch.Tensor, ...] = ()

    @staticmethod
    def at_rest(
        grid: Grid, device: str, heated: bool = False, burns: bool = False, colored: bool = False
    ) -> State:
        """Empty, still air at time 0. It has a temperature if it is `heated`, fuel if it `burns`, and dyes if smoke is
        `colored`."""
        cells = math.prod(grid.cells)
        u, v, w = (zeros(math.prod(grid.faces(axis)), device) for axis in range(3))
        temperature, fuel = (zeros(cells, device) if exists else None for exists in (heated, burns))
        dye = tuple(zeros(cells, device) for _ in DYES) if colored else ()
        return State(zeros(cells, device), temperature, (u, v, w), fuel=fuel, dye=dye)

    @property
    def scalars(self) -> dict[str, torch.Tensor]:
        """The existing cell-centred fields by name, density first."""
        named = {"density": self.density, "temperature": self.temperature, "fuel": self.fuel}
        named |= dict(zip(DYES, self.dye, strict=False))
        return {name: field for name, field in named.items() if field is not None}


def zeros(count: int, device: str, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A new flat tensor of `count` zeros."""
    return torch.zeros(count, dtype=dtype, device=device)


# Corrections of `to_faces`. Measured on plume2d continued after 12 and 24 frames: six reduce the difference in velocity
# to a seventh and that in density to a tenth; after 24 more frames, to between a twentieth and a seventh. Each further
# correction removes less than a tenth of the remainder and amplifies the noise of a rounded velocity further.
CORRECTIONS = 6


def to_faces(centred: torch.Tensor, grid: Grid, faces: Sequence[torch.Tensor]) -> None:
    """Convert a velocity at the cell centres, `centred [d, x, y(, z)]`, to the flat face arrays `faces` (u, v, w) of
    `grid`, so that the means of opposite faces nearly equal `centred`.

    Interpolation smooths the velocity, and the centred values are smoothed means of faces already. The difference
    between `centred` and the means of the result is therefore added to the result, CORRECTIONS times (van Cittert
    1931).
    """
    for axis in range(grid.dim):
        target = centred[axis].reshape(grid.cells)
        result = _between(target, axis, grid.periodic[axis])
        n = grid.cells[axis]
        for _ in range(CORRECTIONS):
            means = (result.narrow(axis, 0, n) + result.narrow(axis, 1, n)) / 2
            result = result + _between(target - means, axis, grid.periodic[axis])
        faces[axis].copy_(result.reshape(-1))


def _between(cells: torch.Tensor, axis: int, periodic: bool) -> torch.Tensor:
    """For each face the mean of its two cells; on a border that is not periodic, the value of its one cell."""
    n = cells.shape[axis]
    first, last = cells.narrow(axis, 0, 1), cells.narrow(axis, n - 1, 1)
    before, after = (last, first) if periodic else (first, last)
    return (torch.cat([before, cells], axis) + torch.cat([cells, after], axis)) / 2
