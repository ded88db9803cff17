"""What a Blosc-1 frame says about itself, checked before a decoder sees it: decoders trust the length in its header."""

from __future__ import annotations

import struct

import numpy as np

HEADER = struct.Struct("<4B3I")  # version, codec version, flags, typesize, nbytes, blocksize, cbytes

_VERSION = 2
_STORED, _RESERVED, _UNSPLIT = 0x02, 0x08, 0x10  # bits of the flags
_MOST_SPLITS, _SMALLEST_SPLIT = 16, 128


def header_problem(raw: bytes | memoryview, expected: int) -> str | None:
    """Why the header does not belong to a frame that is `raw` and holds `expected` bytes; None where it does."""
    if len(raw) < HEADER.size:
        return "a Blosc chunk shorter than its header"
    *_, size, block, packed = HEADER.unpack_from(raw)
    if size != expected or packed != len(raw):
        return f"a Blosc chunk of {size} bytes in {packed} instead of {expected} in {len(raw)}"
    if size and not 0 < block <= size:
        return f"a Blosc chunk of {size} bytes in blocks of {block}"
    return None


def problem(raw: bytes | memoryview, expected: int) -> str | None:
    """The same, with the place and the length of every block: what is left to the decoder is the content of each.

    The layout is that of c-blosc's README_CHUNK_FORMAT.rst: offsets of the blocks behind the header; a block is one
    stream, or, unless the flags say otherwise, one for each byte of an item; a stream has its length before it.
    """
    reason = header_problem(raw, expected)
    if reason or not expected:
        return reason
    version, _, flags, typesize, size, block, _ = HEADER.unpack_from(raw)
    if version != _VERSION or flags & _RESERVED or not typesize:
        return f"a Blosc chunk of version {version} with flags {flags:#x} and items of {typesize} bytes"
    if flags & _STORED:
        return (
            None if len(raw) == HEADER.size + size else "a Blosc chunk that is not as long as what it stores"
        )
    data = np.frombuffer(raw, np.uint8)
    whole, rest = divmod(size, block)
    blocks = whole + bool(rest)
    if HEADER.size + 4 * blocks > len(raw):
        return f"a Blosc chunk too short for {blocks} blocks"
    places = data[HEADER.size : HEADER.size + 4 * blocks].view("<u4").astype(np.int64)
    if places.min() < HEADER.size + 4 * blocks:
        return "a Blosc chunk with a block in its header"
    is_split = not flags & _UNSPLIT and typesize <= _MOST_SPLITS and block // typesize >= _SMALLEST_SPLIT
    if is_split and whole and block % typesize:
        return f"a Blosc chunk with blocks of {block} bytes split in {typesize}"
    splits = typesize if is_split else 1
    for number in range(splits):
        begun = places[:whole] if number else places  # a last block that is shorter is not split
        if begun.size and begun.max() > len(raw) - 4:
            return "a Blosc chunk with a block beyond its end"
        lengths = data[begun[:, None] + np.arange(4)].view("<u4")[:, 0]
        begun += 4 + lengths.astype(np.int64)
        if begun.size and begun.max() > len(raw):
            return "a Blosc chunk with a block beyond its end"
    return None
