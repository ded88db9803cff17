"""What changes with time: flat torch tensors on one device, which kernels work on in place."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from fluidsr.solver.grid import Grid


@dataclass
class State:
    """`density`, `temperature`: flat, one number per cell; no temperature (None) where nothing is warm or cold.
    `velocity`: (u, v, w), flat arrays over the faces normal to x, y, z, m/s (staggering: docs/conventions.md).
    `time`: s."""

    density: torch.Tensor
    temperature: torch.Tensor | None
    velocity: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
    time: float = 0.0

    @staticmethod
    def at_rest(grid: Grid, device: str, heated: bool = False) -> State:
        """Empty, still air; with an array for temperature where it is `heated`."""
        cells = math.prod(grid.cells)
        u, v, w = (zeros(math.prod(grid.faces(axis)), device) for axis in range(3))
        return State(zeros(cells, device), zeros(cells, device) if heated else None, (u, v, w))

    @property
    def scalars(self) -> tuple[torch.Tensor, ...]:
        """The cell-centred fields that there are."""
        return (self.density,) if self.temperature is None else (self.density, self.temperature)


def zeros(count: int, device: str, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A flat array of zeros."""
    return torch.zeros(count, dtype=dtype, device=device)
