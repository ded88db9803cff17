"""VTKHDF images: a series of frames in one file (temporal VTKHDF, for ParaView 5.12 and later).

The format has one box for all frames, and VTK does not store field data with images: the `dt` of a frame is the time
to the next one, and a file of one frame has no time. VTK writes the files. It also reads them, in a separate process
(`vtkhdf_child.py`), because it does not check what a file claims. Format:
https://docs.vtk.org/en/latest/vtk_file_formats/vtkhdf_file_format/index.html
"""

from __future__ import annotations

import dataclasses
import json
import mmap
import os
import re
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from fluidsr import atomic
from fluidsr.errors import InputError, RunError, VolumeError
from fluidsr.frame import Frame
from fluidsr.frame_grid import FrameGrid, on_grid
from fluidsr.volumes import memory, vtk_image
from fluidsr.volumes.grid_names import stored_names
from fluidsr.volumes.info import VolumeInfo
from fluidsr.volumes.units import Taken
from fluidsr.volumes.vti_format import DataArray
from fluidsr.volumes.vtk_write import make_image, quiet, writing_failed

_LEVEL = 2  # zlib level: files of smoke are as small as with 5, in half the time
_SECONDS = 120  # of processor time
_OF_VTK = 1 << 30  # bytes of address space that VTK and Python need by themselves
_CHILD = Path(__file__).with_name("vtkhdf_child.py")
_MAGIC = b"\x89HDF\r\n\x1a\n"
# A message of an HDF5 object header (version 1) with the time (s) at which the object was changed; see IV.A.2.s of the
# format's specification. The HDF5 library writes it, and VTK cannot turn it off.
_CHANGED = re.compile(rb"\x12\0\x08\0.\0\0\0\x01\0\0\0(....)", re.DOTALL)
_KINDS = {"i": "Int", "u": "UInt", "f": "Float"}
_REFUSED = 3  # exit code of the child if the file is valid, but not an image
_BOUNDS = (-signal.SIGXCPU, -signal.SIGALRM, -signal.SIGKILL, 1)  # 1: Python's own MemoryError


def write_series(
    path: str | os.PathLike[str],
    times: Sequence[float],
    load: Callable[[int], Frame],
    place: FrameGrid,
    fields: Sequence[str],
    *,
    half: bool,
    threshold: float,
    whole: Collection[str] = (),
) -> None:
    """Write frames `load(0)`, `load(1)`, ... into one file, loading one at a time.

    Args:
        path: the .vtkhdf file.
        times: time of each frame (s), ascending.
        load: returns frame i.
        place: the grid of the file. It must contain the box of every frame, and have the same cells.
        fields: names of the fields to write.
        half: round values to halves (stored as float32).
        threshold: values up to this magnitude become zero.
        whole: the fields that are stored as integers.

    On return the file is complete under its name; the same frames give the same bytes. Raises InputError if a frame
    does not fit or lacks a field, RunError if the disk is full.
    """
    try:
        from vtkmodules.vtkIOHDF import vtkHDFWriter
    except ImportError as error:
        raise InputError(str(path), "this VTK cannot write VTKHDF", "pip install 'vtk>=9.6'") from error

    names = stored_names(fields, ".vtkhdf")

    def image(step: int) -> Any:
        frame = on_grid(load(step).numpy(), place)
        missing = [name for name in fields if name not in frame.fields()]
        if missing:
            raise InputError(
                str(path), f"step {step} has no {missing[0]}", "write fields that all frames have"
            )
        try:
            return make_image(frame, names, half=half, threshold=threshold, whole=whole)
        except InputError as error:
            location = f"frame at {times[step]:g} s: {error.where}"
            raise type(error)(location, error.what, error.remedy) from None

    source = _source(times, image, place)
    writer = vtkHDFWriter()
    writer.SetInputConnection(source.GetOutputPort())
    writer.SetCompressionLevel(_LEVEL)
    writer.SetWriteAllTimeSteps(len(times) > 1)
    quiet(writer)
    with atomic.replacing(path) as temporary:
        temporary.open("wb").close()  # raises the usual OSError; VTK would only report a failure
        writer.SetFileName(str(temporary))
        started, since = time.time(), time.monotonic()
        written = writer.Write()
        if source.failure is not None:
            raise source.failure
        if writer.GetErrorCode():
            raise writing_failed(path, writer.GetErrorCode())
        if not written or temporary.stat().st_size < len(_MAGIC):
            raise RunError(
                str(path), "VTK could not write it", "check the disk, and that VTK is 9.6 or later"
            )
        _clear_times(temporary, (started, time.time()), time.monotonic() - since)


def read_frame(
    path: str | os.PathLike[str],
    *,
    step: int = 0,
    density_grid: str | None = None,
    velocity_grid: str | None = None,
    fields: Sequence[str] | None = None,
    max_bytes: int | None = None,
) -> Taken:
    """Read the frame of one step; see `fluidsr.volumes.read`."""
    image = HdfFile(path, step, max_bytes)
    taken = vtk_image.frame_of(image, density_grid, velocity_grid, fields)
    if len(image.times) < 2:
        return taken
    after = min(step + 1, len(image.times) - 1)
    dt = image.times[after] - image.times[after - 1]
    timed = taken.frame.replace(time=image.times[step], dt=dt if dt > 0 else taken.frame.dt)
    return dataclasses.replace(taken, frame=timed, has_rate=taken.has_rate or dt > 0)


def inspect(path: str | os.PathLike[str], *, max_bytes: int | None = None) -> VolumeInfo:
    """The contents of the first step; see `fluidsr.volumes.inspect`."""
    image = HdfFile(path, 0, max_bytes)
    info = vtk_image.info_of(image, "vtkhdf")
    return dataclasses.replace(info, metadata={"times": image.times}) if image.times else info


def times(path: str | os.PathLike[str]) -> list[float]:
    """The times (s) of a series' steps; empty for a file of one frame. Raises VolumeError as `read_frame` does."""
    return HdfFile(path).times


class HdfFile:
    """One step of a file; a `vtk_image.Image` whose values have been read. `times` (s) are those of all steps.

    Raises VolumeError for a file that is missing, damaged, not an image, or larger than `max_bytes` (None:
    `memory.limit`).
    """

    def __init__(self, path: str | os.PathLike[str], step: int = 0, max_bytes: int | None = None) -> None:
        self.where = os.fspath(path)
        self.max_bytes = max_bytes
        head, body = self._ask(step)
        self.times: list[float] = head["times"]
        self.extent: tuple[int, ...] = tuple(head["extent"])
        self.spacing: tuple[float, ...] = tuple(head["spacing"])
        self.origin: tuple[float, ...] = tuple(head["origin"])
        self.direction: tuple[float, ...] = tuple(head["direction"])
        self.arrays: list[DataArray] = []
        self._values: list[np.ndarray] = []
        at = 0
        for array in head["arrays"]:
            dtype = np.dtype(array["dtype"])
            count = array["components"] * array["tuples"]
            self._values.append(np.frombuffer(body, dtype, count, at))
            at += count * dtype.itemsize
            kind = _KINDS[dtype.kind] + str(8 * dtype.itemsize)
            self.arrays.append(
                DataArray(
                    array["section"],
                    array["name"],
                    kind,
                    array["components"],
                    array["tuples"],
                    "raw",
                    len(self.arrays),
                )
            )
        if min(self.points()) < 1 or not np.isfinite([*self.spacing, *self.origin, *self.direction]).all():
            self._fail("its extent, spacing or origin is absurd")

    @property
    def compression(self) -> str:
        """Always `hdf5`: HDF5's filters are set per array, and VTK does not report them."""
        return "hdf5"

    def points(self) -> tuple[int, int, int]:
        """Points along x, y, z."""
        a, b, c, d, e, f = self.extent
        return b - a + 1, d - c + 1, f - e + 1

    def values(self, array: DataArray, tuples: int) -> np.ndarray:
        """The array's values, `[tuples * components]`, in its own type. Raises VolumeError for another count."""
        if array.tuples != tuples:
            self._fail(f"array {array.name!r} has {array.tuples} values instead of {tuples}")
        return self._values[array.offset]

    def stored(self, array: DataArray) -> int:
        """Bytes of the array's values."""
        return self._values[array.offset].nbytes

    def _ask(self, step: int) -> tuple[dict[str, Any], memoryview]:
        try:
            atomic.check_regular(self.where)
            with Path(self.where).open("rb") as file:
                if file.read(len(_MAGIC)) != _MAGIC:
                    raise VolumeError(self.where, "it is not an HDF5 file", "give a .vtkhdf file")
        except OSError as error:
            raise VolumeError(self.where, f"cannot be read ({error.strerror})", "check the path") from error
        allowed = memory.limit() if self.max_bytes is None else self.max_bytes
        numbers = [str(n) for n in (step, allowed + _OF_VTK, _SECONDS)]
        command = [sys.executable, "-I", str(_CHILD), str(Path(self.where).absolute()), *numbers]
        code, answer = _run(command)
        if code == _REFUSED:
            problem = " ".join(answer.decode("utf-8", "replace").split())[:200]
            raise VolumeError(self.where, problem, "give an image that VTK wrote")
        if code != 0:
            self._fail(
                "it needs more memory or time than it may" if code in _BOUNDS else "it stops its reader"
            )
        head, _, _ = answer.partition(b"\n")
        return json.loads(head), memoryview(answer)[len(head) + 1 :]

    def _fail(self, problem: str) -> NoReturn:
        raise VolumeError(self.where, f"damaged: {problem}", "write or copy the file again")


def _run(command: list[str]) -> tuple[int, bytes]:
    """The exit code and the output of `command`."""
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)
    if b"unable to open external" in done.stderr:  # the HDF5 library tried to follow a link
        return _REFUSED, b"it refers to other files, which are not read"
    return done.returncode, done.stdout


def _clear_times(path: Path, clock: tuple[float, float], lasted: float) -> None:
    """Set to 0 the modification times that HDF5 recorded while it wrote, so that equal runs give equal bytes.

    Writing took `lasted` seconds. `clock` (s, Unix) holds the times at its begin and end; both are checked, since the
    clock may be set in between.
    """
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as data:
        for message in _CHANGED.finditer(data):
            (changed,) = struct.unpack("<I", message[1])
            if any(abs(changed - moment) <= lasted + 1 for moment in clock):
                data[message.start(1) : message.end(1)] = bytes(4)


def _source(times: Sequence[float], image: Callable[[int], Any], place: FrameGrid) -> Any:
    """The source of a VTK pipeline that gives `image(step)` for the time that the writer requests."""
    from vtkmodules.util.vtkAlgorithm import VTKPythonAlgorithmBase
    from vtkmodules.vtkCommonDataModel import vtkDataObject, vtkImageData
    from vtkmodules.vtkCommonExecutionModel import vtkStreamingDemandDrivenPipeline as Pipeline

    class FrameSource(VTKPythonAlgorithmBase):
        failure: Exception | None = None

        def __init__(self) -> None:
            super().__init__(nInputPorts=0, nOutputPorts=1, outputType="vtkImageData")

        def RequestInformation(self, request: Any, inputs: Any, outputs: Any) -> int:
            information = outputs.GetInformationObject(0)
            extent = [n for size in (*place.shape, 1)[:3] for n in (0, size - 1)]
            information.Set(Pipeline.WHOLE_EXTENT(), extent, 6)
            information.Set(Pipeline.TIME_STEPS(), list(times), len(times))
            information.Set(Pipeline.TIME_RANGE(), [times[0], times[-1]], 2)
            return 1

        def RequestData(self, request: Any, inputs: Any, outputs: Any) -> int:
            information = outputs.GetInformationObject(0)
            time = (
                information.Get(Pipeline.UPDATE_TIME_STEP())
                if information.Has(Pipeline.UPDATE_TIME_STEP())
                else times[0]
            )
            step = int(np.argmin(np.abs(np.subtract(times, time))))
            step_image = vtkImageData()
            try:
                if self.failure is None:
                    step_image = image(step)
            except Exception as error:
                # VTK would print the error and request this step forever: give it empty images until it ends.
                self.failure = error
            output = vtkImageData.GetData(outputs)
            output.ShallowCopy(step_image)
            output.GetInformation().Set(vtkDataObject.DATA_TIME_STEP(), times[step])
            return 1

    return FrameSource()
