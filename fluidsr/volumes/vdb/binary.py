"""A cursor over the bytes of a file that never reads past the end."""

from __future__ import annotations

import mmap
import struct
from typing import Any, NoReturn

from fluidsr.errors import VolumeError

Data = bytes | mmap.mmap
_MAX_STRING = 1 << 20


class Cursor:
    """Reads little-endian, unaligned values from `data` at `position`; every read moves the position.

    `data` may be a memory map; `end` (default: its length) is the end of the readable part, and `where` names the
    file in messages. Raises VolumeError if the data ends too soon or a length is absurd.
    """

    def __init__(self, data: Data, location: str, position: int = 0, end: int | None = None) -> None:
        self.data = data
        self.where = location
        self.position = position
        self.end = len(data) if end is None else end

    def fail(self, problem: str) -> NoReturn:
        """Raise a VolumeError with `problem` and the position in the file."""
        raise VolumeError(
            self.where, f"damaged near byte {self.position}: {problem}", "write or copy the file again"
        )

    def seek(self, position: int) -> None:
        """Go to the absolute `position`. Raises VolumeError for one beyond the end."""
        if not 0 <= position <= self.end:
            self.fail(f"it refers to byte {position} of {self.end}")
        self.position = position

    def skip(self, count: int) -> int:
        """Skip `count` bytes; returns the position of the first one."""
        start = self.position
        if count < 0 or start + count > self.end:
            self.fail(f"{count} bytes expected, {self.end - start} left")
        self.position = start + count
        return start

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        start = self.skip(count)
        return self.data[start : self.position]

    def unpack(self, layout: str) -> tuple[Any, ...]:
        """The next values; `layout` as in `struct`, without the byte order."""
        layout = "<" + layout
        return struct.unpack_from(layout, self.data, self.skip(struct.calcsize(layout)))

    def one(self, layout: str) -> Any:
        """The next single value."""
        return self.unpack(layout)[0]

    def string(self) -> str:
        """A string that is preceded by its 32-bit length; bytes that are not UTF-8 are replaced."""
        size = self.one("I")
        if size > _MAX_STRING:
            self.fail(f"a string of {size} bytes")
        return self.take(size).decode("utf-8", "replace")


def pack_string(text: str) -> bytes:
    """`text` as UTF-8, preceded by its 32-bit length."""
    raw = text.encode()
    return struct.pack("<I", len(raw)) + raw
