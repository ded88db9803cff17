"""OpenVDB files in NumPy, without OpenVDB: read versions 220 to 225, write version 224 (docs/volumes.md).

from fluidsr.volumes import vdb

with vdb.open("smoke.vdb") as file:                   # headers only
    grid = file.grid("density")
    box = grid.dense((0, 0, 0), (64, 64, 64))         # a window, [x, y, z]
    for leaves in grid.leaves():                      # or everything, without a dense array
        leaves.origins, leaves.values, leaves.masks   # [n, 3], [n, 8, 8, 8], [n, 8, 8, 8]
vdb.write("out.vdb", [vdb.DenseGrid("density", box, vdb.Transform.uniform(0.1), half=True)])
"""

from fluidsr.volumes.vdb.frames import read_box, read_frame, take_frame
from fluidsr.volumes.vdb.grid import Grid, LeafBatch
from fluidsr.volumes.vdb.reader import VdbFile, read_window
from fluidsr.volumes.vdb.reader import open_file as open
from fluidsr.volumes.vdb.stream import stream_frame, write_frame
from fluidsr.volumes.vdb.transform import Transform
from fluidsr.volumes.vdb.tree import Tiles
from fluidsr.volumes.vdb.windows import Windows, open_windows
from fluidsr.volumes.vdb.writer import DenseGrid, SparseGrid
from fluidsr.volumes.vdb.writer import write_grids as write

__all__ = [
    "DenseGrid",
    "Grid",
    "LeafBatch",
    "SparseGrid",
    "Tiles",
    "Transform",
    "VdbFile",
    "Windows",
    "open",
    "open_windows",
    "read_box",
    "read_frame",
    "read_window",
    "stream_frame",
    "take_frame",
    "write",
    "write_frame",
]
