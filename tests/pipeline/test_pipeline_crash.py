"""Numbers that go wrong are caught in their frame, and `crash/` has what the run had before."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from pipeline_helpers import SMALL

from fluidsr import volumes
from fluidsr.cli import main
from fluidsr.errors import SolverError
from fluidsr.pipeline import crash
from fluidsr.scenes import load
from fluidsr.scenes.build import build, frame_of
from fluidsr.solver import Solver

PLUME = ["simulate", "plume2d", "--model", "none", "--no-preview", "--format", "npz", "--frames", "4", *SMALL]


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return int(stop.value.code or 0)


def spoil(monkeypatch: pytest.MonkeyPatch, number: int, value: float) -> None:
    """A cell's density becomes `value` while frame `number` is simulated."""
    advance_scalars, calls = Solver._advect_scalars, [0]

    def spoiled(solver: Solver, dt: float) -> None:
        advance_scalars(solver, dt)
        calls[0] += solver._state.time >= (number - 1) / 24 - 1e-6
        if calls[0] == 1:
            solver._state.density[300] = value

    monkeypatch.setattr(Solver, "_advect_scalars", spoiled)


@pytest.mark.parametrize(
    ("value", "said"), [(float("nan"), "no longer finite"), (1e9, "density runs away: ")]
)
def test_a_run_that_goes_wrong_leaves_its_last_good_state(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    value: float,
    said: str,
) -> None:
    run = tmp_path / "run"
    spoil(monkeypatch, 3, value)
    assert call(*PLUME, "--set", "output.fields=[density,velocity]", "-o", str(run)) == 1
    (line,) = [words for words in capsys.readouterr().err.splitlines() if words.startswith("Error")]
    assert (
        line.startswith("Error: frame 3, t = ") and said in line and str(run / "crash" / "scene.yaml") in line
    )
    monkeypatch.undo()

    assert [json.loads(record)["frame"] for record in (run / "run.jsonl").read_text().splitlines()] == [1, 2]
    last, written = (volumes.read(run / place) for place in ("crash/state.npz", "frames/plume2d_0002.npz"))
    assert last.time == written.time == pytest.approx(2 / 24)
    np.testing.assert_array_equal(last.density.astype(np.float16), written.density)
    report = yaml.safe_load((run / "crash" / "report.yaml").read_text())
    assert report["frame"] == 3 and said in report["error"]
    assert report["last_good_frame"]["range"]["density"][1] == pytest.approx(float(last.density.max()))
    assert report["last_good_frame"]["report"]["substeps"] >= 1

    again = [
        "simulate",
        str(run / "crash" / "scene.yaml"),
        "--start-frame",
        "3",
        "--frames",
        "3-4",
        "--no-preview",
    ]
    assert call(*again, "--device", "cpu", "-o", str(tmp_path / "again")) == 0
    frames = [volumes.read(tmp_path / "again" / "frames" / f"plume2d-restart_000{n}.npz") for n in (3, 4)]
    assert [frame.time for frame in frames] == pytest.approx([3 / 24, 4 / 24])

    # Nothing was wrong with the scene: the run goes on, and its crash is over.
    assert call(*PLUME, "--set", "output.fields=[density,velocity]", "-o", str(run)) == 0
    assert not (run / "crash").exists()
    whole = volumes.read(run / "frames" / "plume2d_0003.npz")
    assert float(np.abs(frames[0].density - whole.density).mean()) < 0.05 * float(whole.density.mean())


def test_a_fire_leaves_its_fuel(tmp_path: Path) -> None:
    scene = load("fire").with_changes(domain={"resolution": (8, 12, 8), "cell_size": 0.16})
    solver = build(scene)
    solver.advance(scene.frame_seconds)
    last = frame_of(solver, scene, scene.frame_seconds)
    crash.write(tmp_path, scene, last, 2, None, SolverError("t = 0.08 s", "it blew up", "wait"))
    (fuel, left) = (
        frame.numpy().others["fuel"] for frame in (volumes.read(tmp_path / "crash/state.npz"), last)
    )
    assert left.max() > 0.1
    np.testing.assert_array_equal(fuel, left)


def test_frames_before_the_failure_keep_the_crash_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    command = [*PLUME, "--start-frame", "11", "-o", str(run)]
    spoil(monkeypatch, 3, float("nan"))
    assert call(*command, "--frames", "11-14") == 1
    monkeypatch.undo()
    assert "Error: frame 13, t = " in capsys.readouterr().err
    assert yaml.safe_load((run / "crash" / "report.yaml").read_text())["frame"] == 13
    assert call(*command, "--frames", "11-12") == 0
    assert (run / "crash" / "state.npz").exists()
    capsys.readouterr()
    assert call(*command, "--frames", "11-13") == 0
    assert "resuming at frame 13; 2 frames are complete" in capsys.readouterr().err
    assert not (run / "crash").exists()


def test_a_stalled_solve_is_caught_in_its_frame(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = tmp_path / "stall.yaml"
    scene.write_text(
        "domain: {resolution: [24, 36], cell_size: 0.05}\n"
        "numerics: {pressure: {tolerance: 1.0e-7, max_iterations: 1}}\n"
        "sources: [{shape: sphere, center: [0.6, 0.3], radius: 0.2, density: 1, temperature: 50}]\n"
        "obstacles: [{shape: sphere, center: [0.6, 1.0], radius: 0.2}]\n"
    )
    run = tmp_path / "run"
    assert (
        call("simulate", str(scene), "--frames", "3", "--no-preview", "--device", "cpu", "-o", str(run)) == 1
    )
    assert "the pressure solve did not converge: relative residual" in capsys.readouterr().err
    assert sorted(file.name for file in (run / "crash").iterdir()) == [
        "report.yaml",
        "scene.yaml",
        "state.npz",
    ]
    (run / "crash" / "mine.txt").touch()
    assert call("simulate", "plume2d", *PLUME[2:], "--overwrite", "-o", str(run)) == 0
    assert [file.name for file in (run / "crash").iterdir()] == ["mine.txt"]


def test_smoke_that_a_caller_puts_in_is_no_runaway() -> None:
    scene = load("plume2d", ["domain.resolution=[24,36]", "domain.cell_size=0.05"])
    solver = build(scene)
    solver.advance(scene.frame_seconds)
    solver.density.mul_(1e6)
    solver.advance(scene.frame_seconds)
    with pytest.raises(SolverError, match="density runs away"):
        _run_away(solver, scene.frame_seconds)


@pytest.mark.parametrize("name", ["density", "temperature"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_scalar_that_moves_nothing_is_caught_in_its_frame(
    monkeypatch: pytest.MonkeyPatch, name: str, value: float
) -> None:
    """It has no weight and no lift, so velocity stays finite, and a NaN compares with no bound."""
    scene = load("plume2d", ["domain.resolution=[24,36]", "domain.cell_size=0.05", "physics.gravity=0"])
    solver = build(scene)
    solver.advance(scene.frame_seconds)
    advect = Solver._advect_scalars

    def spoiled(solver: Solver, dt: float) -> None:
        advect(solver, dt)
        solver._state.scalars[name].view(-1)[300] = value

    monkeypatch.setattr(Solver, "_advect_scalars", spoiled)
    with pytest.raises(SolverError, match=rf"{name}.* is no longer finite"):
        solver.advance(scene.frame_seconds)


def _run_away(solver: Solver, seconds: float) -> None:
    """Smoke that grows tenfold in each substep, which no single frame shows."""
    confine = solver._forces.confine_vorticity

    def grow(*arguments: object) -> None:
        confine(*arguments)  # type: ignore[arg-type]
        solver._state.density.mul_(10)

    solver._forces.confine_vorticity = grow  # type: ignore[method-assign,assignment]
    for _ in range(9):
        solver.advance(seconds)
