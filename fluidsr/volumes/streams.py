"""Frames that are larger than memory: written box by box."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, get_args

from fluidsr.arguments import checked
from fluidsr.choices import StoredPrecision
from fluidsr.errors import InputError
from fluidsr.volumes import grid_names
from fluidsr.volumes.staggered import FACES
from fluidsr.volumes.units import Style

STREAMED = (".vdb", ".vti")


class Stream(Protocol):
    """A frame that is being written."""

    def put(self, name: str, low: Sequence[int], values: Any) -> None:
        """Write the box of field `name` that begins at cell `low`.

        `values [x, y, z]` (`[x, y]` in 2-D), components of velocity first; NumPy or torch, on any device. Raises
        InputError for a box that does not fit or overlaps an earlier one, and for values that cannot be stored.
        """


@checked
def stream(
    path: str | os.PathLike[str],
    *,
    shape: Sequence[int],
    cell_size: float = 1.0,
    origin: Sequence[float] = (),
    time: float = 0.0,
    dt: float = 1 / 24,
    fields: Sequence[str] = ("density",),
    vectors: Sequence[str] = (),
    precision: str = "half",
    naming: str = "houdini",
    threshold: float = 0.0,
    style: Style | None = None,
    up: str = "y",
) -> AbstractContextManager[Stream]:
    """Write a frame box by box, in any order: `with stream(...) as out: out.put("density", low, box)`.

    Args:
        path: the file, .vdb or .vti.
        shape: cells along each axis.
        cell_size: edge of a cell, m.
        origin: lower corner of the frame, m; empty: zeros.
        time: time of the frame, s.
        dt: time to the next frame, s.
        fields: the fields that will be written. `velocity` has one component per axis.
        vectors: those of `fields` that have three components.
        precision: as of `write`.
        naming: as of `write`.
        threshold: as of `write`.
        style: as of `write`.
        up: as of `write`.

    Each voxel is written at most once; the others are zero. Boxes that begin and end on multiples of 8 cells are
    fastest. A VDB keeps its compressed leaves in memory, so memory depends on the filled part; a VTI keeps its boxes
    on the disk.

    The file gets its name when the block ends; after an exception an earlier file of that name is unchanged. Raises
    InputError for bad options, for boxes that reach beyond the frame or overlap, and for values that cannot be
    stored; RunError if the disk is full.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in STREAMED:
        raise InputError(
            os.fspath(path), f"{suffix!r} is not written box by box", f"use {', '.join(STREAMED)}"
        )
    precisions = get_args(StoredPrecision)
    if precision not in precisions:
        raise InputError("precision", f"{precision!r} is not known", f"give one of {', '.join(precisions)}")
    grid_names.grid_name("velocity", naming)
    if not 0 <= threshold < float("inf"):
        raise InputError("threshold", f"{threshold} is not a magnitude", "give 0 or more")
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise InputError("shape", f"{tuple(shape)} is not a 2-D or 3-D grid", "give (x, y) or (x, y, z)")
    if not 0 < cell_size < float("inf"):
        raise InputError("cell_size", f"{cell_size} m is not a size", "give a positive number of meters")
    place = tuple(origin) or (0.0,) * len(shape)
    if len(place) != len(shape):
        raise InputError("origin", f"{place} does not have {len(shape)} numbers", "give one number per axis")
    if not fields:
        raise InputError("fields", "no field is named", "name some, density first")
    options: dict[str, Any] = {
        "shape": tuple(int(n) for n in shape),
        "cell_size": float(cell_size),
        "origin": place,
        "time": time,
        "dt": dt,
        "fields": tuple(dict.fromkeys(fields)),
        "half": precision == "half",
        "threshold": threshold,
        "vectors": frozenset(vectors) | {"velocity", FACES},
    }
    if suffix == ".vti":
        from fluidsr.volumes import vti_stream

        return vti_stream.stream_frame(path, whole=style.whole if style else (), **options)
    from fluidsr.volumes import vdb

    return vdb.stream_frame(path, naming=naming, style=style, up=up, **options)
