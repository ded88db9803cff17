"""Bounds on the memory that one file may take."""

from __future__ import annotations

import os

from fluidsr import memory
from fluidsr.errors import VolumeError


def limit() -> int:
    """Bytes that all dense arrays made from one file may take together.

    Half of the machine's memory, but not more than is free; the limit of a control group counts.
    """
    free = memory.free()
    try:
        half = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):  # not a POSIX system
        half = 4 << 30
    return half if free is None else min(half, free.size)


def check(location: str, needed: int, allowed: int | None) -> None:
    """Raise VolumeError, naming `location`, if `needed` bytes exceed `allowed` (None: `limit()`)."""
    bound = limit() if allowed is None else allowed
    if needed > bound:
        raise VolumeError(
            location,
            f"needs {needed / 2**30:.3g} GiB as dense arrays, and {bound / 2**30:.3g} GiB are allowed",
            "crop the volume, read a window of it, or use a machine with more memory",
        )
