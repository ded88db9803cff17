"""The number of a frame in the name of its file.

This is a separate module because `sequence` imports the readers of files, and the readers import this.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

# The last number of a name. A minus sign belongs to it only after a separator: `s.-0001`, but not `s-0001`.
LAST_NUMBER = re.compile(r"((?:(?<=[._ ])|^)-\d+|\d+)(?=\D*$)")
_VERSION = re.compile(r"[._-]?v\d+$", re.IGNORECASE)
_SIZE = re.compile(r"(?<!\d)\d+(?:x\d+)+(?!\d)", re.IGNORECASE)  # cells along each axis: 64x64x64
# A time instead of a number: `out_4.1667e-02`.
TIME = re.compile(r"\d+(\.\d*[eE][+-]?|[eE][+-])\d+$")


def frame_number(path: str | os.PathLike[str]) -> int | None:
    """The last number in a file's name (without its suffix), or None: `smoke.v2_0012.vdb` is 12.

    A version at the end does not count if another number stands before it: `shot_f012v2.vdb` is 12, too. A time
    (`out_4.2e-02`) and a number of cells (`64x64x64`) do not count either.
    """
    stem = Path(path).stem
    span = number_span(stem)
    return None if span is None else int(stem[slice(*span)])


def number_span(stem: str) -> tuple[int, int] | None:
    """Start and end (exclusive) of the number that `frame_number` uses, in a name without its suffix; None without
    one.
    """
    if TIME.search(stem):
        return None
    stem = _SIZE.sub(lambda size: "x" * len(size[0]), stem)
    match = LAST_NUMBER.search(stem)
    version = _VERSION.search(stem)
    before = LAST_NUMBER.search(stem[: version.start()]) if version else None
    match = before or match
    return match.span(1) if match else None
