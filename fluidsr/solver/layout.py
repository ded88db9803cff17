"""The order of axes and the memory layout in which kernels access the arrays of a grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from fluidsr.solver.grid import Grid

# Cells per pass of a kernel's inner loop. CPU: enough to fill vector registers and to amortise the start of the loop.
# GPU: one per thread, so that neighbouring threads access neighbouring memory.
CPU_TILE, GPU_TILE = 64, 1


@dataclass(frozen=True)
class Layout:
    """A grid with its axes in the order of the kernels, whose innermost loop runs along the third axis.

    In memory a 2-D grid `[nx, ny]` is both `[1, nx, ny]` and `[nx, ny, 1]`, but only the former has long rows. Kernels
    therefore take its axes in the order (z, x, y).
    """

    order: tuple[int, int, int]  # for each kernel axis the axis of the grid
    cells: tuple[int, int, int]
    opened: tuple[tuple[bool, bool], ...]  # whether the (low, high) faces are open
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
        """Whether any axis is periodic."""
        return any(self.periods)

    def normal(self, axis: int) -> tuple[int, int, int]:
        """The unit vector along the grid's `axis`, in the order of the kernels."""
        x, y, z = (int(a == axis) for a in self.order)
        return x, y, z

    def faces(self, axis: int) -> tuple[int, int, int]:
        """The shape of the array of faces normal to the kernels' `axis`."""
        x, y, z = (n + (a == axis) for a, n in enumerate(self.cells))
        return x, y, z

    @staticmethod
    def strides(size: Sequence[int]) -> tuple[int, int, int]:
        """The strides of a flat array of shape `size`; 0 along an axis with a single sample."""
        nx, ny, nz = size
        return ny * nz * (nx > 1), nz * (ny > 1), int(nz > 1)

    def join(self, faces: torch.Tensor, axis: int) -> None:
        """Make the two copies of a periodic face equal to the last bit, in a flat array of the faces normal to the
        grid's `axis`. A kernel may round them differently, because it vectorises all but the end of a row."""
        kernel_axis = self.order.index(axis)
        if self.periods[kernel_axis]:
            array = faces.view(self.faces(kernel_axis))
            array.select(kernel_axis, self.periods[kernel_axis]).copy_(array.select(kernel_axis, 0))
