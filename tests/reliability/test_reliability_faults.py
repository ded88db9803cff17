"""Faults by injection: whatever befalls the disk, the clock, a kernel or a network, finished frames are whole, the end
is one line, and the same command goes on to the same bytes."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from fluidsr import volumes
from fluidsr.atomic import is_unfinished
from fluidsr.cli import main
from fluidsr.frame import Frame
from fluidsr.pipeline.run_folder import RunFolder
from fluidsr.solver import Solver

FORMATS = ["--format", "vdb", "--format", "vti", "--format", "npz"]
PLUME = ["simulate", "plume2d", "--model", "none", "--no-preview", "--frames", "4", "--device", "cpu"]
PLUME += ["--set", "domain.resolution=[24,36]", "--set", "domain.cell_size=0.05", *FORMATS]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four frames of noise, which does not compress."""
    folder = tmp_path_factory.mktemp("cache")
    for number in range(1, 5):
        density = np.random.default_rng(number).random((56, 56, 56), np.float32)
        volumes.write(folder / f"puff_{number:04d}.npz", Frame(density, cell_size=0.1, time=number / 24))
    return folder


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run a command; its exit code, and the one line that it ends with (empty where it ends well)."""

    def run(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        said = capsys.readouterr().err
        reported = [line for line in said.splitlines() if line.startswith("Error")]
        assert len(reported) <= 1 and "Traceback" not in said
        return int(stop.value.code or 0), "".join(reported)

    return run


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB, which a test may fill, or mount read-only."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small file system takes root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(disk)], check=True)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.glob("frames/*")}


def unfinished(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if is_unfinished(file.name)]


def after(number: int, monkeypatch: pytest.MonkeyPatch, happens: Callable[[], None]) -> None:
    """Let something happen once frame `number` is in the log."""
    record = RunFolder.record

    def recorded(folder: RunFolder, frame: int, *details: object) -> None:
        record(folder, frame, *details)  # type: ignore[arg-type]
        if frame == number:
            happens()

    monkeypatch.setattr(RunFolder, "record", recorded)


def test_a_full_disk(cache: Path, disk: Path, tmp_path: Path, call: Callable[..., tuple[int, str]]) -> None:
    convert = ["convert", str(cache), "--format", "npz", "--precision", "float", "-q"]
    assert call(*convert, "-o", str(tmp_path / "whole")) == (0, "")
    code, line = call(*convert, "-o", str(disk / "run"))
    assert code == 1
    assert line.endswith(": the disk is full; free some space, or write to another disk")
    finished = contents(disk / "run")
    assert 2 <= len(finished) < 4 and finished.items() <= contents(tmp_path / "whole").items()
    assert not unfinished(disk)
    remount(disk, "size=9m")
    assert call(*convert, "-o", str(disk / "run")) == (0, "")
    assert contents(disk / "run") == contents(tmp_path / "whole")


@pytest.mark.parametrize(
    "command",
    [
        ["retime", "--frame-rate", "60", "--device", "cpu"],
        ["restcoords"],
        ["import-dataset", "--factor", "4"],
    ],
    ids=lambda command: command[0],
)
def test_a_full_disk_in_commands_that_read_motion(
    command: list[str], disk: Path, tmp_path: Path, call: Callable[..., tuple[int, str]]
) -> None:
    frames = tmp_path / "moving"
    frames.mkdir()
    for number in range(1, 5):
        density = np.random.default_rng(number).random((40, 40, 40), np.float32)
        frame = Frame(density, velocity=np.stack([density] * 3), cell_size=0.1, time=number / 24)
        volumes.write(frames / f"puff_{number:04d}.npz", frame)
    words = [*command, *(["--high"] if command[0] == "import-dataset" else []), str(frames), "-q", "-o"]
    assert call(*words, str(tmp_path / "whole")) == (0, "")
    code, line = call(*words, str(disk / "run"))
    assert code == 1
    assert line.endswith(": the disk is full; free some space, or write to another disk")
    assert not unfinished(disk) and not list(disk.rglob("*.partial"))
    remount(disk, "size=40m")
    assert call(*words, str(disk / "run")) == (0, "")
    made, whole = (
        {str(file.relative_to(run)): file.read_bytes() for file in run.rglob("*") if is_product(file)}
        for run in (disk / "run", tmp_path / "whole")
    )
    assert made == whole and made


def is_product(file: Path) -> bool:
    """Whether it is a frame, or a part of a simulation of a dataset."""
    return file.is_file() and ("frames" in file.parts or "c" in file.parts)


def test_a_read_only_file_system(cache: Path, disk: Path, call: Callable[..., tuple[int, str]]) -> None:
    remount(disk, "ro")
    code, line = call("convert", str(cache), "--format", "npz", "-q", "-o", str(disk / "run"))
    assert code == 2 and line.endswith(
        " cannot be written (Read-only file system); give a writable folder as --output"
    )


def test_permission_is_lost_half_way(
    cache: Path, tmp_path: Path, call: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    convert = ["convert", str(cache), "--format", "npz", "-q", "-o", str(run)]
    after(2, monkeypatch, lambda: allow_writing(run / "frames", False))
    try:
        code, line = call(*convert)
    finally:
        allow_writing(run / "frames", True)
    assert code == 2 and line.endswith(": permission denied; choose a folder that you may write to")
    assert len(contents(run)) == 2 and not unfinished(run)
    monkeypatch.undo()
    assert call(*convert) == (0, "") and len(contents(run)) == 4


def allow_writing(folder: Path, allowed: bool) -> None:
    """Let the user write into a folder, or not; for root, too."""
    if os.geteuid() != 0:
        folder.chmod(0o700 if allowed else 0o500)
    elif subprocess.run(["chattr", "-i" if allowed else "+i", str(folder)], capture_output=True).returncode:
        pytest.skip("this file system has no attributes that bind root")


def test_the_folder_goes_half_way(
    cache: Path, tmp_path: Path, call: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    after(2, monkeypatch, lambda: shutil.rmtree(run))
    code, line = call("convert", str(cache), "--format", "npz", "-q", "-o", str(run))
    assert code == 2
    assert line.endswith(": the folder does not exist; create it, or name another one")
    monkeypatch.undo()
    assert call("convert", str(cache), "--format", "npz", "-q", "-o", str(run)) == (0, "")
    assert len(contents(run)) == 4


def test_the_clock_is_set_back(
    cache: Path, tmp_path: Path, call: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    convert = ["convert", str(cache), *FORMATS, "-q"]
    assert call(*convert, "-o", str(tmp_path / "whole")) == (0, "")

    def stop() -> None:
        raise KeyboardInterrupt

    after(2, monkeypatch, stop)
    assert call(*convert, "-o", str(tmp_path / "run"))[0] == 130
    monkeypatch.undo()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 10 * 365 * 86400)
    for file in (tmp_path / "run").rglob("*"):  # to the clock they are from the future
        os.utime(file, (now, now))
    assert call(*convert, "-o", str(tmp_path / "run")) == (0, "")
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            RuntimeError("[kernel.cpp] assertion failed"),
            "internal error (RuntimeError: [kernel.cpp] assertion failed)",
        ),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
            "not enough memory for this run; ",
        ),
        (MemoryError(), "not enough memory for this run; "),
    ],
)
def test_an_error_inside_a_kernel(
    tmp_path: Path,
    call: Callable[..., tuple[int, str]],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    said: str,
) -> None:
    trace, calls = Solver._trace, [0]

    def failing(solver: Solver, dt: float) -> None:
        calls[0] += 1
        if solver.time > 1.9 / 24:
            raise error
        trace(solver, dt)

    monkeypatch.setattr(Solver, "_trace", failing)
    code, line = call(*PLUME, "-q", "-o", str(tmp_path / "run"))
    assert code == 1 and line.startswith(f"Error: {said}")
    assert {file.name for file in (tmp_path / "run" / "frames").iterdir()} == {
        f"plume2d_000{n}.{kind}" for n in (1, 2) for kind in ("vdb", "vti", "npz")
    }


def test_an_error_inside_a_network(
    tmp_path: Path, call: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fluidsr.upscaling.tile_runner import TileRunner

    flat = tmp_path / "flat"
    flat.mkdir()
    for number in range(1, 5):
        density = np.random.default_rng(number).random((12, 12), np.float32)
        velocity = np.zeros((2, 12, 12), np.float32)
        volumes.write(flat / f"puff_{number:04d}.npz", Frame(density, velocity=velocity, time=number / 24))
    upsample = ["upsample", str(flat), "--model", "smoke2d-x4", "--format", "npz", "--device", "cpu", "-q"]
    assert call(*upsample, "-o", str(tmp_path / "whole")) == (0, "")
    generate, calls = TileRunner.generate, [0]

    def failing(runner: TileRunner, *inputs: object, **more: object) -> object:
        calls[0] += 1
        if calls[0] == 3:
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied\nException raised from addmm")
        return generate(runner, *inputs, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(TileRunner, "generate", failing)
    code, line = call(*upsample, "-o", str(tmp_path / "run"))
    assert code == 1 and line.startswith("Error: internal error (RuntimeError: mat1 and mat2 shapes")
    monkeypatch.undo()
    assert not unfinished(tmp_path / "run")
    assert contents(tmp_path / "run").items() < contents(tmp_path / "whole").items()
    assert call(*upsample, "-o", str(tmp_path / "run")) == (0, "")
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


@pytest.mark.slow
def test_a_scheduler_without_workers_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed", reason="the extra 'distributed' is not installed")
    from fluidsr import cluster

    monkeypatch.setattr(cluster, "_PATIENCE", 0.5)
    reported: list[str] = []
    with distributed.LocalCluster(
        n_workers=0, processes=False, dashboard_address=None, silence_logs=50
    ) as running:
        with cluster.connect(running.scheduler_address, reported.append):
            pass
        (line,) = reported
        assert "has no workers; waiting for one (start it with 'dask worker" in line
