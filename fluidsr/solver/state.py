"""What changes with time: flat torch tensors on one device, which kernels work on in place."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fluidsr.solver.grid import Grid


@dataclass
class State:
    """`density`, `temperature`: flat, one number per cell. `velocity`: (u, v, w), flat arrays over the
    faces normal to x, y, z, m/s (staggering: docs/conventions.md). `time`: s."""

    density: torch.Tensor
    temperature: torch.Tensor
    velocity: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
    time: float = 0.0

    @staticmethod
    def at_rest(grid: Grid, device: str) -> State:
        """Empty, still air."""
        nx, ny, nz = grid.cells
        u, v, w = (zeros(_count(grid.faces(axis)), device) for axis in range(3))
        return State(zeros(nx * ny * nz, device), zeros(nx * ny * nz, device), (u, v, w))


def zeros(count: int, device: str, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A flat array of zeros."""
    return torch.zeros(count, dtype=dtype, device=device)


def _count(shape: tuple[int, int, int]) -> int:
    return shape[0] * shape[1] * shape[2]
