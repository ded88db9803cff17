"""The memory that a simulation will need, compared with the free memory before it starts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from fluidsr import memory
from fluidsr.errors import InputError
from fluidsr.scenes import Scene

if TYPE_CHECKING:
    from fluidsr.pipeline.upscale_methods import UpscaleMethod

_FRAMES_CARRIED = 4  # coarse frames: three that wait for their files, and the next
_INDEXED = 2**31  # the solver's indices have 32 bits, and its widest array three numbers a cell


def of_scene(scene: Scene, method: UpscaleMethod | None) -> dict[str, int]:
    """Bytes by what holds them: the solver, the generator, the fine fields, and the coarse frames that wait for their
    files.
    """
    from fluidsr.solver import BYTES_OF_COLOR, BYTES_OF_FUEL, BYTES_PER_CELL

    per_cell = BYTES_PER_CELL + BYTES_OF_FUEL * scene.burns + BYTES_OF_COLOR * scene.colored
    held = {"solver": scene.cells * per_cell}
    if method is not None:
        held |= method.cost(scene)[0]
    # Density, velocity, temperature, solid, flame and fuel, color.
    carried = 1 + scene.dim + 1 + bool(scene.obstacles) + 2 * scene.burns + 3 * scene.colored
    return held | {"frames_carried": _FRAMES_CARRIED * 4 * scene.cells * carried}


def check_scene(scene: Scene, method: UpscaleMethod | None, device: str) -> None:
    """Raise InputError where the scene has more cells than the solver can index, or needs more memory than is free;
    its remedy is the largest resolution of the same proportions that fits."""
    label = f"{scene.name}: domain.resolution"
    resolution = scene.domain.resolution

    def need(cells: Sequence[int]) -> int:
        return sum(of_scene(_resized(scene, cells), method).values())

    if not _is_indexed(resolution):
        fits = largest(resolution, _is_indexed)
        raise InputError(
            label, f"{list(resolution)} is more than the solver can index", f"give at most {fits}"
        )
    free, needed = memory.free(device), need(resolution)
    if free is None or needed <= free.size:
        return
    fits = largest(resolution, lambda cells: need(cells) <= free.size)
    raise InputError(
        label,
        f"{list(resolution)} needs {gigabytes(needed)} of memory, "
        f"but only {gigabytes(free.size)} are free {free.bound}",
        f"give at most {fits}" if fits else "free some memory",
    )


def largest(resolution: Sequence[int], fits: Callable[[Sequence[int]], bool]) -> list[int] | None:
    """The largest resolution of the proportions of `resolution` that `fits`, by halving; None where 4 cells do not."""
    low, high = 0, max(resolution)

    def of(longest: int) -> list[int]:
        return [max(4, n * longest // max(resolution)) for n in resolution]

    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(of(middle)) else (low, middle)
    return of(low) if low >= 4 else None


def gigabytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB"


def _is_indexed(resolution: Sequence[int]) -> bool:
    return 3 * math.prod(n + 1 for n in resolution) < _INDEXED


def _resized(scene: Scene, resolution: Sequence[int]) -> Scene:
    """The scene with other cells, not validated: only its cost is asked for."""
    domain = scene.domain.model_copy(update={"resolution": tuple(resolution)})
    return scene.model_copy(update={"domain": domain})
