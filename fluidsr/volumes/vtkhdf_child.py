"""Run as a separate program: read a VTKHDF image with VTK, and write it to standard output as a line of JSON and raw
values.

    python vtkhdf_child.py FILE STEP MAX_BYTES SECONDS

VTK and the HDF5 library do not check what a file claims: a damaged one may crash them, hang, or claim any amount of
memory. A separate process contains that. It imports nothing of fluidsr, because it starts for every frame.
"""

import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from typing import Any

# Everything is imported here, before memory and open files are limited.
import numpy as np
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkCommonCore import vtkObject
from vtkmodules.vtkCommonExecutionModel import vtkStreamingDemandDrivenPipeline
from vtkmodules.vtkIOHDF import vtkHDFReader


def main(path: str, step: int, max_bytes: int, seconds: int) -> None:
    """Write the contents of step `step` of the file to standard output.

    Exits with code 3 and a line of text if the file is not an image.
    """
    bound_time(seconds)
    bound_memory(max_bytes)
    allow_one_file()
    vtkObject.GlobalWarningDisplayOff()
    reader = vtkHDFReader()
    image = read(reader, path, step)
    arrays = list(arrays_of(image))
    direction = image.GetDirectionMatrix()
    head = {
        "times": times_of(reader),
        "extent": image.GetExtent(),
        "spacing": image.GetSpacing(),
        "origin": image.GetOrigin(),
        "direction": [direction.GetElement(i, j) for i in range(3) for j in range(3)],
        "arrays": [about for about, _ in arrays],
    }
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n")
    for _, values in arrays:
        sys.stdout.buffer.write(values.data)
    sys.stdout.buffer.flush()


def read(reader: Any, path: str, step: int) -> Any:
    """The image at a step of the file. Ends the process if it is not an image, or if one of its arrays cannot be
    read.
    """
    reader.SetFileName(path)
    if not reader.CanReadFile(path):
        refuse("not a VTKHDF file")
    reader.UpdateInformation()
    steps = reader.GetNumberOfSteps() if reader.GetHasTemporalData() else 1
    if not 0 <= step < max(steps, 1):
        refuse(f"it has {steps} steps, and step {step} was requested")
    reader.SetStep(step)
    reader.Update()
    image = reader.GetOutputDataObject(0)
    if image is None or not image.IsA("vtkImageData"):
        refuse(f"it holds {'nothing' if image is None else image.GetClassName()}, not an image")
    if reader.GetErrorCode():
        refuse("VTK cannot read it")
    for data, selection in (
        (image.GetPointData(), reader.GetPointDataArraySelection()),
        (image.GetCellData(), reader.GetCellDataArraySelection()),
    ):
        for i in range(selection.GetNumberOfArrays()):
            if data.GetAbstractArray(selection.GetArrayName(i)) is None:
                refuse(f"damaged: VTK cannot read its array {selection.GetArrayName(i)!r}")
    return image


def times_of(reader: Any) -> list[float]:
    """The times of all steps; empty if the file has no steps."""
    if not reader.GetHasTemporalData():
        return []
    key = vtkStreamingDemandDrivenPipeline.TIME_STEPS()
    information = reader.GetOutputInformation(0)
    return [information.Get(key, i) for i in range(information.Length(key))]


def arrays_of(image: Any) -> Iterator[tuple[dict[str, Any], Any]]:
    """For every named array of numbers: its description, and its values."""
    for section, data in (
        ("PointData", image.GetPointData()),
        ("CellData", image.GetCellData()),
        ("FieldData", image.GetFieldData()),
    ):
        for i in range(data.GetNumberOfArrays()):
            array = data.GetArray(i)  # None for strings
            if array is None or array.GetName() is None:
                continue
            values = np.ascontiguousarray(vtk_to_numpy(array))
            if values.dtype.kind not in "fiu":
                continue
            about = {
                "section": section,
                "name": array.GetName(),
                "dtype": values.dtype.str,
                "components": array.GetNumberOfComponents(),
                "tuples": array.GetNumberOfTuples(),
            }
            yield about, values


def bound_time(seconds: int) -> None:
    """Limit the processor time of this process to `seconds`.

    Wall-clock time is limited to ten times that; a tighter limit would refuse valid files on a busy machine.
    """
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    signal.alarm(10 * seconds)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def bound_memory(max_bytes: int) -> None:
    """Limit the address space of this process to `max_bytes`, including everything loaded so far."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    bound = max_bytes if hard == resource.RLIM_INFINITY else min(max_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (bound, hard))


def allow_one_file() -> None:
    """Allow this process to open only one more file, since HDF5 would follow links into others."""
    spare = os.open(os.devnull, os.O_RDONLY)
    os.close(spare)
    resource.setrlimit(resource.RLIMIT_NOFILE, (spare + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def refuse(problem: str) -> None:
    """Print `problem` and end with code 3."""
    print(problem, flush=True)
    sys.exit(3)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]))
