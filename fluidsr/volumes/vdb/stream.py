"""Frames into VDB files, whole or box by box."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np

from fluidsr import atomic
from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.volumes import grid_names
from fluidsr.volumes.sequence import frame_number
from fluidsr.volumes.units import Style
from fluidsr.volumes.vdb import compression, writer
from fluidsr.volumes.vdb.leaf_builder import Collector
from fluidsr.volumes.vdb.transform import Transform, Vector

# What a transform and a sparse tree cannot say is kept in each grid's metadata under these names.
TIME, DT, DIM = "fluidsr_time", "fluidsr_dt", "fluidsr_dim"
SHAPE, ORIGIN, UP = "fluidsr_shape", "fluidsr_origin", "fluidsr_up"
_UNITS = {"density": "1", "velocity": "m/s", "temperature": "K"}


class FrameStream:
    """A frame that is being written; see `fluidsr.volumes.stream`."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        shape: Sequence[int],
        cell_size: float,
        origin: Sequence[float],
        time: float,
        dt: float,
        fields: Sequence[str],
        half: bool,
        naming: str,
        threshold: float,
        style: Style | None = None,
        up: str = "y",
    ) -> None:
        self._dim = len(shape)
        self._style = style or Style()
        box = three(shape, 1)
        place = three(map(float, origin), 0.0)
        self._file_notes = {"creator": "fluidsr", **self._style.file, "time": float(time)}
        number = frame_number(path)
        if number is not None and number < 2**31:
            self._file_notes["frame"] = number
        self._notes: dict[str, Any] = {
            TIME: float(time),
            DT: float(dt),
            DIM: self._dim,
            SHAPE: box,
            ORIGIN: place,
        }
        if up != "y":
            self._notes[UP] = up
        self._transform = Transform.uniform(cell_size, first_centre(place, cell_size))
        self._names = {
            field: self._style.names.get(field, grid_names.grid_name(field, naming)) for field in fields
        }
        self._collectors = {
            field: Collector(
                field,
                writer.dense_type(3 if field == "velocity" else 1, half),
                compression.codec(self._style.compression),
                (0, 0, 0),
                box,
                threshold,
            )
            for field in fields
        }

    def put(self, name: str, low: Sequence[int], values: Any) -> None:
        """Take the box of field `name` that begins at cell `low`; see `fluidsr.volumes.stream`."""
        if name not in self._collectors:
            raise InputError(
                "put", f"there is no field {name!r}", f"name one of {', '.join(self._collectors)}"
            )
        if hasattr(values, "detach"):
            values = values.detach().cpu().numpy()
        values = np.asarray(values, np.float32)
        vector = name == "velocity"
        if len(low) != self._dim or values.ndim != self._dim + vector:
            what = f"a box of shape {values.shape} at {tuple(low)} in {self._dim} dimensions"
            raise InputError(
                name, what, "give [x, y, z] ([x, y] in 2-D), with the components of velocity first"
            )
        if self._dim == 2:  # one voxel thick, and no velocity across
            values = values[..., None]
            if vector:
                values = np.concatenate([values, np.zeros((1, *values.shape[1:]), np.float32)])
        self._collectors[name].put(three(low, 0), values)

    def finish(self, file: BinaryIO) -> None:
        """Write all that has come into `file`."""
        trees = []
        for field, collector in self._collectors.items():
            if field == "velocity":  # centred, not staggered: components share their voxel's centre
                notes = {"class": "unknown", "vector_type": "contravariant relative"}
            else:
                notes = {"class": "fog volume"}
            if field in _UNITS:
                notes["units"] = _UNITS[field]
            notes |= self._style.metadata.get(field, {})
            store, tiles = collector.finish()
            trees.append(writer.Tree(self._names[field], store, tiles, self._transform, notes | self._notes))
        if self._style.copied_from is not None:
            trees += _copies(self._style.copied_from)
        writer.write_trees(file, trees, self._file_notes)


def _copies(path: str) -> list[writer.Tree]:
    """The grids of a file that are no fields of smoke, as they are."""
    from fluidsr.volumes.vdb.fields import asides
    from fluidsr.volumes.vdb.reader import open_file

    with open_file(path) as file:
        return [writer.copy_of(grid) for grid in asides(file)]


@contextmanager
def stream_frame(path: str | os.PathLike[str], **options: Any) -> Iterator[FrameStream]:
    """Write a frame box by box; see `fluidsr.volumes.stream`. `options` are those of FrameStream."""
    out = FrameStream(path, **options)
    with atomic.theirs_apart() as theirs, atomic.replacing(path) as temporary, temporary.open("wb") as file:
        with theirs:
            yield out
        out.finish(file)


def write_frame(
    path: str | os.PathLike[str],
    frame: Frame,
    fields: Sequence[str],
    *,
    half: bool,
    naming: str,
    threshold: float,
    style: Style | None = None,
    up: str = "y",
) -> None:
    """Write `fields` of a NumPy `frame`; see `fluidsr.volumes.write`."""
    present = frame.fields()
    with stream_frame(
        path,
        shape=frame.shape,
        cell_size=frame.cell_size,
        origin=frame.origin,
        time=frame.time,
        dt=frame.dt,
        fields=fields,
        half=half,
        naming=naming,
        threshold=threshold,
        style=style,
        up=up,
    ) as out:
        for field in fields:
            out.put(field, (0,) * frame.dim, present[field])


def first_centre(origin: Sequence[float], cell_size: float) -> Vector:
    """The centre of cell 0 of a box whose lower corner is `origin`, m."""
    x, y, z = (corner + cell_size / 2 for corner in origin)
    return x, y, z


def three(values: Any, filler: Any) -> tuple[Any, Any, Any]:
    """Two or three numbers, one per axis, as three."""
    x, y, z = (*values, filler)[:3]
    return x, y, z
