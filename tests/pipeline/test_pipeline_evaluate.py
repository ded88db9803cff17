"""`fluidsr evaluate`: which simulations are judged and rendered, and which workers cannot judge."""

import json
from pathlib import Path
from typing import Any

import pytest

from fluidsr.cli import main
from fluidsr.errors import SolverError
from fluidsr.pipeline import evaluate, evaluation_job


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return int(stop.value.code or 0)


@pytest.fixture
def command(tiny_model: str, small_store: Path, tmp_path: Path) -> list[str]:
    """On three simulations."""
    judged = ["--model", tiny_model, "--data", str(small_store), "--split", "all", "--device", "cpu"]
    return ["evaluate", *judged, "-o", str(tmp_path / "report")]


@pytest.fixture
def diverging(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of simulations whose coarse run diverges."""
    names: set[str] = set()

    def divergence_of(recording: Any) -> SolverError | None:
        return SolverError("solver", "diverged", "use smaller steps") if recording.name in names else None

    monkeypatch.setattr(evaluation_job, "divergence_of", divergence_of)
    return names


def test_a_run_that_diverges_is_left_out_and_another_one_rendered(
    command: list[str], diverging: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    diverging.add("sim_00000")
    assert call(*command, "--pairs", "filtered", "--stride", "5") == 0
    said = capsys.readouterr()
    assert "sim_00000 is left out: solver: diverged" in said.err
    page = tmp_path / "report" / "index.html"
    assert page.is_file() and said.out.splitlines()[-1].startswith(f"{page}: ")
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert list(report["simulations"]) == ["sim_00001", "sim_00002"]
    judged = {(record["simulation"], record["frame"]) for record in report["frames"]}
    assert judged == {(f"sim_0000{n}", frame) for n in (1, 2) for frame in (2, 3)}  # a third of six warms up
    assert [file.name for file in (tmp_path / "report").glob("*.mp4")] == ["movie0_sim-00001.mp4"]
    assert {"tof", "render_ssim"} <= {
        key for key, value in report["simulations"]["sim_00001"]["cubic"].items() if value is not None
    }


def test_where_all_runs_diverge_there_is_no_report(
    command: list[str], diverging: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    diverging |= {"sim_00000", "sim_00001", "sim_00002"}
    assert call(*command, "-q") == 1
    assert capsys.readouterr().err.splitlines() == ["Error: solver: diverged; use smaller steps"]
    assert not (tmp_path / "report").exists()


def test_a_folder_that_cannot_be_written_is_reported_before_the_work(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "_report", None)  # the work
    (tmp_path / "file").write_text("mine")
    for output in ("file", "file/below"):
        assert call(*command[:-1], str(tmp_path / output)) == 2
        assert "cannot be written" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


def test_what_workers_cannot_see_is_refused(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command[command.index("--data") + 1] = "memory://a/smoke.zarr"
    assert call(*command, "--scheduler", "tcp://127.0.0.1:9") == 2
    line = "Error: memory://a/smoke.zarr: exists in one process only; leave --scheduler out"
    assert capsys.readouterr().err.splitlines() == [line]


@pytest.mark.parametrize(
    ("address", "code", "place"),
    [("tcp://127.0.0.1:1", 1, "--scheduler tcp://127.0.0.1:1: "), ("farm", 2, "--scheduler: 'farm' ")],
)
def test_a_scheduler_that_is_not_there_is_one_line(
    command: list[str],
    small_store: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    code: int,
    place: str,
) -> None:
    distributed = pytest.importorskip("distributed", reason="the extra 'distributed' is not installed")
    monkeypatch.setattr("fluidsr.cluster._ANSWER", 0.1)
    monkeypatch.setattr(distributed, "Client", None)  # which takes seconds more to give up
    assert call(*command, "-q", "--scheduler", address) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"Error: {place}")
    assert not (tmp_path / "report").exists()
