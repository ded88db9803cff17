"""Run by ParaView's pvpython: a VDB sequence through the plugin, what came of it as JSON, and a picture.

    pvpython clients_paraview_plugin.py PLUGIN.py FILE.vdb OUTPUT.json PICTURE.png

FILE.vdb is any of a sequence. The variable FLUIDSR names the program.
"""

import inspect
import json
import sys
from pathlib import Path

from paraview import servermanager, simple
from vtkmodules.vtkCommonCore import vtkFileOutputWindow, vtkOutputWindow

plugin, source, output, picture = sys.argv[1:5]
if not hasattr(
    inspect, "getargspec"
):  # ParaView 5.11 with Python 3.11, as Debian 12 has it, loads no plugin without
    inspect.getargspec = inspect.getfullargspec
reported = {}
errors = Path(output).with_suffix(".errors")
errors.unlink(missing_ok=True)  # of a try before this one
window = vtkFileOutputWindow()
window.SetFileName(str(errors))
window.SetFlush(True)
vtkOutputWindow.SetInstance(window)


def described(proxy, time):
    """Place and values of the image that a source or filter gives at a time."""
    simple.UpdatePipeline(time, proxy)
    image = servermanager.Fetch(proxy)
    points = image.GetPointData()
    names = [points.GetArrayName(i) for i in range(points.GetNumberOfArrays())]
    return {
        "shape": image.GetDimensions(),
        "spacing": image.GetSpacing(),
        "bounds": image.GetBounds(),
        "ranges": {name: [points.GetArray(name).GetRange(-1)[i] for i in (0, 1)] for name in names},
    }


simple.LoadPlugin(plugin, remote=False, ns=globals())
reader = simple.OpenDataFile(source)  # as File > Open does
reported["reader"] = reader.GetXMLName()
reported["times"] = list(reader.TimestepValues)
fine = UpsampleSmoke(Input=reader)  # noqa: F821 - LoadPlugin brings it
reported["properties"] = {
    name: fine.GetPropertyValue(name) for name in ("Model", "Detail", "Precision", "FrameRate")
}
for name, proxy in (("coarse", reader), ("fine", fine)):
    reported[name] = [described(proxy, time) for time in reader.TimestepValues[:2]]
reported["errors"] = errors.read_text() if errors.exists() else ""

fine.Model = "no-such-model"
simple.UpdatePipeline(reader.TimestepValues[0], fine)
reported["wrong model"] = errors.read_text()[len(reported["errors"]) :] if errors.exists() else ""
fine.Model = "smoke3d-x4"

time = reader.TimestepValues[1]
layout = simple.CreateLayout("both")
views = []
for proxy in (reader, fine):
    view = simple.CreateRenderView(ViewSize=[400, 560], Background=[0.1, 0.1, 0.12], ViewTime=time)
    view.UseColorPaletteForBackground = 0
    view.OrientationAxesVisibility = 0
    simple.AssignViewToLayout(view, layout, hint=0)
    display = simple.Show(proxy, view)
    display.SetRepresentationType("Volume")
    simple.ColorBy(display, ("POINTS", "density"))
    display.SetScalarBarVisibility(view, False)
    views.append(view)
colors = simple.GetColorTransferFunction("density")
colors.RGBPoints = [0.0, 0.55, 0.55, 0.6, 1.0, 1.0, 1.0, 1.0]
opacity = simple.GetOpacityTransferFunction("density")
opacity.Points = [0.0, 0.0, 0.5, 0.0, 0.02, 0.0, 0.5, 0.0, 1.0, 0.8, 0.5, 0.0]
for view in views:
    view.ResetCamera()
    camera = view.GetActiveCamera()
    camera.Elevation(8)
    camera.Azimuth(25)
    camera.Zoom(1.3)
    simple.Render(view)
layout.SetSize(810, 560)
simple.SaveScreenshot(picture, layout, ImageResolution=[810, 560])
Path(output).write_text(json.dumps(reported))
