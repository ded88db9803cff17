"""Motion of sources and obstacles by keyframes."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from dataclasses import dataclass

from fluidsr.errors import InputError


@dataclass(frozen=True)
class Motion:
    """Keyframes `(time, offset)`: seconds, and metres from where the shape was placed, one number per axis.

    The offset is linear in between, and held before the first and after the last. Raises InputError where
    times do not increase or a number is not finite.
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
        """Where the shape is at `time` (s), in metres from where it was placed."""
        after = bisect_right(self.keys, time, key=lambda key: key[0])
        if after == 0:
            return self.keys[0][1]
        if after == len(self.keys):
            return self.keys[-1][1]
        (t0, a), (t1, b) = self.keys[after - 1], self.keys[after]
        share = (time - t0) / (t1 - t0)
        return tuple(p + share * (q - p) for p, q in zip(a, b, strict=True))

    def velocity(self, time: float) -> tuple[float, ...]:
        """m/s at `time`; on a keyframe that of what follows."""
        after = bisect_right(self.keys, time, key=lambda key: key[0])
        if after in (0, len(self.keys)):
            return (0.0,) * len(self.keys[0][1])
        (t0, a), (t1, b) = self.keys[after - 1], self.keys[after]
        return tuple((q - p) / (t1 - t0) for p, q in zip(a, b, strict=True))

    def speed(self, start: float, end: float) -> float:
        """Greatest velocity component between two times, m/s."""
        inner = (time for time, _ in self.keys if start < time < end)
        return max(abs(v) for time in (start, *inner) for v in self.velocity(time))
