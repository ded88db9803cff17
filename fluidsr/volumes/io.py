"""Frames from and into volume files, by the file's suffix (docs/volumes.md)."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np

from fluidsr.arguments import checked
from fluidsr.choices import StoredPrecision
from fluidsr.errors import InputError, VolumeError
from fluidsr.frame import Frame
from fluidsr.frame_grid import cropped
from fluidsr.volumes import grid_names
from fluidsr.volumes.info import VolumeInfo
from fluidsr.volumes.units import Style, Taken

SUFFIXES = (".vdb", ".vti", ".npz", ".uni", ".vtkhdf", ".vtk", ".vtr", ".pvti", ".npy")  # read
WRITTEN = (".vdb", ".vti", ".npz", ".uni")  # a .vtkhdf is written as a series: vtkhdf.write_series
PRECISIONS: tuple[str, ...] = get_args(StoredPrecision)
Crop = tuple[Sequence[float], Sequence[float]] | str | None


@checked
def write(
    path: str | os.PathLike[str],
    frame: Frame,
    *,
    precision: str = "half",
    naming: str = "houdini",
    fields: Sequence[str] | None = None,
    threshold: float = 0.0,
    style: Style | None = None,
    up: str = "y",
) -> None:
    """Write a frame as `.vdb`, `.vti`, `.npz` or `.uni`, by the suffix of `path`.

    `precision` `half` rounds every value to the nearest IEEE half; `float` keeps it exactly. `fields` are
    the names of those to write (default: all that the frame has). Values up to `threshold` in magnitude (of
    all components, for velocity) become zero; in a VDB they are not stored. `naming` is the convention for
    the velocity grid of a VDB: `houdini` (`vel`) or `blender` (`velocity`); in other files it is always
    `velocity`. `style` (`Taken.style`) is that of a file of which this one keeps the integers, and a VDB also
    names, metadata, precision, codecs and lattice, whatever `precision` and `naming` say of those grids; `up` is the
    axis that points up, for a VDB to say so. Tensors of torch, on any device, are accepted.

    On return the file is complete under its name; on any failure whatever stood there before still does.
    Equal frames give equal bytes. Raises InputError for a bad path, option or field, and for values that
    are not finite or too large for a half; RunError for a full disk.
    """
    suffix = _suffix(path)
    if suffix not in WRITTEN:
        raise InputError(os.fspath(path), f"{suffix} files can only be read", f"write {', '.join(WRITTEN)}")
    if precision not in PRECISIONS:
        raise InputError("precision", f"{precision!r} is not known", f"give one of {', '.join(PRECISIONS)}")
    grid_names.grid_name("velocity", naming)
    if not 0 <= threshold < float("inf"):
        raise InputError("threshold", f"{threshold} is not a magnitude", "give 0 or more")
    present = tuple(frame.fields())
    chosen = present if fields is None else tuple(dict.fromkeys(fields))
    missing = [name for name in chosen if name not in present]
    if missing or not chosen:
        problem = f"the frame has no {missing[0]}" if missing else "no field is named"
        raise InputError("fields", problem, f"give some of {', '.join(present)}")
    frame, half = frame.numpy(), precision == "half"
    options: dict[str, Any] = {"half": half, "threshold": threshold}
    if suffix == ".vdb":
        options |= {"naming": naming, "style": style, "up": up}
    else:
        options["whole"] = style.whole if style else ()
    _module_of(suffix).write_frame(path, frame, chosen, **options)


@checked
def read(
    path: str | os.PathLike[str],
    *,
    density_grid: str | None = None,
    velocity_grid: str | None = None,
    fields: Sequence[str] | None = None,
    velocity_unit: str = "auto",
    frame_rate: float | None = None,
    step: int = 0,
    max_bytes: int | None = None,
    crop: Crop = None,
) -> Frame:
    """Read a Frame, its fields NumPy float32 arrays, from a file of one of SUFFIXES.

    Grids are found by the names that programs give them (`grid_names.py`: `density`, `dens`, `smoke`, `d`;
    `velocity`, `vel`, `v`, or three scalars `vel.x`, `vel.y`, `vel.z`; `temperature`, `temp`, `heat`);
    `density_grid` and `velocity_grid` name others. Further scalar grids become `others`. `fields` restricts
    what is read; density is always read. Staggered velocity is averaged to the cell centres, and brought from
    `velocity_unit` (one of UNITS; `auto`: what the file is known to have) into m/s. The box of a file of ours
    is the frame's; of any other VDB, that of all active voxels; a frame of Blender's cache is where its domain
    is. Where a file says nothing of time, `time` is 0 and `dt` 1/24 s; `frame_rate` (1/s) sets `dt`.

    `crop` reads a box alone: its two corners (m), or `auto`, the box of the smoke without voxels that stray far from
    it. `step` picks a frame of a `.vtkhdf` series. `max_bytes` bounds the dense arrays (default: half of the
    machine's memory). Raises VolumeError for a file that is missing, damaged or unsupported, for rotated or
    non-cubic voxels, and where what was asked for is absent.
    """
    taken = take(
        path,
        density_grid=density_grid,
        velocity_grid=velocity_grid,
        fields=fields,
        step=step,
        max_bytes=max_bytes,
        crop=crop,
    )
    return taken.in_metres_per_second(velocity_unit, frame_rate)


@checked
def take(
    path: str | os.PathLike[str],
    *,
    density_grid: str | None = None,
    velocity_grid: str | None = None,
    fields: Sequence[str] | None = None,
    step: int = 0,
    max_bytes: int | None = None,
    crop: Crop = None,
    faces: bool = False,
) -> Taken:
    """What `read` reads, before its velocity is converted to m/s, with notes for the user.

    With `faces`, a velocity that a VDB or .uni file has on the faces of cells is the field `staggered.FACES`, too.
    """
    suffix = _suffix(path)
    try:
        if Path(path).stat().st_size == 0:
            raise VolumeError(os.fspath(path), "it is empty (0 bytes)", "write or copy the file again")
    except OSError as error:
        raise VolumeError(os.fspath(path), f"cannot be read ({error.strerror})", "check the path") from error
    options: dict[str, Any] = {
        "density_grid": density_grid,
        "velocity_grid": velocity_grid,
        "fields": fields,
        "max_bytes": max_bytes,
    }
    if suffix == ".uni":
        options["faces"] = faces
    if suffix == ".vtkhdf":
        options["step"] = step
    elif step:
        raise InputError("step", f"a {suffix} file holds one frame", "leave `step` out")
    if suffix != ".vdb":
        taken: Taken = _module_of(suffix).read_frame(path, **options)
        return _cropped(taken, crop)
    from fluidsr.volumes import blender, vdb
    from fluidsr.volumes.vdb.metadata import BASE_RESOLUTION

    with_solids = fields is None or ("solid" in fields and blender.has_effectors(path, max_bytes))
    if fields is not None and with_solids:  # no grid of that name: made of the effectors below
        options["fields"] = [name for name in fields if name != "solid"]
    taken = vdb.take_frame(path, **options, crop=crop, faces=faces)
    if taken.empty:
        return taken
    resolution = _notes_of_density(path, max_bytes).get(BASE_RESOLUTION)
    if not resolution:
        return taken
    moved = None if taken.style is None else replace(taken.style, lattice=None)  # it lies elsewhere
    solids = partial(blender.solid_share, path, tuple(resolution), max_bytes) if with_solids else None
    placed = blender.placed(Path(path), taken.frame, tuple(resolution), max_bytes, solids)
    return replace(placed, notes=(*placed.notes, *taken.notes), style=moved)


def _cropped(taken: Taken, crop: Crop) -> Taken:
    """A frame of a dense file, without what lies outside the box."""
    if crop is None:
        return taken
    frame = taken.frame.numpy()
    if crop == "auto":
        filled = np.nonzero(np.asarray(frame.density))
        if not len(filled[0]):
            return taken
        ends = [(int(at.min()), int(at.max()) + 1) for at in filled]
        size = frame.cell_size
        low = tuple(o + a * size for o, (a, _) in zip(frame.origin, ends, strict=True))
        high = tuple(o + b * size for o, (_, b) in zip(frame.origin, ends, strict=True))
        return replace(taken, frame=cropped(frame, low, high), tight=True)
    if isinstance(crop, str):
        raise InputError("crop", f"{crop!r} is not a box", "give two corners in meters, or auto")
    return replace(taken, frame=cropped(frame, *crop))


@checked
def inspect(path: str | os.PathLike[str], *, max_bytes: int | None = None) -> VolumeInfo:
    """The contents of a file of one of SUFFIXES: grids, types, boxes, places, ranges, compression, metadata.

    Places and ranges are the file's own. Raises VolumeError for a file that is missing, damaged or
    unsupported.
    """
    info: VolumeInfo = _module_of(_suffix(path), ".inspect").inspect(path, max_bytes=max_bytes)
    return info


def time_of(path: str | os.PathLike[str]) -> float | None:
    """The time (s) that a file states, read without its fields as far as the format allows; None where it states none,
    and for formats that state it in another way: .uni, .vtkhdf. Raises VolumeError for a file that cannot be read."""
    suffix = _suffix(path)
    if suffix in (".uni", ".vtkhdf", ".npy"):
        return None
    time: float | None = _module_of(suffix, ".frames").time_of(path)
    return time


_MODULES = {
    ".vdb": "vdb",
    ".vti": "vti",
    ".npz": "npz",
    ".npy": "npz",
    ".uni": "uni",
    ".vtkhdf": "vtkhdf",
    ".vtk": "legacy_vtk",
    ".vtr": "vti",
    ".pvti": "vti",
}


def _module_of(suffix: str, part: str = "") -> Any:
    """The module for files of this suffix; loaded when it is needed. Of a package, its `part`."""
    name = _MODULES[suffix] + (part if suffix == ".vdb" else "")
    return importlib.import_module(f"fluidsr.volumes.{name}")


def _notes_of_density(path: str | os.PathLike[str], max_bytes: int | None) -> Mapping[str, Any]:
    """The metadata of a VDB's density, or of the first grid that can be read where none is called so."""
    from fluidsr.volumes import vdb

    with vdb.open(path, max_bytes) as file:
        grids = [grid for grid in file.grids if grid.supported]
        named = [grid for grid in grids if grid_names.field_of(grid.name) == "density"]
        return (named or grids)[0].metadata if grids else {}


def _suffix(path: str | os.PathLike[str]) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES and Path(path).is_dir():
        raise VolumeError(os.fspath(path), "is a folder", "name one of the files in it")
    if suffix not in SUFFIXES:
        raise VolumeError(
            os.fspath(path), f"{suffix or 'no suffix'!r} is not a volume format", f"use {', '.join(SUFFIXES)}"
        )
    return suffix
