"""Frames as VTK images, for VTK's writers."""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from fluidsr.errors import RunError
from fluidsr.frame import Frame
from fluidsr.volumes.quantize import rounded
from fluidsr.volumes.vtk_image import CELL_SIZE, DIM, DT, ORIGIN, TIME


def make_image(
    frame: Frame,
    fields: Mapping[str, str],
    *,
    half: bool,
    threshold: float,
    whole: Collection[str] = (),
) -> Any:
    """A vtkImageData with fields of a NumPy `frame` as point data at the cell centers.

    Args:
        frame: the frame.
        fields: name of a field -> name of its array.
        half: round values to halves, stored as float32, since VTK has no halves. They equal those of a half-precision
            VDB, and their zero bits compress well.
        threshold: values up to this magnitude become zero.
        whole: the fields that are stored as integers.

    Raises InputError as `quantize.rounded` does.
    """
    # `import vtk` loads all of VTK; these two load in a fifth of a second.
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData

    image = vtkImageData()
    image.SetDimensions(*(*frame.shape, 1)[:3])
    image.SetSpacing((frame.cell_size,) * 3)
    image.SetOrigin([corner + frame.cell_size / 2 for corner in (*frame.origin, 0.0)[:3]])
    present = frame.fields()

    def array(name: str, values: np.ndarray) -> Any:
        vtk_array = numpy_to_vtk(values)  # shares the memory and keeps it alive
        vtk_array.SetName(name)
        return vtk_array

    for name, word in fields.items():
        vector = name in frame.vectors
        values = rounded(name, present[name], half, threshold, vector=vector, whole=name in whole)
        values = values if name in whole else values.astype(np.float32, copy=False)
        image.GetPointData().AddArray(array(word, _x_fastest(values, vector)))
    image.GetPointData().SetActiveScalars(next(iter(fields.values())))
    if "velocity" in fields:
        image.GetPointData().SetActiveVectors("velocity")
    place = {TIME: [frame.time], DT: [frame.dt], DIM: [frame.dim], CELL_SIZE: [frame.cell_size]}
    for name, numbers in (place | {ORIGIN: frame.origin}).items():
        image.GetFieldData().AddArray(array(name, np.array(numbers, np.float64)))
    return image


def quiet(writer: Any) -> None:
    """Keep VTK from printing errors; the caller checks the writer's error code instead."""
    for source in (writer, writer.GetExecutive()):
        source.AddObserver("ErrorEvent", lambda *_: None)


def writing_failed(path: str | os.PathLike[str], code: int) -> Exception:
    """The error to raise after one of VTK's writers ended with error code `code`."""
    from vtkmodules.vtkCommonMisc import vtkErrorCode

    if code == vtkErrorCode.OutOfDiskSpaceError:
        code = errno.ENOSPC
    problem = vtkErrorCode.GetStringFromErrorCode(code)
    if 0 < code < vtkErrorCode.FirstVTKErrorCode:
        return OSError(code, problem)
    return RunError(str(path), f"VTK could not write it ({problem})", "check the disk")


def _x_fastest(values: np.ndarray, vector: bool) -> np.ndarray:
    """`values` in VTK's order: `[cells]`, or `[cells, 3]` for vectors, x fastest."""
    if not vector:
        return np.ascontiguousarray(values.T).reshape(-1)
    vectors = np.zeros((*values.shape[:0:-1], 3), np.float32)
    vectors[..., : len(values)] = values.T
    return vectors.reshape(-1, 3)
