# SPDX-License-Identifier: Apache-2.0
"""fluidsr in ParaView: a reader for VDB sequences, and the filter Upsample Smoke.

Tools > Manage Plugins > Load New. The work is done by an installed fluidsr: the program on the search path, or the one
that the variable FLUIDSR names.
"""

import sys
from pathlib import Path

from paraview.util.vtkAlgorithm import smdomain, smhint, smproperty, smproxy

sys.path.insert(0, str(Path(__file__).resolve().parent))

from fluidsr_vtk import Reader, Upsample


@smproxy.reader(
    name="FluidsrVDBReader",
    label="VDB Sequence (fluidsr)",
    extensions="vdb",
    file_description="OpenVDB volumes",
)
class FluidsrVDBReader(Reader):
    @smproperty.stringvector(name="FileName", panel_visibility="never")
    @smdomain.filelist()
    @smhint.filechooser(extensions="vdb", file_description="OpenVDB volumes")
    def SetFileName(self, path):
        super().SetFileName(path)

    @smproperty.doublevector(name="FrameRate", default_values=24.0)
    @smdomain.doublerange(min=0.001)
    def SetFrameRate(self, rate):
        super().SetFrameRate(rate)

    @smproperty.doublevector(name="TimestepValues", information_only="1", si_class="vtkSITimeStepsProperty")
    def GetTimestepValues(self):
        return self.times()


@smproxy.filter(name="FluidsrUpsample", label="Upsample Smoke")
@smproperty.input(name="Input", port_index=0)
@smdomain.datatype(dataTypes=["vtkImageData"], composite_data_supported=False)
class FluidsrUpsample(Upsample):
    @smproperty.stringvector(name="Model", default_values="smoke3d-x4")
    def SetModel(self, name):
        super().SetModel(name)

    @smproperty.doublevector(name="Detail", default_values=1.0)
    @smdomain.doublerange(min=0.0, max=4.0)
    def SetDetail(self, scale):
        super().SetDetail(scale)

    @smproperty.stringvector(name="Precision", default_values="float32")
    def SetPrecision(self, name):
        super().SetPrecision(name)

    @smproperty.doublevector(name="FrameRate", default_values=24.0)
    @smdomain.doublerange(min=0.001)
    def SetFrameRate(self, rate):
        super().SetFrameRate(rate)

    @smproperty.stringvector(name="DensityArray", default_values="density")
    def SetDensityArray(self, name):
        super().SetDensityArray(name)

    @smproperty.stringvector(name="VelocityArray", default_values="velocity")
    def SetVelocityArray(self, name):
        super().SetVelocityArray(name)
