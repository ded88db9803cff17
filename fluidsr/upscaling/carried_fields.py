"""Upsampling of the fields other than density: fields that are advected with the smoke are sharpened with the density's
detail, velocity is interpolated, whole numbers are repeated.

A field that is advected by the same flow has its detail at the same positions as the density. The density's detail is
the output of the generator minus cubic interpolation. It is multiplied by the slope of the field over the density among
the neighboring coarse cells and added to the field's cubic interpolation; the sum is clamped to the field's range.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fluidsr.frame import moves_with_smoke
from fluidsr.models.blocks import trim
from fluidsr.models.resample import upsample, upsample_faces
from fluidsr.upscaling.rest_coordinates import REST_FIELDS
from fluidsr.upscaling.tiles import Box, tile_of
from fluidsr.volumes.staggered import FACES

CUBIC_REACH = 2  # coarse cells that the methods read around a cell at most, including the neighbors of slopes
# Fields whose method does not depend on their values.
_METHODS = {"velocity": "linear", FACES: "faces", "solid": "linear"}
# A color does not depend on the amount of smoke, so it does not follow the density's detail; and channels sharpened
# independently would give colors that the frame does not have.
# Its channels may be fields of their own (`Cd.x` of Houdini); but `color_r` of Blender is multiplied by the density.
_COLOR = re.compile(r"(cd|albedo)([._]?[xyzrgb0-2])?|colou?r([._]?[xyz0-2])?", re.IGNORECASE)
_REACH = {"linear": 1, "cubic": CUBIC_REACH, "nearest": 0, "faces": 1}  # coarse cells read around each cell
_METHODS |= dict.fromkeys(REST_FIELDS, "linear")
_LITTLE = 1e-2  # share of the largest density; where density varies by less, the slope over it tends to zero
_NEIGHBORS = 3  # coarse cells along an edge of the cube in which the slope is fitted


def method_of(name: str, values: Any) -> str:
    """The method for upsampling the field called `name`: "carried" (with the density's detail), "linear", "nearest"
    (for whole numbers) or "faces" (for a velocity on faces)."""
    if name in _METHODS:
        return _METHODS[name]
    if _COLOR.fullmatch(name):
        return "linear"
    if moves_with_smoke(name):
        return "carried"
    return "nearest" if bool((values == values.round()).all()) else "linear"


def described(methods: Mapping[str, str]) -> str | None:
    """A sentence that says how the fields are upsampled, given their methods by name; None if there are none."""
    words = {"carried": "sharpened as the density", "linear": "interpolated", "nearest": "repeated"}
    sentences = [
        f"{', '.join(name for name, method in methods.items() if method == group)} {word}"
        for group, word in words.items()
        if group in methods.values()
    ]
    return f"fields beside the density: {'; '.join(sentences)}" if sentences else None


@dataclass(frozen=True)
class WholeFrame:
    """Properties of a whole frame, needed when it is upsampled window by window.

    Attributes:
        methods: the method of each field, see `method_of`.
        ranges: for each field the least and the greatest value of each component.
        typical_density: see `network_input.typical_density`.
    """

    methods: Mapping[str, str]
    ranges: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    typical_density: float


class Carried:
    """A scalar or vector field that is advected with the density, upsampled with the density's detail.

    Args:
        array: `[*S]` or `[c, *S]`.
        density: `[*S]`.
        factor: fine cells along a coarse one.
        bounds: the least and the greatest value of each component, to which results are clamped; those of `array` by
            default.
        most_density: the largest density of the whole frame; that of `density` by default.
    """

    def __init__(
        self,
        array: Tensor,
        density: Tensor,
        factor: int,
        bounds: tuple[Sequence[float], Sequence[float]] | None = None,
        most_density: float | None = None,
    ) -> None:
        self._array, self._density, self._factor = array, density, factor
        axes = tuple(range(-density.dim(), 0))
        self._least, self._most = array.amin(axes, keepdim=True), array.amax(axes, keepdim=True)
        if bounds is not None:
            self._least, self._most = (
                torch.tensor(bound, dtype=array.dtype, device=array.device).reshape(self._least.shape)
                for bound in bounds
            )
        little = _LITTLE * max(float(density.max()) if most_density is None else most_density, 1e-6)
        self._slope = _slope(array, density, little)

    def of(self, box: Box, fine_density: Tensor | None) -> Tensor:
        """The fine values in the coarse cells `box`. `fine_density`: the fine density there, None for no smoke."""
        values = interpolated(self._array, box, self._factor, "cubic")
        near = box.grown(CUBIC_REACH, self._density.shape).of(self._density)
        if bool(near.any()):
            detail = -interpolated(self._density, box, self._factor, "cubic")
            if fine_density is not None:
                detail += fine_density.to(detail.device)
            values = values + interpolated(self._slope, box, self._factor, "linear") * detail
        return torch.minimum(torch.maximum(values, self._least), self._most)


def _slope(array: Tensor, density: Tensor, little: float) -> Tensor:
    """The least-squares slope of `array [*S]` or `[c, *S]` over `density [*S]` in the cells around each cell."""
    pool = functional.avg_pool3d if density.dim() == 3 else functional.avg_pool2d

    def mean(values: Tensor) -> Tensor:
        return pool(values, _NEIGHBORS, 1, _NEIGHBORS // 2, count_include_pad=False)

    x, y = density[None, None], array.reshape(1, -1, *density.shape)
    mean_x, mean_y = mean(x), mean(y)
    variance = (mean(x * x) - mean_x * mean_x).clamp(min=0)
    return ((mean(x * y) - mean_x * mean_y) / (variance + little**2)).reshape(array.shape)


def interpolated(array: Tensor, box: Box, factor: int, order: str) -> Tensor:
    """The part of `array [*S]` or `[d, *S]` in the coarse cells `box`, interpolated to `factor` times the resolution.

    `order` is that of `upsample`, or "faces" for `upsample_faces`. The result has the same bits as that part of the
    interpolated whole array.
    """
    dim, reach = len(box.lo), _REACH[order]
    shape = tuple(array.shape[-dim:])
    tile = tile_of(box, shape, reach, factor)
    leading = tuple(array.shape[:-dim])
    coarse = tile.read.of(array).reshape(1, -1, *tile.read.shape)
    fine = upsample_faces(coarse, factor) if order == "faces" else upsample(coarse, factor, order)
    values: Tensor = tile.crop.of(trim(fine, tile.cropped, reach * factor))
    return values.reshape(*leading, *tile.write.shape)
