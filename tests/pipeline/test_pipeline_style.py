"""Styles as a user types them: `--style-seed`, `styles`, `--style`."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from pipeline_helpers import SMALL, contents

from fluidsr import volumes
from fluidsr.cli import main
from fluidsr.frame import Frame
from fluidsr.models import Card, SmokeGenerator, save
from fluidsr.models.modulation import Factors
from fluidsr.models.store import properties_of

LATENT = {"content": 4, "motion": 2}


def call(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    return int(stop.value.code or 0)


def model_of(path: Path, gain: float) -> Path:
    """A generator that adds smoke in proportion to its first number of content, or with a `gain` of 0 nothing."""
    torch.manual_seed(3)
    generator = SmokeGenerator(2, 4, width=8, blocks=1, rise_width=4, last="resized", latent=LATENT)
    with torch.no_grad():
        for module in generator.modules():
            if isinstance(module, Factors):
                module.weight.zero_()
        last = generator.rises[-1]
        last.factors.weight[:, 0] = 0.2
        last.inner.spread.weight[:, last.inner.inputs :] = 0  # no noise
        last.inner.gather.weight.abs_().mul_(gain)
    card = Card(name=path.stem, **properties_of(generator), density_range=(0, 2), velocity_range=(-9, 9))
    save(path, generator, card)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four frames of both sides of a blob, and two models."""
    folder = tmp_path_factory.mktemp("styles")
    for side, n in (("low", 12), ("high", 48)):
        (folder / side).mkdir()
        x, y = np.meshgrid(*[(np.arange(n) + 0.5) / n] * 2, indexing="ij")
        for number in range(4):
            density = np.exp(-30 * ((x - 0.5) ** 2 + (y - 0.4 - 0.05 * number) ** 2)).astype(np.float32)
            flow = np.stack([np.zeros((n, n)), np.ones((n, n))]).astype(np.float32)
            frame = Frame(density, flow, cell_size=1.2 / n, time=number / 24, dt=1 / 24)
            volumes.write(folder / side / f"smoke_{number:04d}.npz", frame, precision="float")
    model_of(folder / "strong.safetensors", 30.0)
    model_of(folder / "deaf.safetensors", 0.0)
    data = ["--high", folder / "high", "--low", folder / "low", "-o", folder / "data.zarr", "-q"]
    assert call("import-dataset", *data) == 0
    return folder


def upsample(folder: Path, output: Path, *more: object, model: str = "strong") -> int:
    return call(
        "upsample", folder / "low", "--model", folder / f"{model}.safetensors", "--format", "npz",
        "--device", "cpu", "-q", "-o", output, *more,
    )  # fmt: skip


def test_frames_have_the_same_bytes_however_they_are_split(folder: Path, tmp_path: Path) -> None:
    assert upsample(folder, tmp_path / "whole", "--style-seed", 7) == 0
    assert upsample(folder, tmp_path / "parts", "--style-seed", 7, "--frames", "2-3") == 0
    assert upsample(folder, tmp_path / "parts", "--style-seed", 7, "--frames", "0-3") == 0
    assert contents(tmp_path / "whole") == contents(tmp_path / "parts") != {}
    assert upsample(folder, tmp_path / "tiled", "--style-seed", 7, "--tile", 5) == 0
    assert upsample(folder, tmp_path / "other", "--style-seed", 8) == 0
    whole, tiled, other = (
        volumes.read(tmp_path / name / "frames" / "smoke_0001.npz").density
        for name in ("whole", "tiled", "other")
    )
    np.testing.assert_allclose(tiled, whole, atol=1e-3)  # halves
    assert np.abs(whole - other).max() > 0.01


def test_another_style_is_another_run(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert upsample(folder, tmp_path / "run", "--style-seed", 7, "--frames", "0-0") == 0
    assert upsample(folder, tmp_path / "run", "--style-seed", 8, "--frames", "0-0") == 2
    assert "style_seed" in capsys.readouterr().err


def test_a_plain_model_refuses_a_style_in_one_line(
    tiny_model: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (
        ["upsample", folder / "low", "--style-seed", 1],
        ["upsample", folder / "low", "--style", "mass=1"],
        ["simulate", "plume2d", *SMALL, "--style-seed", 1],
        ["styles", "--score", "mass", "--data", folder / "data.zarr"],
    ):
        model = [tiny_model] if arguments[0] == "styles" else ["--model", tiny_model]
        assert call(*arguments, *model, "-o", tmp_path / "out", "--device", "cpu") == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert "has no latent code" in error and "smoke2d-x4-style" in error
        assert ("leave it out" in error) == (arguments[0] != "styles")  # which has nothing to leave out
    assert not (tmp_path / "out").exists()


def test_directions_are_found_and_followed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["styles", folder / "strong.safetensors", "--data", folder / "data.zarr", "--split", "train"]
    few = ["--samples", 96, "--device", "cpu"]
    assert call(*command, "--score", "mass", *few, "-q") == 0
    found = json.loads((folder / "strong.styles.json").read_text())
    assert found["directions"]["mass"]["r2"] > 0.5 and abs(found["directions"]["mass"]["vector"][0]) > 0.9
    assert call(*command, "--score", "mass", *few) == 2  # is there already
    masses = []
    for amount in (-2, 0, 2):
        output = tmp_path / f"mass{amount}"
        assert upsample(folder, output, "--style", f"mass={amount:+}") == 0
        masses.append(volumes.read(output / "frames" / "smoke_0002.npz").density.mean())
    assert masses[0] < masses[1] < masses[2]
    capsys.readouterr()
    assert upsample(folder, tmp_path / "x", "--style", "height=1") == 2
    assert "'height' is not in" in capsys.readouterr().err
    assert upsample(folder, tmp_path / "x", "--style", "mass") == 2
    assert "give a style such as enstrophy=+1.5" in capsys.readouterr().err
    others = folder / "deaf.styles.json"
    shutil.copyfile(folder / "strong.styles.json", others)
    assert upsample(folder, tmp_path / "x", "--style", "mass=1", model="deaf") == 2
    assert "holds the styles of another model, 'strong'" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_model_that_ignores_its_code_has_no_directions(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["styles", folder / "deaf.safetensors", "--data", folder / "data.zarr", "--split", "train"]
    output = tmp_path / "styles.json"
    assert call(*command, "--score", "enstrophy", "--samples", 64, "-o", output, "--device", "cpu") == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "latent code does not control it" in error and "below 0.3" in error
    assert not output.exists()


def test_a_scene_has_a_style(folder: Path, tmp_path: Path) -> None:
    few = ["--frames", "2", "--no-preview", "--format", "npz", "-q", *SMALL]
    model = ["--model", folder / "strong.safetensors"]
    keys = ["--set", "upscale.style_seed=5"]
    assert call("simulate", "plume2d", *few, *model, "--style-seed", 5, "-o", tmp_path / "option") == 0
    assert call("simulate", "plume2d", *few, *model, *keys, "-o", tmp_path / "key") == 0
    assert contents(tmp_path / "option") == contents(tmp_path / "key") != {}
    assert call("simulate", "plume2d", *few, *model, "--style-seed", 6, "-o", tmp_path / "other") == 0
    assert contents(tmp_path / "other") != contents(tmp_path / "key")
