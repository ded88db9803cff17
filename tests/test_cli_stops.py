"""Signals end a command with their own exit code and a sentence that is true; nothing printed moves the terminal."""

import os
import signal
import time
from pathlib import Path

import click
import pytest

from fluidsr.cli import cli, main
from fluidsr.errors import printable
from fluidsr.pipeline.progress import Progress
from fluidsr.signals import STOPPING

RESUME = "Rerun the same command to resume"


@pytest.fixture(autouse=True)
def handlers():
    """The handlers as they were: `main` installs its own."""
    before = {number: signal.getsignal(number) for number in STOPPING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return int(stop.value.code or 0), capsys.readouterr().err.strip()


@pytest.mark.parametrize(("number", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 143)])
@pytest.mark.parametrize(
    ("command", "kept"),
    [
        ("simulate", f"completed frames were kept. {RESUME}"),
        ("generate-dataset", f"completed simulations were kept. {RESUME}"),
        ("train", f"a checkpoint of the completed steps was kept. {RESUME}"),
        ("render", "no half-written file is left"),
    ],
)
def test_a_signal_ends_a_command_in_one_true_line(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    number: str,
    code: int,
    command: str,
    kept: str,
) -> None:
    @click.command(command)
    def waiting() -> None:
        os.kill(os.getpid(), getattr(signal, number))
        time.sleep(10)

    monkeypatch.setitem(cli.commands, command, waiting)
    assert run(capsys, command) == (code, f"Error: interrupted; {kept}")


def test_nohup_is_respected(capsys: pytest.CaptureFixture[str]) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert run(capsys, "--help")[0] == 0
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_what_a_terminal_would_obey_is_written_out() -> None:
    evil = "a\x1b]0;title\x07b\x9b31m\u202ec\u2028d\udcffe\x00 f\tg\nh é 烟"
    assert printable(evil) == r"a\x1b]0;title\x07b\x9b31m\u202ec d\udcffe\x00 f g h é 烟"


def test_progress_prints_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(1)
    progress.note("frame \x1b[2J")
    progress.advance("name \x1b]0;x\x07")
    said = "".join(capsys.readouterr())
    assert r"\x1b[2J" in said and r"\x1b]0;x\x07" in said
    assert "\x1b" not in said and "\x07" not in said


def test_a_key_with_an_escape_sequence_does_not_reach_the_terminal(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    scene = tmp_path / "a\x1b[31m.yaml"
    scene.write_text('"do\\e]0;x\\amain": {resolution: [8, 8]}\n')
    code, err = run(capsys, "simulate", str(scene), "-o", str(tmp_path / "out"))
    assert code == 2 and len(err.splitlines()) == 1
    assert all(character.isprintable() for character in err)


def test_a_pipe_as_a_scene_is_not_waited_for(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "scene.yaml")
    code, err = run(capsys, "simulate", str(tmp_path / "scene.yaml"), "-o", str(tmp_path / "out"))
    assert code == 2 and "is not a regular file" in err
