"""Frames from VTK images, whatever kind of file they come from (VTI, legacy VTK, VTKHDF)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fluidsr.errors import VolumeError
from fluidsr.frame import Frame
from fluidsr.volumes import grid_names, memory, siblings
from fluidsr.volumes.info import VolumeInfo, describe_array
from fluidsr.volumes.units import Taken, style_of_whole
from fluidsr.volumes.vdb.transform import Axes, Transform
from fluidsr.volumes.vti_format import DataArray

# Field data holds what an image has no attribute for. `TimeValue` is VTK's own name for a time; ParaView shows it.
TIME, DT, DIM, CELL_SIZE, ORIGIN = "TimeValue", "dt", "dim", "cell_size", "origin"
_TIME_OF_VISIT = "TIME"
_TIME_OF_OTHERS = ("time", "Time")
_UNNAMED = ("data", "scalars", "field", "values", "array")  # names that say nothing about the field

_OF_VTK = re.compile("vtk[A-Z]")  # vtkGhostType, vtkValidPointMask, ...


class Image(Protocol):
    """An image file whose header has been read.

    `extent`: indices of the first and last point along x, y, z. `spacing` and `origin`: m. `direction`: a 3 x 3
    matrix, row by row. `arrays`: the arrays in the file.
    """

    where: str
    max_bytes: int | None
    arrays: list[DataArray]

    @property
    def extent(self) -> Sequence[int]: ...
    @property
    def spacing(self) -> Sequence[float]: ...
    @property
    def origin(self) -> Sequence[float]: ...
    @property
    def direction(self) -> Sequence[float]: ...

    @property
    def compression(self) -> str:
        """The name of the codec."""

    def points(self) -> tuple[int, int, int]:
        """Points along x, y, z."""

    def values(self, array: DataArray, tuples: int) -> np.ndarray:
        """The array's values, `[tuples * components]`, x fastest. Raises VolumeError if they do not exist."""

    def stored(self, array: DataArray) -> int:
        """Bytes that the array takes in the file."""


def frame_of(
    image: Image,
    density_grid: str | None,
    velocity_grid: str | None,
    fields: Sequence[str] | None,
    open_image: Callable[[Path, int | None], Image] | None = None,
) -> Taken:
    """The frame that `image` holds; see `fluidsr.volumes.read`.

    Args:
        image: the file.
        density_grid: name of the density array; None: by its usual names.
        velocity_grid: name of the velocity array; None: by its usual names.
        fields: names of the fields to read; None: all.
        open_image: opens the files beside it that hold further fields; None: there are none.

    Points are cell centers; if the density is cell data, the cells are used. Fields of the other kind are averaged to
    the density's positions; quarter turns and mirrors of the axes are undone. An image one point thick in z, or one
    that says so, is a 2-D frame. Raises VolumeError for damaged data, for cells that are not cubes, and if a
    requested array is missing.
    """
    fields_read = _fields(image, density_grid)
    notes: list[str] = []
    if open_image is not None:
        fields_read = _with_siblings(image, fields_read, open_image, notes)
    scalars = [name for name, part in fields_read.items() if part.array.components == 1]
    vectors = [name for name, part in fields_read.items() if part.array.components > 1]
    odd = [array for array in image.arrays if array.section != "FieldData" and not _is_field(image, array)]
    notes += [f"{a.name!r} has {a.components} components: it is left out" for a in odd if a.components > 1]
    chosen = grid_names.choose(
        image.where,
        scalars,
        vectors,
        density=density_grid,
        velocity=velocity_grid,
        fields=fields,
        dim=2 if _shape(image, next(iter(fields_read.values())).array.section)[2] == 1 else 3,
    )
    section = fields_read[chosen.density].array.section
    shape = _shape(image, section)
    count = 1 + len(chosen.others) + 3 * (bool(chosen.velocity) + len(chosen.vectors))
    memory.check(image.where, _cells(shape) * 4 * count, image.max_bytes)

    def channels(name: str) -> np.ndarray:
        part = fields_read[name]
        values = _channels(part.image, part.array, _shape(part.image, part.array.section))
        return values if part.array.section == section else _moved(values, shape)

    values = {"density": channels(chosen.density)[0]}
    if chosen.velocity:
        parts = [channels(name) for name in chosen.velocity]
        values["velocity"] = parts[0] if len(parts) == 1 else np.concatenate(parts)
    values |= {field: channels(name)[0] for field, name in chosen.others.items()}
    values |= {field: channels(name) for field, name in chosen.vectors.items()}
    for name in (*chosen.velocity, *chosen.others.values(), *chosen.vectors.values()):
        if fields_read[name].array.section != section:
            positions = "points" if section == "PointData" else "cells"
            notes.append(f"{name!r} is averaged to the {positions}, where the density is")
    whole = {field: name for field, name in chosen.others.items() if "Int" in fields_read[name].array.type}
    frame, layer = _frame(image, values, section)
    return Taken(
        frame,
        notes=tuple(dict.fromkeys((*notes, *chosen.notes))),
        layer=layer,
        style=style_of_whole(whole),
        has_rate=DT in _notes(image),
    )


def time_of(image: Image) -> float | None:
    """The time (s) that the image states; None if it states none."""
    notes = _notes(image)
    stated = [notes[name][0] for name in (TIME, _TIME_OF_VISIT, *_TIME_OF_OTHERS) if name in notes]
    return stated[0] if stated else None


def info_of(image: Image, kind: str) -> VolumeInfo:
    """The contents of `image`, a file of format `kind`; see `fluidsr.volumes.inspect`."""
    fields_read = _fields(image, None)
    section = next(iter(fields_read.values())).array.section
    shape = _shape(image, section)
    most_components = max(part.array.components for part in fields_read.values())
    memory.check(image.where, _cells(shape) * 4 * (1 + most_components), image.max_bytes)
    place, _ = _frame(image, {"density": np.broadcast_to(np.float32(0), shape)}, section)
    turn = _axes(image, section).turn
    grids = [
        describe_array(
            place,
            name,
            turn(_channels(image, part.array, _shape(image, part.array.section))),
            dtype=part.array.type.lower(),
            compression=image.compression,
            size=image.stored(part.array),
        )
        for name, part in fields_read.items()
    ]
    return VolumeInfo.of_frame(image.where, kind, place, grids)


@dataclass(frozen=True)
class _Part:
    """An array and the image that holds it."""

    image: Image
    array: DataArray


def _fields(image: Image, density: str | None) -> dict[str, _Part]:
    """The arrays that may be fields, by name: first those of the density's section, then the others.

    Arrays that VTK itself adds to an image (`vtkGhostType`, `vtkValidPointMask`) are left out.
    """
    by_section: dict[str, dict[str, _Part]] = {"PointData": {}, "CellData": {}}
    for array in image.arrays:
        if array.section in by_section and _is_field(image, array):
            by_section[array.section].setdefault(array.name, _Part(image, array))

    def order(section: str) -> tuple[bool, bool, bool]:
        scalars = [name for name, part in by_section[section].items() if part.array.components == 1]
        return (
            density not in scalars,
            not any(grid_names.field_of(name) == "density" for name in scalars),
            not scalars,
        )

    first, second = sorted(by_section, key=order)  # points before cells if nothing else decides
    fields = by_section[second] | by_section[first]
    fields = {name: fields[name] for name in (*by_section[first], *by_section[second])}
    if not fields:
        several = [
            array
            for array in image.arrays
            if array.section in by_section and array.type and array.components > 1
        ]
        others = [f"{array.name!r} has {array.components} components" for array in several]
        problem = (
            f"it has no scalars or vectors: {', '.join(others[:5])}"
            if others
            else "it has no arrays of numbers"
        )
        raise VolumeError(image.where, problem, "give an image with scalars as point or cell data")
    word = siblings.word_of_density(image.where)
    if len(fields) == 1 and word:  # one field per file: often the file is named after it, but not the array
        (name,) = fields
        if grid_names.field_of(name) is None and name.lower() in _UNNAMED:
            fields = {word: fields[name]}
    return fields


def _is_field(image: Image, array: DataArray) -> bool:
    """Whether an array of the points or cells may be a field. A flat image may have vectors of two components."""
    flat = min(_shape(image, array.section)) == 1
    return (
        bool(array.type)
        and array.components in ((1, 2, 3) if flat else (1, 3))
        and not _OF_VTK.match(array.name)
    )


def _with_siblings(
    image: Image,
    parts: dict[str, _Part],
    open_image: Callable[[Path, int | None], Image],
    notes: list[str],
) -> dict[str, _Part]:
    """`parts`, and the fields of the same frame in the files beside the image."""
    for word, file in siblings.beside(image.where, parts).items():
        other = open_image(file, image.max_bytes)
        if list(other.extent) != list(image.extent) or not np.allclose(other.spacing, image.spacing):
            notes.append(f"{file.name} has other cells: it is left out")
            continue
        for name, part in _fields(other, None).items():
            parts.setdefault(name if name not in parts else word, part)
    return parts


def _shape(image: Image, section: str) -> tuple[int, int, int]:
    """The number of values of an array of the points or of the cells along x, y, z."""
    x, y, z = image.points()
    return (x, y, z) if section == "PointData" else (max(x - 1, 1), max(y - 1, 1), max(z - 1, 1))


def _moved(values: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """`values [components, x, y, z]` of points at the cells of `shape`, or of cells at its points: the mean of the
    neighbors.
    """
    for axis, expected in enumerate(shape, start=1):
        if values.shape[axis] == expected:
            continue
        if values.shape[axis] < expected:
            around = [(1, 1) if a == axis else (0, 0) for a in range(4)]
            values = np.pad(values, around, mode="edge")
        lower, upper = [slice(None)] * 4, [slice(None)] * 4
        lower[axis], upper[axis] = slice(0, -1), slice(1, None)
        values = (values[tuple(lower)] + values[tuple(upper)]) * np.float32(0.5)
    return values


def _frame(image: Image, arrays: dict[str, np.ndarray], section: str) -> tuple[Frame, float | None]:
    """The frame of fields `[(components,) x, y, z]`; for a 2-D frame also the lower side of its layer along z (m)."""
    axes = _axes(image, section)
    arrays = {name: axes.turn(values) for name, values in arrays.items()}
    shape, size = arrays["density"].shape, axes.cell_size
    notes = _notes(image)
    # The smallest coordinate of the points along each axis; on a mirrored axis that is the last point.
    first = [
        corner + size * min(sign * image.extent[2 * i], sign * image.extent[2 * i + 1])
        for corner, i, sign in zip(image.origin, axes.order, axes.signs, strict=True)
    ]
    origin = tuple(value - size / 2 for value in first) if section == "PointData" else tuple(first)
    # VTK prints positions with fewer digits than a float64 has; the field data holds the exact values.
    exact_size, exact_origin = notes.get(CELL_SIZE, (size,))[0], notes.get(ORIGIN, origin)
    if abs(exact_size - size) <= 1e-6 * size:
        size = exact_size
        if np.allclose(exact_origin, origin[: len(exact_origin)], rtol=1e-6, atol=1e-6 * size):
            origin = (*exact_origin, *origin[len(exact_origin) :])
    layer = None
    dim = int(notes.get(DIM, (2 if shape[2] == 1 and min(shape[:2]) > 1 else 3,))[0])
    if dim == 2 and shape[2] == 1:
        arrays = {
            name: values[:2, ..., 0] if name == "velocity" else values[..., 0]
            for name, values in arrays.items()
        }
        layer, origin = origin[2], origin[:2]
    times: dict[str, Any] = {
        key: notes[name][0]
        for key, name in (*(("time", name) for name in (*_TIME_OF_OTHERS, _TIME_OF_VISIT, TIME)), ("dt", DT))
        if name in notes
    }
    frame = Frame(arrays["density"], cell_size=size, origin=origin, **times)
    return frame.with_fields({name: np.ascontiguousarray(values) for name, values in arrays.items()}), layer


def _notes(image: Image) -> dict[str, tuple[float, ...]]:
    """The finite numbers in the field data, by name."""
    notes = {}
    for array in image.arrays:
        if (
            array.section == "FieldData"
            and array.type
            and 1 <= (array.tuples or 1) <= 3
            and array.components == 1
        ):
            values = image.values(array, array.tuples or 1)
            if np.isfinite(values).all():
                notes[array.name] = tuple(map(float, values))
    return notes


def _axes(image: Image, section: str) -> Axes:
    """How the indices of the image run along the axes of the world.

    Raises VolumeError if the cells are not cubes, or not aligned with the axes.
    """
    # The spacing across a single layer of points or cells is meaningless: programs write arbitrary values there.
    layers = _shape(image, section)
    spacing = [s for s, n in zip(image.spacing, layers, strict=True) if n > 1] or [image.spacing[0]]
    edges = [s if n > 1 else abs(spacing[0]) for s, n in zip(image.spacing, layers, strict=True)]
    x, y, z = (np.array(image.direction, float).reshape(3, 3) * edges).tolist()
    transform = Transform((tuple(x), tuple(y), tuple(z)), (0.0, 0.0, 0.0), "AffineMap")
    return transform.axes(image.where, "cells")


def _channels(image: Image, array: DataArray, shape: tuple[int, int, int]) -> np.ndarray:
    """The array as float32 `[components, x, y, z]`; a view in VTK's order, x fastest."""
    with np.errstate(invalid="ignore", over="ignore"):  # what does not fit becomes infinite
        flat = image.values(array, _cells(shape)).astype(np.float32, copy=False)
    return flat.reshape(*shape[::-1], array.components).T


def _cells(shape: tuple[int, int, int]) -> int:
    return shape[0] * shape[1] * shape[2]
