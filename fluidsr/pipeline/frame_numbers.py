"""Frame numbers that a user asks for: a count, a range, a stepped range or a list."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fluidsr.errors import InputError

MOST_FRAMES = 999_999
_MOST_SHOWN = 60  # characters of a text in a message


def parse(text: str | int | None, total: int, first: int = 1) -> Sequence[int]:
    """The frame numbers that `text` selects, ascending. The first frame has the number `first`.

    None selects `total` frames, `48` the first 48, `10-20` the frames 10 to 20, `1-100x2` every second frame of 1 to
    100, and `1,5,9` these three. Raises InputError for any other text, and for frames before the first.
    """
    if text is None:
        return range(first, first + total)
    count, ranges = count_or_ranges(str(text))
    if count is not None:
        return range(first, first + count)
    if min(numbers.start for numbers in ranges) < first:
        problem = f"'{text}' selects frames before the first one"
        raise InputError(
            "frames", problem, f"frames are numbered from {first}: give 48 or {first}-{first + 99}"
        )
    if len(ranges) == 1:
        return ranges[0]
    return sorted({number for numbers in ranges for number in numbers})


def count_or_ranges(text: str) -> tuple[int | None, list[range]]:
    """The count in `text`, or else None and its ranges of numbers. Raises InputError for any other text."""
    if re.fullmatch(r"\d{1,30}", text.strip()):
        count = int(text)
        if not 1 <= count <= MOST_FRAMES:
            raise InputError(
                "frames", f"a count of {text} is out of range", "use N (the first N), or A-B, e.g. 0-100"
            )
        return count, []
    ranges = []
    for word in text.split(","):
        match = re.fullmatch(r"(-?\d{1,30})(?:-(-?\d{1,30})(?:x(\d{1,30}))?)?", word.strip())
        if match is None:
            shown = text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
            problem = f"'{shown}' is neither a count, nor a range, nor a list"
            raise InputError("frames", problem, "give 48, 1-100, 1-100x2 or 1,5,9")
        first, last = int(match[1]), int(match[1] if match[2] is None else match[2])
        step = int(match[3] or 1)
        if max(-first, last) > MOST_FRAMES:
            problem = f"'{text}' exceeds the largest frame number, {MOST_FRAMES}"
            raise InputError("frames", problem, "use N or A-B, e.g. 1-100")
        if last < first or step < 1:
            raise InputError("frames", f"'{text}' is an empty range", "use N or A-B with A <= B, e.g. 1-100")
        ranges.append(range(first, last + 1, step))
    return None, ranges


def lies_in(frame: float, numbers: range) -> bool:
    """Whether a frame number is in a range; a range with step 1 includes subframes."""
    if numbers.step == 1:
        return numbers.start <= frame <= numbers.stop - 1
    return frame == int(frame) and int(frame) in numbers
