"""What is too thin to be seen need not be stored."""

import numpy as np

import fluidsr
from fluidsr.frame_grid import FrameGrid
from fluidsr.pipeline.frame_writer import FrameWriter


def test_values_up_to_the_threshold_are_written_as_zero(tmp_path):
    ramp = np.linspace(0, 1, 16**3, dtype=np.float32).reshape(16, 16, 16)
    paths = [tmp_path / f"ramp.{suffix}" for suffix in ("vdb", "vti", "npz")]
    files = FrameWriter(
        paths,
        FrameGrid(ramp.shape, 0.1, (0.0, 0.0, 0.0)),
        time=0.0,
        dt=0.1,
        fields=["density"],
        precision="float",
        naming="houdini",
        threshold=0.25,
    )
    files.put("density", (0, 0, 0), ramp)
    for written in files.close():
        written.result()
    for path in paths:
        np.testing.assert_array_equal(fluidsr.read(path).density, np.where(ramp > 0.25, ramp, 0))
