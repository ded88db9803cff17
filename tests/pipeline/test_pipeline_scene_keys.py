"""Models and files that a scene names: errors name the key of the scene, before anything runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import fluidsr
from fluidsr.cli import main
from fluidsr.frame import Frame

SCENE = """\
domain: {resolution: [16, 16, 16], cell_size: 0.05}
time: {frames: 2}
sources: [{shape: sphere, center: [0.4, 0.4, 0.4], radius: 0.1, density: 1}]
"""
MISTAKES = [
    ("upscale: {model: smoke3d-x5}", "upscale.model: smoke3d-x5: is neither a shipped model nor a file"),
    ("upscale: {model: SMOKE3D-X4.safetensors}", "upscale.model: SMOKE3D-X4.safetensors: is neither"),
    ("upscale: {model: smoke2d-x4}", "upscale.model: 'smoke2d-x4' is a 2-D generator"),
    ("upscale: {model: closure3d-x4}", "upscale.model: closure3d-x4: corrects coarse runs"),
    ("upscale: {model: bad.yaml}", "upscale.model: bad.yaml: cannot be used"),
    ("upscale: {model: smoke3d-x4, mask: no.vdb}", "upscale.mask: "),
    ("upscale: {model: smoke3d-x4, detail_mask: no.vdb}", "upscale.detail_mask: "),
    (
        "upscale: {model: smoke3d-x4, mask_grid: a}",
        "upscale.mask_grid: 'a' is given without a mask; add upscale.mask",
    ),
    ("upscale: {model: smoke3d-x4, style_seed: 1}", "upscale.style_seed: 'smoke3d-x4' has no latent code"),
    ("upscale: {model: smoke3d-x4, style: {a: 1}}", "upscale.style: 'smoke3d-x4' has no latent code"),
    (
        "upscale: {model: smoke3d-x4, styles: a.json}",
        "upscale.styles: has no effect without a direction; add upscale",
    ),
    ("numerics: {closure: nosuch}", "numerics.closure: nosuch: is neither a shipped model nor a file"),
    ("numerics: {closure: smoke3d-x4}", "numerics.closure: smoke3d-x4: upsamples frames"),
    ("start: {path: bad.yaml}", "start: "),
    ("start: {path: start.vdb, density_grid: smoke}", "start: "),
    ("start: {path: start.vdb, temperature_grid: heat}", "start.temperature_grid: "),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    fluidsr.write("start.vdb", Frame(np.ones((4, 4, 4), np.float32)))
    return tmp_path


@pytest.mark.parametrize(("line", "says"), MISTAKES, ids=[line for line, _ in MISTAKES])
def test_what_a_scene_names_is_checked_and_told_by_its_key(
    folder: Path, line: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("bad.yaml").write_text(SCENE + line)
    for command, file in ((["scenes", "check"], "bad.yaml: "), (["simulate", "-o", "run"], "")):
        with pytest.raises(SystemExit) as ended:
            main([*command, "bad.yaml"])
        printed = capsys.readouterr()
        assert ended.value.code == 2
        assert printed.err.startswith(f"Error: {file}{says}"), printed.err
        assert printed.err.count("\n") == 1 and "--" not in printed.err and not printed.out
    assert not Path("run").exists()


def test_only_correctors_are_offered_as_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.yaml").write_text(SCENE + "numerics: {closure: nosuch}")
    with pytest.raises(SystemExit):
        main(["scenes", "check", "bad.yaml"])
    assert capsys.readouterr().err.endswith("or one of: closure2d-x4, closure3d-x4\n")


def test_a_good_scene_passes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("good.yaml").write_text(SCENE + "upscale: {model: smoke3d-x4}\nstart: {path: start.vdb}\n")
    with pytest.raises(SystemExit) as ended:
        main(["scenes", "check", "good.yaml"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == "good.yaml: OK (16 x 16 x 16 cells, 2 frames)\n"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--style-seed", "3"], "--style-seed: 'smoke3d-x4' has no latent code"),
        (["--style", "enstrophy=1"], "--style: 'smoke3d-x4' has no latent code"),
        (["--styles", "a.json"], "--styles: has no effect without a direction; add --style"),
        (["--model", "nosuch"], "nosuch: is neither a shipped model nor a file"),
    ],
)
def test_options_are_told_as_options(
    folder: Path, options: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("good.yaml").write_text(SCENE + "upscale: {model: smoke3d-x4}\n")
    with pytest.raises(SystemExit) as ended:
        main(["simulate", "good.yaml", "--dry-run", *options])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"Error: {says}")
