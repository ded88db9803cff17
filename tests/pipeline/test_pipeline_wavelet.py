"""`upscale: {method: wavelet}` from the command line: stateful, and still resumable and splittable."""

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

WAVELET = ["--set", "upscale.method=wavelet", "--set", "upscale.factor=3"]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(output: Path, *arguments: str, frames: str = "4") -> tuple[int, str, str]:
        command = ["simulate", "plume2d", *WAVELET, *SMALL, "--frames", frames, "--format", "vdb", "-o"]
        with pytest.raises(SystemExit) as stop:
            main([*command, str(output), *arguments])
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    return call


def test_what_a_run_leaves(run: Run, tmp_path: Path) -> None:
    code, _, err = run(tmp_path / "run", "--set", "output.fields=[density,velocity,temperature]")
    assert code == 0, err
    fine = volumes.read(tmp_path / "run/frames/plume2d_0004.vdb")
    assert fine.shape == (72, 108) and fine.cell_size == pytest.approx(0.05 / 3)
    assert fine.velocity is not None and fine.temperature is not None
    assert float(np.abs(fine.velocity).max()) > 0.1 and float(fine.density.max()) > 0.5
    spec = yaml.safe_load((tmp_path / "run/run.yaml").read_text())["configuration"]
    assert spec["model"] == {"name": "wavelet turbulence"}
    assert (spec["scene"]["upscale"]["method"], spec["scene"]["upscale"]["factor"]) == ("wavelet", 3)
    assert (tmp_path / "run/preview.mp4").exists()


def test_a_stopped_run_and_a_split_one_give_the_same_bytes(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(tmp_path / "whole")[0] == 0
    for frames in ("3-4", "1-2"):
        assert run(tmp_path / "farm", frames=frames)[0] == 0
    assert contents(tmp_path / "farm") == contents(tmp_path / "whole")

    stream, calls = volumes.stream, []

    def interrupted(path: Path, *arguments: Any, **options: Any) -> Any:
        calls.append(path)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return stream(path, *arguments, **options)

    monkeypatch.setattr("fluidsr.pipeline.checkpoint.Checkpoint.is_due", lambda self: True)
    monkeypatch.setattr(volumes, "stream", interrupted)
    assert run(tmp_path / "halves")[0] == 130
    assert list((tmp_path / "halves").glob(".state_*"))
    monkeypatch.setattr(volumes, "stream", stream)

    from fluidsr.pipeline.checkpoint import Checkpoint

    restore, begun = Checkpoint.restore, []
    monkeypatch.setattr(Checkpoint, "restore", lambda *a, **k: begun.append(restore(*a, **k)) or begun[-1])
    assert run(tmp_path / "halves")[0] == 0
    assert begun and begun[0] > 0  # it did go on from a state
    assert contents(tmp_path / "halves") == contents(tmp_path / "whole")


def test_a_dry_run_states_the_cost_of_wavelet_turbulence(run: Run, tmp_path: Path) -> None:
    code, out, _ = run(tmp_path / "run", "--dry-run")
    assert code == 0 and not (tmp_path / "run").exists()
    plan = list(yaml.safe_load_all(out))[1]
    assert plan["model"] == "wavelet turbulence"
    assert plan["cost"]["fine_shape"] == [72, 108]
    assert plan["cost"]["memory_bytes"]["turbulence"] == 72 * 108 * 28


def test_the_options_of_the_other_method_are_refused(run: Run, tmp_path: Path) -> None:
    code, _, err = run(tmp_path / "run", "--set", "upscale.velocity_scale=2")
    assert code == 2 and "--set upscale.velocity_scale: there is no key" in err


def test_model_wins_over_the_scene_method(tiny_model: str) -> None:
    frames = list(
        fluidsr.simulate(
            "plume2d", frames=1, model=tiny_model, device="cpu", overrides=[*WAVELET[1::2], *SMALL[1:4:2]]
        )
    )
    assert frames[0].shape == (96, 144)


def test_smoke_keeps_out_of_solids(tmp_path: Path) -> None:
    scene = tmp_path / "post.yaml"
    scene.write_text(
        """
domain: {resolution: [16, 24], cell_size: 0.05, boundary: {x: periodic, y: [closed, open]}}
sources: [{shape: sphere, center: [0.45, 0.15], radius: 0.2, density: 1.0, temperature: 1.0}]
obstacles: [{shape: sphere, center: [0.4, 0.6], radius: 0.15}]
upscale: {method: wavelet, factor: 4, strength: 3}
"""
    )
    *_, last = fluidsr.simulate(str(scene), frames=20, device="cpu")
    x, y = np.meshgrid(*[(np.arange(n) + 0.5) * last.cell_size for n in last.shape], indexing="ij")
    inside = (x - 0.4) ** 2 + (y - 0.6) ** 2 < 0.14**2
    assert float(np.abs(last.density[inside]).max()) == 0
    assert float(last.density[:, 40:60].max()) > 0.1  # it did get there
