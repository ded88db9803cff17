"""The memory that a simulation needs, which is compared with the free memory before it starts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from fluidsr import memory
from fluidsr.errors import InputError
from fluidsr.scenes import Scene

if TYPE_CHECKING:
    from fluidsr.pipeline.upscale_methods import UpscaleMethod

_FRAMES_CARRIED = 4  # coarse frames in memory: three whose files are being written, and the next
_INDEXED = 2**31  # the solver's indices have 32 bits, and its largest array has three numbers per cell


def of_scene(scene: Scene, method: UpscaleMethod | None) -> dict[str, int]:
    """The memory that `scene` needs with `method`, in bytes, by use.

    The uses are the solver, those in the cost of the method, and the coarse frames whose files are being written.
    """
    from fluidsr.solver import BYTES_OF_COLOR, BYTES_OF_FUEL, BYTES_PER_CELL

    per_cell = BYTES_PER_CELL + BYTES_OF_FUEL * scene.burns + BYTES_OF_COLOR * scene.colored
    need = {"solver": scene.cells * per_cell}
    if method is not None:
        need |= method.cost(scene)[0]
    # Density, velocity, temperature, solid, flame and fuel, color.
    carried = 1 + scene.dim + 1 + bool(scene.obstacles) + 2 * scene.burns + 3 * scene.colored
    return need | {"frames_carried": _FRAMES_CARRIED * 4 * scene.cells * carried}


def check_scene(scene: Scene, method: UpscaleMethod | None, device: str) -> None:
    """Raise InputError if the scene has more cells than the solver can index, or needs more memory than is free.

    The remedy names the largest resolution of the same proportions that fits. Nothing is checked if the free memory of
    the device is unknown.
    """
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
    """The largest resolution with the proportions of `resolution` for which `fits` is true, found by bisection.

    None if not even 4 cells along the longest axis fit.
    """
    low, high = 0, max(resolution)

    def of(longest: int) -> list[int]:
        return [max(4, n * longest // max(resolution)) for n in resolution]

    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(of(middle)) else (low, middle)
    return of(low) if low >= 4 else None


def gigabytes(size: float) -> str:
    """A text for `size` bytes, such as `1.5 GB` (10^9 bytes)."""
    return f"{size / 1e9:.1f} GB"


def _is_indexed(resolution: Sequence[int]) -> bool:
    """Whether the solver can index its largest array at this resolution."""
    return 3 * math.prod(n + 1 for n in resolution) < _INDEXED


def _resized(scene: Scene, resolution: Sequence[int]) -> Scene:
    """The scene at another resolution. Not validated, because only its cost is computed."""
    domain = scene.domain.model_copy(update={"resolution": tuple(resolution)})
    return scene.model_copy(update={"domain": domain})
