"""The ScalarFlow data set: reconstructions of real smoke.

(Eckert, Um, Thuerey, *ScalarFlow*, ACM Trans. Graph. 38(6), 2019.) A simulation is a folder `sim_000042` with a
folder `reconstruction`. In it each frame has a `density_000007.npz` and, from frame 1 on, a `velocity_000007.npz`:
one array `data [z, y, x, components]` of 100 x 178 x 100 cells, y up, velocity on the lower faces in cells per frame,
as in Mantaflow. `density_noInflow_...` and images lie beside them and are not read.

The files state neither cell size nor time. This module assumes a width of 0.4909 m (the value that other
reconstructions from the same videos use) and 60 frames per second (the frame rate of the cameras). Generators depend
on neither, since they read cells per frame.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fluidsr.errors import InputError, MissingFieldError, VolumeError
from fluidsr.frame import Frame
from fluidsr.volumes import npz
from fluidsr.volumes.info import VolumeInfo, describe_array
from fluidsr.volumes.staggered import centered
from fluidsr.volumes.units import Taken

WIDTH = 0.4909  # m, of the box along x
FRAME_RATE = 60.0  # 1/s
_FOLDER = "reconstruction"
_DENSITY = re.compile(r"density_(\d{1,9})\.npz")


def simulations(folder: Path) -> list[Path]:
    """The `reconstruction` folders below `folder`: of all simulations in it, or of the simulation that it is.

    Raises InputError if there are none.
    """
    if not folder.is_dir():
        raise InputError(
            str(folder), "there is no such folder", "give a folder with sim_000000, sim_000001, ..."
        )
    single = [folder] if folder.name == _FOLDER else [folder / _FOLDER]
    folders = single if single[0].is_dir() else sorted(path / _FOLDER for path in folder.glob("sim_[0-9]*"))
    folders = [path for path in folders if path.is_dir()]
    if not folders:
        problem = f"holds no simulation in the ScalarFlow layout (sim_000000/{_FOLDER})"
        raise InputError(str(folder), problem, "give the folder that the archives were unpacked into")
    return folders


def frames(reconstruction: Path) -> dict[int, Path]:
    """The density files of the frames that have a velocity, by frame number; of all frames if none has a velocity.

    Raises InputError if there are none.
    """
    entries = ((_DENSITY.fullmatch(file.name), file) for file in sorted(reconstruction.iterdir()))
    densities = {int(match[1]): file for match, file in entries if match}
    moving = {number: file for number, file in densities.items() if _velocity_of(file).exists()}
    if not densities:
        raise InputError(str(reconstruction), "holds no density_000000.npz", "give a whole reconstruction")
    return moving or densities


def is_density(path: Path) -> bool:
    """Whether the place and the name of a file are those of a density."""
    return _DENSITY.fullmatch(path.name) is not None and path.absolute().parent.name == _FOLDER


def read(density: Path, max_bytes: int | None = None, wanted: Sequence[str] | None = None) -> Taken:
    """The frame whose density is in the file `density`, `[x, y, z]`; its velocity at the cell centers, in cells per
    frame. `wanted` are the fields to read besides density; None: all.

    Raises VolumeError for files that are damaged or hold something else, MissingFieldError if one of `wanted` is not
    there.
    """
    velocity = _velocity_of(density)
    present = ["density"] + ["velocity"] * velocity.exists()
    if missing := [name for name in wanted or () if name not in present]:
        remedy = f"ask for some of {', '.join(present)}"
        raise MissingFieldError(str(density), f"there is no {missing[0]}", remedy)
    values = _array(density, 1, max_bytes)
    fields = {"density": values[0]}
    if velocity.exists() and (wanted is None or "velocity" in wanted):
        fields["velocity"] = centered(_array(velocity, 3, max_bytes))
        if fields["velocity"].shape[1:] != values.shape[1:]:
            problem = f"has {fields['velocity'].shape[1:]} cells, but the density has {values.shape[1:]}"
            raise VolumeError(str(velocity), problem, "unpack the archive again")
    frame = Frame(fields["density"], cell_size=WIDTH / values.shape[1], dt=1 / FRAME_RATE)
    return Taken(frame.with_fields(fields), "cells/frame")


def inspect(density: Path, *, max_bytes: int | None = None) -> VolumeInfo:
    """The contents of the files of the frame; see `fluidsr.volumes.inspect`. Raises VolumeError as `read` does."""
    frame = read(density, max_bytes).frame
    files = {"density": density, "velocity": _velocity_of(density)}
    grids = []
    for name, values in frame.fields().items():
        channels, size = values if name == "velocity" else values[None], files[name].stat().st_size
        grids.append(describe_array(frame, name, channels, str(values.dtype), "zip", size))
    return VolumeInfo.of_frame(density, "npz of ScalarFlow", frame, grids)


def _velocity_of(density: Path) -> Path:
    return density.with_name(density.name.replace("density", "velocity"))


def _array(path: Path, components: int, max_bytes: int | None) -> np.ndarray:
    """`[components, x, y, z]`, float32."""
    arrays = npz.read_arrays(path, max_bytes)
    data = arrays.get("data")
    if data is None or data.ndim != 4 or data.shape[3] != components or 0 in data.shape:
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items())
        problem = f"holds no data [z, y, x, {components}] (but {shapes or 'nothing'})"
        raise VolumeError(str(path), problem, "give a ScalarFlow reconstruction")
    return np.ascontiguousarray(data.transpose(3, 2, 1, 0), np.float32)
