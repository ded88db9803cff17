# SPDX-License-Identifier: Apache-2.0
"""What the ParaView plugin does, on VTK alone: VDB files as images, and images upsampled, both by a worker."""

import functools
import os
import re
import shutil
from pathlib import Path

import numpy as np
from client import Client, WorkerError
from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
from vtkmodules.util.vtkAlgorithm import VTKPythonAlgorithmBase
from vtkmodules.vtkCommonCore import vtkOutputWindow
from vtkmodules.vtkCommonDataModel import vtkImageData
from vtkmodules.vtkCommonExecutionModel import vtkStreamingDemandDrivenPipeline


def in_one_line(method):
    """Let an algorithm's step show what is wrong as one line, instead of a traceback."""

    @functools.wraps(method)
    def step(self, request, inputs, outputs):
        try:
            return method(self, request, inputs, outputs)
        except (WorkerError, OSError) as error:
            vtkOutputWindow.GetInstance().DisplayErrorText(f"fluidsr: {error}\n")
            return 0

    return step


PIPELINE = vtkStreamingDemandDrivenPipeline
_client = None


def client():
    """The connection to the worker of this process. FLUIDSR names the program, where it is not on the search path."""
    global _client
    if _client is None or not _client.alive:
        program = os.environ.get("FLUIDSR") or shutil.which("fluidsr")
        if program is None:
            raise WorkerError("fluidsr: is not on the search path; set the variable FLUIDSR to the program")
        _client = Client.start([program])
    return _client


def image_of(fields, cell_size, origin):
    """An image whose points are the cells' centers; `origin` is the lower corner of the box."""
    image = vtkImageData()
    image.SetDimensions(fields["density"].shape)
    image.SetSpacing([cell_size] * 3)
    image.SetOrigin([corner + cell_size / 2 for corner in origin])
    for name, values in fields.items():
        flat = values.ravel(order="F") if values.ndim == 3 else _components(values)
        array = numpy_to_vtk(np.ascontiguousarray(flat), deep=True)
        array.SetName(name)
        image.GetPointData().AddArray(array)
    image.GetPointData().SetActiveScalars("density")
    return image


def _components(values):
    return np.stack([part.ravel(order="F") for part in values], axis=-1)


def fields_of(image, names):
    """The arrays of an image's points, `[x, y, z]` or `[3, x, y, z]`. Raises WorkerError for one that is not there."""
    shape, points = image.GetDimensions(), image.GetPointData()
    fields = {}
    for name in names:
        array = points.GetArray(name)
        if array is None:
            present = ", ".join(points.GetArrayName(i) for i in range(points.GetNumberOfArrays()))
            raise WorkerError(f"{name}: the image has no such point array; choose from {present or 'none'}")
        values = vtk_to_numpy(array)
        parts = [values] if values.ndim == 1 else list(values.T)
        grids = [part.reshape(shape, order="F") for part in parts]
        fields[name] = np.stack(grids) if len(grids) > 1 else grids[0]
    return fields


def siblings(path):
    """The files of a sequence by their numbers; of a name without one, the file itself as number 0."""
    path = Path(path)
    match = re.search(r"(\d+)(\D*)$", path.name)
    if match is None:
        return {0: path}
    head, tail = path.name[: match.start(1)], match[2]
    pattern = re.compile(re.escape(head) + r"(\d+)" + re.escape(tail))
    files = {int(found[1]): file for file in path.parent.iterdir() if (found := pattern.fullmatch(file.name))}
    return dict(sorted(files.items())) or {int(match[1]): path}


class Reader(VTKPythonAlgorithmBase):
    """A VDB file, or the sequence that it belongs to: one image a time step, the box of what is not empty."""

    def __init__(self):
        super().__init__(nInputPorts=0, nOutputPorts=1, outputType="vtkImageData")
        self._path, self._rate, self._cached = "", 24.0, {}

    def SetFileName(self, path):
        """Any file of the sequence."""
        if path and path != self._path:
            self._path, self._cached = path, {}
            self.Modified()

    def SetFrameRate(self, rate):
        """Frames per second: the time of frame N is N / rate."""
        if rate != self._rate:
            self._rate = rate
            self.Modified()

    def times(self):
        """The times of the frames, in s."""
        return [number / self._rate for number in siblings(self._path)] if self._path else []

    def _load(self, number):
        if number not in self._cached:
            fields, about = client().read(str(siblings(self._path)[number]))
            if len(about["shape"]) != 3:
                raise WorkerError(f"{self._path}: is 2-D; open it as an image")
            self._cached = {number: image_of(fields, about["cell_size"], about["origin"])}
        return self._cached[number]

    def _asked(self, information):
        times = {number / self._rate: number for number in siblings(self._path)}
        if not information.Has(PIPELINE.UPDATE_TIME_STEP()):
            return next(iter(times.values()))
        asked = information.Get(PIPELINE.UPDATE_TIME_STEP())
        return times[min(times, key=lambda time: abs(time - asked))]

    @in_one_line
    def RequestInformation(self, request, inputs, outputs):
        information = outputs.GetInformationObject(0)
        times = self.times()
        information.Set(PIPELINE.TIME_STEPS(), times, len(times))
        information.Set(PIPELINE.TIME_RANGE(), [times[0], times[-1]], 2)
        # The box may differ from frame to frame: the extent is that of the frame that is asked for.
        information.Set(PIPELINE.WHOLE_EXTENT(), self._load(self._asked(information)).GetExtent(), 6)
        return 1

    @in_one_line
    def RequestData(self, request, inputs, outputs):
        information = outputs.GetInformationObject(0)
        number = self._asked(information)
        vtkImageData.GetData(outputs).ShallowCopy(self._load(number))
        return 1


class Upsample(VTKPythonAlgorithmBase):
    """Smoke in an image, upsampled by a network; the whole image at once, the last time steps kept."""

    KEPT = 4

    def __init__(self):
        super().__init__(nInputPorts=1, nOutputPorts=1, inputType="vtkImageData", outputType="vtkImageData")
        self._settings = {"model": "smoke3d-x4", "detail": 1.0, "precision": "float32", "dt": 1 / 24}
        self._names = {"density": "density", "velocity": "velocity"}
        self._factors, self._cached = {}, {}

    def _set(self, settings, key, value):
        if settings[key] != value:
            settings[key] = value
            self._cached = {}
            self.Modified()

    def SetModel(self, name):
        """A shipped model's name, or a file."""
        self._set(self._settings, "model", name)

    def SetDetail(self, scale):
        """Factor on what the network adds to interpolation: 0 none, 1 the model's own, 2 twice as much."""
        self._set(self._settings, "detail", scale)

    def SetPrecision(self, name):
        """float32, bfloat16 or float16."""
        self._set(self._settings, "precision", name)

    def SetFrameRate(self, rate):
        """Frames per second of the sequence, for the distance that smoke moves in one."""
        self._set(self._settings, "dt", 1 / rate)

    def SetDensityArray(self, name):
        """The point array with the density."""
        self._set(self._names, "density", name)

    def SetVelocityArray(self, name):
        """The point array with the velocity in m/s."""
        self._set(self._names, "velocity", name)

    def _factor(self):
        model = self._settings["model"]
        if model not in self._factors:
            self._factors[model] = client().call("info", path=model)["factor"]
        return self._factors[model]

    @in_one_line
    def RequestInformation(self, request, inputs, outputs):
        extent = inputs[0].GetInformationObject(0).Get(PIPELINE.WHOLE_EXTENT())
        lengths = [high - low + 1 for low, high in zip(extent[::2], extent[1::2], strict=True)]
        whole = [bound for length in lengths for bound in (0, self._factor() * length - 1)]
        outputs.GetInformationObject(0).Set(PIPELINE.WHOLE_EXTENT(), whole, 6)
        return 1

    def RequestUpdateExtent(self, request, inputs, outputs):
        information = inputs[0].GetInformationObject(0)
        whole = information.Get(PIPELINE.WHOLE_EXTENT())
        information.Set(PIPELINE.UPDATE_EXTENT(), whole, 6)
        return 1

    @in_one_line
    def RequestData(self, request, inputs, outputs):
        image = vtkImageData.GetData(inputs[0])
        information = outputs.GetInformationObject(0)
        time = (
            information.Get(PIPELINE.UPDATE_TIME_STEP())
            if information.Has(PIPELINE.UPDATE_TIME_STEP())
            else 0.0
        )
        key = (time, image.GetMTime())
        if key not in self._cached:
            while len(self._cached) >= self.KEPT:
                self._cached.pop(next(iter(self._cached)))
            self._cached[key] = self._upsampled(image)
        vtkImageData.GetData(outputs).ShallowCopy(self._cached[key])
        return 1

    def _upsampled(self, image):
        cell, low = image.GetSpacing()[0], image.GetPoint(0)
        if max(abs(spacing / cell - 1) for spacing in image.GetSpacing()) > 1e-4:
            raise WorkerError(f"spacing: {image.GetSpacing()} is not that of cubes; resample the image first")
        fields = fields_of(image, self._names.values())
        fields = {name: fields[array] for name, array in self._names.items()}
        self.UpdateProgress(0.1)
        fine = client().upsample_arrays(fields, cell_size=cell, **self._settings)
        self.UpdateProgress(0.9)
        return image_of(fine, cell / self._factor(), [point - cell / 2 for point in low])
