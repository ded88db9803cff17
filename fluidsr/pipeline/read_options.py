"""ReadOptions: how the grids of a cache are understood."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from fluidsr import volumes
from fluidsr.choices import Axes
from fluidsr.errors import InputError
from fluidsr.volumes.units import check_rate


@dataclass(frozen=True)
class ReadOptions:
    """How the grids of a cache are understood; see `volumes.read`."""

    density_grid: str | None = None
    velocity_grid: str | None = None
    velocity_unit: str = "auto"
    frame_rate: float | None = None
    crop: str | None = None
    axes: str | None = None

    def __post_init__(self) -> None:
        box_of(self.crop)
        if self.frame_rate is not None:
            check_rate(self.frame_rate)
        if self.axes is not None and self.axes not in get_args(Axes):
            raise InputError("axes", f"'{self.axes}' is not known", f"give {' or '.join(get_args(Axes))}")

    def up(self, taken: volumes.Taken) -> str:
        """The axis that points up in the result of the frame `taken`: that of `axes`, else that of its file."""
        return taken.up if self.axes is None else self.axes[0]


def box_of(crop: str | None) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """The corners (m) of a `crop` such as `x0,y0,z0,x1,y1,z1`; None for `auto` and None. Raises InputError for any
    other text."""
    if crop is None or crop == "auto":
        return None
    try:
        numbers = [float(word) for word in crop.split(",")]
    except ValueError:
        numbers = []
    half = len(numbers) // 2
    if len(numbers) not in (4, 6) or not all(a < b for a, b in zip(numbers, numbers[half:], strict=False)):
        problem = f"'{crop}' is not a box"
        raise InputError("crop", problem, "give auto, or the corners in meters: x0,y0,z0,x1,y1,z1")
    return tuple(numbers[:half]), tuple(numbers[half:])
