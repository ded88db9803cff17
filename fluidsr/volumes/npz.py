"""Frames as NumPy archives: one array per field, plus `cell_size`, `origin`, `time` and `dt`."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from fluidsr import atomic
from fluidsr.errors import InputError, VolumeError
from fluidsr.frame import Frame
from fluidsr.volumes import grid_names, memory
from fluidsr.volumes.info import VolumeInfo, describe_array
from fluidsr.volumes.quantize import rounded

_PLACE = ("cell_size", "origin", "time", "dt")
_MAX_ENTRIES = 1000
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same frame gives the same bytes


def write_frame(
    path: str | os.PathLike[str], frame: Frame, fields: Sequence[str], *, half: bool, threshold: float
) -> None:
    """Write `fields` of a NumPy `frame`; see `fluidsr.volumes.write`."""
    present = frame.fields()
    entries: dict[str, np.ndarray] = {}
    for name in fields:
        if name in _PLACE or "/" in name:
            raise InputError(name, "an npz file cannot hold a field of this name", "rename the field")
        entries[name] = rounded(name, present[name], half, threshold)
    entries |= {name: np.asarray(getattr(frame, name), np.float64) for name in _PLACE}
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
) -> Frame:
    """Read a Frame; see `fluidsr.volumes.read`."""
    where = str(path)
    arrays = read_arrays(path, max_bytes)
    place = {name: arrays.pop(name) for name in _PLACE if name in arrays}
    grids = {name: array for name, array in arrays.items() if array.ndim >= 2}
    named = [array for name, array in grids.items() if grid_names.field_of(name) == "density"]
    dim = min((array.ndim for array in named or grids.values()), default=3)
    scalars = [name for name, array in arrays.items() if array.ndim == dim]
    vectors = [name for name, array in arrays.items() if array.ndim == dim + 1]
    chosen = grid_names.choose(
        where, scalars, vectors, density=density_grid, velocity=velocity_grid, fields=fields
    )
    found = {"density": arrays[chosen.density]}
    if chosen.velocity:
        parts = [arrays[name] for name in chosen.velocity]
        found["velocity"] = parts[0] if len(parts) == 1 else np.stack(parts[:dim])
    found |= {field: arrays[name] for field, name in chosen.others.items()}
    try:
        with np.errstate(invalid="ignore", over="ignore"):  # what does not fit becomes infinite
            found = {name: np.ascontiguousarray(array, np.float32) for name, array in found.items()}
        numbers: dict[str, Any] = {
            name: tuple(map(float, value.ravel())) if name == "origin" else float(value)
            for name, value in place.items()
        }
        return Frame(found["density"], **numbers).with_fields(found)
    except (TypeError, ValueError) as error:
        raise VolumeError(where, f"not a frame ({error})", "write it with fluidsr.write") from error
    except InputError as error:
        raise VolumeError(f"{where}: {error.where}", error.what, error.remedy) from error


def inspect(path: str | os.PathLike[str], *, max_bytes: int | None = None) -> VolumeInfo:
    """What is in the archive; see `fluidsr.volumes.inspect`."""
    frame = read_frame(path, max_bytes=max_bytes)
    with zipfile.ZipFile(path) as archive:
        members = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
    grids = []
    for name, array in read_arrays(path, max_bytes).items():
        if name not in _PLACE:
            channels = array[None] if array.ndim == frame.dim else array
            how = "zip" if members[name].compress_type == zipfile.ZIP_DEFLATED else "none"
            size = members[name].compress_size
            grids.append(describe_array(frame, name, channels, str(array.dtype), how, size))
    return VolumeInfo.of_frame(path, "npz", frame, grids)


def read_arrays(path: str | os.PathLike[str], max_bytes: int | None) -> dict[str, np.ndarray]:
    """Every array of the archive, by its name. Headers are read first, so that a small file cannot ask for all memory.

    Raises VolumeError for an archive that is damaged, or holds anything but arrays of numbers.
    """
    where = str(path)
    left = memory.limit() if max_bytes is None else max_bytes
    found: dict[str, np.ndarray] = {}
    try:
        with zipfile.ZipFile(Path(path)) as archive:
            entries = archive.infolist()
            if len(entries) > _MAX_ENTRIES:
                raise VolumeError(where, f"holds {len(entries)} entries", "give an archive of one frame")
            for entry in entries:
                if not entry.filename.endswith(".npy"):
                    continue
                with archive.open(entry) as file:
                    shape, dtype = _header(cast(BinaryIO, file))
                size = int(np.prod(shape, dtype=object)) * dtype.itemsize
                if dtype.kind not in "fiub" or size > entry.file_size:
                    raise VolumeError(where, f"{entry.filename} is not an array of numbers", "write it again")
                left -= size
                memory.check(where, max(-left, 0), 0)
                with archive.open(entry) as file:
                    array = np.lib.format.read_array(cast(BinaryIO, file), allow_pickle=False)
                found[entry.filename.removesuffix(".npy")] = array
    except (OSError, ValueError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:
        raise VolumeError(
            where, f"not a readable npz file ({error})", "check the path and the file"
        ) from error
    except Exception as error:
        # zlib.error and what damaged headers provoke inside NumPy's literal parser have no common base.
        if isinstance(error, VolumeError):
            raise
        raise VolumeError(where, f"damaged ({error})", "write or copy the file again") from error
    return found


def _header(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    return shape, dtype
