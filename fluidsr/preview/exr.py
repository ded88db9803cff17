"""Pictures as OpenEXR: scene-linear, with premultiplied alpha, for compositing.

The scanline file of half floats is written here: encoders of ffmpeg multiply by alpha, or do not, by their version.
"""

from __future__ import annotations

import os
import struct
import zlib

import numpy as np

from fluidsr.atomic import replacing
from fluidsr.errors import InputError

_ZIP, _LINES = 3, 16  # the compression, and the lines that it takes at a time
_HALF = 1  # type of a channel
_BRIGHTEST = 65504.0  # the largest half


def write_exr(path: str | os.PathLike[str], picture: np.ndarray) -> None:
    """Write `picture` (float32 linear RGBA `[h, w, 4]`, RGB multiplied by alpha) as half floats, compressed by ZIP.

    What is brighter than a half can be becomes the brightest. Raises InputError for a bad path or picture, RunError for
    a full disk. Source: "OpenEXR File Layout" and `ImfZip.cpp` of OpenEXR.
    """
    if picture.dtype != np.float32 or picture.ndim != 3 or picture.shape[2] != 4 or 0 in picture.shape:
        raise InputError("picture", f"{picture.dtype} {picture.shape}", "give float32 [height, width, 4]")
    height, width, _ = picture.shape
    header = _header(width, height)
    # Each line holds its channels one after the other, in the order of their names: A, B, G, R.
    lines = np.minimum(picture, _BRIGHTEST)[..., ::-1].transpose(0, 2, 1).astype("<f2")
    blocks = []
    for first in range(0, height, _LINES):
        data = _compressed(lines[first : first + _LINES].tobytes())
        blocks.append(struct.pack("<ii", first, len(data)) + data)
    ends = np.cumsum([len(header) + 8 * len(blocks), *map(len, blocks)])
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.writelines([header, ends[:-1].astype("<u8").tobytes(), *blocks])


def _header(width: int, height: int) -> bytes:
    window = struct.pack("<4i", 0, 0, width - 1, height - 1)
    channels = b"".join(
        name + b"\0" + struct.pack("<4i", _HALF, 0, 1, 1) for name in (b"A", b"B", b"G", b"R")
    )
    attributes = [
        (b"channels", b"chlist", channels + b"\0"),
        (b"compression", b"compression", bytes([_ZIP])),
        (b"dataWindow", b"box2i", window),
        (b"displayWindow", b"box2i", window),
        (b"lineOrder", b"lineOrder", b"\0"),
        (b"pixelAspectRatio", b"float", struct.pack("<f", 1.0)),
        (b"screenWindowCenter", b"v2f", struct.pack("<2f", 0.0, 0.0)),
        (b"screenWindowWidth", b"float", struct.pack("<f", 1.0)),
    ]
    written = [
        b"\0".join((name, kind, struct.pack("<i", len(data)) + data)) for name, kind, data in attributes
    ]
    return struct.pack("<2i", 20000630, 2) + b"".join(written) + b"\0"  # the magic number, and version 2


def _compressed(data: bytes) -> bytes:
    """The low bytes and then the high ones, as differences from byte to byte, by zlib; as it is where that is no less,
    which is how readers recognize it."""
    values = np.frombuffer(data, np.uint8).reshape(-1, 2).T.ravel()
    differences = np.concatenate([values[:1], values[1:] - values[:-1] + np.uint8(128)])
    shorter = zlib.compress(differences.tobytes(), 4)
    return shorter if len(shorter) < len(data) else data
