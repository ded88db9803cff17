"""Codecs for chunks of datasets, which decode into exactly as many bytes as the chunk's shape needs.

Zarr passes a chunk to its compressor, which allocates the size that the chunk announces; Blosc also reads as far as
the chunk's header says. Neither is safe for untrusted files.
"""

from __future__ import annotations

import asyncio
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import zarr
from numcodecs import Blosc, Zstd
from zarr.abc.codec import BytesBytesCodec

from fluidsr import blosc_frame

_ZSTD_MAGIC = bytes.fromhex("28b52ffd")
_LEFT_ALONE = ("bytes", "crc32c", "transpose")
CODECS = (*_LEFT_ALONE, "blosc", "gzip", "sharding_indexed", "zstd")


def bounded(array: Any) -> Any:
    """The Zarr array `array`, for reading with bounded codecs.

    Raises ValueError for codecs other than `CODECS`, and for two compressors in a row.
    """
    metadata = array.metadata
    codecs = _bounded(metadata.codecs, array.dtype.itemsize)
    return zarr.Array(zarr.AsyncArray(replace(metadata, codecs=codecs), array.store_path))


def _bounded(codecs: Sequence[Any], itemsize: int) -> tuple[Any, ...]:
    chosen: list[Any] = []
    is_sized = True  # whether the codec's input has the size of the chunk's values
    for codec in codecs:
        name = str(codec.to_dict()["name"])
        if name not in CODECS:
            raise ValueError(f"uses the codec {name}")
        if name in _DECODERS:
            if not is_sized:
                raise ValueError(f"compresses by {name} what is compressed already")
            codec = BoundedCodec(name, itemsize)
        elif name == "sharding_indexed":
            codec = replace(
                codec,
                codecs=_bounded(codec.codecs, itemsize),
                index_codecs=_bounded(codec.index_codecs, itemsize),
            )
        is_sized = is_sized and name in ("bytes", "transpose")
        chosen.append(codec)
    return tuple(chosen)


def _unpack_blosc(raw: memoryview, values: np.ndarray) -> None:
    if problem := blosc_frame.problem(raw, values.nbytes):
        raise ValueError(problem)
    Blosc().decode(raw, values)


def _unpack_zstd(raw: memoryview, values: np.ndarray) -> None:
    # Zstd reports no error if it fills less than the buffer.
    size = _zstd_size(raw[:18].tobytes())
    if size not in (None, values.nbytes):
        raise ValueError(f"a Zstandard chunk of {size} bytes instead of {values.nbytes}")
    Zstd().decode(raw, values)


def _zstd_size(head: bytes) -> int | None:
    """The size of the contents that a Zstandard frame states (RFC 8878, 3.1.1.1); None if it states none."""
    if len(head) < 5 or head[:4] != _ZSTD_MAGIC:
        raise ValueError("no Zstandard chunk")
    is_single = head[4] >> 5 & 1
    width = (is_single, 2, 4, 8)[head[4] >> 6]
    start = 5 + (not is_single) + (0, 1, 2, 4)[head[4] & 3]
    if not width:
        return None
    return int.from_bytes(head[start : start + width], "little") + (256 if width == 2 else 0)


def _unpack_gzip(raw: memoryview, values: np.ndarray) -> None:
    stream = zlib.decompressobj(wbits=31)
    unpacked = stream.decompress(raw, values.nbytes + 1)
    if len(unpacked) != values.nbytes or not stream.eof:
        raise ValueError(f"a gzip chunk of other than {values.nbytes} bytes")
    values[:] = np.frombuffer(unpacked, np.uint8)


_DECODERS: dict[str, Callable[[memoryview, np.ndarray], None]] = {
    "blosc": _unpack_blosc,
    "zstd": _unpack_zstd,
    "gzip": _unpack_gzip,
}


@dataclass(frozen=True)
class BoundedCodec(BytesBytesCodec):
    """The codec `name`, for decoding only; the values of a chunk have `itemsize` bytes each."""

    name: str
    itemsize: int
    is_fixed_size = False

    def to_dict(self) -> dict[str, Any]:
        """The codec as in Zarr's metadata."""
        return {"name": self.name}

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: Any) -> int:
        """Raises NotImplementedError: the size after compression is not known in advance."""
        raise NotImplementedError

    def _decode_sync(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        values = np.empty(math.prod(chunk_spec.shape) * self.itemsize, np.uint8)
        _DECODERS[self.name](chunk_bytes.as_numpy_array().data, values)
        return chunk_spec.prototype.buffer.from_array_like(values)

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        return await asyncio.to_thread(self._decode_sync, chunk_bytes, chunk_spec)
