"""A VTK image in several files (.pvti): a header that names the files and the extent of each.

Format: https://docs.vtk.org/en/latest/vtk_file_formats/vtkxml_file_format.html
"""

from __future__ import annotations

import os
import xml.parsers.expat
from pathlib import Path

import numpy as np

from fluidsr import atomic
from fluidsr.errors import VolumeError
from fluidsr.volumes import memory
from fluidsr.volumes.vti_format import DataArray, ImageHeader, VtiFile, assembled, cells_of

_MAX_BYTES = 64 << 20
_MAX_PIECES = 10_000


class ParallelFile(ImageHeader):
    """An open header and the files that it names; a `vtk_image.Image`.

    Raises VolumeError if a file is missing, damaged, or lies outside the image.
    """

    def __init__(self, path: str | os.PathLike[str], max_bytes: int | None = None) -> None:
        super().__init__(path, max_bytes)
        sources = self._parse()
        folder = Path(path).parent
        self._files = [VtiFile(folder / source, max_bytes) for source in sources]
        self.arrays = [
            array
            for array in (self._files[0].arrays if self._files else [])
            if array.section == "FieldData" or all(_same(file, array) for file in self._files)
        ]

    @property
    def compression(self) -> str:
        """The compression of the first file."""
        return self._files[0].compression if self._files else "none"

    def values(self, array: DataArray, tuples: int) -> np.ndarray:
        """The array's values, `[tuples * components]`, x fastest, from all files. Raises VolumeError if the files do
        not cover the image.
        """
        if array.section == "FieldData":
            return self._files[0].values(array, tuples)
        memory.check(self.where, tuples * array.components * 9, self.max_bytes)
        pieces = []
        for file in self._files:
            part = _same(file, array)
            assert part is not None  # `arrays` lists only arrays that all files have
            if any(
                file.extent[n] < self.extent[n] or file.extent[n + 1] > self.extent[n + 1] for n in (0, 2, 4)
            ):
                self._fail(f"{file.where} lies outside the image")
            pieces.append((file.extent, file.values(part, cells_of(file.extent, array.section))))
        return assembled(self.where, self.extent, array, pieces)

    def stored(self, array: DataArray) -> int:
        """Bytes that the array takes in all files."""
        return sum(file.stored(part) for file in self._files if (part := _same(file, array)))

    def _parse(self) -> list[str]:
        """The names of the files in the header."""
        try:
            atomic.check_regular(self.where)
            if Path(self.where).stat().st_size > _MAX_BYTES:
                self._fail("its header is too large")
            text = Path(self.where).read_bytes()
        except OSError as error:
            raise VolumeError(self.where, f"cannot be read ({error.strerror})", "check the path") from error
        sources: list[str] = []

        def start(tag: str, attributes: dict[str, str]) -> None:
            if tag == "VTKFile" and attributes.get("type") != "PImageData":
                problem = f"its VTK type is {attributes.get('type')}, not a parallel image"
                raise VolumeError(self.where, problem, "give an image of several files (.pvti)")
            if tag == "PImageData":
                self._set_image(attributes)
            if tag == "Piece" and attributes.get("Source"):
                if len(sources) >= _MAX_PIECES:
                    self._fail(f"it names more than {_MAX_PIECES} files")
                sources.append(attributes["Source"].replace("\\", "/"))

        parser = xml.parsers.expat.ParserCreate()
        parser.StartElementHandler = start
        self._feed(parser, text, True, "give a .pvti file")
        return sources


def _same(file: VtiFile, array: DataArray) -> DataArray | None:
    """The array in `file` with the same section, name and number of components; None if there is none."""
    kind = (array.section, array.name, array.components)
    return next(
        (other for other in file.arrays if (other.section, other.name, other.components) == kind), None
    )
