"""Frames as VTK's own images, for its writers."""

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
    """A vtkImageData of the fields of a NumPy `frame` that are the keys of `fields`, under the names that are its
    values, as point data at the cell centres; those of `whole` as integers.

    VTK has no halves: with `half`, values are float32 rounded to halves, equal to those of a half-precision
    VDB, and their zero bits compress away. Raises as `rounded` does.
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
        made = numpy_to_vtk(values)  # shares the memory and keeps it alive
        made.SetName(name)
        return made

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
    """Keep VTK from printing what goes wrong; the error code says it all."""
    for teller in (writer, writer.GetExecutive()):
        teller.AddObserver("ErrorEvent", lambda *_: None)


def writing_failed(path: str | os.PathLike[str], code: int) -> Exception:
    """The error to raise where a writer of VTK's ended with `code`."""
    from vtkmodules.vtkCommonMisc import vtkErrorCode

    if code == vtkErrorCode.OutOfDiskSpaceError:
        code = errno.ENOSPC
    problem = vtkErrorCode.GetStringFromErrorCode(code)
    if 0 < code < vtkErrorCode.FirstVTKErrorCode:
        return OSError(code, problem)
    return RunError(str(path), f"VTK could not write it ({problem})", "check the disk")


def _x_fastest(values: np.ndarray, vector: bool) -> np.ndarray:
    """VTK's order: `[cells]`, or `[cells, 3]` for vectors, x fastest."""
    if not vector:
        return np.ascontiguousarray(values.T).reshape(-1)
    vectors = np.zeros((*values.shape[:0:-1], 3), np.float32)
    vectors[..., : len(values)] = values.T
    return vectors.reshape(-1, 3)
