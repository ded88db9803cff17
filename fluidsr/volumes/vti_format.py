"""A VTK XML image (.vti), or a rectilinear grid with even coordinates (.vtr): header and arrays, read without VTK.

VTK's own reader does not check what a file claims. This one reads everything that the format allows: one piece or
several; ASCII, base64 and raw data, inline or appended; zlib, LZ4 and LZMA; either byte order. Format:
https://docs.vtk.org/en/latest/vtk_file_formats/vtkxml_file_format.html
"""

from __future__ import annotations

import base64
import binascii
import lzma
import math
import os
import re
import xml.parsers.expat
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from fluidsr import atomic
from fluidsr.errors import VolumeError
from fluidsr.volumes import memory

_TYPES = {
    "Float32": "f4",
    "Float64": "f8",
    "Int8": "i1",
    "UInt8": "u1",
    "Int16": "i2",
    "UInt16": "u2",
    "Int32": "i4",
    "UInt32": "u4",
    "Int64": "i8",
    "UInt64": "u8",
}
_COMPRESSORS = {
    "": "none",
    "vtkZLibDataCompressor": "zlib",
    "vtkLZ4DataCompressor": "lz4",
    "vtkLZMADataCompressor": "lzma",
}
_SECTIONS = ("PointData", "CellData", "FieldData", "Coordinates")
_KINDS = ("ImageData", "RectilinearGrid")
_MAX_PIECES = 100_000
_MAX_ARRAYS = 1000
_APPENDED = re.compile(rb"<AppendedData([^>]*)>\s*_")


@dataclass
class DataArray:
    """One array's entry in the header. `section`: PointData, CellData, FieldData or Coordinates. `text`: inline
    data.
    """

    section: str
    name: str
    type: str
    components: int
    tuples: int | None
    format: str
    offset: int
    text: list[str] = field(default_factory=list)
    piece: int = 0


class ImageHeader:
    """The lattice of an image, from the header of a .vti, .pvti or .vtm file.

    `extent`: indices of the first and last point along x, y, z (six numbers). `spacing` and `origin`: m, x, y, z.
    `direction`: a 3 x 3 matrix, row by row.
    """

    def __init__(self, path: str | os.PathLike[str], max_bytes: int | None) -> None:
        self.where = os.fspath(path)
        self.max_bytes = max_bytes
        self.extent: tuple[int, ...] = (0, -1) * 3
        self.spacing: tuple[float, ...] = (1.0,) * 3
        self.origin: tuple[float, ...] = (0.0,) * 3
        self.direction: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

    def points(self) -> tuple[int, int, int]:
        """Points along x, y, z."""
        a, b, c, d, e, f = self.extent
        return b - a + 1, d - c + 1, f - e + 1

    def _feed(
        self,
        parser: xml.parsers.expat.XMLParserType,
        header: str | bytes,
        whole: bool,
        remedy: str,
        with_extent: bool = True,
    ) -> None:
        """Let `parser`, whose handlers are set, read the header, or the part of it before appended data.

        With `with_extent` the header must state the extent of the image.
        """

        def doctype(*_: object) -> None:
            self._fail("it declares a document type")

        parser.StartDoctypeDeclHandler = doctype
        try:
            parser.Parse(header, whole)
        except xml.parsers.expat.ExpatError as error:
            raise VolumeError(self.where, f"not a VTK image ({error})", remedy) from error
        if with_extent and min(self.points()) < 1:
            self._fail("it has no extent")

    def _set_image(self, attributes: dict[str, str]) -> None:
        extent = numbers(attributes.get("WholeExtent", ""), int, 6)
        spacing = numbers(attributes.get("Spacing", "1 1 1"), float, 3)
        origin = numbers(attributes.get("Origin", "0 0 0"), float, 3)
        direction = numbers(attributes.get("Direction", "1 0 0 0 1 0 0 0 1"), float, 9)
        if extent is None or spacing is None or origin is None or direction is None:
            self._fail("its extent, spacing, origin or direction is not made of numbers")
        if not np.isfinite([*spacing, *origin, *direction]).all() or max(map(abs, extent)) > 1 << 31:
            self._fail("its extent, spacing, origin or direction is absurd")
        self.extent, self.spacing, self.origin, self.direction = extent, spacing, origin, direction

    def _fail(self, problem: str) -> NoReturn:
        raise VolumeError(self.where, f"damaged: {problem}", "write or copy the file again")


class VtiFile(ImageHeader):
    """An open image file. Raises VolumeError if it is damaged or not an image.

    If the image has several pieces, `arrays` lists the arrays that all of them have.
    """

    def __init__(self, path: str | os.PathLike[str], max_bytes: int | None = None) -> None:
        super().__init__(path, max_bytes)
        self.arrays: list[DataArray] = []
        self._all: list[DataArray] = []  # of all pieces
        self._pieces: list[tuple[int, ...]] = []
        self._header = np.dtype("<u4")
        self._order = "<"
        self._compressor = ""
        try:
            atomic.check_regular(path)
            data = Path(path).read_bytes()
        except OSError as error:
            raise VolumeError(self.where, f"cannot be read ({error.strerror})", "check the path") from error
        split = _APPENDED.search(data)
        self._appended = data[split.end() :] if split else b""
        self._base64 = split is not None and b"base64" in split[1]
        self._parse(data[: split.start()] if split else data, whole=split is None)
        self._gather()

    @property
    def compression(self) -> str:
        """`none`, `zlib`, `lz4` or `lzma`."""
        return _COMPRESSORS[self._compressor]

    def values(self, array: DataArray, tuples: int) -> np.ndarray:
        """The array's values, `[tuples * components]`, x fastest, in its own type.

        Raises VolumeError if they are missing or damaged.
        """
        if array.section == "FieldData" or self._pieces == [self.extent]:
            return self._values(array, tuples)
        parts = [part for part in self._all if (part.section, part.name) == (array.section, array.name)]
        memory.check(self.where, tuples * array.components * 9, self.max_bytes)
        pieces = [
            (self._pieces[part.piece], self._values(part, cells_of(self._pieces[part.piece], part.section)))
            for part in parts
        ]
        return assembled(self.where, self.extent, array, pieces)

    def _values(self, array: DataArray, tuples: int) -> np.ndarray:
        dtype = np.dtype(self._order + _TYPES[array.type])
        size = tuples * array.components * dtype.itemsize
        memory.check(self.where, size, self.max_bytes)
        if array.format == "ascii":
            try:
                values = np.array("".join(array.text).split(), dtype.newbyteorder("="))
            except (ValueError, OverflowError) as error:
                self._fail(f"array {array.name!r} holds text that is not a number ({error})")
            if len(values) != tuples * array.components:
                self._fail(
                    f"array {array.name!r} has {len(values)} values instead of {tuples * array.components}"
                )
            return values
        if array.format == "binary":
            source, encoded = "".join("".join(array.text).split()).encode(), True
        else:
            source, encoded = self._appended[array.offset :], self._base64
        try:
            raw = self._inflate(source, encoded, size) if self._compressor else self._plain(source, encoded)
        except (zlib.error, lzma.LZMAError, binascii.Error, RuntimeError, ValueError) as error:
            self._fail(f"the data of {array.name!r} are broken ({error})")
        if len(raw) != size:
            self._fail(f"array {array.name!r} has {len(raw)} bytes instead of {size}")
        return np.frombuffer(raw, dtype)

    def stored(self, array: DataArray) -> int:
        """Bytes that the array takes in the file."""
        if array.format != "appended":
            return sum(map(len, array.text))
        later = [
            other.offset for other in self._all if other.format == "appended" and other.offset > array.offset
        ]
        return min(later, default=len(self._appended)) - array.offset

    def _parse(self, header: bytes, whole: bool) -> None:
        parser = xml.parsers.expat.ParserCreate()
        path: list[str] = []

        def start(tag: str, attributes: dict[str, str]) -> None:
            path.append(tag)
            if tag == "VTKFile":
                self._set_file(attributes)
            elif tag in _KINDS:
                self._set_image(attributes)
            elif tag == "Piece":
                extent = numbers(attributes.get("Extent", ""), int, 6) or self.extent
                inside = all(
                    self.extent[2 * axis]
                    <= extent[2 * axis]
                    <= extent[2 * axis + 1]
                    <= self.extent[2 * axis + 1]
                    for axis in range(3)
                )
                if not inside or len(self._pieces) >= _MAX_PIECES:
                    self._fail("a piece lies outside the image")
                self._pieces.append(extent)
            elif tag in ("DataArray", "Array") and len(path) > 1 and path[-2] in _SECTIONS:
                self._add_array(path[-2], attributes)

        def end(tag: str) -> None:
            path.pop()

        def text(value: str) -> None:
            if path and path[-1] == "DataArray" and self._all:
                self._all[-1].text.append(value)

        parser.StartElementHandler, parser.EndElementHandler = start, end
        parser.CharacterDataHandler = text
        self._feed(parser, header, whole, "give a .vti file")

    def _set_file(self, attributes: dict[str, str]) -> None:
        if attributes.get("type") not in _KINDS:
            raise VolumeError(
                self.where, f"its VTK type is {attributes.get('type')}, not an image", "give an image (.vti)"
            )
        self._order = ">" if attributes.get("byte_order") == "BigEndian" else "<"
        width = "u8" if attributes.get("header_type") == "UInt64" else "u4"
        self._header = np.dtype(self._order + width)
        self._compressor = attributes.get("compressor", "")
        if self._compressor not in _COMPRESSORS:
            raise VolumeError(
                self.where, f"its compression {self._compressor} is not supported", "save it with zlib or LZ4"
            )

    def _add_array(self, section: str, attributes: dict[str, str]) -> None:
        if attributes.get("type") not in _TYPES:  # strings and bits
            attributes = {**attributes, "type": ""}
        whole = {}
        for key, default in (("NumberOfComponents", "1"), ("NumberOfTuples", "-1"), ("offset", "0")):
            try:
                whole[key] = int(attributes.get(key, default))
            except ValueError:
                self._fail(f"{key}={attributes[key]!r} is not a number")
        components, tuples, offset = whole.values()
        piece = max(len(self._pieces) - 1, 0)
        if len(self._all) >= _MAX_ARRAYS * (1 + piece) or not 1 <= components <= 1000 or offset < 0:
            self._fail(f"array {attributes.get('Name')!r} is absurd")
        self._all.append(
            DataArray(
                section,
                attributes.get("Name", ""),
                attributes["type"],
                components,
                tuples if tuples >= 0 else None,
                attributes.get("format", "ascii"),
                offset,
                piece=piece,
            )
        )

    def _gather(self) -> None:
        """Set `arrays` to those that all pieces have; for a rectilinear grid also set `spacing` and `origin`."""
        pieces: dict[tuple[str, str, int, str], set[int]] = {}
        for array in self._all:
            pieces.setdefault(_kind(array), set()).add(array.piece)
        seen = set()
        for array in self._all:
            if array.section == "Coordinates":
                continue
            everywhere = len(pieces[_kind(array)]) == max(len(self._pieces), 1)
            if array.section == "FieldData" or (everywhere and _kind(array) not in seen):
                seen.add(_kind(array))
                self.arrays.append(array)
        coordinates = [array for array in self._all if array.section == "Coordinates" and array.piece == 0]
        if not coordinates:
            return
        if len(coordinates) != 3 or not self._pieces or not all(array.type for array in coordinates):
            self._fail("its coordinates are not three arrays")
        first = self._pieces[0]
        points = [first[2 * axis + 1] - first[2 * axis] + 1 for axis in range(3)]
        values = [self._values(array, n) for array, n in zip(coordinates, points, strict=True)]
        start, self.spacing = even(self.where, values)
        # As in an image: the position of the point with index 0.
        self.origin = tuple(
            at - step * low for at, step, low in zip(start, self.spacing, first[::2], strict=True)
        )

    def _plain(self, source: bytes, encoded: bool) -> bytes:
        width = self._header.itemsize
        if encoded:
            (size,) = self._words(_decode_base64(source, width), 1)
            head = -(-width // 3) * 4
            # VTK encodes the size and the values together, Palabos and OpenLB each with padding of its own.
            if source[:head].endswith(b"="):
                return _decode_base64(source[head:], size)
            return _decode_base64(source, width + size)[width:]
        (size,) = self._words(source, 1)
        return source[width : width + size]

    def _inflate(self, source: bytes, encoded: bool, size: int) -> bytes:
        """The data of one array. Its header holds the number of blocks, their size, the size of the last one, and the
        compressed size of each.
        """
        width = self._header.itemsize
        first = _decode_base64(source, 3 * width) if encoded else source
        blocks, block_size, last_size = self._words(first, 3)
        if blocks * width > len(source) or block_size > max(size, 1 << 26):
            self._fail(f"{blocks} compressed blocks of {block_size} bytes")
        if blocks == 0:
            return b""
        head_size = (3 + blocks) * width
        head = _decode_base64(source, head_size) if encoded else source
        sizes = self._words(head, 3 + blocks)[3:]
        if sum(sizes) > len(source):
            self._fail("compressed blocks that reach past the end")
        # In base64 the header is encoded separately, with its own padding.
        body = source[-(-head_size // 3) * 4 :] if encoded else source[head_size:]
        if encoded:
            body = _decode_base64(body, sum(sizes))
        parts, at = [], 0
        for i, packed in enumerate(sizes):
            expected = last_size if last_size and i == blocks - 1 else block_size
            parts.append(self._inflate_block(body[at : at + packed], expected))
            at += packed
        return b"".join(parts)

    def _inflate_block(self, packed: bytes, expected: int) -> bytes:
        if self.compression == "lz4":
            from numcodecs.lz4 import decompress  # a raw LZ4 block behind its 32-bit size

            values = decompress(expected.to_bytes(4, "little") + packed) if expected else b""
        elif self.compression == "zlib":
            values = zlib.decompressobj().decompress(packed, expected + 1)
        else:
            values = lzma.LZMADecompressor(memlimit=1 << 28).decompress(packed, expected + 1)
        if len(values) != expected:
            self._fail(f"a compressed block of {len(values)} bytes instead of {expected}")
        return bytes(values)

    def _words(self, raw: bytes, count: int) -> list[int]:
        """The first `count` sizes in `raw`. Raises ValueError if it is too short."""
        return np.frombuffer(raw, self._header, count).tolist()


def cells_of(extent: tuple[int, ...], section: str) -> int:
    """How many tuples an array of the points or cells of `extent` has."""
    return int(np.prod(_edges(extent, section), dtype=object))


def assembled(
    location: str,
    extent: tuple[int, ...],
    array: DataArray,
    pieces: Iterable[tuple[tuple[int, ...], np.ndarray]],
    covered: bool = True,
) -> np.ndarray:
    """The values of `array` for the whole `extent`, flat, x fastest, from `pieces` of `(extent, values)`.

    Args:
        location: the file, for messages.
        extent: indices of the first and last point along x, y, z.
        array: the array.
        pieces: extent and values of each piece.
        covered: whether the pieces must cover the whole extent. Otherwise values are zero where they do not, and where
            pieces overlap, the last nonzero value counts: a piece may have an empty border.

    Raises VolumeError if they must and do not.
    """
    x, y, z = _edges(extent, array.section)
    whole, filled = None, np.zeros((z, y, x), bool)
    for piece_extent, values in pieces:
        a, b, c = _edges(piece_extent, array.section)
        window = tuple(
            slice(piece_extent[2 * axis] - extent[2 * axis], piece_extent[2 * axis] - extent[2 * axis] + n)
            for axis, n in ((2, c), (1, b), (0, a))
        )
        if whole is None:
            whole = np.zeros((z, y, x, array.components), values.dtype)
        part = values.reshape(c, b, a, array.components)
        np.copyto(whole[window], part, where=True if covered else part != 0)
        filled[window] = True
    if whole is None or (covered and not filled.all()):
        raise VolumeError(
            location,
            f"the pieces of {array.name!r} do not cover the whole image",
            "write or copy the file again",
        )
    return whole.reshape(-1)


def _edges(extent: tuple[int, ...], section: str) -> tuple[int, int, int]:
    a, b, c, d, e, f = extent
    x, y, z = b - a + 1, d - c + 1, f - e + 1
    return (x, y, z) if section != "CellData" else (max(x - 1, 1), max(y - 1, 1), max(z - 1, 1))


def _kind(array: DataArray) -> tuple[str, str, int, str]:
    return array.section, array.name, array.components, array.type


def _decode_base64(source: bytes, size: int) -> bytes:
    """The first `size` bytes that `source` encodes. Raises ValueError if it is too short."""
    decoded = base64.b64decode(source[: -(-size // 3) * 4])
    if len(decoded) < size:
        raise ValueError(f"{len(decoded)} bytes instead of {size}")
    return decoded[:size]


def numbers(text: str, kind: type, count: int) -> Any:
    """The `count` words of `text` as a tuple of numbers of type `kind`; None if they are not that."""
    try:
        values = tuple(kind(word) for word in text.split())
    except ValueError:
        return None
    return values if len(values) == count else None


def even(location: str, coordinates: Sequence[np.ndarray]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The first coordinate along each axis, and the spacings along each axis.

    Spacings that differ by no more than the last digits of a float32 are made equal. Raises VolumeError if the
    coordinates are not evenly spaced and ascending, within those digits.
    """
    first, steps, errors = [], [], []
    for given in coordinates:
        values = given.astype(np.float64)
        if not np.isfinite(values).all():
            raise VolumeError(location, "its coordinates are not finite", "write or copy the file again")
        count, digits = len(values) - 1, 4e-7 * np.abs(values).max()
        step = (values[-1] - values[0]) / count if count else 1.0
        wrong = np.abs(values - (values[0] + step * np.arange(count + 1))).max()
        if not step > 0 or wrong > 1e-3 * step + digits:
            raise VolumeError(
                location,
                "its coordinates are uneven or descending",
                "resample it to an image of even cells",
            )
        first.append(float(values[0]))
        steps.append(float(step))
        errors.append(digits / count if count else math.inf)
    best = int(np.argmin(errors))
    near = [abs(step - steps[best]) <= error for step, error in zip(steps, errors, strict=True)]
    return tuple(first), tuple(steps[best] if same else step for step, same in zip(steps, near, strict=True))
