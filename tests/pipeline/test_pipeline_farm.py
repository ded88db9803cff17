"""Commands with --scheduler: what the workers of a dask cluster leave is what one process leaves, to the byte."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pipeline_helpers import SMALL, contents

from fluidsr.cli import main


def in_minutes(test: Any) -> Any:
    return pytest.mark.slow(pytest.mark.timeout(1800)(test))


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return int(stop.value.code or 0)


@pytest.fixture(scope="module")
def there() -> Iterator[list[str]]:
    """The option that names a scheduler with two workers, each a process of its own."""
    distributed = pytest.importorskip("distributed", reason="the extra 'distributed' is not installed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=2, processes=True, dashboard_address=":0", silence_logs=50
    ) as cluster:
        yield ["--scheduler", cluster.scheduler_address]


@pytest.fixture(scope="module")
def simulate(recalling_model: str) -> list[str]:
    """A run whose frames depend on those before them, with all that it can write."""
    scene = ["simulate", "plume2d", "--model", recalling_model, "--frames", "6", *SMALL]
    fields = ["--set", "output.coarse=true", "--set", "output.fields=[density,velocity,temperature]"]
    return [*scene, *fields, "--format", "vdb", "--format", "vti"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, simulate: list[str]) -> Path:
    folder = tmp_path_factory.mktemp("here") / "run"
    assert call(*simulate, "-o", str(folder)) == 0
    return folder


def timeless(folder: Path) -> list[dict]:
    """The log of a run, without seconds and source files."""
    lines = [json.loads(line) for line in (folder / "run.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "source")} for line in lines]


@in_minutes
class TestSimulate:
    def test_workers_leave_the_same_files_and_nothing_else(
        self, run: Path, tmp_path: Path, simulate: list[str], there: list[str]
    ) -> None:
        assert call(*simulate, *there, "-o", str(tmp_path / "run")) == 0
        assert contents(tmp_path / "run") == contents(run)
        assert timeless(tmp_path / "run") == timeless(run)
        assert {file.name for file in (tmp_path / "run").iterdir()} == {file.name for file in run.iterdir()}

    def test_a_killed_run_is_resumed_by_the_farm(
        self, run: Path, tmp_path: Path, simulate: list[str], there: list[str]
    ) -> None:
        folder = tmp_path / "run"
        command = [sys.executable, "-m", "fluidsr.cli", *simulate, *there, "-o", str(folder)]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as child:
            while not (folder / "run.jsonl").exists() and child.poll() is None:
                time.sleep(0.02)
            child.kill()
        assert call(*simulate, *there, "-o", str(folder)) == 0
        assert contents(folder) == contents(run)
        assert not list(folder.glob(".coarse_*"))


@pytest.mark.parametrize(
    "command",
    [
        ["convert", "--format", "vti", "--format", "vtkhdf"],
        ["retime", "--speed", "0.5", "--device", "cpu"],
    ],
    ids=lambda command: command[0],
)
@in_minutes
def test_workers_leave_the_same_volumes(
    run: Path, tmp_path: Path, there: list[str], command: list[str]
) -> None:
    name, *options = command
    cache = str(run / "frames" / "plume2d_####.vdb")
    for folder, more in (("here", []), ("there", there)):
        assert call(name, cache, *options, *more, "-o", str(tmp_path / folder / "run")) == 0
    assert contents(tmp_path / "there" / "run") == contents(tmp_path / "here" / "run")
    assert timeless(tmp_path / "there" / "run") == timeless(tmp_path / "here" / "run")


@pytest.mark.parametrize("options", [[], ["--flipbook", "3x2"]], ids=["pictures", "flipbook"])
@in_minutes
def test_workers_draw_the_same_pictures(
    run: Path, tmp_path: Path, there: list[str], options: list[str]
) -> None:
    cache, size = str(run / "frames" / "plume2d_####.vdb"), ["--width", "48", "--device", "cpu"]
    name = "sheet.png" if options else "pictures"
    drawn = []
    for folder, more in (("here", []), ("there", there)):
        target = tmp_path / folder / name
        assert call("render", cache, *size, *options, *more, "-o", str(target)) == 0
        files = [target] if options else sorted(target.glob("*.png"))
        drawn.append({file.name: file.read_bytes() for file in files})
    assert drawn[0] == drawn[1] and len(drawn[0]) == (1 if options else 6)


@in_minutes
def test_a_frame_that_a_worker_cannot_read_is_one_line_and_the_others_are_kept(
    run: Path, tmp_path: Path, there: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "cache"
    shutil.copytree(run / "frames", cache)
    damaged = cache / "plume2d_0004.vdb"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[: len(whole) // 2])
    convert = ["convert", str(cache / "plume2d_####.vdb"), "--format", "npz", "-q"]
    assert call(*convert, *there, "-o", str(tmp_path / "there")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"Error: {damaged}: ")
    assert [entry["frame"] for entry in timeless(tmp_path / "there")] == [1, 2, 3]
    damaged.write_bytes(whole)
    for folder, more in (("here", []), ("there", there)):
        assert call(*convert, *more, "-o", str(tmp_path / folder)) == 0
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


def seconds_left_out(document: dict) -> dict:
    """A report without what takes another time in every run."""
    others = {kind: seconds_left_out(each) for kind, each in document.get("others", {}).items()}
    return {k: v for k, v in document.items() if k != "seconds_per_frame"} | {"others": others}


@in_minutes
def test_workers_judge_the_same(
    small_store: Path,
    recalling_model: str,
    tmp_path: Path,
    there: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every number and every picture, of a model and data that are given by relative paths."""
    monkeypatch.chdir(small_store.parent)
    command = ["evaluate", "--model", os.path.relpath(recalling_model), "--data", small_store.name]
    command += ["--split", "all", "--pairs", "recorded", "--pairs", "filtered", "--stride", "5"]
    for folder, more in (("here", []), ("there", there)):
        options = ["--pictures", "2", "--device", "cpu", "-q", "-o", str(tmp_path / folder)]
        assert call(*command, *more, *options) == 0
    here, away = (
        {f.relative_to(tmp_path / n): f for f in (tmp_path / n).rglob("*.*")} for n in ("here", "there")
    )
    reports = [json.loads(files[Path("report.json")].read_text()) for files in (here, away)]
    assert len(reports[0]["simulations"]) == len(reports[0]["others"]["filtered"]["simulations"]) == 3
    assert json.dumps(seconds_left_out(reports[0])) == json.dumps(seconds_left_out(reports[1]))
    pictures = [name for name in here if name.suffix in (".png", ".mp4")]
    assert here.keys() == away.keys() and len(pictures) == 16
    assert all(here[name].read_bytes() == away[name].read_bytes() for name in pictures)


def test_wavelet_turbulence_is_of_one_process(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wavelet = [
        "simulate",
        "plume2d",
        *SMALL,
        "--set",
        "upscale={method: wavelet}",
        "-o",
        str(tmp_path / "run"),
    ]
    assert call(*wavelet, "--scheduler", "tcp://127.0.0.1:9") == 2
    what = "wavelet turbulence needs the frames in order, and cannot be distributed"
    line = f"Error: --scheduler: {what}; leave it out, or choose a --model"
    assert capsys.readouterr().err.splitlines() == [line]
    assert not (tmp_path / "run").exists()
