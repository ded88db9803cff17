"""Several scenes by one command: each in its own folder, one log, and a failure that stops no other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fluidsr.cli import main

SCENE = """
domain: {resolution: [12, 16], cell_size: 0.05, boundary: {x: open, y: [closed, open]}}
time: {frames: 2}
sources: [{shape: sphere, center: [0.3, 0.2], radius: 0.1, density: 1.0, temperature: 1.0}]
output: {formats: [npz]}
"""
DIVERGES = "numerics: {pressure: {tolerance: 1.0e-7, max_iterations: 1, preconditioner: none}}\n"


def call(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["simulate", *words])
    return int(ended.value.code or 0)


def scenes_in(folder: Path, **texts: str) -> Path:
    folder.mkdir()
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def log_of(parent: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (parent / "batch.jsonl").read_text().splitlines()]


def test_a_folder_of_scenes_is_a_batch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = scenes_in(tmp_path / "scenes", b=SCENE, a=SCENE)
    (folder / "notes.txt").write_text("not a scene")
    assert call(str(folder), "--no-preview", "-o", str(tmp_path / "runs"), "--json") == 0
    results = json.loads(capsys.readouterr().out)
    assert [result["scene"] for result in results] == ["a", "b"]
    for name in ("a", "b"):
        assert (tmp_path / "runs" / name / "frames" / f"{name}_0002.npz").exists()
    assert log_of(tmp_path / "runs") == results


def test_a_built_in_scene_is_meant_beside_a_run_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    small = [
        "--set",
        "domain.resolution=[12,18]",
        "--set",
        "domain.cell_size=0.1",
        "--model",
        "none",
        "--no-preview",
    ]
    for frames in ("1", "2"):
        assert call("plume2d", *small, "--frames", frames, "-o", "plume2d") == 0
    assert len(list(Path("plume2d/frames").glob("*.vdb"))) == 2
    Path("plume2d").rename("mine")
    capsys.readouterr()
    assert call("mine", *small, "-o", "other") == 2
    assert "mine: is the folder of a run" in capsys.readouterr().err


def test_a_scene_that_fails_stops_no_other_and_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = scenes_in(tmp_path / "scenes", bad=SCENE + DIVERGES, good=SCENE)
    parent = tmp_path / "runs"
    assert call(str(folder), "--no-preview", "-o", str(parent)) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("Error: ") and "1 of 2 scenes failed: bad" in error
    bad, good = log_of(parent)
    assert "did not converge" in str(bad["error"]) and "error" not in good
    assert (parent / "good" / "frames" / "good_0002.npz").exists()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["{folder}/empty"], "contains no scenes"),
        (["{folder}/a.yaml", "{folder}/a.yaml"], "two scenes have this name"),
        (["plume2d", "jet", "--name", "one"], "cannot have one name"),
        (["plume2d", "nothing"], "there is no such scene"),
    ],
)
def test_what_cannot_be_a_batch_is_refused_before_anything_runs(
    arguments: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = scenes_in(tmp_path / "scenes", a=SCENE)
    (folder / "empty").mkdir()
    words = [word.format(folder=folder) for word in arguments]
    assert call(*words, "-o", str(tmp_path / "runs")) == 2
    assert problem in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
