"""A VTK image in several files: pieces of one image (.pvti), or blocks that are images of their own (.vtm).

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
# The type of the file, the element that names a file, and the attribute in which: of a .pvti, of a .vtm.
_NAMES = (("PImageData", "Piece", "Source"), ("vtkMultiBlockDataSet", "DataSet", "file"))


class ParallelFile(ImageHeader):
    """An open header and the files that it names; a `vtk_image.Image`.

    The blocks of a `.vtm` need not fill its box: fields are zero elsewhere. Raises VolumeError if a file is missing,
    damaged, or lies outside the image, and if blocks have different cells.
    """

    def __init__(self, path: str | os.PathLike[str], max_bytes: int | None = None) -> None:
        super().__init__(path, max_bytes)
        self._of_blocks = Path(path).suffix.lower() == ".vtm"
        sources = self._parse()
        folder = Path(path).parent
        self._files = [VtiFile(folder / source, max_bytes) for source in sources]
        self._extents = [file.extent for file in self._files]
        if self._of_blocks:
            self._join_blocks()
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
        for file, extent in zip(self._files, self._extents, strict=True):
            part = _same(file, array)
            assert part is not None  # `arrays` lists only arrays that all files have
            if any(extent[n] < self.extent[n] or extent[n + 1] > self.extent[n + 1] for n in (0, 2, 4)):
                self._fail(f"{file.where} lies outside the image")
            pieces.append((extent, file.values(part, cells_of(extent, array.section))))
        return assembled(self.where, self.extent, array, pieces, covered=not self._of_blocks)

    def stored(self, array: DataArray) -> int:
        """Bytes that the array takes in all files."""
        return sum(file.stored(part) for file in self._files if (part := _same(file, array)))

    def _join_blocks(self) -> None:
        """Place the blocks on the cells of the first one, in the box around them."""
        if not self._files:
            raise VolumeError(self.where, "it names no files", "give images as blocks (.vti)")
        first = self._files[0]
        self.spacing, self.origin, self.direction = first.spacing, first.origin, first.direction
        for number, file in enumerate(self._files):
            with np.errstate(all="ignore"):
                turned = np.reshape(self.direction, (3, 3)).T @ np.subtract(file.origin, self.origin)
                shift = turned / np.array(self.spacing)
                same = np.allclose(file.spacing, self.spacing, rtol=1e-4, atol=0)
                same = same and np.allclose(file.direction, self.direction, atol=1e-4)
                whole = np.rint(shift)
                placed = (np.abs(shift - whole) <= 1e-3 + 1e-6 * np.abs(whole)).all()
            if not (same and placed and np.abs(whole).max() < 1 << 31):
                problem = f"the cells of {Path(file.where).name} are not those of {Path(first.where).name}"
                raise VolumeError(self.where, problem, "resample the blocks to one image")
            by = [int(n) for n in whole for _ in (0, 1)]
            self._extents[number] = tuple(a + n for a, n in zip(file.extent, by, strict=True))
        ends = list(zip(*self._extents, strict=True))
        self.extent = tuple((min, max)[n % 2](values) for n, values in enumerate(ends))

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
            kind, element, key = _NAMES[self._of_blocks]
            if tag == "VTKFile" and attributes.get("type") != kind:
                problem = f"its VTK type is {attributes.get('type')}, not {kind}"
                raise VolumeError(self.where, problem, "give an image of several files (.pvti, .vtm)")
            if tag == "PImageData":
                self._set_image(attributes)
            if tag == element and attributes.get(key):
                if len(sources) >= _MAX_PIECES:
                    self._fail(f"it names more than {_MAX_PIECES} files")
                sources.append(attributes[key].replace("\\", "/"))

        parser = xml.parsers.expat.ParserCreate()
        parser.StartElementHandler = start
        self._feed(parser, text, True, "give a .pvti or .vtm file", with_extent=not self._of_blocks)
        return sources


def _same(file: VtiFile, array: DataArray) -> DataArray | None:
    """The array in `file` with the same section, name and number of components; None if there is none."""
    kind = (array.section, array.name, array.components)
    return next(
        (other for other in file.arrays if (other.section, other.name, other.components) == kind), None
    )
