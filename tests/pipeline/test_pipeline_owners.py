"""One owner at a time, damaged frames, unfinished files, and folders that somebody prepared to do harm."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fluidsr.errors import InputError, RunError
from fluidsr.pipeline.run_folder import RunFolder, read_spec

OPEN = (
    "import sys, time; from pathlib import Path; from fluidsr.pipeline.run_folder import RunFolder\n"
    "folder = RunFolder.open(Path(sys.argv[1]), sys.argv[2], {'a': 1}, overwrite=False, notes={}, frames=range(1, 6))\n"
    "print('open', flush=True); time.sleep(600)\n"
)


def open_run(
    path: Path, *, command: str = "simulate", a: int = 1, overwrite: bool = False, **more
) -> RunFolder:
    return RunFolder.open(path, command, {"a": a}, overwrite=overwrite, notes={}, **more)


@pytest.fixture
def other(tmp_path: Path):
    """Another process that owns frames 1 to 5 of the run in `tmp_path / "run"`."""
    process = subprocess.Popen(
        [sys.executable, "-c", OPEN, str(tmp_path / "run"), "simulate"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "open\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def hidden(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.rglob(".*"))


@pytest.mark.parametrize("left", [[], ["frames/"], [".run.0123abcd.part.yaml"], ["frames/", ".lock"]])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_whose_run_was_killed_before_it_began_is_taken(
    tmp_path: Path, left: list[str], overwrite: bool
) -> None:
    for name in left:
        (tmp_path / name).mkdir() if name.endswith("/") else (tmp_path / name).touch()
    with open_run(tmp_path, overwrite=overwrite) as folder:
        folder.record(1, {"time": 0.0})
    assert read_spec(tmp_path)["configuration"] == {"a": 1}
    assert hidden(tmp_path) == []


def test_a_frame_in_a_folder_without_run_yaml_is_never_removed(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "plume_0001.vdb").write_bytes(b"smoke")
    with pytest.raises(InputError, match="holds no run"):
        open_run(tmp_path, overwrite=True)
    assert (tmp_path / "frames" / "plume_0001.vdb").exists()


def test_frames_without_a_log_are_not_removed_unasked(tmp_path: Path) -> None:
    open_run(tmp_path).close()
    frame = tmp_path / "frames" / "plume_0001.vdb"
    frame.write_bytes(b"smoke")
    (tmp_path / "run.jsonl").touch()
    for change in ({"command": "upsample"}, {"a": 2}):
        with pytest.raises(InputError, match="`overwrite`"):
            open_run(tmp_path, **change)
    assert frame.read_bytes() == b"smoke"
    open_run(tmp_path, a=2, overwrite=True).close()
    assert not frame.exists()


def test_a_second_start_is_refused_and_touches_nothing(tmp_path: Path, other: subprocess.Popen) -> None:
    run = tmp_path / "run"
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    who = rf"process {other.pid} on .* is working on it \('simulate'\); wait for it, or stop it"
    for change in (
        {},
        {"frames": [5, 6]},
        {"overwrite": True, "frames": [9]},
        {"command": "upsample", "frames": [9]},
    ):
        with pytest.raises(RunError, match=who):
            open_run(run, **change)
    assert {file: file.read_bytes() for file in run.rglob("*") if file.is_file()} == before
    open_run(run, frames=[6, 7]).close()  # other frames of the same run: a farm


def test_two_starts_in_one_moment_have_one_winner(tmp_path: Path) -> None:
    starts = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN, str(tmp_path / "run"), command],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for command in ("simulate", "simulate", "upsample")
    ]
    try:
        deadline = time.monotonic() + 250
        while sum(start.poll() is None for start in starts) > 1 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert sorted(start.poll() is None for start in starts) == [False, False, True]
    finally:
        for start in starts:
            start.kill()
            start.communicate()


def test_what_a_killed_owner_left_is_recovered_and_said(tmp_path: Path, other: subprocess.Popen) -> None:
    run = tmp_path / "run"
    unfinished = [
        run / "frames" / ".plume_0002.0123abcd.part.vdb", run / ".preview.0123abcd.part.mp4", run / ".x.89abcdef.part",
    ]  # fmt: skip
    own = [run / ".gitignore", run / "frames" / ".notes.part.txt"]
    for file in (*unfinished, *own):
        file.write_bytes(b"half")
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    with open_run(run) as folder:
        (note,) = folder.notes
    assert f"process {other.pid} on " in note and "has been recovered" in note
    assert not any(file.exists() for file in unfinished)
    assert hidden(run) == sorted(file.name for file in own)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:3]), "has 3 bytes instead of 5"),
        (lambda file: file.write_bytes(b""), "has 0 bytes instead of 5"),
        (lambda file: file.write_bytes(b"smoky"), "its checksum does not match"),
        (lambda file: file.unlink(), "is gone"),
    ],
)
def test_a_damaged_frame_is_not_complete(tmp_path: Path, damage, said: str) -> None:
    with open_run(tmp_path) as folder:
        frames = [folder.path / "frames" / f"plume_{n:04d}.vdb" for n in (1, 2)]
        for n, frame in enumerate(frames, 1):
            frame.write_bytes(b"smoke")
            folder.record(n, {"time": 0.0}, [frame])
    damage(frames[1])
    with open_run(tmp_path) as folder:
        assert [folder.is_complete(n, [frame]) for n, frame in enumerate(frames, 1)] == [True, False]
        assert folder.notes == [f"{frames[1]}: {said}; frame 2 is computed again"]


def test_the_line_of_a_frame_is_on_the_disk_when_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed, fsync = [], os.fsync

    def counted(descriptor: int) -> None:
        flushed.append(Path(f"/proc/self/fd/{descriptor}").readlink().read_bytes())
        fsync(descriptor)

    with open_run(tmp_path) as folder:
        monkeypatch.setattr(os, "fsync", counted)
        folder.record(3, {"time": 0.25})
    assert [json.loads(line) for line in flushed] == [{"frame": 3, "time": 0.25}]


def test_a_log_from_elsewhere_is_read_with_care(tmp_path: Path) -> None:
    open_run(tmp_path).close()
    good = {"frame": 7, "time": 0.5, "files": {"frames/a.vdb": {"bytes": 5, "sha256": "0" * 64}}}
    bad = [
        "{}", "[]", "7", "null", '"frame"', '{"frame": "1"}', '{"frame": true}', '{"frame": -1e9}', '{"frame": 1e999}',
        '{"frame": Infinity}', '{"frame": 1.5}', '{"frame": 1, "time": NaN}', '{"frame": 1, "time": "soon"}',
        '{"frame": 1, "time": 0, "files": []}', '{"frame": 1, "time": 0, "files": {"a": {"bytes": 1}}}',
        '{"frame": 1, "time": 0, "grids": "density"}', '{"frame": 1, "time": 0, "vectors": 7}',
        '{"frame": 1, "time": 0, "shape": [4, 4], "origin": [0, 0, 0]}', '{"frame": 1, "time": 0, "fields": []}',
        '{"frame": 1, "time": 0, "up": "q"}', '{"frame": 1, "time": 0, "shape": [0]}',
        '{"frame": ' + "1" * 5000 + "}", "[" * 100_000, '{"a":' * 50_000,
        '{"frame": 1, "time": 0, "x": "' + "x" * (3 << 20) + '"}', '{"frame": 2}',
    ]  # fmt: skip
    (tmp_path / "run.jsonl").write_text("\n".join([*bad, json.dumps(good), '{"frame": 8, "ti']))
    with open_run(tmp_path, needed=("time",)) as folder:
        assert folder.complete == {7: good}
        folder.record(9, {"time": 0.6})
    with open_run(tmp_path, needed=("time",)) as folder:
        assert set(folder.complete) == {7, 9}


def test_names_in_a_log_lead_nowhere_else(tmp_path: Path) -> None:
    run, mine = tmp_path / "run", tmp_path / "mine.vdb"
    mine.write_bytes(b"smoke")
    open_run(run).close()
    names = ["../mine.vdb", str(mine), "frames/../../mine.vdb"]
    files = {name: {"bytes": 1, "sha256": "0" * 64} for name in names}
    (run / "run.jsonl").write_text(json.dumps({"frame": 1, "time": 0.0, "files": files}) + "\n")
    with open_run(run) as folder:
        assert folder.is_complete(1, [])
    open_run(run, overwrite=True).close()
    (run / "frames").rmdir()
    (run / "frames").symlink_to(tmp_path)
    open_run(run, a=2, overwrite=True).close()
    assert mine.read_bytes() == b"smoke"


def test_a_record_from_elsewhere_is_refused_at_once(tmp_path: Path) -> None:
    open_run(tmp_path).record(1, {"time": 0.0})
    bomb = "\n".join(
        ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
        + [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
        + ["command: convert", "configuration: {formats: *a8}"]
    )
    for text in (
        bomb,
        "[" * 100_000,
        "{a: " * 5_000,
        "x" * (17 << 20),
        "!!python/object:os.system {}",
    ):
        (tmp_path / "run.yaml").write_text(text)
        started = time.process_time()
        with pytest.raises(InputError, match="cannot be read as a run's record") as caught:
            open_run(tmp_path)
        assert time.process_time() - started < 5 and len(str(caught.value)) < 500


def test_a_different_configuration_is_reported_in_one_line(tmp_path: Path) -> None:
    RunFolder.open(tmp_path, "simulate", {"a": ["x" * 10_000]}, overwrite=False, notes={}).record(1, {})
    with pytest.raises(InputError, match=r"a is .* there and 2 here") as caught:
        open_run(tmp_path, a=2)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("number", [-3, 1_234_567, 20_240_131_093_000])
def test_frames_of_any_number_are_owned_and_recorded(tmp_path: Path, number: int) -> None:
    with open_run(tmp_path, frames=[number], needed=("time",)) as folder:
        folder.record(number, {"time": 0.5})
        with pytest.raises(RunError, match="is working on it"):
            open_run(tmp_path, frames=[number])
    with open_run(tmp_path, needed=("time",)) as folder:
        assert set(folder.complete) == {number}


def test_a_named_pipe_in_a_run_is_not_waited_for(tmp_path: Path) -> None:
    open_run(tmp_path).close()
    (tmp_path / ".owner-00ff.lock").touch()
    os.mkfifo(tmp_path / ".owner-00ff.json")
    open_run(tmp_path).close()
    (tmp_path / "run.jsonl").unlink(missing_ok=True)
    os.mkfifo(tmp_path / "run.jsonl")
    with pytest.raises(InputError, match=r"run\.jsonl: cannot be read \(it is not a regular file\)"):
        open_run(tmp_path)
