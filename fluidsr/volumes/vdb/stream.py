"""Frames into VDB files, whole or box by box."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np

from fluidsr import atomic
from fluidsr.frame import Frame
from fluidsr.frame_grid import QUARTER_TURNS
from fluidsr.volumes import grid_names
from fluidsr.volumes.numbering import frame_number
from fluidsr.volumes.quantize import POSITIONS
from fluidsr.volumes.staggered import FACES
from fluidsr.volumes.stream_boxes import as_3d, checked_box
from fluidsr.volumes.units import GridStyle, Style
from fluidsr.volumes.vdb import compression, writer
from fluidsr.volumes.vdb.leaf_builder import Collector
from fluidsr.volumes.vdb.metadata import DIM, DT, LOW, ORIGIN, SHAPE, TIME, UP
from fluidsr.volumes.vdb.transform import Transform, Vector
from fluidsr.volumes.vdb.tree import Index

_WHOLE = 1e-3  # cells; how far from a whole number the position of a box on a lattice may be
_UNITS = {"density": "1", "velocity": "m/s", "temperature": "K", "flame": "1", "fuel": "1", "color": "1"}


class FrameStream:
    """A frame that is being written; see `fluidsr.volumes.stream` for the parameters and errors."""

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
        vectors: Collection[str],
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
            self._file_notes.setdefault("frame", number)
        self._notes: dict[str, Any] = {
            TIME: float(time),
            DT: float(dt),
            DIM: self._dim,
            SHAPE: box,
            ORIGIN: place,
        }
        if up != "y":
            self._notes[UP] = up
        self._low, self._transform = _lattice(cell_size, place, box, self._style)
        if self._low != (0, 0, 0):
            self._notes[LOW] = self._low
        self._vectors = frozenset(vectors)
        self._grids = {name: self._grid(name, half, naming) for name in fields}
        high = three([a + n for a, n in zip(self._low, box, strict=True)], 1)
        self._collectors = {
            name: Collector(
                "velocity" if name == FACES else name,
                writer.dense_type(3 if name in vectors else 1, grid.half, grid.type),
                compression.codec(grid.compression),
                self._low,
                high,
                threshold,
            )
            for name, grid in self._grids.items()
        }

    def _grid(self, name: str, half: bool, naming: str) -> GridStyle:
        """How the field is stored: as in the file that it comes from; otherwise with the codec of that file, or
        Blosc.
        """
        word = "velocity" if name == FACES else name
        kept = self._style.grids.get(word)
        if kept is not None:
            return kept
        codec = next((grid.compression for grid in self._style.grids.values()), "blosc")
        half = half and word not in POSITIONS
        return GridStyle(grid_names.grid_name(word, naming), half=half, compression=codec)

    def put(self, name: str, low: Sequence[int], values: Any) -> None:
        """Write the box of field `name` that begins at cell `low`; see `fluidsr.volumes.stream`."""
        vector = name in self._vectors
        box = checked_box(name, low, values, self._collectors, self._dim, vector)
        at = [a + n for a, n in zip(self._low, three(low, 0), strict=True)]
        self._collectors[name].put(at, as_3d(box, self._dim, vector))

    def finish(self, file: BinaryIO) -> None:
        """Write the complete frame into `file`."""
        trees = []
        for field, collector in self._collectors.items():
            word = "velocity" if field == FACES else field
            notes: dict[str, Any] = {"class": "fog volume"}
            if word == "velocity":  # at cell centers, unless it is on faces
                notes["class"] = "staggered" if field == FACES else "unknown"
                notes["vector_type"] = "contravariant relative"
            elif field in self._vectors or self._grids[field].whole:
                notes["class"] = "unknown"
            if word in _UNITS:
                notes["units"] = _UNITS[word]
            if word in POSITIONS:
                notes["units"] = "m"
            notes |= self._grids[field].metadata
            store, tiles = collector.finish()
            name = self._grids[field].name
            trees.append(writer.Tree(name, store, tiles, self._transform, notes | self._notes))
        if self._style.copied_from is not None:
            trees += _copies(self._style.copied_from, self._style.turned_up)
        writer.write_trees(file, trees, self._file_notes)


def _copies(path: str, up: str | None) -> list[writer.Tree]:
    """The grids of a file that are not fields of smoke, unchanged, turned so that `up` points up."""
    from fluidsr.volumes.vdb.fields import copied_grids
    from fluidsr.volumes.vdb.reader import open_file

    with open_file(path) as file:
        copies = [writer.copy_of(grid) for grid in copied_grids(file)]
    if up is None:
        return copies
    return [replace(tree, transform=tree.transform.turned(*QUARTER_TURNS[up])) for tree in copies]


@contextmanager
def stream_frame(path: str | os.PathLike[str], **options: Any) -> Iterator[FrameStream]:
    """Write a frame box by box; see `fluidsr.volumes.stream`. `options` are those of FrameStream."""
    out = FrameStream(path, **options)
    with (
        atomic.passing_callers_errors() as caller,
        atomic.replacing(path) as temporary,
        temporary.open("wb") as file,
    ):
        with caller:
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
        vectors=frame.vectors,
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


def _lattice(
    cell_size: float, origin: Vector, shape: tuple[int, int, int], style: Style
) -> tuple[Index, Transform]:
    """The index of the first cell of a box at `origin` (m), and the transform.

    They are on the lattice of `style`, or on one with smaller cells that divide its cells, if the box lies on it;
    otherwise on a new lattice with index 0 at the box's first cell.
    """
    first = first_center(origin, cell_size)
    new_lattice = (0, 0, 0), Transform.uniform(cell_size, first)
    if style.lattice is None:
        return new_lattice
    size, center = style.lattice
    if cell_size != size:  # the lower corner of voxel 0 does not move
        center = three([at + (cell_size - size) / 2 for at in center], 0.0)
    exact = np.subtract(first, center) / cell_size
    low = np.rint(exact)
    reach = np.abs(low).max() + max(shape)
    if not (np.abs(exact - low) <= _WHOLE).all() or reach > writer.REACH:
        return new_lattice
    return three([int(n) for n in low], 0), Transform.uniform(cell_size, center)


def first_center(origin: Sequence[float], cell_size: float) -> Vector:
    """The center (m) of cell 0 of a box whose lower corner is `origin`."""
    x, y, z = (corner + cell_size / 2 for corner in origin)
    return x, y, z


def three(values: Any, filler: Any) -> tuple[Any, Any, Any]:
    """Two or three values, one per axis, as three; `filler` is the third."""
    x, y, z = (*values, filler)[:3]
    return x, y, z
