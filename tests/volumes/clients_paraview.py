"""Run by ParaView's pvpython: what ParaView reads in a series of images, as JSON, and a picture of it.

pvpython clients_paraview.py SERIES.pvd OUTPUT.json PICTURE.png
"""

import json
import sys

from paraview import servermanager
from paraview.simple import (
    Contour,
    CreateRenderView,
    GetColorTransferFunction,
    PVDReader,
    Render,
    SaveScreenshot,
    Show,
    UpdatePipeline,
)

series, output, picture = sys.argv[1:4]
reader = PVDReader(FileName=series)
frames = []
for time in reader.TimestepValues:
    UpdatePipeline(time, reader)
    image = servermanager.Fetch(reader)
    arrays = {}
    for i in range(image.GetPointData().GetNumberOfArrays()):
        array = image.GetPointData().GetArray(i)
        count = array.GetNumberOfComponents()
        values = [[array.GetComponent(n, c) for c in range(count)] for n in range(array.GetNumberOfTuples())]
        arrays[array.GetName()] = values
    frames.append(
        {
            "time": time,
            "shape": image.GetDimensions(),
            "spacing": image.GetSpacing(),
            "origin": image.GetOrigin(),
            "arrays": arrays,
        }
    )
contour = Contour(Input=reader, ContourBy=["POINTS", "density"], Isosurfaces=[0.5])
UpdatePipeline(reader.TimestepValues[0], contour)
bounds = contour.GetDataInformation().GetBounds()
with open(output, "w") as file:  # noqa: PTH123
    json.dump({"frames": frames, "contour": bounds}, file)

view = CreateRenderView(ViewSize=[360, 360], Background=[0.1, 0.1, 0.12])
Show(contour, view).Opacity = 0.25
display = Show(reader, view)
display.SetRepresentationType("Volume")
display.ColorArrayName = ["POINTS", "density"]
display.LookupTable = GetColorTransferFunction("density")
view.ResetCamera()
camera = view.GetActiveCamera()
camera.Elevation(-70)  # from the front, z up
camera.Azimuth(20)
view.ResetCamera()
Render(view)
SaveScreenshot(picture, view)
