"""Statistics of upsampling one frame, and the cost known beforehand."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Statistics:
    """Statistics of one frame.

    `tiles_run` and `tiles_skipped` (empty; none when the tiles were laid around the smoke); `frame_cells`,
    coarse cells of the frame, and `computed_cells`, those that the generator read, halos included;
    `multiply_adds`, an upper bound (each layer computes only the part of a halo that the next one needs);
    `seconds`, wall time; `clamped_cells`, coarse cells whose negative density was set to zero; `max_density` and
    `max_speed`, the largest density and the largest magnitude of a velocity component (coarse cells per
    frame, as scaled for the generator) where there is smoke; `notes` for the user. The same condition gives the same
    note in every frame, so that a caller can print each once.
    """

    tiles_run: int = 0
    tiles_skipped: int = 0
    frame_cells: int = 0
    computed_cells: int = 0
    multiply_adds: float = 0.0
    seconds: float = 0.0
    clamped_cells: int = 0
    max_density: float = 0.0
    max_speed: float = 0.0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cost:
    """The cost of a frame full of smoke, an upper bound for any frame of its shape.

    `fine_shape` voxels; `tiles` and the coarse cells they read, halos included; `multiply_adds`; `memory`, peak
    bytes of the generator; `result`, bytes of the fine density, and `largest_result`, those of the largest tile, halo
    included.
    """

    fine_shape: tuple[int, ...]
    tiles: int
    computed_cells: int
    multiply_adds: float
    memory: int
    result: int
    largest_result: int
