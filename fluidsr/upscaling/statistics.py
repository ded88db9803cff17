"""Statistics of upsampling a frame, and its cost as known in advance."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Statistics:
    """Statistics of one frame.

    Attributes:
        tiles_run: tiles that were computed.
        tiles_skipped: empty tiles of a regular grid; 0 if tiles cover only the smoke.
        frame_cells: coarse cells of the frame.
        computed_cells: coarse cells that the generator read, including halos.
        multiply_adds: an upper bound, as each layer computes only the part of a halo that the next one needs.
        seconds: wall time, without that of the caller between two blocks.
        clamped_cells: coarse cells whose negative density was set to zero.
        max_density: the largest density.
        max_speed: the largest magnitude of a velocity component where there is smoke, in coarse cells per frame,
            including the velocity scale.
        notes: for the user. The same condition gives the same note in every frame, so a caller can print each once.
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
    """The cost of a frame that is full of smoke, an upper bound for all frames of its shape.

    Attributes:
        fine_shape: voxels along each axis of the fine frame.
        tiles: number of tiles.
        computed_cells: coarse cells that the tiles read, including halos.
        multiply_adds: of all tiles.
        memory: peak memory of the generator, in bytes.
        result: size of the fine density, in bytes.
        largest_result: size of the fine density of the largest tile including its halo, in bytes.
    """

    fine_shape: tuple[int, ...]
    tiles: int
    computed_cells: int
    multiply_adds: float
    memory: int
    result: int
    largest_result: int
