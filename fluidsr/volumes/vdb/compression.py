"""Chunks of data in a VDB file: raw, a zlib stream, or a Blosc-1 frame (OpenVDB, io/Compression.cc)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import blosc

from fluidsr import blosc_frame
from fluidsr.errors import InputError
from fluidsr.volumes.vdb.binary import Cursor

ZIP, ACTIVE_MASK, BLOSC = 1, 2, 4
CODECS = {"blosc": BLOSC, "zip": ZIP, "none": 0}  # what a writer may choose

_CHUNK_SIZE = struct.Struct("<q")

# Measured on smoke, 256^3, 20 % filled, one core, processor time for all leaves: LZ4 0.04 s and 12.2 MB
# (half: 0.03 s, 6.79 MB), LZ4-HC 0.15 s and 11.9 MB (0.08 s, 6.74 MB), zlib 0.44 s and 12.7 MB (0.30 s,
# 6.48 MB). OpenVDB itself uses LZ4 at level 9 with a byte shuffle.
_BLOSC_OPTIONS = {"clevel": 9, "shuffle": blosc.SHUFFLE, "cname": "lz4"}
_ZIP_LEVEL = 6


def check_flags(flags: int, cursor: Cursor) -> int:
    """`flags`, the compression flags of a grid. Raises VolumeError for unknown flags."""
    if flags & ~(ZIP | ACTIVE_MASK | BLOSC):
        cursor.fail(f"compression flags {flags:#x}")
    return flags


def codec(name: str) -> int:
    """The flags for a writer's `compression`: `blosc`, `zip` or `none`. Raises InputError for any other name."""
    if name not in CODECS:
        raise InputError("compression", f"{name!r} is not known", f"give one of {', '.join(CODECS)}")
    return CODECS[name] | ACTIVE_MASK


def describe(flags: int) -> str:
    """The flags in OpenVDB's words: `blosc + active values`."""
    words = ["blosc"] if flags & BLOSC else ["zip"] if flags & ZIP else []
    return " + ".join(words + ["active values"] * bool(flags & ACTIVE_MASK)) or "none"


def packer(flags: int, itemsize: int) -> Callable[[bytes], bytes]:
    """The function that converts raw values to a chunk: its size field and its body.

    If compression does not shorten a body it stays raw, which the sign of its size says.
    """
    if flags & BLOSC:

        def shorten(raw: bytes) -> bytes:
            return blosc.compress(raw, typesize=itemsize, **_BLOSC_OPTIONS)

    elif flags & ZIP:

        def shorten(raw: bytes) -> bytes:
            return zlib.compress(raw, _ZIP_LEVEL)

    else:
        return bytes

    size_field = _CHUNK_SIZE.pack

    def pack(raw: bytes) -> bytes:
        packed = shorten(raw) if raw else raw
        return size_field(len(packed)) + packed if len(packed) < len(raw) else size_field(-len(raw)) + raw

    return pack


def unpack(raw: bytes, expected: int, flags: int, cursor: Cursor) -> bytes:
    """The `expected` bytes that the compressed chunk `raw` holds.

    Raises VolumeError for any other number of bytes; `cursor` gives the file and the position for the message.
    """
    values = _unpack_blosc(raw, expected, cursor) if flags & BLOSC else _unpack_zip(raw, expected, cursor)
    if len(values) != expected:
        cursor.fail(f"a compressed chunk does not hold the {expected} bytes it should")
    return values


def _unpack_blosc(raw: bytes, expected: int, cursor: Cursor) -> bytes:
    # The decoder allocates the sizes that the frame announces: check them first.
    if problem := blosc_frame.header_problem(raw, expected):
        cursor.fail(problem)
    if not expected:
        return b""
    try:
        return blosc.decompress(raw)
    except Exception as error:  # the type of the error has no public name
        cursor.fail(f"a Blosc chunk is broken ({error})")


def _unpack_zip(raw: bytes, expected: int, cursor: Cursor) -> bytes:
    try:
        return zlib.decompressobj().decompress(raw, expected + 1)  # never more than one byte too many
    except zlib.error as error:
        cursor.fail(f"a zlib chunk is broken ({error})")
