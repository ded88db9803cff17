"""Frames as NumPy archives: one array per field, plus `cell_size`, `origin`, `time` and `dt`.

A single array (.npy) is read as an archive with one entry. Archives of other programs are read, too: fields with
their components last; velocity on faces (arrays one longer along their own axis); files of PhiFlow (`data` with
`dim_names`); and files of Mantaflow (`arr_0 [z, y, x, components]`), one field per file.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from fluidsr import atomic
from fluidsr.errors import InputError, VolumeError
from fluidsr.frame import Frame
from fluidsr.frame_grid import FrameGrid, resampled
from fluidsr.volumes import grid_names, memory, siblings
from fluidsr.volumes.info import VolumeInfo, describe_array
from fluidsr.volumes.quantize import rounded
from fluidsr.volumes.units import Taken, style_of_whole

PLACE = ("cell_size", "origin", "time", "dt")
_RATES = ("fps", "frame_rate", "framerate")
_SIZES = ("cell_size", "dx", "dh", "h", "spacing", "voxel_size", "voxelsize", "cellsize")
_UNNAMED = ("data", "arr_0")  # names that say nothing about the field
_MAX_ENTRIES = 1000
_EPOCH = (1980, 1, 1, 0, 0, 0)  # a fixed date, so that equal frames give equal bytes

NO_CELL_SIZE = "says nothing of its cell size (cell_size, dx): cells of 1 m are taken"


def write_frame(
    path: str | os.PathLike[str],
    frame: Frame,
    fields: Sequence[str],
    *,
    half: bool,
    threshold: float,
    whole: Collection[str] = (),
) -> None:
    """Write `fields` of a NumPy `frame`; see `fluidsr.volumes.write`.

    A field with the name of an entry for position or time is called `field_...`; slashes become underscores.
    """
    present = frame.fields()
    entries: dict[str, np.ndarray] = {}
    for name, word in grid_names.stored_names(fields, ".npz", PLACE).items():
        kinds = {"vector": name in frame.vectors, "whole": name in whole}
        entries[word] = rounded(name, present[name], half, threshold, **kinds)
    entries |= {name: np.asarray(getattr(frame, name), np.float64) for name in PLACE}
    with atomic.replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in entries.items():
            entry = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry._compresslevel = 1  # type: ignore[attr-defined]  # no public way before Python 3.13
            with archive.open(entry, "w", force_zip64=True) as file:
                np.lib.format.write_array(cast(BinaryIO, file), array, allow_pickle=False)


def read_frame(
    path: str | os.PathLike[str],
    *,
    density_grid: str | None = None,
    velocity_grid: str | None = None,
    fields: Sequence[str] | None = None,
    max_bytes: int | None = None,
) -> Taken:
    """Read a Frame; see `fluidsr.volumes.read`."""
    return _taken(path, _open(path, max_bytes, density_grid), density_grid, velocity_grid, fields)


def _taken(
    path: str | os.PathLike[str],
    opened: _Grids,
    density_grid: str | None = None,
    velocity_grid: str | None = None,
    fields: Sequence[str] | None = None,
) -> Taken:
    location = str(path)
    scalars = [name for name, array in opened.grids.items() if array.ndim == opened.dim]
    vectors = [name for name, array in opened.grids.items() if array.ndim == opened.dim + 1]
    chosen = grid_names.choose(
        location,
        scalars,
        vectors,
        density=density_grid,
        velocity=velocity_grid,
        fields=fields,
        dim=opened.dim,
    )
    grids = {"density": opened.grids[chosen.density]}
    if chosen.velocity:
        parts = [opened.grids[name] for name in chosen.velocity]
        grids["velocity"] = parts[0][: opened.dim] if len(parts) == 1 else np.stack(parts[: opened.dim])
    grids |= {word: opened.grids[name] for word, name in chosen.others.items()}
    grids |= {word: opened.grids[name] for word, name in chosen.vectors.items()}
    whole = {word: name for word, name in chosen.others.items() if opened.grids[name].dtype.kind in "iu"}
    has_rate = "dt" in opened.place
    return Taken(
        _frame(location, grids, opened.place),
        notes=(*opened.notes, *chosen.notes),
        layer=opened.layer,
        style=style_of_whole(whole),
        has_rate=has_rate,
    )


def _frame(location: str, grids: Mapping[str, np.ndarray], place: Mapping[str, Any]) -> Frame:
    try:
        with np.errstate(invalid="ignore", over="ignore"):  # what does not fit becomes infinite
            fields = {name: np.ascontiguousarray(array, np.float32) for name, array in grids.items()}
        return Frame(fields["density"], **place).with_fields(fields)
    except (TypeError, ValueError) as error:
        raise VolumeError(location, f"it is not a frame ({error})", "write it with fluidsr.write") from error
    except InputError as error:
        raise VolumeError(f"{location}: {error.where}", error.what, error.remedy) from error


def time_of(path: str | os.PathLike[str]) -> float | None:
    """The time (s) that the archive states; None if it states none. Raises VolumeError as `read_frame` does."""
    small = read_archive(path, None, most_dimensions=1)
    return _place(str(path), small)[0].get("time")


def inspect(path: str | os.PathLike[str], *, max_bytes: int | None = None) -> VolumeInfo:
    """The contents of the archive; see `fluidsr.volumes.inspect`. Arrays that are not fields are left out."""
    opened = _open(path, max_bytes, None)
    shape = next(iter(opened.grids.values())).shape[-opened.dim :]
    frame = _frame(str(path), {"density": np.zeros(shape, np.float32)}, opened.place)
    grids = []
    for name, array in opened.grids.items():
        channels = array[None] if array.ndim == frame.dim else array
        compression, size = opened.stored.get(name, ("zip", 0))
        grids.append(describe_array(frame, name, channels, str(array.dtype), compression, size))
    return VolumeInfo.of_frame(path, Path(path).suffix.lower().lstrip("."), frame, grids)


@dataclass
class _Grids:
    """The fields of a frame, `[x, y, z]` or `[components, x, y, z]`, its position and time, and notes about them.

    If the file holds a single layer of cells, the fields are those of a 2-D frame, and `layer` is the lower side of
    the layer along z (m).
    """

    dim: int = 3
    layer: float | None = None
    grids: dict[str, np.ndarray] = field(default_factory=dict)
    place: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    stored: dict[str, tuple[str, int]] = field(default_factory=dict)


def _open(path: str | os.PathLike[str], max_bytes: int | None, density: str | None) -> _Grids:
    """The fields of the archive, and of the archives beside it that hold the same frame, as one frame."""
    location = str(path)
    archive = read_archive(path, max_bytes)
    place, notes = _place(location, archive)
    grids = _named(path, archive, place)
    for word, file in siblings.beside(path, grids).items():
        other = read_archive(file, max_bytes)
        for name, array in _named(file, other, {}).items():
            grids.setdefault(name if name not in grids else word, array)
    for name, dimensions in archive.objects.items():
        if grid_names.field_of(name) == "density" or not grids:
            raise VolumeError(location, f"{name}.npy is not an array of real numbers", "write it again")
        if dimensions >= 2:
            notes.append(f"{name!r} is not an array of real numbers: it is left out")
    for name, array in archive.arrays.items():
        if array.ndim == 1 and (
            name == density or (density is None and grid_names.field_of(name) == "density")
        ):
            problem = f"its density {name!r} has the shape {array.shape}, of one dimension"
            raise VolumeError(location, problem, "write it as [x, y, z] or [x, y]")
    shape = _shape(location, grids, density)
    coordinates = _coordinates(archive, shape)
    if coordinates is not None:
        grids, lattice = _on_rising(location, grids, coordinates, shape, place.get("cell_size"))
        if lattice is not None:
            grids = {name: array for name, array in grids.items() if name.lower() not in tuple("xyz")}
            place = {"cell_size": lattice[0], "origin": lattice[1], **place}
            notes = [note for note in notes if note != NO_CELL_SIZE]
    if len(origin := place.get("origin", ())) == 1 or len(origin) == 3 > len(shape):
        place["origin"] = (*origin, *origin * (len(shape) - 1))[: len(shape)]
    if len(shape) > 3:
        problem = f"its density has the shape {shape}: several frames, or channels, in one array"
        if not any(grid_names.field_of(name) == "density" for name in grids):
            problem = f"no array is a density: the smallest has the shape {shape}, several frames or channels"
        named = siblings.word_of_density(path)
        if len(grids) == 1 and named is not None and grid_names.field_of(named) == "velocity":
            beside = "give the density's file; this one is read from beside it"
            raise VolumeError(location, "it holds a velocity, and no density", beside)
        raise VolumeError(location, problem, "write a file for each frame: [x, y, z] or [x, y]")
    opened = _Grids(len(shape), place=place, notes=notes, stored=archive.stored)
    for name, array in grids.items():
        fitted = _fitted(array, shape)
        if fitted is not None:
            opened.grids[name] = fitted
        elif (on_others := _of_other_cells(name, array, shape)) is not None:
            opened.grids[name] = on_others
            notes.append(f"{name!r} has the shape {array.shape}, the density {shape}: it is resampled")
        elif array.ndim >= 2:
            notes.append(f"{name!r} has the shape {array.shape}, the density {shape}: it is left out")
    is_ours = place.keys() >= set(PLACE)  # it states its own dimension
    if len(shape) == 3 and shape[2] == 1 < min(shape[:2]) and not is_ours:
        opened.dim = 2
        opened.grids = {name: array[..., 0] for name, array in opened.grids.items()}
        x, y, opened.layer = (*place.get("origin", ()), 0.0, 0.0, 0.0)[:3]
        place["origin"] = (x, y)
    return opened


def _named(path: str | os.PathLike[str], archive: Archive, place: dict[str, Any]) -> dict[str, np.ndarray]:
    """The arrays that may be fields, by name. Cell size and origin that a program's conventions give are set in
    `place`.
    """
    grids = {name: array for name, array in archive.arrays.items() if array.ndim >= 2}
    word = siblings.word_of_density(path)
    if "dim_names" in archive.texts and "data" in archive.arrays:  # PhiFlow
        return {word or "data": _of_phiflow(archive, place)}
    if list(grids) == ["arr_0"] and grids["arr_0"].ndim == 4 and grids["arr_0"].shape[-1] in (1, 3):
        # Mantaflow's writeGridNumpy: [z, y, x, components]
        array = grids["arr_0"].transpose(3, 2, 1, 0)
        return {word or "arr_0": array[0] if len(array) == 1 else array}
    if len(grids) == 1 and word and next(iter(grids)) in _UNNAMED:
        return {word: next(iter(grids.values()))}
    return grids


def _of_phiflow(archive: Archive, place: dict[str, Any]) -> np.ndarray:
    """The field in a file of PhiFlow's `Scene.write`. `dim_names` gives its axes; staggered values lie on the lower
    faces.
    """
    names = [str(name) for name in archive.texts["dim_names"].ravel()]
    array = archive.arrays["data"]
    if len(names) == array.ndim:
        axes = [names.index(name) for name in ("vector", "x", "y", "z") if name in names]
        rest = [at for at in range(array.ndim) if at not in axes]
        array = array.transpose(rest + axes)[(0,) * len(rest)]  # the first of a batch
    vector = "vector" in names
    spatial = array.shape[1:] if vector else array.shape
    staggered = vector and "Staggered" in str(archive.texts.get("field_type", ""))
    shape = tuple(n - 1 for n in spatial) if staggered else spatial
    if staggered and len(names) == array.ndim == len(array) + 1:
        array = _from_faces(array)
    low, high = archive.arrays.get("lower"), archive.arrays.get("upper")
    if low is not None and high is not None and len(shape) == low.size == high.size:
        size = (high.astype(float).ravel() - low.ravel()) / shape
        if np.ptp(size) <= 1e-5 * abs(size[0]):
            # The edges are float32: keep only the digits that they have.
            place.setdefault("cell_size", float(f"{size[0]:.7g}"))
            place.setdefault("origin", tuple(map(float, low.ravel())))
    return array


def _shape(location: str, grids: Mapping[str, np.ndarray], density: str | None) -> tuple[int, ...]:
    """The number of cells of the density along each axis."""
    if density is not None and density in grids and _without_ones(grids[density]).ndim <= 3:
        return _without_ones(grids[density]).shape
    named = sorted((name for name in grids if grid_names.field_of(name) == "density"), key=grid_names.rank)
    if named:
        return _without_ones(grids[named[0]]).shape
    dim = min((array.ndim for array in grids.values()), default=3)
    first = next((array for array in grids.values() if array.ndim == dim), None)
    if first is None:
        raise VolumeError(
            location, "it has no arrays of two or three dimensions", "give an archive of a frame"
        )
    return first.shape


def _without_ones(array: np.ndarray) -> np.ndarray:
    """A density without batch and channel axes of length 1."""
    while array.ndim > 3 and 1 in (array.shape[0], array.shape[-1]):
        array = array[0] if array.shape[0] == 1 else array[..., 0]
    return array


def _fitted(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """`array` as a field on `shape` cells, components first; values on faces are averaged to the centers.

    None if its shape does not fit.
    """
    dim = len(shape)
    if array.shape == shape:
        return array
    if array.ndim == dim:
        for axis in range(dim):
            if array.shape == tuple(n + (a == axis) for a, n in enumerate(shape)):
                return _centered(array, axis)
        return None
    while array.ndim > dim + 1 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != dim + 1:
        return None
    for vector in (array, np.moveaxis(array, -1, 0)):
        if vector.shape[1:] == shape and len(vector) in (1, dim, 3):
            return vector[0] if len(vector) == 1 else vector
        # On faces, in one array for all components: one longer along every axis.
        if vector.shape[1:] == tuple(n + 1 for n in shape) and len(vector) == dim:
            return _from_faces(vector)
    return None


def _from_faces(vector: np.ndarray) -> np.ndarray:
    """The mean at the centers, `[d, *S]`, of values on lower faces in one array that is one longer on every side."""
    shape = tuple(n - 1 for n in vector.shape[1:])
    cut = [vector[a][tuple(slice(0, n + (a == b)) for b, n in enumerate(shape))] for a in range(len(shape))]
    return np.stack([_centered(part, axis) for axis, part in enumerate(cut)])


def _of_other_cells(name: str, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """`array` on larger cells that fill the same box (a velocity also on smaller ones, and on faces), interpolated
    linearly at `shape` cells, components first.

    None if its shape does not fit.
    """
    dim = len(shape)
    lead = {dim: [array[None]], dim + 1: [array, np.moveaxis(array, -1, 0)]}
    for parts in lead.get(array.ndim, []):
        if len(parts) == dim and not _fill(shape, parts.shape[1:]):
            inside = tuple(n - 1 for n in parts.shape[1:])
            parts = _from_faces(parts) if _fill(shape, inside) else parts
        ratios = {n / m for n, m in zip(shape, parts.shape[1:], strict=True)} if parts.size else set()
        if len(parts) not in (1, dim, 3) or len(ratios) != 1:
            continue
        (ratio,) = ratios
        if ratio > 1 or (ratio < 1 and grid_names.field_of(name) == "velocity"):
            frames = [Frame(np.asarray(part, np.float32), cell_size=ratio) for part in parts]
            resampled_fields = [
                resampled(frame, FrameGrid(shape, 1.0, (0.0,) * dim)).density for frame in frames
            ]
            return resampled_fields[0] if len(resampled_fields) == 1 else np.stack(resampled_fields)
    return None


def _fill(shape: Sequence[int], other: Sequence[int]) -> bool:
    """Whether the cells of one grid are made of whole cells of the other, along each axis."""
    return min(other) > 0 and all(n % m == 0 or m % n == 0 for n, m in zip(shape, other, strict=True))


def _coordinates(archive: Archive, shape: tuple[int, ...]) -> list[np.ndarray] | None:
    """The arrays `x`, `y`, `z` (one axis each, or a mesh), if they are the centers or edges of `shape` cells, monotonic
    along each axis.

    None otherwise.
    """
    named = {name.lower(): array for name, array in archive.arrays.items()}
    coordinates = []
    for axis, n in enumerate(shape):
        values = _along(named.get("xyz"[axis : axis + 1]), shape, axis)
        if values is None or values.ndim != 1 or values.dtype.kind not in "fiu":
            return None
        points = values.astype(np.float64)
        gaps = np.diff(points)
        if len(points) not in (n, n + 1) or not len(gaps) or not np.isfinite(points).all():
            return None
        if not ((gaps > 0).all() or (gaps < 0).all()):
            return None
        coordinates.append(values)
    return coordinates or None  # None for a single number, which has no axes


def _on_rising(
    location: str,
    grids: dict[str, np.ndarray],
    coordinates: Sequence[np.ndarray],
    shape: tuple[int, ...],
    stated: float | None,
) -> tuple[dict[str, np.ndarray], tuple[float, tuple[float, ...]] | None]:
    """`grids` in the order of ascending `coordinates`, and the cell size and lower corner (m) that the coordinates
    give.

    The second value is None if the archive states another cell size (`stated`). Raises VolumeError if no cell size is
    stated and the cells are not cubes.
    """
    points = [np.sort(values.astype(np.float64)) for values in coordinates]
    steps = [float(positions[-1] - positions[0]) / (len(positions) - 1) for positions in points]
    falling = [axis for axis, values in enumerate(coordinates) if values[0] > values[-1]]
    if falling:
        grids = {name: _reversed(array, shape, falling) for name, array in grids.items()}
    uneven = ""
    for axis, (positions, values) in enumerate(zip(points, coordinates, strict=True)):
        digits = np.finfo(values.dtype).eps if values.dtype.kind == "f" else 0.0
        if np.ptp(np.diff(positions)) > 1e-3 * steps[axis] + 4 * digits * np.abs(positions).max():
            uneven = uneven or f"its coordinates {'xyz'[axis]} are not at even distances"
    if not uneven and max(steps) - min(steps) > 1e-3 * steps[0]:
        uneven = f"its cells are not cubes ({' x '.join(f'{step:g}' for step in steps)} m)"
    if uneven and stated is None:
        raise VolumeError(location, uneven, "resample it to cubic cells")
    if uneven or (stated is not None and abs(stated / steps[0] - 1) >= 1e-3):
        return grids, None
    corner = [
        float(positions[0]) - (step / 2 if len(positions) == n else 0.0)
        for positions, step, n in zip(points, steps, shape, strict=True)
    ]
    return grids, (float(f"{steps[0]:.7g}"), tuple(corner))


def _reversed(array: np.ndarray, shape: tuple[int, ...], axes: Sequence[int]) -> np.ndarray:
    """A field on `shape` cells or their faces, reversed along `axes`; any other array unchanged."""
    lead = array.ndim - len(shape)
    for first in {0, lead}:  # components last, or first
        if 0 <= lead <= 2 and all(n in (m, m + 1) for n, m in zip(array.shape[first:], shape, strict=False)):
            return np.flip(array, tuple(first + axis for axis in axes))
    return array


def _along(coordinates: np.ndarray | None, shape: tuple[int, ...], axis: int) -> np.ndarray | None:
    """Coordinates along `axis`; a mesh over `shape` cells or their corners is reduced to 1-D if it varies along that
    axis only.
    """
    if coordinates is None or coordinates.ndim != len(shape) or coordinates.shape[axis] < 2:
        return coordinates
    first = tuple(slice(None) if a == axis else slice(0, 1) for a in range(len(shape)))
    same = all(n in (m, m + 1) for n, m in zip(coordinates.shape, shape, strict=True))
    return coordinates[first].ravel() if same and (coordinates == coordinates[first]).all() else None


def _centered(faces: np.ndarray, axis: int) -> np.ndarray:
    """The mean of the two faces of each cell along `axis`."""
    lower, upper = [slice(None)] * faces.ndim, [slice(None)] * faces.ndim
    lower[axis], upper[axis] = slice(0, -1), slice(1, None)
    with np.errstate(invalid="ignore", over="ignore"):
        values = faces.astype(np.float32)
        return (values[tuple(lower)] + values[tuple(upper)]) * np.float32(0.5)


def _place(location: str, archive: Archive) -> tuple[dict[str, Any], list[str]]:
    """The position and time that the archive states, and notes about those that it does not state."""
    place: dict[str, Any] = {}
    numbers = {name.lower(): array for name, array in archive.arrays.items() if array.ndim < 2}
    for name, key in (("origin", "origin"), ("time", "t"), ("time", "time"), ("dt", "dt")):
        if key not in numbers:
            continue
        values = [float(value) for value in numbers[key].ravel()]
        finite = np.isfinite(values).all()
        if name == "origin" and not finite:
            raise VolumeError(location, f"its origin is not finite ({values})", "write finite numbers")
        if name == "origin":
            place[name] = tuple(values)  # a single number applies to all axes
        elif len(values) == 1 and finite:  # otherwise it lists all frames, or is not set
            place[name] = values[0]
    rates = [float(numbers[name].ravel()[0]) for name in _RATES if _has(numbers, name)]
    rate = next((value for value in rates if 0 < value < np.inf), None)
    if rate is not None and "dt" not in place:
        place["dt"] = 1.0 / rate
    for name in _SIZES:
        if name in numbers:
            values = [float(value) for value in numbers[name].ravel()]
            if name == "dx":
                values += [float(numbers[key].ravel()[0]) for key in ("dy", "dz") if _has(numbers, key)]
            if values and max(values) - min(values) > 1e-5 * abs(values[0]):
                raise VolumeError(
                    location, f"its cells are not cubes ({name}: {values})", "resample it to cubic cells"
                )
            place["cell_size"] = _one(location, name, values[:1])
            return place, []
    known = "dim_names" in archive.texts and {"lower", "upper"} <= set(archive.arrays)
    return place, [] if known else [NO_CELL_SIZE]


def _has(numbers: Mapping[str, np.ndarray], name: str) -> bool:
    return name in numbers and numbers[name].size == 1


def _one(location: str, name: str, values: Sequence[float]) -> float:
    if len(values) != 1:
        raise VolumeError(
            location, f"it is not a frame ({name} has {len(values)} numbers)", "store one number"
        )
    return values[0]


@dataclass(frozen=True)
class Archive:
    """The numeric and text arrays of an archive by name, and how each is stored. Pickled objects are never read."""

    arrays: dict[str, np.ndarray]
    texts: dict[str, np.ndarray]
    stored: dict[str, tuple[str, int]]
    objects: dict[str, int] = field(default_factory=dict)  # name -> number of dimensions


def read_arrays(path: str | os.PathLike[str], max_bytes: int | None) -> dict[str, np.ndarray]:
    """All arrays of an archive that holds numbers only. Raises VolumeError for any other archive, and for a damaged
    one.
    """
    contents = read_archive(path, max_bytes)
    for name in (*contents.objects, *contents.texts):
        raise VolumeError(str(path), f"{name}.npy is not an array of numbers", "write it again")
    return contents.arrays


def read_archive(
    path: str | os.PathLike[str], max_bytes: int | None, most_dimensions: int | None = None
) -> Archive:
    """All arrays of numbers or text, with at most `most_dimensions` dimensions.

    Headers are checked first, so that a small file cannot claim all memory. Raises VolumeError for a damaged archive,
    and for one that needs more than `max_bytes` (None: `memory.limit`).
    """
    location = str(path)
    needed, allowed = 0, memory.limit() if max_bytes is None else max_bytes
    contents = Archive({}, {}, {})
    try:
        if Path(path).stat().st_size == 0:
            raise VolumeError(location, "it is empty (0 bytes)", "write or copy the file again")
        if Path(path).suffix.lower() == ".npy":
            with Path(path).open("rb") as single:
                shape, dtype = _header(single)
            memory.check(location, int(np.prod(shape, dtype=object)) * dtype.itemsize, allowed)
            if dtype.hasobject or dtype.kind not in "fiub":
                raise VolumeError(location, "it is not an array of numbers", "write it again")
            contents.arrays["data"] = np.load(path, allow_pickle=False)
            contents.stored["data"] = ("none", Path(path).stat().st_size)
            return contents
        with zipfile.ZipFile(Path(path)) as archive:
            entries = archive.infolist()
            if len(entries) > _MAX_ENTRIES:
                raise VolumeError(
                    location,
                    f"it holds {len(entries)} entries, more than a frame has",
                    "give an archive of one frame",
                )
            for entry in entries:
                if not entry.filename.endswith(".npy"):
                    continue
                with archive.open(entry) as file:
                    shape, dtype = _header(cast(BinaryIO, file))
                if most_dimensions is not None and len(shape) > most_dimensions:
                    continue
                name = entry.filename.removesuffix(".npy")
                if dtype.hasobject or dtype.kind not in "fiubUS":
                    contents.objects[name] = len(shape)  # pickled objects, dates, complex numbers: not fields
                    continue
                size = int(np.prod(shape, dtype=object)) * dtype.itemsize
                if size > entry.file_size:
                    raise VolumeError(location, f"{entry.filename} is shorter than it says", "write it again")
                needed += size
                memory.check(location, needed, allowed)
                with archive.open(entry) as file:
                    array = np.lib.format.read_array(cast(BinaryIO, file), allow_pickle=False)
                (contents.texts if dtype.kind in "US" else contents.arrays)[name] = array
                compression = "zip" if entry.compress_type == zipfile.ZIP_DEFLATED else "none"
                contents.stored[name] = (compression, entry.compress_size)
    except (OSError, ValueError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:
        raise VolumeError(
            location, f"it is not a readable npz file ({error})", "check the path and the file"
        ) from error
    except Exception as error:
        # zlib.error and the errors of NumPy's literal parser for damaged headers have no common base class.
        if isinstance(error, VolumeError):
            raise
        raise VolumeError(location, f"damaged ({error})", "write or copy the file again") from error
    return contents


def _header(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, _, dtype = read(file)
    except ValueError as error:  # NumPy advises to trust the file
        raise ValueError("the header of an array is damaged") from error
    return shape, dtype
