"""What changes with time: flat torch tensors on one device, which kernels work on in place; and how velocity
gets from cell centres to faces.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from fluidsr.solver.grid import Grid

DYES = ("red", "green", "blue")


@dataclass
class State:
    """`density`, `temperature`, `fuel`: flat, one number per cell; no temperature (None) where nothing is warm or cold,
    no fuel where nothing burns. `dye`: density times color, red, green, blue; empty where smoke has no color.
    `velocity`: (u, v, w), flat arrays over the faces normal to x, y, z, m/s (staggering: docs/conventions.md).
    `time`: s."""

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
        """Empty, still air; with an array for temperature where it is `heated`, for fuel where it `burns`, and three
        for dye where smoke is `colored`."""
        cells = math.prod(grid.cells)
        u, v, w = (zeros(math.prod(grid.faces(axis)), device) for axis in range(3))
        temperature, fuel = (zeros(cells, device) if there else None for there in (heated, burns))
        dye = tuple(zeros(cells, device) for _ in DYES) if colored else ()
        return State(zeros(cells, device), temperature, (u, v, w), fuel=fuel, dye=dye)

    @property
    def scalars(self) -> dict[str, torch.Tensor]:
        """The cell-centred fields that there are, by name, density first."""
        named = {"density": self.density, "temperature": self.temperature, "fuel": self.fuel}
        named |= dict(zip(DYES, self.dye, strict=False))
        return {name: field for name, field in named.items() if field is not None}


def zeros(count: int, device: str, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A flat array of zeros."""
    return torch.zeros(count, dtype=dtype, device=device)


# Measured on plume2d, continued after 12 and 24 frames: six leave a seventh of the difference in velocity that there is
# without any, a tenth of that in density, and after 24 more frames a twentieth to a seventh. Each further one takes
# less than a tenth off, and the noise of a rounded velocity is raised by as many times.
CORRECTIONS = 6


def to_faces(centred: torch.Tensor, grid: Grid, faces: Sequence[torch.Tensor]) -> None:
    """Write into the flat face arrays (u, v, w) a velocity whose means over opposite faces are nearly `centred`
    `[d, x, y(, z)]`.

    The mean of the two cells beside a face smooths, and the centres were means already: what the result fails to
    give back is added to it, a few times over (van Cittert 1931).
    """
    for axis in range(grid.dim):
        target = centred[axis].reshape(grid.cells)
        found = _between(target, axis, grid.periodic[axis])
        n = grid.cells[axis]
        for _ in range(CORRECTIONS):
            given = (found.narrow(axis, 0, n) + found.narrow(axis, 1, n)) / 2
            found = found + _between(target - given, axis, grid.periodic[axis])
        faces[axis].copy_(found.reshape(-1))


def _between(cells: torch.Tensor, axis: int, periodic: bool) -> torch.Tensor:
    """The mean of the two cells beside each face; of the one cell at a border."""
    n = cells.shape[axis]
    first, last = cells.narrow(axis, 0, 1), cells.narrow(axis, n - 1, 1)
    before, after = (last, first) if periodic else (first, last)
    return (torch.cat([before, cells], axis) + torch.cat([cells, after], axis)) / 2
