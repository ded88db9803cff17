"""Moving solids neither make smoke nor eat it: what is near them is as much after a substep as before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from fluidsr.solver.cell_boxes import Box
from fluidsr.solver.grid import Grid

FADE = 6  # cells over which what is watched fades out
GROWTH = 1.0  # a cell's smoke grows by no more than this factor beyond what it has


class Balance:
    """Watches the smoke around moving solids through one substep.

    Semi-Lagrangian steps take values, not amounts: smoke that a solid pushes is both carried on and covered, and where
    it has been, smoke appears from beside. `part`, the density around the solids, fading out, is moved like the whole;
    by how much its total has changed the density is set right, between a surface of smoke and the air beside it.
    """

    def __init__(
        self, density: torch.Tensor, grid: Grid, boxes: Sequence[Box], reach: float, decay: float
    ) -> None:
        """Begin a substep in which gas crosses at most `reach` cells and smoke decays by the factor `decay`.
        `density`: flat, 0 in solids; `boxes`: the cells that moving solids touch."""
        self.grid = grid
        self._share = self._watched(boxes, int(np.ceil(reach)) + 2, density.device)
        self.part = density * self._share
        self._total = float(self.part.sum(dtype=torch.float64)) * decay

    def restore(self, density: torch.Tensor, fluid: np.ndarray) -> None:
        """Set the flat `density` right, in place, once it and `part` have been carried along and solids have moved.
        `fluid`: the cells that are no solid now.

        Nothing becomes less or more than the least and the greatest density of the fluid cells beside it, and nothing
        appears where there was none.
        """
        excess = float(self.part.sum(dtype=torch.float64)) - self._total
        near = (self._share > 0).nonzero().squeeze(1)
        if excess == 0 or not near.numel():
            return
        cells = self.grid.cells
        lo, hi = self._window(near)
        window = tuple(slice(a, b) for a, b in zip(lo, hi, strict=True))
        rho, air = density.view(cells)[window], torch.from_numpy(fluid[window]).to(density.device)
        never = torch.finfo(torch.float32).max
        most = F.max_pool3d(torch.where(air, rho, -never)[None, None], 3, 1, 1)[0, 0]
        least = -F.max_pool3d(torch.where(air, -rho, -never)[None, None], 3, 1, 1)[0, 0]
        room = rho - least if excess > 0 else torch.minimum(most - rho, GROWTH * rho)
        room = torch.where(air, room, 0.0) * self._share.view(cells)[window]
        there = float(room.sum(dtype=torch.float64))
        if there > 0:
            right = rho - room * (max(-there, min(there, excess)) / there)
            rho.copy_(torch.where(air, torch.maximum(torch.minimum(right, most), least), rho))

    def _watched(self, boxes: Sequence[Box], around: int, device: torch.device) -> torch.Tensor:
        """1 where a solid stirs the air: within half its length and `around` cells of its box; falling to 0 over FADE
        cells more, and towards open ends, where gas leaves the domain."""
        grid = self.grid
        share = torch.zeros(grid.cells, device=device)
        for box in boxes:
            lines = []
            for (a, b), n, wraps in zip(box, grid.cells, grid.periodic, strict=True):
                i = np.arange(n)
                away = np.maximum(np.maximum(a - i, i - (b - 1)), 0)
                if wraps:
                    for lap in (-n, n):
                        away = np.minimum(away, np.maximum(np.maximum(a - i - lap, i + lap - (b - 1)), 0))
                lines.append(torch.from_numpy(away.astype(np.float32)).to(device))
            x, y, z = lines
            reach = around + max(b - a for a, b in box) / 2
            away3 = torch.maximum(torch.maximum(x[:, None, None], y[None, :, None]), z[None, None])
            share = torch.maximum(share, (1 - (away3 - reach) / FADE).clamp(0, 1))
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
        """The box around flat indices: first cells, and ends."""
        _, ny, nz = self.grid.cells
        at = (near // (ny * nz), near // nz % ny, near % nz)
        return [int(i.min()) for i in at], [int(i.max()) + 1 for i in at]
