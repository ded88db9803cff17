"""Conservation of smoke around moving solids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from fluidsr.solver.cell_boxes import Box
from fluidsr.solver.grid import Grid

FADE = 6  # cells over which the monitored share falls from 1 to 0
GROWTH = 1.0  # a correction adds at most this multiple of a cell's density


class Balance:
    """Conserves the smoke around moving solids through one substep.

    Semi-Lagrangian advection interpolates values and does not conserve amounts: a solid covers smoke that it should
    push, and the cells that it uncovers are filled with copies of the smoke beside them. The caller advects `part`, the
    density times a weight that fades out with the distance from the solids, like the density itself. `restore` then
    corrects the density by the change of the total of `part`, in the cells between smoke and air.
    """

    def __init__(
        self, density: torch.Tensor, grid: Grid, boxes: Sequence[Box], reach: float, decay: float
    ) -> None:
        """Record the smoke before a substep.

        Args:
            density: flat, one number per cell, 0 in solids.
            grid: the grid of the density.
            boxes: the cells that moving solids touch.
            reach: the most cells that gas crosses in the substep.
            decay: the factor by which dissipation reduces the density in the substep.
        """
        self.grid = grid
        self._weight = self._weights(boxes, int(np.ceil(reach)) + 2, density.device)
        self.part = density * self._weight
        self._total = float(self.part.sum(dtype=torch.float64)) * decay

    def restore(self, density: torch.Tensor, fluid: np.ndarray) -> None:
        """Correct the flat `density` in place, after it and `part` have been advected and the solids have moved.
        `fluid [nx, ny, nz]`: the cells that are not solid now.

        No cell leaves the range of the densities in the fluid cells around it, and no smoke appears in empty cells.
        """
        excess = float(self.part.sum(dtype=torch.float64)) - self._total
        near = (self._weight > 0).nonzero().squeeze(1)
        if excess == 0 or not near.numel():
            return
        cells = self.grid.cells
        lo, hi = self._window(near)
        window = tuple(slice(a, b) for a, b in zip(lo, hi, strict=True))
        rho, air = density.view(cells)[window], torch.from_numpy(fluid[window]).to(density.device)
        infinity = torch.finfo(torch.float32).max
        greatest = F.max_pool3d(torch.where(air, rho, -infinity)[None, None], 3, 1, 1)[0, 0]
        least = -F.max_pool3d(torch.where(air, -rho, -infinity)[None, None], 3, 1, 1)[0, 0]
        room = rho - least if excess > 0 else torch.minimum(greatest - rho, GROWTH * rho)
        room = torch.where(air, room, 0.0) * self._weight.view(cells)[window]
        available = float(room.sum(dtype=torch.float64))
        if available > 0:
            corrected = rho - room * (max(-available, min(available, excess)) / available)
            rho.copy_(torch.where(air, torch.maximum(torch.minimum(corrected, greatest), least), rho))

    def _weights(self, boxes: Sequence[Box], around: int, device: torch.device) -> torch.Tensor:
        """The weight of each cell in `part`, flat: 1 within `around` cells plus half a solid's length of its box,
        falling to 0 over the next FADE cells and towards open ends, where gas leaves the domain."""
        grid = self.grid
        share = torch.zeros(grid.cells, device=device)
        for box in boxes:
            lines = []
            for (a, b), n, wraps in zip(box, grid.cells, grid.periodic, strict=True):
                i = np.arange(n)
                distance = np.maximum(np.maximum(a - i, i - (b - 1)), 0)
                if wraps:
                    for lap in (-n, n):
                        distance = np.minimum(
                            distance, np.maximum(np.maximum(a - i - lap, i + lap - (b - 1)), 0)
                        )
                lines.append(torch.from_numpy(distance.astype(np.float32)).to(device))
            x, y, z = lines
            reach = around + max(b - a for a, b in box) / 2
            distance_3d = torch.maximum(torch.maximum(x[:, None, None], y[None, :, None]), z[None, None])
            share = torch.maximum(share, (1 - (distance_3d - reach) / FADE).clamp(0, 1))
        for axis, (low, high) in enumerate(grid.opened):
            cell = torch.arange(grid.cells[axis], device=device, dtype=torch.float32)
            room = torch.full_like(cell, 1e9)
            if low:
                room = torch.minimum(room, cell)
            if high:
                room = torch.minimum(room, grid.cells[axis] - 1 - cell)
            line = ((room - around) / FADE).clamp(0, 1)
            share *= line.view([-1 if a == axis else 1 for a in range(3)])
        return share.view(-1)

    def _window(self, near: torch.Tensor) -> tuple[list[int], list[int]]:
        """The bounding box of cells given by flat indices: its first cell and one past its last."""
        _, ny, nz = self.grid.cells
        at = (near // (ny * nz), near // nz % ny, near % nz)
        return [int(i.min()) for i in at], [int(i.max()) + 1 for i in at]
