"""The fields beside the density: what rides with the smoke is sharpened as the generator sharpened the density,
velocity is interpolated, whole numbers are repeated.

A scalar carried by the same flow has its detail where the density has it. Of such a field the cubic interpolation is
multiplied by the density's own gain, what the generator made of it divided by its cubic interpolation, and kept
within the range that the field had.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fluidsr.models.blocks import trim
from fluidsr.models.resample import upsample
from fluidsr.upscaling.tiles import Box, tile_of

# Names of what burns, glows, heats and colours: carried with the smoke.
_CARRIED = re.compile(
    r"(temperature|temp|heat|flames?|fire|fuel|react|reaction|burn|soot|smoke|density|dens|scatter|emission|cd"
    r"|colou?r|albedo|dye)([._]?([xyzrgb]|\d+|red|green|blue))?",
    re.IGNORECASE,
)
_REACH = {"linear": 1, "cubic": 2, "nearest": 0}  # coarse cells that interpolation reads beyond a cell's own
_LITTLE = 1e-2  # of the largest density; where there is less, the gain goes to one

_MOST = 4.0  # the gain, and one over the least


def way_of(name: str, values: Any) -> str:
    """How the field becomes finer: `carried` (with the density's gain), `linear`, or `nearest` for whole numbers."""
    if name == "velocity":
        return "linear"
    if _CARRIED.fullmatch(name):
        return "carried"
    return "nearest" if bool((values == values.round()).all()) else "linear"


def described(fields: Mapping[str, Any]) -> str | None:
    """A sentence on what is done with each of `fields` (by name; NumPy or torch), None where density is alone."""
    ways = {name: way_of(name, values) for name, values in fields.items() if name != "density"}
    words = {"carried": "sharpened as the density", "linear": "interpolated", "nearest": "repeated"}
    sentences = [
        f"{', '.join(name for name, way in ways.items() if way == each)} {word}"
        for each, word in words.items()
        if each in ways.values()
    ]
    return f"fields beside the density: {'; '.join(sentences)}" if sentences else None


@dataclass(frozen=True)
class Whole:
    """Of a frame that is upsampled window by window: how each field becomes finer, and the ranges of all of it."""

    ways: Mapping[str, str]
    ranges: Mapping[str, tuple[float, float]]


class Carried:
    """A scalar that rides with the density: `array [*S]` with the range that it keeps, its own or `bounds`."""

    def __init__(
        self,
        array: Tensor,
        density: Tensor,
        factor: int,
        bounds: tuple[float, float] | None = None,
        most_density: float | None = None,
    ) -> None:
        self._array, self._density, self._factor = array, density, factor
        least, most = (float(bound) for bound in torch.aminmax(array))
        self._least, self._most = bounds or (least, most)
        self._little = _LITTLE * max(float(density.max()) if most_density is None else most_density, 1e-6)

    def of(self, box: Box, fine_density: Tensor | None) -> Tensor:
        """The coarse cells `box`, where the generator made `fine_density` of them; None where it made nothing."""
        values = interpolated(self._array, box, self._factor, "cubic")
        if fine_density is not None:
            smooth = interpolated(self._density, box, self._factor, "cubic").clamp(min=0)
            made = fine_density.to(values.device).clamp(min=0)
            values = values * ((made + self._little) / (smooth + self._little)).clamp(1 / _MOST, _MOST)
        return values.clamp(self._least, self._most)


def interpolated(array: Tensor, box: Box, factor: int, order: str) -> Tensor:
    """The coarse cells `box` of a scalar `[*S]` or vector `[d, *S]` field at `factor` times the resolution.

    The same, bit for bit, as that part of the whole field upsampled at once; values and unit stay.
    """
    dim, reach = len(box.lo), _REACH[order]
    shape = tuple(array.shape[-dim:])
    tile = tile_of(box, shape, reach, factor)
    lead = tuple(array.shape[:-dim])
    fine = upsample(tile.read.of(array).reshape(1, -1, *tile.read.shape), factor, order)
    inside: Tensor = tile.crop.of(trim(fine, tile.cropped, reach * factor))
    return inside.reshape(*lead, *tile.write.shape)
