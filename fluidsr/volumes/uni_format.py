"""One grid of Mantaflow: a .uni file.

A gzip stream of a four-letter tag, a header of 288 bytes and the values, little-endian, x fastest. The header holds
three sizes, the kind of grid, the kind of element (0 int, 1 real, 2 vector), bytes per element, free text, for `MNT3`
the size of a fourth axis, and a time stamp. Sources: Mantaflow, source/fileio/iogrids.cpp; `tools/uniio.py` of
tempoGAN.
"""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from fluidsr.errors import VolumeError
from fluidsr.volumes import memory

_HEADERS = {b"MNT2": struct.Struct("<6i256sQ"), b"MNT3": struct.Struct("<6i252siQ")}
REAL, VECTOR, STAGGERED, LEVEL_SET = 1, 4, 8, 16  # kinds of grids, as bits
_ELEMENTS = {0: "int", 1: "real", 2: "vec3"}


@dataclass(frozen=True)
class Header:
    """The header of a grid.

    `shape`: cells along x, y, z. `kind`: bits of REAL, VECTOR, STAGGERED, LEVEL_SET and others. `element`: int, real or
    vec3. `width`: bytes per element. `text`: the free text up to its first zero byte.
    """

    shape: tuple[int, int, int]
    kind: int
    element: str
    width: int
    text: str

    @property
    def components(self) -> int:
        """1, or 3 for vectors."""
        return 3 if self.element == "vec3" else 1

    @property
    def values(self) -> int:
        """How many numbers the grid holds."""
        x, y, z = self.shape
        return x * y * z * self.components


def read_header(path: str | os.PathLike[str]) -> Header:
    """The header of a grid. Raises VolumeError for a file that is missing, damaged or of another format."""
    with _opened(path) as file:
        return _header(str(path), file)


def read_grid(path: str | os.PathLike[str], max_bytes: int | None = None) -> tuple[Header, np.ndarray]:
    """The header and the values, `[components, x, y, z]`: float32, or int32 for integers; a view with x fastest in
    memory.

    Raises VolumeError for a file that is missing, damaged or larger than `max_bytes` (None: `memory.limit`).
    """
    location = str(path)
    with _opened(path) as file:
        header = _header(location, file)
        size = header.values * header.width // header.components
        memory.check(location, size, max_bytes)
        data = file.read(size)
        if len(data) != size or file.read(1):
            raise VolumeError(
                location, "damaged: its values do not fill its grid", "write or copy the file again"
            )
    kind = "<i4" if header.element == "int" else f"<f{header.width // header.components}"
    with np.errstate(over="ignore", invalid="ignore"):  # what does not fit becomes infinite
        numbers = np.frombuffer(data, kind).astype("<i4" if header.element == "int" else "<f4", copy=False)
    return header, numbers.reshape(*header.shape[::-1], header.components).T


def write_grid(file: BinaryIO, values: np.ndarray, kind: int, text: str) -> None:
    """Write float32 `values [components, x, y, z]` as a grid of `kind`. Equal values give equal bytes.

    `text` is stored where Mantaflow keeps a note about its build; at most 251 bytes of it are kept.
    """
    components, x, y, z = values.shape
    vector = components == 3
    head = _HEADERS[b"MNT3"].pack(
        x, y, z, kind, 2 if vector else 1, 4 * components, text.encode("ascii")[:251], 0, 0
    )
    with gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as packed:
        packed.write(b"MNT3" + head)
        for layer in np.moveaxis(values, 3, 0):  # copies only one layer at a time
            packed.write(np.ascontiguousarray(layer.T, "<f4").tobytes())


class _opened:
    """A gzip stream whose various errors are raised as one VolumeError."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._where = str(path)
        self._file: gzip.GzipFile | None = None

    def __enter__(self) -> BinaryIO:
        try:
            self._file = gzip.open(Path(self._where))
        except OSError as error:
            raise VolumeError(self._where, f"cannot be read ({error.strerror})", "check the path") from error
        return cast(BinaryIO, self._file)

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if self._file is not None:
            self._file.close()
        if isinstance(error, (OSError, EOFError, zlib.error)):
            raise VolumeError(
                self._where, f"not a .uni file, or a damaged one ({error})", "check the path and the file"
            ) from error


def _header(location: str, file: BinaryIO) -> Header:
    tag = file.read(4)
    if tag in (b"MNT1", b"DDF2", b"M4T2", b"M4T3"):
        raise VolumeError(
            location,
            f"its format {tag.decode()} is not supported",
            "write it with Mantaflow of 2014 or later, in 3-D",
        )
    if tag not in _HEADERS:
        raise VolumeError(location, "it is not a .uni file", "give a grid that Mantaflow wrote")
    layout = _HEADERS[tag]
    data = file.read(layout.size)
    if len(data) < layout.size:
        raise VolumeError(location, "damaged: it ends within its header", "write or copy the file again")
    x, y, z, kind, element, width, text, *rest = layout.unpack(data)
    if len(rest) == 2 and rest[0] > 1:
        raise VolumeError(location, f"its grid has four dimensions ({rest[0]} deep)", "write 3-D grids")
    sizes = {0: (4,), 1: (4, 8), 2: (12, 24)}.get(element, ())
    if min(x, y, z) < 1 or max(x, y, z) > 1 << 20 or width not in sizes:
        problem = f"{x} x {y} x {z} elements of kind {element}, {width} bytes each"
        raise VolumeError(location, f"damaged: {problem}", "write or copy the file again")
    words = text.split(b"\0", 1)[0].decode("ascii", "replace")
    return Header((x, y, z), kind, _ELEMENTS[element], width, words)
