"""Run as a program of its own: reads a VTKHDF image with VTK and hands it on, as a line of JSON and raw values.

    python vtkhdf_child.py FILE STEP MAX_BYTES SECONDS

VTK and the HDF5 library below it trust the file: a damaged one may crash them, hang, or ask for any amount of
memory. In a process of its own that harms nothing else. Nothing of fluidsr is imported: this starts for every frame.
"""

import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from typing import Any

# All that is used is loaded here: memory and open files are bounded later.
import numpy as np
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkCommonCore import vtkObject
from vtkmodules.vtkCommonExecutionModel import vtkStreamingDemandDrivenPipeline
from vtkmodules.vtkIOHDF import vtkHDFReader


def main(path: str, step: int, max_bytes: int, seconds: int) -> None:
    """Write what step `step` of the file holds to standard output; exit code 3 with a line of text for a file
    that is no image."""
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
    """The image at a step of the file. Refuses what is none, and one of which an array cannot be read."""
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
    """The times of all steps; none where the file has no steps."""
    if not reader.GetHasTemporalData():
        return []
    key = vtkStreamingDemandDrivenPipeline.TIME_STEPS()
    information = reader.GetOutputInformation(0)
    return [information.Get(key, i) for i in range(information.Length(key))]


def arrays_of(image: Any) -> Iterator[tuple[dict[str, Any], Any]]:
    """Every named array of numbers: what is said about it, and its values."""
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
    """End this process after this many seconds of processor time; more by the clock, or a busy machine would refuse
    valid files."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    signal.alarm(10 * seconds)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def bound_memory(max_bytes: int) -> None:
    """Let this process have so much memory at most, what is loaded by now included."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    bound = max_bytes if hard == resource.RLIM_INFINITY else min(max_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (bound, hard))


def allow_one_file() -> None:
    """Let this process have one more file open than it has now: HDF5 would follow links into any other."""
    spare = os.open(os.devnull, os.O_RDONLY)
    os.close(spare)
    resource.setrlimit(resource.RLIMIT_NOFILE, (spare + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def refuse(problem: str) -> None:
    """End, saying why."""
    print(problem, flush=True)
    sys.exit(3)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]))
