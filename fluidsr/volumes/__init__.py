"""Volume files: Frames in and out, by the file's suffix (docs/volumes.md).

from fluidsr.volumes import inspect, read, write
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from fluidsr.errors import InputError, VolumeError
from fluidsr.frame import Frame
from fluidsr.volumes import names
from fluidsr.volumes.info import GridInfo, VolumeInfo
from fluidsr.volumes.pvd import read_pvd, write_pvd
from fluidsr.volumes.streams import Stream, stream

SUFFIXES = (".vdb", ".vti", ".npz")
PRECISIONS = ("half", "float")

__all__ = [
    "PRECISIONS",
    "SUFFIXES",
    "GridInfo",
    "Stream",
    "VolumeInfo",
    "inspect",
    "read",
    "read_pvd",
    "stream",
    "write",
    "write_pvd",
]


def write(
    path: str | os.PathLike[str],
    frame: Frame,
    *,
    precision: str = "half",
    naming: str = "houdini",
    fields: Sequence[str] | None = None,
    threshold: float = 0.0,
) -> None:
    """Write a frame as `.vdb`, `.vti` or `.npz`, by the suffix of `path`.

    `precision` `half` rounds every value to the nearest IEEE half; `float` keeps it exactly. `fields` are
    the names of those to write (default: all that the frame has). Values up to `threshold` in magnitude (of
    all components, for velocity) become zero; in a VDB they are not stored. `naming` is the convention for
    the velocity grid of a VDB: `houdini` (`vel`) or `blender` (`velocity`); in VTI and npz files it is
    always `velocity`. Tensors of torch, on any device, are accepted.

    On return the file is complete under its name; on any failure whatever stood there before still does.
    Equal frames give equal bytes. Raises InputError for a bad path, option or field, and for values that
    are not finite or too large for a half; RunError for a full disk.
    """
    suffix = _suffix(path)
    if precision not in PRECISIONS:
        raise InputError("precision", f"{precision!r} is not known", f"give one of {', '.join(PRECISIONS)}")
    names.grid_name("velocity", naming)
    if not 0 <= threshold < float("inf"):
        raise InputError("threshold", f"{threshold} is not a magnitude", "give 0 or more")
    present = tuple(frame.fields())
    chosen = present if fields is None else tuple(dict.fromkeys(fields))
    missing = [name for name in chosen if name not in present]
    if missing or not chosen:
        what = f"the frame has no {missing[0]}" if missing else "no field is named"
        raise InputError("fields", what, f"give some of {', '.join(present)}")
    frame, half = frame.numpy(), precision == "half"
    if suffix == ".vdb":
        from fluidsr.volumes import vdb

        vdb.write_frame(path, frame, chosen, half=half, naming=naming, threshold=threshold)
    elif suffix == ".vti":
        from fluidsr.volumes import vti

        vti.write_frame(path, frame, chosen, half=half, threshold=threshold)
    else:
        from fluidsr.volumes import npz

        npz.write_frame(path, frame, chosen, half=half, threshold=threshold)


def read(
    path: str | os.PathLike[str],
    *,
    density_grid: str | None = None,
    velocity_grid: str | None = None,
    fields: Sequence[str] | None = None,
    max_bytes: int | None = None,
) -> Frame:
    """Read a Frame, its fields NumPy float32 arrays, from a `.vdb`, `.vti` or `.npz` file.

    Grids are found by the names that programs give them (`density`, `dens`, `smoke`, `d`; `velocity`,
    `vel`, `v`, or three scalars `vel.x`, `vel.y`, `vel.z`; `temperature`, `temp`, `heat`); `density_grid`
    and `velocity_grid` name others. Further scalar grids become `others`. `fields` restricts what is read;
    density is always read. Staggered velocity is averaged to the cell centres. The box of a file of ours is
    the frame's; of any other VDB, that of all active voxels. Where a file says nothing of time, `time` is 0
    and `dt` 1/24 s.

    `max_bytes` bounds the dense arrays (default: half of the machine's memory). Raises VolumeError for a
    file that is missing, damaged or unsupported, for rotated or non-cubic voxels, and where what was asked
    for is absent.
    """
    suffix = _suffix(path)
    if suffix == ".vdb":
        from fluidsr.volumes.vdb import read_frame
    elif suffix == ".vti":
        from fluidsr.volumes.vti_reader import read_frame
    else:
        from fluidsr.volumes.npz import read_frame
    return read_frame(
        path, density_grid=density_grid, velocity_grid=velocity_grid, fields=fields, max_bytes=max_bytes
    )


def inspect(path: str | os.PathLike[str], *, max_bytes: int | None = None) -> VolumeInfo:
    """What is in a `.vdb`, `.vti` or `.npz` file: grids, types, boxes, places, ranges, compression, metadata.

    Raises VolumeError for a file that is missing, damaged or unsupported.
    """
    suffix = _suffix(path)
    if suffix == ".vdb":
        from fluidsr.volumes.vdb.inspect import inspect as inspect_vdb

        return inspect_vdb(path, max_bytes=max_bytes)
    if suffix == ".vti":
        from fluidsr.volumes import vti_reader

        return vti_reader.inspect(path, max_bytes=max_bytes)
    from fluidsr.volumes import npz

    return npz.inspect(path, max_bytes=max_bytes)


def _suffix(path: str | os.PathLike[str]) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise VolumeError(
            os.fspath(path), f"{suffix or 'no suffix'!r} is not a volume format", f"use {', '.join(SUFFIXES)}"
        )
    return suffix
