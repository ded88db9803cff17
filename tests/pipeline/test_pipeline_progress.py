"""Progress without a terminal: plain lines, not too many, and none when quiet; in a notebook, a bar."""

import sys
from types import SimpleNamespace

import pytest

from fluidsr.pipeline.progress import Progress, in_notebook


def test_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(3, interval=0.0) as progress:
        progress.advance("warming up", 0)
        progress.advance("warming up", 0)  # the same line once
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


def test_a_notebook_gets_one_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With a stand-in for IPython's kernel."""
    shown: list[str] = []

    class Handle:
        update = staticmethod(shown.append)

    def display(bar: str, display_id: bool) -> Handle:
        shown.append(bar)
        return Handle()

    shell = type("ZMQInteractiveShell", (), {})()
    ipython = SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(HTML=str, display=display))
    assert in_notebook()
    with Progress(2) as progress:
        progress.advance("<b>")
        progress.advance()
    assert [bar.startswith(f'<progress value="{n}" max="2">') for n, bar in enumerate(shown, 1)] == [
        True,
        True,
    ]
    assert "&lt;b&gt;" in shown[0] and "2/2" in shown[1]
    with Progress(2, quiet=True) as progress:
        progress.advance()
    assert len(shown) == 2 and capsys.readouterr().err == ""
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    assert not in_notebook()
