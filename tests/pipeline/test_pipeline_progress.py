"""Progress without a terminal: plain lines, not too many, and none when quiet."""

import pytest

from fluidsr.pipeline.progress import Progress


def test_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(3, interval=0.0) as progress:
        progress.advance("warming up", 0)
        progress.advance("one")
        progress.advance("two", 2)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "frames 0/3  -  warming up"
    assert lines[1].startswith("frames 1/3  ") and lines[1].endswith("one")
    assert lines[2].startswith("frames 3/3  ") and "0 s left" in lines[2]


def test_lines_are_spaced_in_time_but_the_last_one_comes(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(100, "steps", interval=3600.0) as progress:
        for _ in range(100):
            progress.advance()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("steps 100/100")


def test_what_was_done_before_does_not_count_for_the_rate(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(1000, interval=0.0) as progress:
        progress.start_at(999)
        progress.advance("", 0)
    assert capsys.readouterr().err == "frames 999/1000  -\n"


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(1, quiet=True) as progress:
        progress.note("a note")
        progress.advance()
    assert capsys.readouterr().err == ""
