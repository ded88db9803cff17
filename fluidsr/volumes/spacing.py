"""How long the frames of a sequence last, by the times that they state."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from fluidsr.errors import InputError
from fluidsr.volumes.io import time_of

_SHORTEST, _LONGEST = 1e-6, 1e3  # s; what lies beyond is no frame of smoke
_EVEN = 1e-3  # of the distance, beside what a float32 or five printed digits leave of a time
_DIGITS = 1e-5  # of a time


def spacing_of(times: Sequence[float | None]) -> float | None:
    """The even distance (s) of ascending `times`; None where they are not even, fewer than two, or whole numbers,
    which count steps as a rule."""
    known = [time for time in times if time is not None]
    if len(known) < 2 or len(known) < len(times) or all(time == int(time) for time in known):
        return None
    steps = [b - a for a, b in pairwise(known)]
    mean = (known[-1] - known[0]) / len(steps)
    uneven = max(steps) - min(steps)
    if not _SHORTEST <= mean <= _LONGEST or uneven > _EVEN * mean + _DIGITS * max(map(abs, known)):
        return None
    return float(f"{mean:.7g}")


def stated_spacing(files: Sequence[Path]) -> float | None:
    """As `spacing_of` the times that `files` themselves state."""
    try:
        return spacing_of(_stated_times(tuple((file, file.stat().st_mtime_ns) for file in files)))
    except (OSError, InputError):
        return None  # a damaged frame is reported when its turn comes


@lru_cache(maxsize=16)
def _stated_times(files: tuple[tuple[Path, int], ...]) -> list[float | None]:
    """Of each file; the number beside it is when it was changed."""
    return [time_of(file) for file, _ in files]
