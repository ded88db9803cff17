"""How kernels see the arrays of a grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from fluidsr.solver.grid import Grid

# Cells that one pass of a kernel's inner loop does. CPU: enough to fill vector registers and to hide the loop's start.
# GPU: one a thread, so that neighbouring threads touch neighbouring memory.
CPU_TILE, GPU_TILE = 64, 1


@dataclass(frozen=True)
class Layout:
    """Axes in the order of kernels, whose innermost loop runs along their third.

    A 2-D grid [nx, ny] lies in memory like [1, nx, ny] as well as like [nx, ny, 1]; only the former gives long rows.
    So kernels take its axes as (z, x, y): `order` holds, for each axis of a kernel, the axis of the grid.
    """

    order: tuple[int, int, int]
    cells: tuple[int, int, int]
    opened: tuple[tuple[bool, bool], ...]
    periods: tuple[int, int, int]  # cells, 0 where an axis is not periodic
    tile: int

    @staticmethod
    def of(grid: Grid, device: str) -> Layout:
        """The layout of `grid` on `device`."""
        order = (0, 1, 2) if grid.dim == 3 else (2, 0, 1)
        x, y, z = ((grid.cells[a], grid.opened[a], grid.cells[a] * grid.periodic[a]) for a in order)
        tile = CPU_TILE if device == "cpu" else GPU_TILE
        return Layout(order, (x[0], y[0], z[0]), (x[1], y[1], z[1]), (x[2], y[2], z[2]), tile)

    @property
    def periodic(self) -> bool:
        """Whether any axis is."""
        return any(self.periods)

    def normal(self, axis: int) -> tuple[int, int, int]:
        """Unit vector, in the order of kernels, along the grid's `axis`."""
        x, y, z = (int(a == axis) for a in self.order)
        return x, y, z

    def faces(self, axis: int) -> tuple[int, int, int]:
        """Shape of the array of faces whose normal is the kernels' `axis`."""
        x, y, z = (n + (a == axis) for a, n in enumerate(self.cells))
        return x, y, z

    @staticmethod
    def strides(size: Sequence[int]) -> tuple[int, int, int]:
        """Distances in memory between neighbours in a flat array of shape `size`; 0 along an axis of one sample."""
        nx, ny, nz = size
        return ny * nz * (nx > 1), nz * (ny > 1), int(nz > 1)

    def join(self, faces: torch.Tensor, axis: int) -> None:
        """Make the two copies of a periodic face equal to the last bit, in a flat array of the faces normal to the
        grid's `axis`. (A kernel may round them differently: one in a vector, the other in what is left of the row.)"""
        own = self.order.index(axis)
        if self.periods[own]:
            array = faces.view(self.faces(own))
            array.select(own, self.periods[own]).copy_(array.select(own, 0))
