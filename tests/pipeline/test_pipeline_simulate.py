"""The main job on a small scene: what it leaves, how it goes on, what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pipeline_helpers import SMALL, contents

import fluidsr
from fluidsr import volumes
from fluidsr.cli import main

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def tiny_model(recalling_model: str) -> str:
    """Here frames depend on those before them."""
    return recalling_model


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tiny_model: str) -> Run:
    def call(output: Path, *arguments: str, frames: str = "5") -> tuple[int, str]:
        with pytest.raises(SystemExit) as stop:
            main(
                [
                    "simulate",
                    "plume2d",
                    "--model",
                    tiny_model,
                    "--frames",
                    frames,
                    *SMALL,
                    "-o",
                    str(output),
                    *arguments,
                ]
            )
        return int(stop.value.code or 0), capsys.readouterr().err

    return call


def test_what_a_run_leaves(run: Run, tmp_path: Path) -> None:
    code, err = run(tmp_path / "run", "--set", "output.coarse=true", "--format", "vdb", "--format", "vti")
    assert code == 0, err
    folder = tmp_path / "run"
    names = {str(file.relative_to(folder)) for file in folder.rglob("*") if ".preview" not in file.parts}
    frames = {
        f"{side}/plume2d_{n:04d}.{kind}"
        for side in ("frames", "coarse")
        for n in range(1, 6)
        for kind in ("vdb", "vti")
    }
    series, pictures = {"plume2d.pvd", "plume2d_coarse.pvd", "plume2d.usda"}, {"preview.png", "preview.mp4"}
    assert names == frames | series | pictures | {"frames", "coarse", "run.yaml", "run.jsonl"}
    fine, coarse = (
        volumes.read(folder / "frames/plume2d_0005.vdb"),
        volumes.read(folder / "coarse/plume2d_0005.vdb"),
    )
    assert fine.shape == (96, 144) and coarse.shape == (24, 36)
    assert fine.cell_size == pytest.approx(0.05 / 4) and fine.origin == coarse.origin
    assert fine.time == pytest.approx(5 / 24)
    records = [json.loads(line) for line in (folder / "run.jsonl").read_text().splitlines()]
    assert [record["frame"] for record in records] == [1, 2, 3, 4, 5]
    for record in records:
        assert record["max_divergence"] < 1e-3
        assert record["total_density"] > 0
        assert record["substeps"] == len(record["pressure_iterations"]) >= 1
        assert {"simulate", "upscale", "write", "preview"} <= set(record["seconds"])
    spec = yaml.safe_load((folder / "run.yaml").read_text())
    assert spec["configuration"]["model"]["name"] == "recalling"
    assert spec["configuration"]["scene"]["domain"]["resolution"] == [24, 36]


def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(tmp_path / "whole")[0] == 0
    stream, calls = volumes.stream, []

    def interrupted(path: Path, *arguments: Any, **options: Any) -> Any:
        calls.append(path)
        if len(calls) == 6:  # two formats a frame: in the middle of the third
            raise KeyboardInterrupt
        return stream(path, *arguments, **options)

    # Every state is kept, so that going on really starts from one.
    monkeypatch.setattr("fluidsr.pipeline.checkpoint.Checkpoint.is_due", lambda self: True)
    monkeypatch.setattr(volumes, "stream", interrupted)
    code, err = run(tmp_path / "halves")
    assert code == 130 and "Rerun the same command to resume" in err
    done = len((tmp_path / "halves" / "run.jsonl").read_text().splitlines())
    assert 0 < done < 5
    assert list((tmp_path / "halves").glob(".state_*"))
    monkeypatch.setattr(volumes, "stream", stream)
    assert run(tmp_path / "halves")[0] == 0
    assert contents(tmp_path / "halves") == contents(tmp_path / "whole")
    leftovers = [
        file
        for file in (tmp_path / "halves").rglob("*")
        if file.name.startswith(".") and file.name != ".preview"
    ]
    assert not leftovers


@pytest.mark.parametrize("damaged", [1, 2])
def test_a_changed_number_in_a_saved_state_changes_no_frame(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: int
) -> None:
    """The state before it is used, or the beginning if both are damaged; and a message reports it."""
    assert run(tmp_path / "whole")[0] == 0
    monkeypatch.setattr("fluidsr.pipeline.checkpoint.Checkpoint.is_due", lambda self: True)
    stream, calls = volumes.stream, []

    def interrupted(path: Path, *arguments: Any, **options: Any) -> Any:
        calls.append(path)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return stream(path, *arguments, **options)

    monkeypatch.setattr(volumes, "stream", interrupted)
    assert run(tmp_path / "halves")[0] == 130
    states = sorted(
        (tmp_path / "halves").glob(".state_*"), key=lambda file: file.stat().st_mtime_ns, reverse=True
    )
    assert len(states) == 2  # the newest, and the one before it
    for state in states[:damaged]:
        content = bytearray(state.read_bytes())
        content[-3] ^= 1
        state.write_bytes(content)
    monkeypatch.setattr(volumes, "stream", stream)
    code, err = run(tmp_path / "halves")
    assert code == 0 and err.count("cannot be used (its checksum does not match)") == damaged
    assert contents(tmp_path / "halves") == contents(tmp_path / "whole")


def test_a_finished_run_is_left_alone_and_can_be_made_longer(run: Run, tmp_path: Path) -> None:
    assert run(tmp_path / "run", frames="2")[0] == 0
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "run" / "frames").iterdir()}
    assert run(tmp_path / "run", frames="2")[0] == 0
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "run" / "frames").iterdir()} == before
    assert run(tmp_path / "run", frames="5")[0] == 0
    assert run(tmp_path / "whole", frames="5")[0] == 0
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_ranges_leave_the_same_bytes(run: Run, tmp_path: Path) -> None:
    for frames in ("4-5", "1-3"):
        assert run(tmp_path / "farm", frames=frames)[0] == 0
    assert run(tmp_path / "whole")[0] == 0
    assert contents(tmp_path / "farm") == contents(tmp_path / "whole")


def test_another_configuration_needs_overwrite(run: Run, tmp_path: Path) -> None:
    assert run(tmp_path / "run", frames="1")[0] == 0
    code, err = run(tmp_path / "run", "--set", "time.fps=25", frames="1")
    assert code == 2
    assert "scene.time.fps is 24" in err and "--overwrite" in err
    assert run(tmp_path / "run", "--set", "time.fps=25", "--overwrite", frames="1")[0] == 0


def test_a_folder_that_cannot_be_made(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    code, err = run(tmp_path / "file" / "run")
    assert code == 2 and err.startswith("Error: ") and err.count("\n") == 1


def test_a_full_disk_ends_the_run_with_code_1(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "x.vdb"))

    monkeypatch.setattr(volumes, "stream", full)
    code, err = run(tmp_path / "run", "--set", "numerics.closure=none")
    assert code == 1 and "No space left" in err and err.count("\n") == 1


def test_dry_run_writes_nothing(tmp_path: Path, tiny_model: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["simulate", "plume2d", "--model", tiny_model, "--dry-run", *SMALL, "-o", str(tmp_path / "run")])
    assert not stop.value.code
    scene, plan = yaml.safe_load_all(capsys.readouterr().out)
    assert scene["domain"]["resolution"] == [24, 36]
    assert plan["cost"]["coarse_cells"] == 24 * 36
    assert plan["cost"]["fine_cells"] == 96 * 144
    assert plan["cost"]["memory_bytes"]["together"] > 0
    assert not list(tmp_path.iterdir())


def test_a_model_of_the_other_dimension(
    run: Run, tmp_path: Path, tiny_model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["simulate", "plume", "--model", tiny_model, "-o", str(tmp_path / "run")])
    assert stop.value.code == 2
    assert "2-D generator and the scene is 3-D" in capsys.readouterr().err


def test_from_python(tiny_model: str) -> None:
    overrides = ["domain.resolution=[24,36]", "domain.cell_size=0.05", "numerics.closure=none"]
    coarse = list(fluidsr.simulate("plume2d", frames=3, model="none", device="cpu", overrides=overrides))
    fine = list(fluidsr.simulate("plume2d", frames=3, model=tiny_model, device="cpu", overrides=overrides))
    assert [frame.shape for frame in coarse] == [(24, 36)] * 3
    assert isinstance(coarse[0].density, np.ndarray)
    # Each frame keeps its fields when the simulation goes on.
    assert coarse[0].density.sum() < coarse[1].density.sum() < coarse[2].density.sum()
    model = fluidsr.load_model(tiny_model, device="cpu")
    for number, (low, high) in enumerate(zip(coarse, fine, strict=True)):
        np.testing.assert_array_equal(model.upsample(low, history=coarse[:number]).density, high.density)


def test_from_python_bad_input_is_reported_at_once() -> None:
    with pytest.raises(fluidsr.errors.InputError):
        fluidsr.simulate("no-such-scene")
