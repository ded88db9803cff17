"""Value blocks: how a VDB node's values lie in the file.

A block is a mode byte, up to two inactive values, perhaps a selection mask, and one chunk of data, which is
raw, a zlib stream or a Blosc-1 frame. Under active-mask compression the chunk holds active values only and
the mode says what the inactive ones are.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import blosc
import numpy as np

from fluidsr.volumes.vdb.binary import Cursor

ZIP, ACTIVE_MASK, BLOSC = 1, 2, 4
_FLAGS = ZIP | ACTIVE_MASK | BLOSC
_MODES = range(7)
_STORED = 6  # mode: every value is in the chunk

_BLOSC_HEADER = struct.Struct("<4B3I")  # version, codec version, flags, typesize, nbytes, blocksize, cbytes
_CHUNK_SIZE = struct.Struct("<q")

# Measured on smoke, 30 % of 160x240x160 filled, half precision, one core: LZ4-HC with a byte shuffle over
# the true item size takes 0.04 s and gives 3.46 MB; zlib takes 0.15 s and gives 3.47 MB; plain LZ4 0.01 s
# and 3.64 MB.
_BLOSC_OPTIONS = {"clevel": 5, "shuffle": blosc.SHUFFLE, "cname": "lz4hc"}


@dataclass(frozen=True)
class ValueType:
    """How one grid's values are stored: `channels` 1 or 3, and whether buffers hold halves."""

    channels: int
    half: bool

    @property
    def stored(self) -> np.dtype[Any]:
        """The dtype of the values in a data chunk."""
        return np.dtype("<f2" if self.half else "<f4")

    @property
    def stored_size(self) -> int:
        """Bytes of one voxel's value in a data chunk."""
        return self.channels * self.stored.itemsize

    @property
    def full_size(self) -> int:
        """Bytes of a background, tile or inactive value, which are never halves."""
        return self.channels * 4


@dataclass(frozen=True)
class Block:
    """Where one node's values are, without having decoded them.

    `count` values are in the chunk at `start`, `size` bytes long, `packed` or raw; `inactive` holds the one
    or two inactive values that the mode brings; `selection` is the position of the selection mask, or -1.
    """

    mode: int
    inactive: tuple[tuple[float, ...], ...]
    selection: int
    start: int
    size: int
    packed: bool
    count: int


def scan(cursor: Cursor, flags: int, kind: ValueType, total: int, active: int) -> Block:
    """Step over the block of a node with `total` values, `active` of them on; says where everything is."""
    mode = cursor.one("B")
    if mode not in _MODES:
        cursor.fail(f"value mode {mode}")
    inactive: tuple[tuple[float, ...], ...] = ()
    if mode in (2, 4, 5):
        inactive = (cursor.unpack(f"{kind.channels}f"),)
        if mode == 5:
            inactive += (cursor.unpack(f"{kind.channels}f"),)
    selection = cursor.skip(total // 8) if mode in (3, 4, 5) else -1
    count = active if flags & ACTIVE_MASK and mode != _STORED else total
    if count == 0 and kind.half:  # OpenVDB writes nothing at all then
        return Block(mode, inactive, selection, cursor.position, 0, False, 0)
    expected = count * kind.stored_size
    size, packed = expected, False
    if flags & (ZIP | BLOSC):
        size = cursor.one("q")
        packed = size > 0
        size = abs(size)
        if not packed and size != expected:
            cursor.fail(f"a raw chunk of {size} bytes instead of {expected}")
    return Block(mode, inactive, selection, cursor.skip(size), size, packed, count)


def chunk(data: bytes, block: Block, flags: int, kind: ValueType, cursor: Cursor) -> bytes:
    """The block's stored values as raw bytes, `count * stored_size` of them. `cursor` only names the file."""
    raw = data[block.start : block.start + block.size]
    if not block.packed:
        return raw
    expected = block.count * kind.stored_size
    cursor.position = block.start
    values = _unpack_blosc(raw, expected, cursor) if flags & BLOSC else _unpack_zip(raw, expected, cursor)
    if len(values) != expected:
        cursor.fail(f"a compressed chunk does not hold the {expected} bytes it should")
    return values


def check_flags(flags: int, cursor: Cursor) -> int:
    """The grid's compression flags, if they are ones we know."""
    if flags & ~_FLAGS:
        cursor.fail(f"compression flags {flags:#x}")
    return flags


def describe(flags: int) -> str:
    """The flags in OpenVDB's words: `blosc + active values`."""
    words = ["blosc"] if flags & BLOSC else ["zip"] if flags & ZIP else []
    return " + ".join(words + ["active values"] * bool(flags & ACTIVE_MASK)) or "none"


def pack_chunk(raw: bytes, itemsize: int) -> tuple[bytes, bytes]:
    """The size field and the body of a Blosc chunk that holds `raw`; left raw where Blosc would not shrink
    it.
    """
    packed = blosc.compress(raw, typesize=itemsize, **_BLOSC_OPTIONS)
    if len(packed) < len(raw):
        return _CHUNK_SIZE.pack(len(packed)), packed
    return _CHUNK_SIZE.pack(-len(raw)), raw


def _unpack_blosc(raw: bytes, expected: int, cursor: Cursor) -> bytes:
    # The frame announces its own sizes, and the decoder allocates what it announces: check them first.
    if len(raw) < _BLOSC_HEADER.size:
        cursor.fail("a Blosc chunk shorter than its header")
    *_, size, _, packed_size = _BLOSC_HEADER.unpack_from(raw)
    if size != expected or packed_size != len(raw):
        cursor.fail(f"a Blosc chunk of {size} bytes in {packed_size} instead of {expected} in {len(raw)}")
    try:
        return blosc.decompress(raw) if expected else b""
    except Exception as error:  # the type that it raises has no public name
        cursor.fail(f"a Blosc chunk is broken ({error})")


def _unpack_zip(raw: bytes, expected: int, cursor: Cursor) -> bytes:
    try:
        return zlib.decompressobj().decompress(raw, expected + 1)  # never more than one byte too many
    except zlib.error as error:
        cursor.fail(f"a zlib chunk is broken ({error})")
