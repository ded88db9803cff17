"""`--frames` as counts and ranges."""

import pytest

from fluidsr.errors import InputError
from fluidsr.pipeline.frame_sequence import parse


def test_counts_and_ranges() -> None:
    assert parse(None, 120) == range(1, 121)
    assert parse("48", 120) == range(1, 49)
    assert parse(48, 120) == range(1, 49)
    assert parse("10-20", 120) == range(10, 21)
    assert parse("7-7", 120) == range(7, 8)


@pytest.mark.parametrize("text", ["0", "0-3", "5-2", "-3", "a", "1-", "1.5", "", "1-2-3", "99999999"])
def test_what_holds_no_frames(text: str) -> None:
    with pytest.raises(InputError, match="--frames"):
        parse(text, 120)
