"""Frames from and into volume files; the file's suffix chooses the format (docs/volumes.md)."""

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

SUFFIXES = (".vdb", ".vti", ".npz", ".uni", ".vtkhdf", ".vtk", ".vtr", ".pvti", ".vtm", ".npy")  # read
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
    """Write a frame as `.vdb`, `.vti`, `.npz` or `.uni`, according to the suffix of `path`.

    Args:
        path: the file; its folder must exist.
        frame: fields of NumPy or torch, on any device.
        precision: `half` rounds every value to the nearest IEEE half; `float` keeps float32.
        naming: name of the velocity grid of a VDB: `houdini` (`vel`) or `blender` (`velocity`); in other files it is
            always `velocity`.
        fields: names of the fields to write; None: all fields of the frame.
        threshold: values up to this magnitude (for velocity: of all components) become zero; a VDB does not store
            them.
        style: the style of the file that the frame was read from (`Taken.style`). Integers stay integers. A VDB also
            keeps names, metadata, precision, codecs and lattice of those grids, whatever `precision` and `naming`
            say.
        up: the axis that points up, recorded in a VDB.

    On return the file is complete under its name; after any failure an earlier file of that name is unchanged. Equal
    frames give equal bytes. Raises InputError for a bad path, option or field, and for values that are not finite or
    too large for a half; RunError if the disk is full.
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

    Grids are found by the names that programs give them (`grid_names.py`): `density`, `dens`, `smoke`, `d`;
    `velocity`, `vel`, `v`, or three scalars `vel.x`, `vel.y`, `vel.z`; `temperature`, `temp`, `heat`. Further grids
    become `others`.

    Args:
        path: the file.
        density_grid: name of the density grid, instead of the usual ones.
        velocity_grid: name of the velocity grid, instead of the usual ones.
        fields: names of the fields to read; density is always read. None: all.
        velocity_unit: unit of the velocity in the file, one of UNITS; `auto`: the unit that this kind of file is
            known to have.
        frame_rate: sets `dt` (1/s); None: as the file states, else 24.
        step: the step of a `.vtkhdf` series.
        max_bytes: bound of the dense arrays; None: half of the machine's memory.
        crop: read only a box: its lower and upper corner (m), or `auto`, the box of the smoke without voxels far away
            from it.

    On return velocity is in m/s at the cell centers (velocity on faces is averaged). The box of a file that this
    package wrote is the box of the frame; the box of any other VDB is the box of its active voxels; a frame of
    Blender's cache has the place of its domain. If the file does not state a time, `time` is 0. Raises VolumeError
    for a file that is missing, damaged or unsupported, for rotated or non-cubic voxels, and if a requested grid or
    field is missing.
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
    """Read a frame as `read` does, but leave its velocity in the unit of the file; with notes for the user.

    Args:
        path: the file.
        density_grid: as of `read`.
        velocity_grid: as of `read`.
        fields: as of `read`.
        step: as of `read`.
        max_bytes: as of `read`.
        crop: as of `read`.
        faces: also give velocity on the faces of cells, as the field `staggered.FACES`, if a VDB or .uni file has it.

    Raises VolumeError as `read` does, InputError for a `step` of a file that holds one frame and for an invalid
    `crop`.
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
        by_default = density_grid is None and velocity_grid is None
        reader = _scalarflow(path) if by_default else None
        taken: Taken = (
            reader.read(Path(path), max_bytes, fields)
            if reader is not None
            else _module_of(suffix).read_frame(path, **options)
        )
        return _cropped(taken, crop)
    from fluidsr.volumes import blender, vdb
    from fluidsr.volumes.vdb.metadata import BASE_RESOLUTION

    with_solids = fields is None or ("solid" in fields and blender.has_effectors(path, max_bytes))
    if fields is not None and with_solids:  # not a grid: made from the effectors below
        options["fields"] = [name for name in fields if name != "solid"]
    taken = vdb.take_frame(path, **options, crop=crop, faces=faces)
    if taken.empty:
        return taken
    resolution = _notes_of_density(path, max_bytes).get(BASE_RESOLUTION)
    if not resolution:
        return taken
    moved = None if taken.style is None else replace(taken.style, lattice=None)  # the frame has moved off it
    solids = partial(blender.solid_share, path, tuple(resolution), max_bytes) if with_solids else None
    placed = blender.placed(Path(path), taken.frame, tuple(resolution), max_bytes, solids)
    return replace(placed, notes=(*placed.notes, *taken.notes), style=moved)


def _cropped(taken: Taken, crop: Crop) -> Taken:
    """The frame of a dense file without the cells outside the box."""
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
    """The contents of a file of one of SUFFIXES: grids, types, boxes, positions, ranges, compression, metadata.

    Positions, ranges and units are those of the file, without conversion. Raises VolumeError for a file that is
    missing, damaged or unsupported.
    """
    module = _scalarflow(path) or _module_of(_suffix(path), ".inspect")
    info: VolumeInfo = module.inspect(path, max_bytes=max_bytes)
    return info


def time_of(path: str | os.PathLike[str]) -> float | None:
    """The time (s) that a file states, read without its fields as far as the format allows.

    None if the file states none, and for formats that store times differently (.uni, .vtkhdf). Raises VolumeError for
    a file that cannot be read.
    """
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
    ".vtm": "vti",
}


def _module_of(suffix: str, part: str = "") -> Any:
    """The module for files of this suffix, imported on demand; for a package, its submodule `part`."""
    name = _MODULES[suffix] + (part if suffix == ".vdb" else "")
    return importlib.import_module(f"fluidsr.volumes.{name}")


def _scalarflow(path: str | os.PathLike[str]) -> Any:
    """The module for the reconstructions of ScalarFlow if `path` is a density of one, which only its place tells."""
    from fluidsr.volumes import scalarflow

    return scalarflow if scalarflow.is_density(Path(path)) else None


def _notes_of_density(path: str | os.PathLike[str], max_bytes: int | None) -> Mapping[str, Any]:
    """The metadata of a VDB's density grid, or of the first readable grid if none has such a name."""
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
