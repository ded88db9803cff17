"""Legacy VTK files (.vtk) of structured points or a uniform rectilinear grid, ASCII or binary; read only.

Format: https://docs.vtk.org/en/latest/vtk_file_formats/vtk_legacy_file_format.html
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote

import numpy as np

from fluidsr import atomic
from fluidsr.errors import VolumeError
from fluidsr.volumes import memory, vtk_image
from fluidsr.volumes.info import VolumeInfo
from fluidsr.volumes.units import Taken
from fluidsr.volumes.vti_format import DataArray, even

_TYPES = {  # binary files are big-endian
    "char": ("Int8", ">i1"),
    "unsigned_char": ("UInt8", ">u1"),
    "short": ("Int16", ">i2"),
    "unsigned_short": ("UInt16", ">u2"),
    "int": ("Int32", ">i4"),
    "unsigned_int": ("UInt32", ">u4"),
    "long": ("Int64", ">i8"),
    "unsigned_long": ("UInt64", ">u8"),
    "vtktypeint64": ("Int64", ">i8"),
    "vtktypeuint64": ("UInt64", ">u8"),
    "vtkidtype": ("Int32", ">i4"),  # VTK writes 32 bits, whatever the size in memory
    "float": ("Float32", ">f4"),
    "double": ("Float64", ">f8"),
}
_COMPONENTS = {
    "VECTORS": 3, "NORMALS": 3, "TENSORS": 9, "TENSORS6": 6, "GLOBAL_IDS": 1, "PEDIGREE_IDS": 1, "EDGE_FLAGS": 1,
}  # fmt: skip
_COORDINATES = ("X_COORDINATES", "Y_COORDINATES", "Z_COORDINATES")
_LINE = re.compile(rb"[^\n]*")
_MAX_ARRAYS = 1000
_MAX_TEXTS = 1_000_000
_MAX_LINE = 4096
_ASCII_BYTES = 100  # memory for one number while text is parsed


def read_frame(
    path: str | os.PathLike[str],
    *,
    density_grid: str | None = None,
    velocity_grid: str | None = None,
    fields: Sequence[str] | None = None,
    max_bytes: int | None = None,
) -> Taken:
    """Read a frame; see `fluidsr.volumes.read`."""
    return vtk_image.frame_of(LegacyFile(path, max_bytes), density_grid, velocity_grid, fields, LegacyFile)


def time_of(path: str | os.PathLike[str]) -> float | None:
    """The time (s) that the file states; None if it states none. Raises VolumeError as `read_frame` does."""
    return vtk_image.time_of(LegacyFile(path))


def inspect(path: str | os.PathLike[str], *, max_bytes: int | None = None) -> VolumeInfo:
    """The contents of the file; see `fluidsr.volumes.inspect`."""
    return vtk_image.info_of(LegacyFile(path, max_bytes), "vtk")


class LegacyFile:
    """An open file; a `vtk_image.Image`. Raises VolumeError if it is damaged or holds another kind of data set."""

    direction = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

    def __init__(self, path: str | os.PathLike[str], max_bytes: int | None = None) -> None:
        self.where = os.fspath(path)
        self.max_bytes = max_bytes
        self.arrays: list[DataArray] = []
        self.extent: tuple[int, ...] = (0, -1) * 3
        self.spacing: tuple[float, ...] = (1.0,) * 3
        self.origin: tuple[float, ...] = (0.0,) * 3
        self._values: dict[int, np.ndarray] = {}
        try:
            atomic.check_regular(path)
            memory.check(self.where, Path(path).stat().st_size, max_bytes)
            self._data = Path(path).read_bytes()
        except OSError as error:
            raise VolumeError(self.where, f"cannot be read ({error.strerror})", "check the path") from error
        self._at = self._taken = 0
        self._parse()

    @property
    def compression(self) -> str:
        """Always `none`: the format has no compression."""
        return "none"

    def points(self) -> tuple[int, int, int]:
        """Points along x, y, z."""
        _, a, _, b, _, c = self.extent
        return a + 1, b + 1, c + 1

    def values(self, array: DataArray, tuples: int) -> np.ndarray:
        """The array's values, `[tuples * components]`, in its own type. Raises VolumeError for another count."""
        values = self._values[array.offset]
        if len(values) != tuples * array.components:
            self._fail(
                f"array {array.name!r} has {len(values)} values instead of {tuples * array.components}"
            )
        return values

    def stored(self, array: DataArray) -> int:
        """Bytes of the array's values."""
        return self._values[array.offset].nbytes

    def _parse(self) -> None:
        if not self._line().startswith("# vtk DataFile Version"):
            raise VolumeError(self.where, "it is not a legacy VTK file", "give a .vtk file")
        self._line()  # the title
        self._binary = {"ASCII": False, "BINARY": True}.get(self._line().strip().upper())
        if self._binary is None:
            self._fail("it is neither ASCII nor BINARY")
        section, tuples, rectilinear = "", 0, False
        coordinates: dict[int, np.ndarray] = {}
        while (words := self._words()) is not None:
            key = words[0].upper()
            if key == "DATASET":
                if len(words) < 2 or words[1].upper() not in ("STRUCTURED_POINTS", "RECTILINEAR_GRID"):
                    problem = f"its data set is of type {' '.join(words[1:2])}"
                    raise VolumeError(self.where, problem, "give structured points (an image)")
                rectilinear = words[1].upper() == "RECTILINEAR_GRID"
            elif key in _COORDINATES and len(words) > 2:
                axis = _COORDINATES.index(key)
                coordinates[axis] = self._take(self._count(words, 1), words[2].lower())
            elif key == "DIMENSIONS":
                x, y, z = self._three(words, int)
                if min(x, y, z) < 1 or max(x, y, z) > 1 << 31:
                    self._fail(f"its dimensions are {x} {y} {z}")
                self.extent = (0, x - 1, 0, y - 1, 0, z - 1)
            elif key == "ORIGIN":
                self.origin = self._three(words, float)
            elif key in ("SPACING", "ASPECT_RATIO"):
                self.spacing = self._three(words, float)
            elif key in ("POINT_DATA", "CELL_DATA"):
                section, tuples = key.title().replace("_", ""), self._count(words, 1)
            elif key == "FIELD":
                self._fields(section or "FieldData", self._count(words, 2))
            elif key == "METADATA":
                self._skip_metadata()
            elif key == "LOOKUP_TABLE":
                self._take(self._count(words, 2) * 4, "unsigned_char" if self._binary else "float")
            elif key in ("SCALARS", "COLOR_SCALARS", "TEXTURE_COORDINATES", *_COMPONENTS):
                self._attribute(section, key, words, tuples)
            else:
                self._fail(f"it has {words[0][:20]!r}, which is not understood")
        if min(self.points()) < 1:
            self._fail("it has no dimensions")
        if rectilinear:
            if [len(coordinates.get(axis, ())) for axis in range(3)] != list(self.points()):
                self._fail("its coordinates are not those of its dimensions")
            self.origin, self.spacing = even(self.where, [coordinates[axis] for axis in range(3)])

    def _attribute(self, section: str, key: str, words: list[str], tuples: int) -> None:
        if len(words) < 3 or not section:
            self._fail(f"{key} without a name, a type or a place")
        if key == "COLOR_SCALARS":  # bytes in a binary file, 0 to 1 in text
            kind = "unsigned_char" if self._binary else "float"
            self._add(section, words[1], kind, self._count(words, 2), tuples)
            return
        if key == "TEXTURE_COORDINATES":
            if len(words) < 4:
                self._fail(f"{key} without a name, a type or a place")
            self._add(section, words[1], words[3], self._count(words, 2), tuples)
            return
        components = self._count(words, 3) if key == "SCALARS" and len(words) > 3 else _COMPONENTS.get(key, 1)
        if key == "SCALARS":
            start = self._at
            table = self._words()
            if table is None or table[0].upper() != "LOOKUP_TABLE":
                self._at = start
        self._add(section, words[1], words[2], components, tuples)

    def _fields(self, section: str, count: int) -> None:
        done = 0
        while done < count:
            words = self._words()
            if words is not None and words[0].upper() == "METADATA":
                self._skip_metadata()
                continue
            if words is None or len(words) < 4:
                self._fail("its field data end early")
            self._add(section, words[0], words[3], self._count(words, 1), self._count(words, 2))
            done += 1

    def _add(self, section: str, name: str, kind: str, components: int, tuples: int) -> None:
        if not 1 <= components <= 1000:
            self._fail(f"array {name[:40]!r} is absurd")
        if kind.lower() == "string":  # strings are not fields
            self._skip_strings(components * tuples)
            return
        if kind.lower() == "bit":
            values = self._take_bits(components * tuples)
        else:
            values = self._take(components * tuples, kind.lower())
        self._values[len(self.arrays)] = values
        shown = _TYPES[kind.lower()][0] if kind.lower() in _TYPES else "UInt8"
        self.arrays.append(
            DataArray(section, unquote(name), shown, components, tuples, "raw", len(self.arrays))
        )

    def _take(self, count: int, kind: str) -> np.ndarray:
        """The next `count` numbers."""
        self._taken += 1
        if self._taken > _MAX_ARRAYS:
            self._fail(f"it holds more than {_MAX_ARRAYS} arrays")
        if kind not in _TYPES:
            raise VolumeError(
                self.where, f"its arrays of type {kind[:20]!r} are not supported", "save it as float"
            )
        dtype = np.dtype(_TYPES[kind][1])
        if self._binary:
            if count * dtype.itemsize > len(self._data) - self._at:
                self._fail("its values end early")
            values = np.frombuffer(self._data, dtype, count, self._at)
            self._at += count * dtype.itemsize
            return values
        if 2 * count - 1 > len(self._data) - self._at:  # each number takes at least a digit and a space
            self._fail("its values end early")
        memory.check(self.where, count * _ASCII_BYTES, self.max_bytes)
        parts = self._data[self._at :].split(None, count)
        rest = parts[count] if len(parts) > count else b""
        if len(parts) < count:
            self._fail("its values end early")
        self._at = len(self._data) - len(rest)
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                # By way of float64, as VTK does: many programs write integers as 1.0.
                numbers = np.array(parts[:count], "S").astype(np.float64) if count else np.zeros(0)
                return numbers.astype(dtype.newbyteorder("="))
        except (ValueError, OverflowError) as error:
            self._fail(f"it holds text that is not a number ({error})")

    def _take_bits(self, count: int) -> np.ndarray:
        """The next `count` numbers of one bit each, most significant bit first."""
        if not self._binary:
            return self._take(count, "unsigned_char")
        packed = self._take(-(-count // 8), "unsigned_char")
        memory.check(self.where, count, self.max_bytes)
        return np.unpackbits(packed.view(np.uint8), count=count)

    def _skip_strings(self, count: int) -> None:
        """Skip `count` strings: one line each in a text file, length and bytes in a binary one.

        The highest two bits of a length give the number of bytes of the length itself.
        """
        for number in range(count):
            if self._at >= len(self._data) or number >= _MAX_TEXTS:
                self._fail("its texts end early, or are too many")
            if not self._binary:
                self._line()
                continue
            width = {3: 1, 2: 2, 1: 4, 0: 8}[self._data[self._at] >> 6]
            length = int.from_bytes(self._data[self._at : self._at + width], "big")
            self._at += width + (length & ((1 << (8 * width - 2)) - 1))

    def _skip_metadata(self) -> None:
        while self._at < len(self._data) and self._line().strip():
            pass

    def _words(self) -> list[str] | None:
        """The words of the next line that is not empty; None at the end of the file."""
        while self._at < len(self._data):
            if words := self._line().split():
                return words
        return None

    def _line(self) -> str:
        match = _LINE.match(self._data, self._at, self._at + _MAX_LINE)
        assert match is not None  # the pattern also matches an empty line
        self._at = match.end() + 1
        return match[0].decode("latin-1")

    def _three(self, words: list[str], kind: type) -> tuple:
        try:
            values = tuple(kind(word) for word in words[1:4])
        except ValueError:
            values = ()
        if len(values) != 3 or not np.isfinite(values).all():
            self._fail(f"{words[0][:20]} is not three numbers")
        return values

    def _count(self, words: list[str], at: int) -> int:
        try:
            count = int(words[at])
        except (ValueError, IndexError):
            count = -1
        if not 0 <= count <= 1 << 40:
            self._fail(f"{words[0][:20]} without a sensible count")
        return count

    def _fail(self, problem: str) -> NoReturn:
        raise VolumeError(self.where, f"damaged: {problem}", "write or copy the file again")
