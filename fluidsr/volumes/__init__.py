"""Volume files: read and write Frames; the file's suffix chooses the format (docs/volumes.md).

from fluidsr.volumes import inspect, read, write
"""

from fluidsr.volumes.info import GridInfo, VolumeInfo
from fluidsr.volumes.io import PRECISIONS, SUFFIXES, WRITTEN, inspect, read, take, time_of, write
from fluidsr.volumes.pvd import read_pvd, write_pvd
from fluidsr.volumes.streams import Stream, stream
from fluidsr.volumes.units import UNITS, Style, Taken

__all__ = [
    "PRECISIONS",
    "SUFFIXES",
    "UNITS",
    "WRITTEN",
    "GridInfo",
    "Stream",
    "Style",
    "Taken",
    "VolumeInfo",
    "inspect",
    "read",
    "read_pvd",
    "stream",
    "take",
    "time_of",
    "write",
    "write_pvd",
]
