"""Frames from VTK images, whatever kind of file they come from (VTI, legacy VTK, VTKHDF)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from fluidsr.errors import VolumeError
from fluidsr.frame import Frame
from fluidsr.volumes import grid_names, memory
from fluidsr.volumes.info import VolumeInfo, describe_array
from fluidsr.volumes.units import Taken
from fluidsr.volumes.vti_format import DataArray

# What an image cannot say is kept in its field data. `TimeValue` is VTK's own name for a time; ParaView shows it.
TIME, DT, DIM, CELL_SIZE, ORIGIN = "TimeValue", "dt", "dim", "cell_size", "origin"

_IDENTITY = np.eye(3).reshape(-1)


class Image(Protocol):
    """An image file whose header is read: `extent`, the indices of the first and last point along x, y, z;
    `spacing`, `origin` in m; `direction` row by row; the arrays that it holds.
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
        """In a word."""

    def points(self) -> tuple[int, int, int]:
        """Points along x, y, z."""

    def values(self, array: DataArray, tuples: int) -> np.ndarray:
        """The array's values, `[tuples * components]`. Raises VolumeError where they are not there."""

    def stored(self, array: DataArray) -> int:
        """Bytes that the array takes in the file."""


def frame_of(
    image: Image, density_grid: str | None, velocity_grid: str | None, fields: Sequence[str] | None
) -> Taken:
    """The frame that `image` holds; see `fluidsr.volumes.read`.

    Points are cell centres; a file with cell data only gives those. An image one point thick in z, or one
    that says so, is a 2-D frame.
    """
    arrays, shape = _grids(image)
    scalars = [name for name, array in arrays.items() if array.components == 1]
    vectors = [name for name, array in arrays.items() if array.components == 3]
    chosen = grid_names.choose(
        image.where, scalars, vectors, density=density_grid, velocity=velocity_grid, fields=fields
    )
    cells = _cells(shape)
    memory.check(
        image.where, cells * 4 * (1 + len(chosen.others) + 3 * bool(chosen.velocity)), image.max_bytes
    )
    found = {"density": _channels(image, arrays[chosen.density], shape)[0]}
    if chosen.velocity:
        parts = [_channels(image, arrays[name], shape) for name in chosen.velocity]
        found["velocity"] = parts[0] if len(parts) == 1 else np.concatenate(parts)
    found |= {field: _channels(image, arrays[name], shape)[0] for field, name in chosen.others.items()}
    return Taken(_frame(image, found, shape))


def info_of(image: Image, kind: str) -> VolumeInfo:
    """What is in the image, a file of `kind`; see `fluidsr.volumes.inspect`."""
    arrays, shape = _grids(image)
    most = max(a.components for a in arrays.values())
    memory.check(image.where, _cells(shape) * 4 * (1 + most), image.max_bytes)
    place = _frame(image, {"density": np.broadcast_to(np.float32(0), shape)}, shape)
    grids = [
        describe_array(
            place,
            name,
            _channels(image, array, shape),
            dtype=array.type.lower(),
            compression=image.compression,
            size=image.stored(array),
        )
        for name, array in arrays.items()
    ]
    return VolumeInfo.of_frame(image.where, kind, place, grids)


def _grids(image: Image) -> tuple[dict[str, DataArray], tuple[int, int, int]]:
    """The arrays of the points, else of the cells, by name, and how many values they have along x, y, z."""
    shape = image.points()
    for section in ("PointData", "CellData"):
        arrays = {
            a.name: a for a in image.arrays if a.section == section and a.type and a.components in (1, 3)
        }
        if arrays:
            if section == "CellData":
                x, y, z = (max(n - 1, 1) for n in shape)
                shape = (x, y, z)
            return arrays, shape
    raise VolumeError(image.where, "it has no arrays of numbers", "give an image with point or cell data")


def _frame(image: Image, found: dict[str, np.ndarray], shape: tuple[int, int, int]) -> Frame:
    size = _cell_size(image)
    notes = _notes(image)
    of_cells = {a.name: a.section for a in image.arrays if a.section != "FieldData"}
    points = "PointData" in of_cells.values()
    first = [corner + low * size for corner, low in zip(image.origin, image.extent[::2], strict=True)]
    origin = tuple(value - size / 2 for value in first) if points else tuple(first)
    # VTK prints places with fewer digits than a float64 has; ours are kept exactly in the field data.
    exact_size, exact_origin = notes.get(CELL_SIZE, (size,))[0], notes.get(ORIGIN, origin)
    if abs(exact_size - size) <= 1e-6 * size:
        size = exact_size
        if np.allclose(exact_origin, origin[: len(exact_origin)], rtol=1e-6, atol=1e-6 * size):
            origin = (*exact_origin, *origin[len(exact_origin) :])
    dim = int(notes.get(DIM, (2 if shape[2] == 1 else 3,))[0])
    if dim == 2 and shape[2] == 1:
        found = {
            name: values[:2, ..., 0] if name == "velocity" else values[..., 0]
            for name, values in found.items()
        }
        origin = origin[:2]
    times: dict[str, Any] = {
        key: notes[name][0] for key, name in (("time", TIME), ("dt", DT)) if name in notes
    }
    frame = Frame(found["density"], cell_size=size, origin=origin, **times)
    return frame.with_fields({name: np.ascontiguousarray(values) for name, values in found.items()})


def _notes(image: Image) -> dict[str, tuple[float, ...]]:
    """The finite numbers of the field data."""
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


def _cell_size(image: Image) -> float:
    # The spacing across a single layer means nothing, and other programs write anything there.
    points = image.points()
    spacing = [s for s, n in zip(image.spacing, points, strict=True) if n > 1] or [image.spacing[0]]
    size = spacing[0]
    even = all(abs(s - size) <= 1e-6 * abs(size) for s in spacing)
    if not even or not size > 0 or not np.allclose(image.direction, _IDENTITY, atol=1e-9):
        raise VolumeError(
            image.where,
            f"its cells are rotated, mirrored or not cubes (spacing {image.spacing})",
            "resample it to cubic cells along the axes",
        )
    return size


def _channels(image: Image, array: DataArray, shape: tuple[int, int, int]) -> np.ndarray:
    """float32 `[components, x, y, z]`; a view in VTK's order, x fastest."""
    with np.errstate(invalid="ignore", over="ignore"):  # what does not fit becomes infinite
        flat = image.values(array, _cells(shape)).astype(np.float32, copy=False)
    return flat.reshape(*shape[::-1], array.components).T


def _cells(shape: tuple[int, int, int]) -> int:
    return shape[0] * shape[1] * shape[2]
