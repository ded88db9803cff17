"""The duration of the frames of a sequence, from the times that their files state."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from fluidsr.errors import InputError
from fluidsr.volumes.io import time_of

_SHORTEST, _LONGEST = 1e-6, 1e3  # s; other spacings are not those of frames of smoke
_EVEN = 1e-3  # of the spacing; in addition to the rounding of a float32 or of five printed digits
_DIGITS = 1e-5  # of a time; that rounding


def spacing_of(times: Sequence[float | None]) -> float | None:
    """The even spacing (s) of ascending `times`.

    None if they are not evenly spaced, fewer than two, or all whole numbers, which usually count steps.
    """
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
    """`spacing_of` the times that `files` state; None if one cannot be read."""
    try:
        return spacing_of(_stated_times(tuple((file, file.stat().st_mtime_ns) for file in files)))
    except (OSError, InputError):
        return None  # a damaged frame is reported when it is read


@lru_cache(maxsize=16)
def _stated_times(files: tuple[tuple[Path, int], ...]) -> list[float | None]:
    """The time of each file. The second value, the time of its last change, keeps the cache valid."""
    return [time_of(file) for file, _ in files]
