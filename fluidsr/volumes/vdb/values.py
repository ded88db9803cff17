"""The types of values in a VDB tree, and their layout in the file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

# OpenVDB's name of a value -> dtype of one component, and components
_KINDS = {
    "bool": ("|b1", 1),
    "mask": ("|b1", 1),
    "half": ("<f2", 1),
    "float": ("<f4", 1),
    "double": ("<f8", 1),
    "int32": ("<i4", 1),
    "int64": ("<i8", 1),
    "vec3i": ("<i4", 3),
    "vec3s": ("<f4", 3),
    "vec3d": ("<f8", 3),
}
_HALF = "_HalfFloat"
_TYPE = re.compile(rf"Tree_({'|'.join(_KINDS)})_5_4_3({_HALF})?$")


@dataclass(frozen=True)
class ValueType:
    """The type of the values of one grid: `name` as in OpenVDB, `dtype` of a component, `channels` 1 or 3.

    With `half`, leaves and internal nodes hold IEEE halves; the background, the tiles of the root and the inactive
    values that a block names always have full size.
    """

    name: str
    dtype: np.dtype[Any]
    channels: int
    half: bool

    @property
    def stored(self) -> np.dtype[Any]:
        """The dtype of the components in a data chunk."""
        return np.dtype("<f2") if self.half else self.dtype

    @property
    def stored_size(self) -> int:
        """Bytes of one voxel's value in a data chunk."""
        return self.channels * self.stored.itemsize

    @property
    def full_size(self) -> int:
        """Bytes of a background, tile or inactive value; these are never stored as halves."""
        return self.channels * self.dtype.itemsize

    @property
    def memory(self) -> np.dtype[Any]:
        """The dtype of the values that are read: halves become float32, all others keep their type."""
        return np.dtype(np.float32) if self.dtype == np.float16 else self.dtype.newbyteorder("=")

    @property
    def in_bits(self) -> bool:
        """Whether leaves are uncompressed bit masks: `bool` and `mask` trees."""
        return self.dtype.kind == "b"

    @property
    def tree(self) -> str:
        """The type of the grid as in its descriptor: `Tree_float_5_4_3_HalfFloat`."""
        return f"Tree_{self.name}_5_4_3" + _HALF * self.half

    def decode(self, raw: bytes, *, full: bool = False) -> np.ndarray:
        """Stored (or, with `full`, full-size) values as `[n, channels]` of type `memory`."""
        dtype = self.dtype if full else self.stored
        if dtype.kind == "b":  # a damaged file may hold other bytes than 0 and 1
            return (np.frombuffer(raw, np.uint8) != 0).reshape(-1, self.channels)
        with np.errstate(invalid="ignore"):  # it may also hold signaling NaNs
            return np.frombuffer(raw, dtype).astype(self.memory).reshape(-1, self.channels)

    def negative(self, value: np.ndarray) -> np.ndarray:
        """OpenVDB's negative of `value`: the inside of a level set; `not value` for bools."""
        return ~value if self.dtype.kind == "b" else -value


def value_type(tree: str) -> ValueType | None:
    """The type of the values of a grid whose type in the file is `tree`; None if it is not supported."""
    match = _TYPE.match(tree)
    if match is None:
        return None
    dtype, channels = _KINDS[match[1]]
    half = match[2] is not None and dtype in ("<f4", "<f8", "<f2")
    return ValueType(match[1], np.dtype(dtype), channels, half)


def scalar_or_vector(values: np.ndarray) -> np.ndarray:
    """`[..., channels]` as users see it: scalars without the last axis."""
    return values[..., 0] if values.shape[-1] == 1 else values
