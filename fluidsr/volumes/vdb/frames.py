"""Frames from VDB files."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from fluidsr.errors import InputError, MissingFieldError
from fluidsr.frame import Frame, moves_with_smoke
from fluidsr.frame_grid import FrameGrid
from fluidsr.volumes import grid_names, memory, siblings
from fluidsr.volumes.staggered import FACES
from fluidsr.volumes.units import GridStyle, Style, Taken
from fluidsr.volumes.vdb import compression
from fluidsr.volumes.vdb.fields import FileLayout, Placed, Resampled, find, is_straight, place
from fluidsr.volumes.vdb.grid import Grid
from fluidsr.volumes.vdb.metadata import (
    BASE_RESOLUTION,
    DIM,
    DT,
    LOW,
    ORIGIN,
    SHAPE,
    TIME,
    UP,
    number,
    triple,
)
from fluidsr.volumes.vdb.reader import VdbFile, open_file
from fluidsr.volumes.vdb.stream import first_center, three
from fluidsr.volumes.vdb.topology import count_on
from fluidsr.volumes.vdb.tree import LEAF, Index, leaf_bounds

# Metadata that a writer sets anew. `file_base_resolution` (Blender) would be wrong for finer grids.
_REWRITTEN = ("file_", "fluidsr_", "name", "is_saved_as_half_float")
_FILE_TIME = "time"  # metadata of the file itself, s
_LARGE = 1 << 26  # bytes as dense arrays; a smaller box is cheap even if it is mostly empty
_WORTH_TELLING = 4  # times as large as the box of the smoke
NO_GRIDS = "it holds no grids: an empty frame"


@contextmanager
def open_frame(path: str | os.PathLike[str], max_bytes: int | None = None) -> Iterator[VdbFile]:
    """Open the file of a frame, together with the grids of the files beside it that hold further fields of the frame.

    Raises VolumeError for a file that is missing, damaged or unsupported.
    """
    with ExitStack() as stack:
        file = stack.enter_context(open_file(path, max_bytes))
        names = {grid.name for grid in file.grids}
        grids = list(file.grids)
        for word, other in siblings.beside(path, names).items():
            for grid in stack.enter_context(open_file(other, max_bytes)).grids:
                name = word if grid.name in names else grid.name
                names.add(name)
                grids.append(replace(grid, name=name))
        yield replace(file, grids=tuple(grids))


def read_frame(path: str | os.PathLike[str], **options: Any) -> Frame:
    """Read a Frame; `options` are those of `take_frame`."""
    return take_frame(path, **options).frame


def take_frame(
    path: str | os.PathLike[str],
    *,
    density_grid: str | None = None,
    velocity_grid: str | None = None,
    fields: Sequence[str] | None = None,
    max_bytes: int | None = None,
    crop: tuple[Sequence[float], Sequence[float]] | str | None = None,
    faces: bool = False,
) -> Taken:
    """Read a Frame, with notes about it; see `fluidsr.volumes.take`."""
    with open_frame(path, max_bytes) as file:
        if not file.grids and density_grid is None:
            return _nothing(file, fields)
        return _read(file, density_grid, velocity_grid, fields, max_bytes, crop, faces)


def read_box(
    path: str | os.PathLike[str],
    *,
    density_grid: str | None = None,
    velocity_grid: str | None = None,
    fields: Sequence[str] | None = None,
    max_bytes: int | None = None,
) -> FrameGrid | None:
    """The box of the frame that `read_frame` would give; None if no voxel is active.

    It follows from the topology of the grids; their values are not read. Parameters and errors as of
    `fluidsr.volumes.take`.
    """
    with open_frame(path, max_bytes) as file:
        if not file.grids and density_grid is None:
            return None
        layout = find(file, density_grid, velocity_grid, fields)
        box = box_of(layout)
        if box is None:
            return None
        (low, high), (size, translation) = box, place(layout.reference)
        shape = tuple(b - a for a, b in zip(low, high, strict=True))
        origin = tuple(t + (n - 0.5) * size for t, n in zip(translation, low, strict=True))
        dim = 2 if _is_flat(layout.reference, low, high) else 3
        return FrameGrid(shape[:dim], size, origin[:dim])


def _nothing(file: VdbFile, fields: Sequence[str] | None) -> Taken:
    """A frame of one empty cell, for a file without grids: a sequence may begin before its smoke."""
    for name in fields or ():
        if name != "density":
            raise MissingFieldError(str(file.path), f"there is no {name}", "it holds no grids")
    return Taken(Frame(np.zeros((1, 1, 1), np.float32)), tight=True, empty=True, notes=(NO_GRIDS,))


def _read(
    file: VdbFile,
    density_grid: str | None,
    velocity_grid: str | None,
    fields: Sequence[str] | None,
    max_bytes: int | None,
    crop: tuple[Sequence[float], Sequence[float]] | str | None,
    faces: bool,
) -> Taken:
    layout = find(file, density_grid, velocity_grid, fields)
    density, notes = layout.reference, list(layout.notes)
    size, translation = place(density)
    recorded_box = _recorded_box(density)
    box = box_of(layout)
    low, high = box or ((0, 0, 0), (1, 1, 1))
    flow = bool(layout.velocity) + (faces and bool(layout.faces))
    components = 1 + len(layout.others) + 3 * (flow + len(layout.vectors))

    def needed() -> int:
        return _cells(low, high) * 4 * components

    if isinstance(crop, tuple):
        low, high = _cut(low, high, crop, size, translation)
    elif crop == "auto" or (
        recorded_box is None and needed() > (memory.limit() if max_bytes is None else max_bytes)
    ):
        bulk = without_strays(layout)
        if bulk is not None:
            (low, high), left = bulk
            notes.append(f"{_voxels(left)} far from the smoke left out")
    elif crop is None and recorded_box is None and needed() > _LARGE:
        bulk = without_strays(layout)
        if bulk is not None:
            share = _cells(low, high) / _cells(*bulk[0])
            if share >= _WORTH_TELLING:
                notes.append(
                    f"{_voxels(bulk[1])} far from the smoke make{'s' * (bulk[1] == 1)} its box {share:.0f} times as"
                    " large (--crop auto leaves such voxels out)"
                )
    memory.check(str(file.path), needed(), max_bytes)
    values_by_field = _values(layout, low, high, faces)

    origin = tuple(t + (n - 0.5) * size for t, n in zip(translation, low, strict=True))
    if recorded_box and low == recorded_box[0]:
        origin = density.metadata[ORIGIN]  # the same position, without rounding errors
    layer = None
    if _is_flat(density, low, high):
        values_by_field = {name: values[..., 0] for name, values in values_by_field.items()}
        layer, origin = origin[2], origin[:2]
        values_by_field |= {
            name: values_by_field[name][:2] for name in ("velocity", FACES) if name in values_by_field
        }
    values_by_field = {name: np.ascontiguousarray(values) for name, values in values_by_field.items()}
    frame = Frame(values_by_field["density"], cell_size=size, origin=origin)
    frame = frame.with_fields(values_by_field, **_times(file, density))
    tight = recorded_box is None and SHAPE not in density.metadata
    return Taken(
        frame,
        tight=tight,
        outside=_outside(layout, frame) if tight else {},
        empty=box is None,
        layer=layer,
        notes=tuple(notes),
        style=_style(file, layout),
        up=str(density.metadata.get(UP, "y")),
        has_rate=number(density.metadata, DT) is not None,
    )


def _outside(layout: FileLayout, frame: Frame) -> dict[str, tuple[float, ...]]:
    """The backgrounds of the fields beside the density that are not zero. Beyond its box there is no smoke."""
    parts = {name: [part] for name, part in {**layout.others, **layout.vectors}.items()}
    parts |= dict.fromkeys(("velocity", FACES), layout.velocity)
    backgrounds = {}
    for name, values in frame.fields().items():
        background = [number for part in parts.get(name, []) for number in part.outside]
        if any(background) and np.isfinite(background).all():
            backgrounds[name] = tuple(background[: len(values)] if values.ndim > frame.dim else background)
    return backgrounds


def _cells(low: Index, high: Index) -> int:
    """The number of cells in the box from `low` to `high` (exclusive)."""
    return math.prod(b - a for a, b in zip(low, high, strict=True))


def _voxels(count: int) -> str:
    return f"{count} active voxel{'s' * (count > 1)}"


def _times(file: VdbFile, density: Grid) -> dict[str, float]:
    """Time and time step (s), if the file states them."""
    time = number(density.metadata, TIME)
    times = {
        "time": number(file.metadata, _FILE_TIME) if time is None else time,
        "dt": number(density.metadata, DT),
    }
    return {key: value for key, value in times.items() if value is not None}


def time_of(path: str | os.PathLike[str]) -> float | None:
    """The time (s) that the first grid of this package or the file itself states; None if neither does.

    Raises VolumeError for a file that cannot be read.
    """
    with open_file(path) as file:
        stated = [number(grid.metadata, TIME) for grid in file.grids]
        known = [time for time in stated if time is not None]
        return known[0] if known else number(file.metadata, _FILE_TIME)


def _values(layout: FileLayout, low: Index, high: Index, faces: bool) -> dict[str, np.ndarray]:
    """The fields in the reference's cells from `low` to `high` (exclusive); with `faces` also velocity on faces."""
    values_by_field = {"density": layout.density.read(low, high)}
    values_by_field |= {name: part.read(low, high) for name, part in layout.others.items()}
    for name, flow in (("velocity", layout.velocity), (FACES, layout.faces if faces else [])):
        if flow:
            parts = [part.read(low, high) for part in flow]
            values_by_field[name] = parts[0] if len(parts) == 1 else np.stack(parts)
    return values_by_field | {name: part.read(low, high) for name, part in layout.vectors.items()}


def take_window(file: VdbFile, layout: FileLayout, low: Index, high: Index) -> Taken:
    """The reference's cells from `low` to `high` (exclusive) as a separate frame at its position.

    A velocity on faces is also given on faces, as the field `staggered.FACES`.
    """
    density = layout.reference
    size, translation = place(density)
    fields_read = {
        name: np.ascontiguousarray(values) for name, values in _values(layout, low, high, faces=True).items()
    }
    origin = tuple(t + (n - 0.5) * size for t, n in zip(translation, low, strict=True))
    frame = Frame(fields_read["density"], cell_size=size, origin=origin)
    frame = frame.with_fields(fields_read, **_times(file, density))
    up = str(density.metadata.get(UP, "y"))
    has_rate = number(density.metadata, DT) is not None
    return Taken(frame, notes=tuple(layout.notes), style=_style(file, layout), up=up, has_rate=has_rate)


def _style(file: VdbFile, layout: FileLayout) -> Style:
    """The properties of the file that a VDB made from the frame keeps. Position, time and statistics are written
    anew.
    """
    size, translation = place(layout.reference)
    return Style(
        {name: _grid_style(name, grid) for name, grid in layout.grids.items()},
        dict(file.metadata),
        (size, translation) if is_straight(layout.reference) else None,
        str(file.path.absolute()) if layout.copied_grids else None,
    )


def _grid_style(field: str, grid: Grid) -> GridStyle:
    name, kind = grid.name.strip(), grid.value_type
    metadata = {key: value for key, value in grid.metadata.items() if not key.startswith(_REWRITTEN)}
    if field == "velocity":  # written in m/s; the class follows from its position in the cells
        metadata = {key: value for key, value in metadata.items() if key not in ("class", "units")}
        if kind.channels == 1:  # three grids become one
            name, metadata = grid_names.of_component(name), {}
    elif metadata.get("class") == "level set":  # it is read as smoke, with nothing outside
        metadata["class"] = "fog volume"
    codec = "blosc" if grid.flags & compression.BLOSC else "zip" if grid.flags & compression.ZIP else "none"
    smooth = kind.name == "half" or (kind.dtype.kind == "i" and moves_with_smoke(field))
    type_name = "float" if smooth else kind.name
    return GridStyle(name, type_name, kind.half or kind.name == "half", codec, metadata)


def _cut(
    low: Index,
    high: Index,
    crop: tuple[Sequence[float], Sequence[float]],
    size: float,
    translation: Sequence[float],
) -> tuple[Index, Index]:
    """The voxels of the box from `low` to `high` (exclusive) that the box `crop` (two corners, m) touches.

    Raises InputError if it touches none.
    """
    first = np.floor((np.array(three(crop[0], -np.inf)) - translation) / size + 0.5 + 1e-3)
    last = np.ceil((np.array(three(crop[1], np.inf)) - translation) / size + 0.5 - 1e-3)
    a, b = np.maximum(first, low), np.minimum(last, high)
    if (a >= b).any():
        raise InputError("crop", "no voxel lies in this box", "give a box in meters that meets the smoke")
    return three([int(n) for n in a], 0), three([int(n) for n in b], 0)


def _is_flat(density: Grid, low: Index, high: Index) -> bool:
    """Whether the box is that of a 2-D frame: as recorded by this package, or one voxel thick. Blender's domains are
    never flat.
    """
    if high[2] - low[2] != 1:
        return False
    if DIM in density.metadata:
        return bool(density.metadata[DIM] == 2)
    return high[0] - low[0] > 1 and high[1] - low[1] > 1 and BASE_RESOLUTION not in density.metadata


def _recorded_box(density: Grid) -> tuple[Index, Index] | None:
    """The box that this package recorded when it wrote the frame; None if the grid was moved or resampled since."""
    shape, origin = triple(density.metadata, SHAPE), triple(density.metadata, ORIGIN)
    if shape is None or origin is None or not all(isinstance(n, int) and n > 0 for n in shape):
        return None
    size, translation = place(density)
    low = triple(density.metadata, LOW) or (0, 0, 0)
    if not all(isinstance(n, int) for n in low):
        return None
    recorded, transformed = np.array(first_center(origin, size)), np.add(translation, np.multiply(low, size))
    if (np.abs(recorded - transformed) > 1e-6 * size + 1e-12 * np.abs(transformed)).any():
        return None
    return low, three([a + n for a, n in zip(low, shape, strict=True)], 0)


def box_of(layout: FileLayout) -> tuple[Index, Index] | None:
    """The smallest box around the recorded box of the density and the active voxels of all parts on its voxels; None if
    there are none.
    """
    recorded_box = _recorded_box(layout.reference)
    parts = [layout.density, *layout.others.values(), *layout.velocity, *layout.vectors.values()]
    boxes = [(part, bounds) for part in parts if (bounds := part.bounds()) is not None]
    # Resampled parts do not enlarge the box of the density.
    counted = [bounds for part, bounds in boxes if not isinstance(part, Resampled)]
    corners = [np.array(recorded_box)] if recorded_box else []
    corners += [np.array(bounds) for bounds in counted or [bounds for _, bounds in boxes]]
    if not corners:
        return None
    low = np.min([c[0] for c in corners], axis=0).tolist()
    high = np.max([c[1] for c in corners], axis=0).tolist()
    return three(low, 0), three(high, 0)


_STRAY = 1e-3  # of the active voxels; a smaller, separate group is not smoke
_SINGLE = 9  # voxels; so small a group is not smoke even in a small frame
_STRAYS = 1e-2  # of the active voxels; if all groups together have more, the smoke is in pieces
_MOST_BLOCKS = 1 << 22  # into which a box is divided to find connected parts


def without_strays(layout: FileLayout) -> tuple[tuple[Index, Index], int] | None:
    """The box of the density's active voxels without the few that lie far away from all others, and the number of
    those.

    None if there are no such voxels.
    """
    from scipy.ndimage import label

    if not isinstance(layout.density, Placed) or not layout.density.axes.straight:
        return None
    topology, bounds = layout.reference.topology, layout.reference.bounds
    if bounds is None or topology.tiles.active.any():
        return None
    counts = count_on(topology.packed_masks)
    filled = counts > 0
    origins, counts = topology.leaf_origins[filled], counts[filled]
    edge = LEAF
    span = np.subtract(bounds[1], bounds[0])
    while int(np.prod(span // edge + 2, dtype=object)) > _MOST_BLOCKS:
        edge *= 2
    first = np.array(bounds[0]) // edge
    at = tuple((origins // edge - first).T)
    blocks = np.zeros(tuple((span // edge + 2).tolist()), bool)
    blocks[at] = True
    groups, _ = label(blocks, np.ones((3, 3, 3)))
    group = groups[at]
    total = np.bincount(group, weights=counts)
    few = total < max(_STRAY * counts.sum(), _SINGLE)
    few[total.argmax()] = False
    keep = ~few[group]
    if keep.all() or counts[~keep].sum() > max(_STRAYS * counts.sum(), _SINGLE):
        return None
    kept_bounds = leaf_bounds(origins[keep], topology.packed_masks[filled][keep])
    assert kept_bounds is not None  # every remaining group has voxels
    low, high = (three(corner.tolist(), 0) for corner in kept_bounds)
    return (low, high), int(counts[~keep].sum())
