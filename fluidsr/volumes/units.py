"""The units in which programs store velocity, and their conversion to m/s.

`auto` is the unit of the file's format: m/s for VDB, VTI, VTKHDF, legacy VTK and npz, `blender` for caches of
Blender, `cells/frame` for .uni files of Mantaflow's own scripts (whose frames last one unit of time).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import numpy as np

from fluidsr.choices import VelocityUnit
from fluidsr.errors import InputError
from fluidsr.frame import Frame, moves_with_smoke
from fluidsr.volumes.staggered import FACES

UNITS: tuple[str, ...] = get_args(VelocityUnit)

_FLOW = ("velocity", FACES)
_PER_FRAME = ("m/frame", "cells/frame")  # these give the motion in a frame whatever the frame rate

# Blender advances Mantaflow's clock by 0.1 units in a frame of 1/25 s (at a time scale of 1).
MANTAFLOW_UNITS_PER_SECOND = 2.5


def check_rate(frame_rate: float) -> None:
    """Raise InputError for a frame rate (1/s) outside 1e-3 to 1e6."""
    if not 1e-3 <= frame_rate <= 1e6:
        raise InputError("frame_rate", f"{frame_rate} is not a rate", "give frames per second, such as 24")


@dataclass(frozen=True)
class GridStyle:
    """How the grid of a field is stored.

    `name`: name of the grid. `type`: OpenVDB's name of the type of its values (`float`, `int32`, `vec3s`). `half`:
    whether they are halves. `compression`: the codec. `metadata`: the grid's metadata in the file.
    """

    name: str
    type: str = "float"
    half: bool = True
    compression: str = "blosc"
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether its values are whole numbers."""
        return self.type.startswith("int")


@dataclass(frozen=True)
class Style:
    """How a file was written; a file made from the frame keeps it.

    `grids`: the style of each field's grid. `file`: metadata of a VDB. `lattice`: voxel size (m), and the center (m)
    of the voxel with index 0. `copied_from`: a file whose grids that are not fields of smoke a VDB copies
    (`vdb.fields.copied_grids`).
    """

    grids: Mapping[str, GridStyle] = field(default_factory=dict)
    file: Mapping[str, Any] = field(default_factory=dict)
    lattice: tuple[float, tuple[float, float, float]] | None = None
    copied_from: str | None = None
    turned_up: str | None = (
        None  # the axis that points up after a quarter turn of the copied grids; None: no turn
    )

    @property
    def whole(self) -> frozenset[str]:
        """The fields whose values are whole numbers."""
        return frozenset(name for name, grid in self.grids.items() if grid.whole)


def style_of_whole(names: Mapping[str, str]) -> Style | None:
    """The style of a dense file whose arrays `names` (by field) hold integers; None if none of them stays an integer.

    Fields that move with the smoke become smooth, however they are stored.
    """
    grids = {
        field: GridStyle(name, "int32", half=False)
        for field, name in names.items()
        if not moves_with_smoke(field)
    }
    return Style(grids) if grids else None


@dataclass(frozen=True)
class Taken:
    """A frame as its file holds it, and the information needed to convert its velocity to m/s.

    `unit`: unit of the velocity. `frame_units`: units of Mantaflow's clock that a frame lasts, if the cache says.
    `tight`: the box of the frame is only the box of its active voxels. `outside`: for fields that are not zero beyond
    that box (an ambient temperature in kelvin), their values there, one per component. `notes`: sentences for the user
    that are the same for every frame of a sequence. `empty`: the file holds no voxel and states no box. `layer`: for a
    2-D frame that is one layer of a 3-D file, the lower side of the layer along z (m). `style`: how the file was
    written. `up`: the axis that points up, as far as it is known. `has_rate`: the file states how long a frame lasts;
    otherwise `frame.dt` is an assumption.
    """

    frame: Frame
    unit: str = "m/s"
    frame_units: float | None = None
    tight: bool = False
    outside: Mapping[str, Sequence[float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    empty: bool = False
    layer: float | None = None
    style: Style | None = None
    up: str = "y"
    has_rate: bool = True

    def assumed_rate(self, unit: str = "auto", frame_rate: float | None = None) -> float | None:
        """The frame rate (1/s) that the conversion of the velocity has to assume; None if it assumes none.

        It is assumed if neither the file nor `frame_rate` states one, and the velocity, in `unit`, depends on it.
        """
        known = self.has_rate or self.frame_units is not None or frame_rate is not None
        independent = self.frame.velocity is None or (self.unit if unit == "auto" else unit) in _PER_FRAME
        return None if known or independent else 1.0 / self.frame.dt

    def lifted(self) -> Taken:
        """A 2-D frame that is one layer of a 3-D file, as a 3-D frame one cell thick; any other frame unchanged."""
        if self.layer is None or self.frame.dim == 3:
            return self
        fields = {name: np.asarray(values)[..., None] for name, values in self.frame.fields().items()}
        for name in self.frame.vectors:
            missing = np.zeros((3 - len(fields[name]), *fields[name].shape[1:]), np.float32)
            fields[name] = np.concatenate([fields[name], missing])
        origin = (*self.frame.origin, self.layer)
        frame = Frame(fields["density"], cell_size=self.frame.cell_size, origin=origin)
        frame = frame.with_fields(fields, time=self.frame.time, dt=self.frame.dt)
        outside = {
            name: (*values, *(0.0,) * (3 - len(values))) if name in frame.vectors else values
            for name, values in self.outside.items()
        }
        return replace(self, frame=frame, layer=None, outside=outside)

    def in_metres_per_second(self, unit: str = "auto", frame_rate: float | None = None) -> Frame:
        """The frame with its velocity in m/s.

        `unit` is one of UNITS and overrides the file's unit; `frame_rate` (1/s) sets `dt`. Without a rate, a cache of
        Blender that states how long its frames last has that `dt`. Raises InputError for an unknown unit and for an
        invalid rate.
        """
        if unit not in UNITS:
            raise InputError("velocity_unit", f"'{unit}' is not known", f"give one of {', '.join(UNITS)}")
        frame = self.frame
        if frame_rate is not None:
            check_rate(frame_rate)
            frame = frame.replace(dt=1.0 / frame_rate)
        elif self.frame_units is not None:
            rate = MANTAFLOW_UNITS_PER_SECOND / self.frame_units
            frame = frame.replace(dt=1.0 / (round(rate, 2) or rate))  # the clock is a float32: 23.99999 is 24
        elif not 1e-9 < frame.dt < 1e9:  # an absurd value is ignored
            frame = frame.replace(dt=1.0 / 24.0)
        scale = self._metres_per_second(self.unit if unit == "auto" else unit, frame)
        if frame.velocity is None or scale == 1.0:
            return frame
        # Values that do not fit become infinite, and are refused later.
        with np.errstate(over="ignore", invalid="ignore"):
            flow = {
                name: frame.fields()[name] * np.float32(scale) for name in _FLOW if name in frame.fields()
            }
            return frame.with_fields({**frame.fields(), **flow})

    def _metres_per_second(self, unit: str, frame: Frame) -> float:
        """One `unit` in m/s."""
        if unit == "blender":
            per_frame = self.frame_units or MANTAFLOW_UNITS_PER_SECOND * frame.dt
            return frame.cell_size * per_frame / frame.dt
        return {
            "m/s": 1.0,
            "m/frame": 1.0 / frame.dt,
            "cells/s": frame.cell_size,
            "cells/frame": frame.cell_size / frame.dt,
        }[unit]
