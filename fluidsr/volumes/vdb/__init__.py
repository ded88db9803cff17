"""OpenVDB files in NumPy: float and vec3s grids, versions 222 to 225 (docs/volumes.md)."""

from fluidsr.volumes.vdb.frames import read_frame, write_frame
from fluidsr.volumes.vdb.reader import Grid, VdbFile, open_file
from fluidsr.volumes.vdb.window import read_window

__all__ = ["Grid", "VdbFile", "open_file", "read_frame", "read_window", "write_frame"]
