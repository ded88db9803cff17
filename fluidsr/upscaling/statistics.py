"""What raising one frame took, and what was noteworthy about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Statistics:
    """The account of one frame.

    `tiles_run` and `tiles_skipped` (empty; none when the tiles were laid around the smoke); `frame_cells`,
    coarse cells of the frame, and `computed_cells`, those that the generator read, halos included;
    `multiply_adds` spent, at most (of a halo, each layer computes but what the next one needs); `seconds` on
    the clock; `clamped_cells`, coarse cells whose density was negative and taken as zero; `max_density` and
    `max_speed`, the largest density and the largest magnitude of a velocity component (coarse cells per
    frame, as the generator saw it) where there is smoke; `notes`, sentences for the user. The same
    circumstance gives the same sentence in every frame, so a caller can say each once.
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
    """What a frame full of smoke would take, the most that any frame of its shape can.

    `fine_shape` voxels; `tiles` and the coarse cells they read, halos included; `multiply_adds`; `memory`,
    bytes that the generator holds at its peak; `result`, bytes of the fine density, and `largest_result`,
    those of the largest tile, halo included.
    """

    fine_shape: tuple[int, ...]
    tiles: int
    computed_cells: int
    multiply_adds: float
    memory: int
    result: int
    largest_result: int
