"""The metadata maps of a VDB file: small values with names and types."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from fluidsr.errors import InputError
from fluidsr.volumes.vdb.binary import Cursor, pack_string

# Each grid's metadata holds the properties of a frame that a transform and a sparse tree cannot express.
TIME, DT, DIM = "fluidsr_time", "fluidsr_dt", "fluidsr_dim"
SHAPE, ORIGIN, UP = "fluidsr_shape", "fluidsr_origin", "fluidsr_up"
BASE_RESOLUTION = "file_base_resolution"  # only in caches of Blender
LOW = "fluidsr_low"  # index of the box's first voxel, if it is not (0, 0, 0)

_MAX_ENTRIES = 10_000

# VDB type name -> struct layout of the payload
_LAYOUTS = {
    "bool": "?",
    "int32": "i",
    "int64": "q",
    "float": "f",
    "double": "d",
    "vec2i": "2i",
    "vec2s": "2f",
    "vec2d": "2d",
    "vec3i": "3i",
    "vec3s": "3f",
    "vec3d": "3d",
    "vec4i": "4i",
    "vec4s": "4f",
    "vec4d": "4d",
    "mat4s": "16f",
    "mat4d": "16d",
}


def read_metadata(cursor: Cursor) -> dict[str, Any]:
    """The map at the cursor: strings, numbers, and tuples of numbers. Entries of unknown types are left out.

    Raises VolumeError for a damaged map.
    """
    count = cursor.one("I")
    if count > _MAX_ENTRIES:
        cursor.fail(f"{count} metadata entries")
    metadata: dict[str, Any] = {}
    for _ in range(count):
        key, kind = cursor.string(), cursor.string()
        payload = cursor.take(cursor.one("I"))
        if kind == "string":
            metadata[key] = payload.decode("utf-8", "replace")
        elif kind in _LAYOUTS:
            layout = "<" + _LAYOUTS[kind]
            if struct.calcsize(layout) != len(payload):
                cursor.fail(f"metadata {key!r} of type {kind} has {len(payload)} bytes")
            values = struct.unpack(layout, payload)
            metadata[key] = values if len(values) > 1 else values[0]
    return metadata


def pack_metadata(entries: Mapping[str, Any]) -> bytes:
    """The map's bytes, in the given order.

    Values are strings, bools, ints (`int32`, or `int64` if that is too small), floats (`double`), NumPy scalars
    (their own type), and tuples of 2 to 4 ints or floats (`vec3i`, `vec3d`) or of 16 floats (`mat4d`). Raises
    InputError for any other value.
    """
    parts = [struct.pack("<I", len(entries))]
    for key, value in entries.items():
        kind, payload = _pack_value(key, value)
        parts += [pack_string(key), pack_string(kind), struct.pack("<I", len(payload)), payload]
    return b"".join(parts)


def _pack_value(key: str, value: Any) -> tuple[str, bytes]:
    if isinstance(value, str):
        return "string", value.encode()
    kind = _kind(value)
    try:
        return kind, struct.pack("<" + _LAYOUTS[kind], *(value if isinstance(value, tuple) else (value,)))
    except (KeyError, struct.error) as error:
        problem = f"{value!r} is not a value that a VDB file can hold"
        raise InputError(
            f"metadata {key!r}", problem, "give strings, numbers, or tuples of numbers"
        ) from error


def _kind(value: Any) -> str:
    if isinstance(value, tuple):
        if len(value) == 16:
            return "mat4d"
        return f"vec{len(value)}{'i' if all(isinstance(x, int) for x in value) else 'd'}"
    if isinstance(value, (bool, np.bool_)):
        return "bool"
    if isinstance(value, int):
        return "int32" if -(2**31) <= value < 2**31 else "int64"
    return {np.int32: "int32", np.int64: "int64", np.float32: "float"}.get(type(value), "double")


def number(metadata: Mapping[str, Any], key: str) -> float | None:
    """The finite number under `key`, or None."""
    value = metadata.get(key)
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def triple(metadata: Mapping[str, Any], key: str) -> tuple[Any, Any, Any] | None:
    """The three finite numbers under `key`, or None."""
    value = metadata.get(key)
    if isinstance(value, tuple) and len(value) == 3 and all(math.isfinite(x) for x in value):
        return value
    return None
