"""Frames out of VDB files."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from fluidsr.frame import Frame
from fluidsr.volumes import memory
from fluidsr.volumes.places import Place
from fluidsr.volumes.vdb.fields import Part, find, place
from fluidsr.volumes.vdb.grid import Grid
from fluidsr.volumes.vdb.metadata import number, triple
from fluidsr.volumes.vdb.reader import VdbFile, open_file
from fluidsr.volumes.vdb.stream import DIM, DT, ORIGIN, SHAPE, TIME, first_centre, three
from fluidsr.volumes.vdb.tree import Index


def read_frame(
    path: str | os.PathLike[str],
    *,
    density_grid: str | None = None,
    velocity_grid: str | None = None,
    fields: Sequence[str] | None = None,
    max_bytes: int | None = None,
) -> Frame:
    """Read a Frame; see `fluidsr.volumes.read`."""
    with open_file(path, max_bytes) as file:
        return _read(file, density_grid, velocity_grid, fields, max_bytes)


def read_box(
    path: str | os.PathLike[str],
    *,
    density_grid: str | None = None,
    velocity_grid: str | None = None,
    fields: Sequence[str] | None = None,
    max_bytes: int | None = None,
) -> Place | None:
    """The box of the frame that `read_frame` would give, from the grids' topology, without their values; None where
    no voxel is active."""
    with open_file(path, max_bytes) as file:
        density, velocity, others = find(file, density_grid, velocity_grid, fields)
        size, translation = place(density)
        parts = [Part(density, (0, 0, 0)), *others.values(), *velocity]
        own = _own_box(density)
        if own is None and all(part.bounds() is None for part in parts):
            return None
        low, high = _box(parts, own)
        flat = density.metadata.get(DIM) == 2 and high[2] - low[2] == 1
        dim = 2 if flat else 3
        shape = tuple(b - a for a, b in zip(low, high, strict=True))
        origin = tuple(t + (n - 0.5) * size for t, n in zip(translation, low, strict=True))
        return Place(shape[:dim], size, origin[:dim])


def _read(
    file: VdbFile,
    density_grid: str | None,
    velocity_grid: str | None,
    fields: Sequence[str] | None,
    max_bytes: int | None,
) -> Frame:
    density, velocity, others = find(file, density_grid, velocity_grid, fields)
    size, translation = place(density)
    scalars = {"density": Part(density, (0, 0, 0)), **others}
    low, high = _box([*scalars.values(), *velocity], _own_box(density))
    cells = int(np.prod([b - a for a, b in zip(low, high, strict=True)], dtype=object))
    memory.check(str(file.path), cells * 4 * (len(scalars) + 3 * bool(velocity)), max_bytes)
    found = {name: part.read(low, high) for name, part in scalars.items()}
    if velocity:
        parts = [part.read(low, high) for part in velocity]
        found["velocity"] = parts[0] if len(parts) == 1 else np.stack(parts)

    origin = tuple(t + (n - 0.5) * size for t, n in zip(translation, low, strict=True))
    if _own_box(density) and low == (0, 0, 0):
        origin = density.metadata[ORIGIN]  # the same, without the rounding of the way there and back
    if density.metadata.get(DIM) == 2 and high[2] - low[2] == 1:
        found = {name: values[..., 0] for name, values in found.items()}
        origin = origin[:2]
        if "velocity" in found:
            found["velocity"] = found["velocity"][:2]
    times = {"time": number(density.metadata, TIME), "dt": number(density.metadata, DT)}
    found = {name: np.ascontiguousarray(values) for name, values in found.items()}
    frame = Frame(found["density"], cell_size=size, origin=origin)
    return frame.with_fields(found, **{key: value for key, value in times.items() if value is not None})


def _own_box(density: Grid) -> tuple[Index, Index] | None:
    """The box a frame of ours was written with, unless the grid has been moved or resampled since."""
    shape, origin = triple(density.metadata, SHAPE), triple(density.metadata, ORIGIN)
    if shape is None or origin is None or not all(isinstance(n, int) and n > 0 for n in shape):
        return None
    size, translation = place(density)
    return ((0, 0, 0), shape) if first_centre(origin, size) == translation else None


def _box(parts: list[Part], own: tuple[Index, Index] | None) -> tuple[Index, Index]:
    """The cells that `own` and the active voxels of all parts cover together; one cell if there are none."""
    corners = [np.array(own)] if own else []
    corners += [np.array(bounds) for part in parts if (bounds := part.bounds()) is not None]
    if not corners:
        return (0, 0, 0), (1, 1, 1)
    low, high = (
        np.min([c[0] for c in corners], axis=0).tolist(),
        np.max([c[1] for c in corners], axis=0).tolist(),
    )
    return three(low, 0), three(high, 0)
