"""Frames as VTK XML images, for ParaView: written by VTK, read without it."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from fluidsr import atomic
from fluidsr.frame import Frame
from fluidsr.volumes import vtk_image
from fluidsr.volumes.grid_names import stored_names
from fluidsr.volumes.info import VolumeInfo
from fluidsr.volumes.units import Taken
from fluidsr.volumes.vti_format import VtiFile
from fluidsr.volumes.vti_parallel import ParallelFile
from fluidsr.volumes.vtk_write import make_image, quiet, writing_failed

# Measured on smoke, 30 % of 160x240x160 filled, rounded to halves, one core: LZ4 takes 0.025 s and gives
# 6.8 MB, zlib 0.14 s and 5.1 MB; LZ4 also reads ten times faster. In VTK's LZ4 a higher level
# compresses more.
_LEVEL = 9
_BLOCK = 1 << 18  # bytes


def write_frame(
    path: str | os.PathLike[str],
    frame: Frame,
    fields: Sequence[str],
    *,
    half: bool,
    threshold: float,
    whole: Collection[str] = (),
) -> None:
    """Write `fields` of a NumPy `frame` as point data at the cell centers; see `fluidsr.volumes.write`.

    VTK has no halves: with `half`, values are float32 rounded to halves. They equal those of a half-precision VDB,
    and their zero bits compress well.
    """
    # `import vtk` loads all of VTK; these two load in a fifth of a second.
    from vtkmodules.vtkIOCore import vtkLZ4DataCompressor
    from vtkmodules.vtkIOXML import vtkXMLImageDataWriter

    # VTK writes names unescaped, but XML requires escapes for some characters.
    names = {name: escape(word, {'"': "&quot;"}) for name, word in stored_names(fields, ".vti").items()}
    image = make_image(frame, names, half=half, threshold=threshold, whole=whole)
    compressor = vtkLZ4DataCompressor()
    compressor.SetCompressionLevel(_LEVEL)
    writer = vtkXMLImageDataWriter()
    writer.SetInputData(image)
    writer.SetCompressor(compressor)
    writer.SetBlockSize(_BLOCK)
    writer.SetDataModeToAppended()
    writer.EncodeAppendedDataOff()
    quiet(writer)
    with atomic.replacing(path) as temporary:
        temporary.open("wb").close()  # raises the usual OSError; VTK would only report a failure
        writer.SetFileName(str(temporary))
        if not writer.Write() or writer.GetErrorCode():
            raise writing_failed(path, writer.GetErrorCode())


def read_frame(
    path: str | os.PathLike[str],
    *,
    density_grid: str | None = None,
    velocity_grid: str | None = None,
    fields: Sequence[str] | None = None,
    max_bytes: int | None = None,
) -> Taken:
    """Read a frame; see `fluidsr.volumes.read`."""
    return vtk_image.frame_of(open_image(path, max_bytes), density_grid, velocity_grid, fields, open_image)


def time_of(path: str | os.PathLike[str]) -> float | None:
    """The time (s) that the image states; None if it states none. Raises VolumeError as `read_frame` does."""
    return vtk_image.time_of(open_image(path))


def inspect(path: str | os.PathLike[str], *, max_bytes: int | None = None) -> VolumeInfo:
    """The contents of the image; see `fluidsr.volumes.inspect`."""
    return vtk_image.info_of(open_image(path, max_bytes), Path(path).suffix.lower().lstrip("."))


def open_image(path: str | os.PathLike[str], max_bytes: int | None = None) -> VtiFile | ParallelFile:
    """Open an image (.vti), a uniform rectilinear grid (.vtr), or an image in several files (.pvti, .vtm).

    Raises VolumeError for a file that is missing, damaged or of another kind.
    """
    if Path(path).suffix.lower() in (".pvti", ".vtm"):
        return ParallelFile(path, max_bytes)
    return VtiFile(path, max_bytes)
