"""A cursor over the bytes of a file that never reads past the end."""

from __future__ import annotations

import mmap
import struct
from typing import Any, NoReturn

from fluidsr.errors import VolumeError

Data = bytes | mmap.mmap
_MAX_STRING = 1 << 20


class Cursor:
    """Little-endian, unaligned reading from `data` at `position`; every read moves on by what it took.

    `data` may be a memory map. Raises VolumeError where it ends too soon (or at `end`, if that is given) or a
    length is absurd; `where` names the file.
    """

    def __init__(self, data: Data, where: str, position: int = 0, end: int | None = None) -> None:
        self.data = data
        self.where = where
        self.position = position
        self.end = len(data) if end is None else end

    def fail(self, problem: str) -> NoReturn:
        """Raise VolumeError that says `what` is wrong and at which byte."""
        raise VolumeError(
            self.where, f"damaged near byte {self.position}: {problem}", "write or copy the file again"
        )

    def seek(self, position: int) -> None:
        """Go to the absolute `position`."""
        if not 0 <= position <= self.end:
            self.fail(f"it refers to byte {position} of {self.end}")
        self.position = position

    def skip(self, count: int) -> int:
        """Step over `count` bytes; returns the position they start at."""
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
        """The next values, `layout` as in `struct` without the byte order."""
        layout = "<" + layout
        return struct.unpack_from(layout, self.data, self.skip(struct.calcsize(layout)))

    def one(self, layout: str) -> Any:
        """The next single value."""
        return self.unpack(layout)[0]

    def string(self) -> str:
        """A string with its 32-bit length before it; bytes that are not UTF-8 are replaced."""
        size = self.one("I")
        if size > _MAX_STRING:
            self.fail(f"a string of {size} bytes")
        return self.take(size).decode("utf-8", "replace")


def pack_string(text: str) -> bytes:
    """`text` as UTF-8 with its 32-bit length before it."""
    raw = text.encode()
    return struct.pack("<I", len(raw)) + raw
