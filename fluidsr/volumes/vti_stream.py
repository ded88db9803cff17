"""A VTK image written box by box, for frames larger than memory.

VTK stores the values of an array in one order, x fastest and z slowest, as compressed blocks of one size. Boxes are
written in any order: they are cut into slabs of 8 layers, compressed, and kept in a temporary file without a name. At
the end the slabs are assembled one after another. Memory holds one slab, and the position of each piece.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast
from xml.sax.saxutils import quoteattr

import numpy as np

from fluidsr import atomic
from fluidsr.errors import InputError
from fluidsr.volumes.grid_names import stored_names
from fluidsr.volumes.quantize import rounded
from fluidsr.volumes.stream_boxes import as_3d, checked_box
from fluidsr.volumes.vtk_image import CELL_SIZE, DIM, DT, ORIGIN, TIME

_LAYERS = 8  # of a slab; fewer if they would be larger than _SLAB
_SLAB = 32 << 20  # bytes
_DIGITS = 20  # of an offset in the header
_BLOCK = 1 << 18  # bytes in a block before compression, as in vti.py


class ImageStream:
    """A frame that is being written; see `fluidsr.volumes.stream`."""

    def __init__(
        self,
        spool: BinaryIO,
        *,
        shape: Sequence[int],
        cell_size: float,
        origin: Sequence[float],
        time: float,
        dt: float,
        fields: Sequence[str],
        half: bool,
        threshold: float,
        vectors: Collection[str],
        whole: Collection[str],
    ) -> None:
        self._dim = len(shape)
        self._shape = (*shape, 1)[:3]
        self._place: dict[str, list[float]] = {
            TIME: [time],
            DT: [dt],
            DIM: [len(shape)],
            CELL_SIZE: [cell_size],
            ORIGIN: list(origin),
        }
        self._cell_size, self._half, self._threshold = cell_size, half, threshold
        self._corner = [corner + cell_size / 2 for corner in (*origin, 0.0)[:3]]
        self._vectors, self._whole = frozenset(vectors), frozenset(whole)
        self._arrays = {
            name: _Array(spool, self._shape, 3 if name in vectors else 1, "<i4" if name in whole else "<f4")
            for name in fields
        }

    def put(self, name: str, low: Sequence[int], values: Any) -> None:
        """Write the box of field `name` that begins at cell `low`; see `fluidsr.volumes.stream`."""
        vector, whole = name in self._vectors, name in self._whole
        box = checked_box(name, low, values, self._arrays, self._dim, vector)
        box = rounded(name, box, self._half, self._threshold, vector=vector, whole=whole)
        box = as_3d(box, self._dim, vector)
        x, y, z = (*map(int, low), 0)[:3]
        self._arrays[name].put(name, (x, y, z), box if vector else box[None])

    def finish(self, file: BinaryIO) -> None:
        """Write the complete image into `file`."""
        extent = " ".join(f"0 {n - 1}" for n in self._shape)
        corner, edge = " ".join(map(repr, self._corner)), repr(float(self._cell_size))
        holes: list[int] = []  # positions in the header of the arrays' offsets, filled in at the end

        def text(line: str) -> None:
            file.write(line.encode() + b"\n")

        def data_array(name: str, kind: str, components: int, tuples: int | None) -> None:
            count = "" if tuples is None else f' NumberOfTuples="{tuples}"'
            head = f'<DataArray type="{kind}" Name={quoteattr(name)} NumberOfComponents="{components}"{count}'
            file.write(head.encode() + b' format="appended" offset="')
            holes.append(file.tell())
            file.write(b"0" * _DIGITS + b'"/>\n')

        text('<?xml version="1.0"?>')
        text(
            '<VTKFile type="ImageData" version="1.0" byte_order="LittleEndian" header_type="UInt64"'
            ' compressor="vtkLZ4DataCompressor">'
        )
        text(
            f'<ImageData WholeExtent="{extent}" Origin="{corner}" Spacing="{edge} {edge} {edge}"'
            ' Direction="1 0 0 0 1 0 0 0 1">'
        )
        text("<FieldData>")
        for name, numbers in self._place.items():
            data_array(name, "Float64", 1, len(numbers))
        text("</FieldData>")
        vectors = ' Vectors="velocity"' if "velocity" in self._arrays else ""
        text(f'<Piece Extent="{extent}">')
        words = stored_names(self._arrays, ".vti")
        text(f"<PointData Scalars={quoteattr(next(iter(words.values())))}{vectors}>")
        for name, array in self._arrays.items():
            data_array(words[name], array.vtk_type, array.components, None)
        text("</PointData>\n<CellData/>\n</Piece>\n</ImageData>")
        file.write(b'<AppendedData encoding="raw">\n_')
        start = file.tell()
        blocks = [_blocks(numbers) for numbers in self._place.values()]
        blocks += [array.blocks() for array in self._arrays.values()]
        offsets = []
        for size, pieces in blocks:
            offsets.append(file.tell() - start)
            _write_blocks(file, size, pieces)
        file.write(b"\n</AppendedData>\n</VTKFile>\n")
        for at, offset in zip(holes, offsets, strict=True):
            file.seek(at)
            file.write(f"{offset:0{_DIGITS}}".encode())


class _Array:
    """The boxes of one field that have been written so far, slab by slab."""

    def __init__(self, spool: BinaryIO, shape: tuple[int, ...], components: int, dtype: str) -> None:
        self.components, self._dtype = components, np.dtype(dtype)
        self._spool, self._shape = spool, shape
        x, y, _ = shape
        self._layers = min(max(_SLAB // (4 * components * x * y), 1), _LAYERS)
        self._boxes: dict[
            int, list[tuple[int, ...]]
        ] = {}  # per slab: low, high, position in the spool, packed size, item size

    @property
    def vtk_type(self) -> str:
        """VTK's name of the type of the values."""
        return {"f": "Float32", "i": "Int32"}[self._dtype.kind]

    def put(self, name: str, low: tuple[int, int, int], values: np.ndarray) -> None:
        """Store the box `values [components, x, y, z]` that begins at cell `low`."""
        high = tuple(a + n for a, n in zip(low, values.shape[1:], strict=True))
        if min(low) < 0 or any(b > n for b, n in zip(high, self._shape, strict=True)):
            problem = f"the box from {low} to {high} reaches out of the frame"
            raise InputError(name, problem, f"give boxes within {self._shape}")
        if 0 in values.shape:
            return
        for slab in range(low[2] // self._layers, (high[2] - 1) // self._layers + 1):
            first = max(slab * self._layers, low[2])
            last = min((slab + 1) * self._layers, high[2])
            box = (low[0], low[1], first, high[0], high[1], last)
            self._refuse_overlap(name, slab, box)
            part = np.ascontiguousarray(values[..., first - low[2] : last - low[2]].T)  # [z, y, x, component]
            packed = _compress(part.tobytes()) if part.any() else b""
            at = self._spool.seek(0, os.SEEK_END)
            self._spool.write(packed)
            self._boxes.setdefault(slab, []).append((*box, at, len(packed), part.dtype.itemsize))

    def blocks(self) -> tuple[int, Iterator[bytes]]:
        """The size of the array in bytes, and an iterator over its bytes in VTK's order."""
        x, y, z = self._shape
        return 4 * self.components * x * y * z, self._slabs()

    def _slabs(self) -> Iterator[bytes]:
        x, y, z = self._shape
        for first in range(0, z, self._layers):
            layers = min(self._layers, z - first)
            slab = np.zeros((layers, y, x, self.components), self._dtype)
            for x0, y0, z0, x1, y1, z1, at, size, width in self._boxes.get(first // self._layers, ()):
                if size == 0:
                    continue
                self._spool.seek(at)
                shape = (z1 - z0, y1 - y0, x1 - x0, self.components)
                raw = _decompress(self._spool.read(size), width * int(np.prod(shape)))
                slab[z0 - first : z1 - first, y0:y1, x0:x1] = np.frombuffer(
                    raw, f"<{self._dtype.kind}{width}"
                ).reshape(shape)
            yield slab.tobytes()

    def _refuse_overlap(self, name: str, slab: int, box: tuple[int, ...]) -> None:
        others = np.array([entry[:6] for entry in self._boxes.get(slab, ())], np.int64).reshape(-1, 6)
        low, high = np.array(box[:3]), np.array(box[3:])
        if ((others[:, :3] < high) & (others[:, 3:] > low)).all(1).any():
            raise InputError(
                name, f"the box at {box[:3]} covers cells that were already written", "give each once"
            )


@contextmanager
def stream_frame(path: str | os.PathLike[str], **options: Any) -> Iterator[ImageStream]:
    """Write a frame box by box; see `fluidsr.volumes.stream`. `options` are those of ImageStream."""
    with (
        atomic.passing_callers_errors() as caller,
        atomic.replacing(path) as temporary,
        temporary.open("wb") as file,
        tempfile.TemporaryFile(dir=Path(path).absolute().parent) as spool,
    ):
        out = ImageStream(cast(BinaryIO, spool), **options)
        with caller:
            yield out
        out.finish(file)


def _blocks(numbers: Sequence[float]) -> tuple[int, Iterator[bytes]]:
    data = np.array(numbers, "<f8").tobytes()
    return len(data), iter([data])


def _write_blocks(file: BinaryIO, size: int, pieces: Iterator[bytes]) -> None:
    """Write one array: the number of blocks, their size, the size of a shorter last block, the compressed sizes, and
    the blocks.
    """
    count = -(-size // _BLOCK)
    start = file.tell()
    file.write(bytes(8 * (3 + count)))
    sizes: list[int] = []
    rest = b""
    for piece in pieces:
        data = rest + piece
        whole = len(data) // _BLOCK * _BLOCK
        sizes += [file.write(_compress(data[at : at + _BLOCK])) for at in range(0, whole, _BLOCK)]
        rest = data[whole:]
    if rest:
        sizes.append(file.write(_compress(rest)))
    end = file.tell()
    file.seek(start)
    file.write(np.array([count, _BLOCK, size % _BLOCK, *sizes], "<u8").tobytes())
    file.seek(end)


def _compress(data: bytes) -> bytes:
    from numcodecs.lz4 import compress  # a raw LZ4 block behind its 32-bit size

    return bytes(compress(data)[4:])


def _decompress(data: bytes, size: int) -> bytes:
    from numcodecs.lz4 import decompress

    return bytes(decompress(size.to_bytes(4, "little") + data))
