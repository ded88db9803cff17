"""Motion of sources and obstacles by keyframes."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from dataclasses import dataclass

from fluidsr.errors import InputError


@dataclass(frozen=True)
class Motion:
    """Keyframes `(time, offset)`, in seconds and in metres from the original position, one number per axis.

    The offset is interpolated linearly and constant before the first and after the last keyframe. Raises InputError if
    times do not increase, a number is not finite, or offsets differ in length.
    """

    keys: tuple[tuple[float, tuple[float, ...]], ...]

    def __post_init__(self) -> None:
        if not self.keys:
            raise InputError("motion", "it has no keyframes", "give at least one, or leave motion out")
        times = [time for time, _ in self.keys]
        if not all(math.isfinite(number) for time, offset in self.keys for number in (time, *offset)):
            raise InputError("motion", "a number is not finite", "give seconds and meters")
        if any(b <= a for a, b in itertools.pairwise(times)):
            raise InputError("motion", f"the times {times} do not increase", "give each later than the last")
        if len({len(offset) for _, offset in self.keys}) != 1:
            raise InputError("motion", "the offsets differ in length", "give one number per axis")

    def offset(self, time: float) -> tuple[float, ...]:
        """The offset from the original position at `time` (s), m."""
        after = bisect_right(self.keys, time, key=lambda key: key[0])
        if after == 0:
            return self.keys[0][1]
        if after == len(self.keys):
            return self.keys[-1][1]
        (t0, a), (t1, b) = self.keys[after - 1], self.keys[after]
        share = (time - t0) / (t1 - t0)
        return tuple(p + share * (q - p) for p, q in zip(a, b, strict=True))

    def velocity(self, time: float) -> tuple[float, ...]:
        """The velocity at `time` (s), m/s; on a keyframe that of the following segment."""
        after = bisect_right(self.keys, time, key=lambda key: key[0])
        if after in (0, len(self.keys)):
            return (0.0,) * len(self.keys[0][1])
        (t0, a), (t1, b) = self.keys[after - 1], self.keys[after]
        return tuple((q - p) / (t1 - t0) for p, q in zip(a, b, strict=True))

    def speed(self, start: float, end: float) -> float:
        """The greatest velocity component between two times (s), m/s."""
        inner = (time for time, _ in self.keys if start < time < end)
        return max(abs(v) for time in (start, *inner) for v in self.velocity(time))
