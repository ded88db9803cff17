"""Chunks whose checksum is right are still not trusted: they unpack to what their shape needs, or are refused."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import google_crc32c
import numcodecs
import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec, GzipCodec, ZstdCodec

from fluidsr.dataset import Store, chunk_codecs
from fluidsr.errors import DatasetError

SMOKE = (
    np.round(np.sin(np.linspace(0, 40, 4096, dtype=np.float32)) ** 2, 2).astype(np.float16).reshape(1, 64, 64)
)
PLACE = "c/0/0/0"
COMPRESSORS = [
    *(BloscCodec(cname=name, shuffle=shuffle, blocksize=block, typesize=size)
      for name in ("zstd", "lz4", "blosclz", "zlib")
      for shuffle in ("shuffle", "bitshuffle", "noshuffle")
      for block, size in ((0, 2), (768, 2), (1024, 1))),
    BloscCodec(cname="zstd", clevel=0, typesize=2), ZstdCodec(level=1), ZstdCodec(level=9, checksum=True),
    GzipCodec(level=5),
]  # fmt: skip


def make(path: Path, *compressors: object, **options: object) -> zarr.Array:
    array = zarr.create_array(
        path, shape=SMOKE.shape, chunks=options.pop("chunks", SMOKE.shape), dtype="float16",
        compressors=compressors, fill_value=float("nan"), **options,
    )  # fmt: skip
    array[:] = SMOKE
    return zarr.open_array(path, mode="r")


@pytest.mark.parametrize("compressor", COMPRESSORS, ids=str)
def test_chunks_of_every_codec_are_read(tmp_path: Path, compressor: object) -> None:
    array = chunk_codecs.bounded(make(tmp_path, compressor, Crc32cCodec()))
    np.testing.assert_array_equal(array[:], SMOKE)


def test_chunks_in_a_shard_and_chunks_without_compression_are_read(tmp_path: Path) -> None:
    sharded = make(tmp_path / "a", BloscCodec(typesize=2), chunks=(1, 16, 32), shards=SMOKE.shape)
    for array in (sharded, make(tmp_path / "b"), make(tmp_path / "c", Crc32cCodec())):
        np.testing.assert_array_equal(chunk_codecs.bounded(array)[:], SMOKE)


def test_one_compressor_behind_another_is_refused(tmp_path: Path) -> None:
    array = make(tmp_path, ZstdCodec(), GzipCodec())
    with pytest.raises(ValueError, match="compresses by gzip what is compressed already"):
        chunk_codecs.bounded(array)


def header(at: int, value: int) -> Callable[[bytes], bytes]:
    return lambda chunk: chunk[:at] + struct.pack("<I", value) + chunk[at + 4 :]


BLOSC = BloscCodec(cname="zstd", shuffle="shuffle", blocksize=1024, typesize=2)
FAR = 64 << 20


@pytest.mark.parametrize(
    ("compressor", "change", "message"),
    [
        # Blosc believes it, and copies 64 MB of what lies behind the chunk.
        (BLOSC, lambda chunk: struct.pack("<4B3I", 2, 1, 2, 2, FAR, FAR, FAR + 16) + chunk[16:], "bytes in"),
        (BLOSC, lambda chunk: chunk[:9], "shorter than its header"),
        (BLOSC, lambda chunk: chunk[:-9], "instead of 8192 in"),
        (BLOSC, lambda chunk: b"\1" + chunk[1:], "of version 1"),
        (BLOSC, lambda chunk: chunk[:3] + b"\0" + chunk[4:], "items of 0 bytes"),
        (BLOSC, lambda chunk: chunk[:2] + b"\x08" + chunk[3:], "flags 0x8"),
        (BLOSC, lambda chunk: chunk[:2] + b"\x02" + chunk[3:], "not as long as what it stores"),
        (BLOSC, header(8, 0), "in blocks of 0"),
        (BLOSC, header(8, 1), "too short for 8192 blocks"),
        (BLOSC, header(8, 2**31), "in blocks of 2147483648"),
        (BLOSC, header(16, 4), "a block in its header"),
        (BLOSC, header(20, 2**32 - 1), "a block beyond its end"),
        (BLOSC, lambda chunk: chunk[:48] + b"\xff\xff\xff\x7f" + chunk[52:], "a block beyond its end"),
        (ZstdCodec(), lambda chunk: numcodecs.Zstd().encode(b"x" * 8191), "of 8191 bytes instead of 8192"),
        (ZstdCodec(), lambda chunk: numcodecs.Zstd().encode(bytes(1 << 30)), "of 1073741824 bytes"),
        (ZstdCodec(), lambda chunk: b"", "no Zstandard chunk"),
        (GzipCodec(), lambda chunk: gzip.compress(bytes(8191)), "other than 8192 bytes"),
        (GzipCodec(), lambda chunk: gzip.compress(bytes(8193)), "other than 8192 bytes"),
    ],
)  # fmt: skip
def test_a_chunk_with_its_checksum_mended_is_refused(
    tmp_path: Path, compressor: object, change: Callable[[bytes], bytes], message: str
) -> None:
    array = chunk_codecs.bounded(make(tmp_path, compressor, Crc32cCodec()))
    file = tmp_path / PLACE
    chunk = change(file.read_bytes()[:-4])
    file.write_bytes(chunk + google_crc32c.value(chunk).to_bytes(4, "little"))
    with pytest.raises(ValueError, match=message):
        array[:]


def test_a_dataset_reads_through_them(store2d: Store) -> None:
    file = store2d.path / "sim_00000" / "high_density" / "c" / "3" / "0" / "0"
    chunk = file.read_bytes()[:-4]
    lies = struct.pack("<4B3I", 2, 1, 2, 2, FAR, FAR, FAR + 16) + chunk[16:]
    file.write_bytes(lies + google_crc32c.value(lies).to_bytes(4, "little"))
    with pytest.raises(
        DatasetError, match=f"high_density: frame 3: cannot be read .a Blosc chunk of {FAR} bytes"
    ):
        store2d.simulations()[0].fine_density(3)
