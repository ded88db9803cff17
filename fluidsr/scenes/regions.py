"""Regions in which a generator adds more or less detail, or reads a scaled velocity: shapes with factors, and the
fields of these factors.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from pydantic import Field, model_validator

from fluidsr.choices import MOST_DETAIL
from fluidsr.frame import Frame
from fluidsr.scenes.bodies import BoxShape, Capsule, Cylinder, Mesh, Moving, Sphere
from fluidsr.scenes.error_messages import Problem, Problems
from fluidsr.scenes.fields import NotNegative, Number, unit
from fluidsr.scenes.geometry import bounds, distance

_MOST_LAPS = 4  # on each side; a shape that reaches around more often covers the box with these

DetailFactor: TypeAlias = Annotated[Number, Field(ge=0, le=MOST_DETAIL)]


class RegionEffect(Moving):
    """The effect of a region on the detail of a generator and on the velocity that it reads; the files' own
    velocity stays as it is. One of the two factors is given at least."""

    detail: DetailFactor = Field(
        default=1.0,
        description="Factor on the detail in the shape: 0 none, 1 as elsewhere. Where regions overlap, their factors "
        "multiply",
    )
    velocity_scale: Annotated[Number, Field(ge=0, le=100)] = Field(
        default=1.0,
        description="Factor on the velocity that the generator sees in the shape (docs/control.md); also multiplied",
    )
    soft: NotNegative = Field(
        default=0.0,
        description="Width of the rim around the shape in which the factors fade to 1; 0: they end at the surface",
        json_schema_extra=unit("m"),
    )

    @model_validator(mode="after")
    def _has_an_effect(self) -> RegionEffect:
        if not self.model_fields_set & {"detail", "velocity_scale"}:
            raise Problems([Problem((), "the region has no factor", "give detail, or velocity_scale")])
        return self


class SphereRegion(RegionEffect, Sphere):
    """A region in a sphere."""


class BoxRegion(RegionEffect, BoxShape):
    """A region in a box."""


class CylinderRegion(RegionEffect, Cylinder):
    """A region in a cylinder."""


class CapsuleRegion(RegionEffect, Capsule):
    """A region in a capsule."""


class MeshRegion(RegionEffect, Mesh):
    """A region in a mesh."""


Region: TypeAlias = Annotated[
    SphereRegion | BoxRegion | CylinderRegion | CapsuleRegion | MeshRegion, Field(discriminator="shape")
]
Regions: TypeAlias = Annotated[tuple[Region, ...], Field(max_length=1000)]


def factors(
    regions: Sequence[Any],
    frame: Frame,
    key: Literal["velocity_scale", "detail"] = "velocity_scale",
    periodic: Sequence[bool] = (),
) -> np.ndarray:
    """The product of the regions' factors `key` at the cell centers of `frame` at its time, float32 `[*S]`.

    A region has its full factor inside its shape; over `soft` meters around it the factor fades linearly to 1. Beyond
    an end of a `periodic` axis (a flag for each axis; none by default) it continues at the other end. Positions are
    those of the frame. Raises InputError for a mesh that cannot be read.
    """
    product = np.ones(frame.shape, np.float32)
    for region in regions:
        move = offset_at(region, frame.time)
        images = _images(region, frame, move, periodic)
        windows = [_shares(region, frame, image) for image in images]
        if len(windows) > 1:  # one region, however often it reaches around
            shares = np.zeros(frame.shape, np.float32)
            for window, part in windows:
                shares[window] = np.maximum(shares[window], part)
            windows = [((slice(None),) * frame.dim, shares)]
        for window, shares in windows:
            product[window] *= np.float32(1) + np.float32(getattr(region, key) - 1) * shares
    return product


def _images(
    region: Any, frame: Frame, move: Sequence[float], periodic: Sequence[bool]
) -> list[tuple[float, ...]]:
    """The displacements (m) of the copies of a region, moved by `move`, that reach into the box of the frame."""
    along = []
    for axis, (a, b) in enumerate(zip(*bounds(region), strict=True)):
        if axis >= len(periodic) or not periodic[axis]:
            along.append([move[axis]])
            continue
        period = frame.shape[axis] * frame.cell_size
        start = move[axis] - frame.origin[axis]
        rim = min(region.soft, period)  # a wider one reaches no cell that the next copy is not closer to
        first, last = math.ceil(-(b + start + rim) / period), math.floor(1 - (a + start - rim) / period)
        middle = round(0.5 - ((a + b) / 2 + start) / period)
        laps = range(max(first, middle - _MOST_LAPS), min(last, middle + _MOST_LAPS) + 1)
        along.append([move[axis] + lap * period for lap in laps])
    return list(itertools.product(*along))


def _shares(region: Any, frame: Frame, offset: Sequence[float]) -> tuple[tuple[slice, ...], np.ndarray]:
    """The weight of a region displaced by `offset` (m), 0 to 1, in a window of the frame's cells; outside the window it
    is 0."""
    window, axes = [], []
    for a, b, move, origin, cells in zip(*bounds(region), offset, frame.origin, frame.shape, strict=True):
        low, high = (edge + move - origin for edge in (a - region.soft, b + region.soft))
        # One cell more on each side, so that the shape's surface decides and not the rounding of its bounds.
        first, end = (
            int(np.clip(cell, 0, cells))
            for cell in (np.floor(low / frame.cell_size) - 1, np.ceil(high / frame.cell_size) + 1)
        )
        window.append(slice(first, end))
        axes.append(origin - move + (np.arange(first, end) + 0.5) * frame.cell_size)
    points = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)
    away = distance(region, points)
    if region.soft > 0:
        shares = np.clip(1 - away / region.soft, 0, 1)
    else:
        shares = away <= 0
    return tuple(window), shares.astype(np.float32).reshape([len(axis) for axis in axes])


def offset_at(body: Any, time: float) -> tuple[float, ...]:
    """The offset (m) of a body from its `center` at `time` (s): linear between keyframes, constant before and after
    them.
    """
    keys = body.motion
    if not keys:
        return (0.0,) * len(body.center)
    times = [key.time for key in keys]
    return tuple(
        float(np.interp(time, times, along)) for along in zip(*(k.offset for k in keys), strict=True)
    )
