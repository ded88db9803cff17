"""`--frames`: a count, or a range for farm splits."""

from __future__ import annotations

import re

from fluidsr.errors import InputError


def parse(text: str | int | None, total: int) -> range:
    """Frame numbers, from 1, that `text` asks for: None is all `total`, `48` is 1 to 48, `10-20` is 10 to 20.

    Raises InputError for anything else and for an empty or backward range.
    """
    if text is None:
        return range(1, total + 1)
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", str(text).strip())
    if match is None:
        raise InputError("--frames", f"'{text}' is neither a count nor a range", "give 48 or 1-100")
    first, last = (1, int(match[1])) if match[2] is None else (int(match[1]), int(match[2]))
    if first < 1 or last < first or last > 999_999:
        raise InputError("--frames", f"'{text}' holds no frames", "frames count from 1: give 48 or 1-100")
    return range(first, last + 1)
