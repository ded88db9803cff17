"""What an artist turns, from the command line to the files: detail, confidence, passes of several models."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from pipeline_helpers import SMALL, contents

from fluidsr import upscaling, volumes
from fluidsr.cli import main
from fluidsr.frame import Frame
from fluidsr.models import Card, SmokeGenerator, save
from fluidsr.models.store import properties_of
from fluidsr.pipeline.upsample_settings import models_of

EXACT = ["--set", "output.precision=float", "--format", "npz", "--no-preview"]
HALF = "{shape: box, center: [0.3, 0.9], size: [0.6, 1.8], detail: 0}"  # of the domain


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return int(stop.value.code or 0)


def saved(path: Path, factor: int, **options) -> str:
    torch.manual_seed(2)
    generator = SmokeGenerator(2, factor, width=8, blocks=1, rise_width=4, **options)
    with torch.no_grad():
        generator.rises[-1].weight.mul_(30)
    card = Card(name=path.stem, **properties_of(generator), density_range=(0, 2), velocity_range=(-9, 9))
    save(path, generator, card)
    return str(path)


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> str:
    return saved(tmp_path_factory.mktemp("models") / "masked.safetensors", 4, mask=True)


@pytest.fixture(scope="module")
def double(tmp_path_factory: pytest.TempPathFactory) -> str:
    return saved(tmp_path_factory.mktemp("models") / "double.safetensors", 2)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six coarse frames."""
    folder = tmp_path_factory.mktemp("control") / "run"
    fields = ["--set", "output.fields=[density,velocity]"]
    assert (
        call(
            "simulate",
            "plume2d",
            "--model",
            "none",
            *SMALL,
            *EXACT,
            *fields,
            "--frames",
            "6",
            "-o",
            str(folder),
        )
        == 0
    )
    return folder / "frames"


def source(cache: Path, number: int = 6) -> str:
    return str(cache / f"plume2d_{number:04d}.npz")


def fine(folder: Path, number: int = 6) -> Frame:
    return volumes.read(folder / "frames" / f"plume2d_{number:04d}.npz")


def upsampled(cache: Path, folder: Path, *options: str) -> Frame:
    common = ["--device", "cpu", "--format", "npz", "-o", str(folder)]
    assert call("upsample", source(cache), *common, *options) == 0
    return fine(folder)


def test_detail_reaches_the_model_and_another_detail_is_another_run(
    cache: Path, tmp_path: Path, tiny_model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    frame, model = volumes.read(source(cache)), upscaling.load(tiny_model, device="cpu")
    plain = upsampled(cache, tmp_path / "plain", "--model", tiny_model)
    half = upsampled(cache, tmp_path / "half", "--model", tiny_model, "--detail", "0.5")
    np.testing.assert_allclose(half.density, model.upsample(frame, detail=0.5).density, atol=1e-3)
    assert np.abs(half.density - plain.density).max() > 0.01
    spec = yaml.safe_load((tmp_path / "half" / "run.yaml").read_text())
    assert spec["configuration"]["shaping"]["detail"] == 0.5
    common = ["upsample", source(cache), "--model", tiny_model, "--device", "cpu", "--format", "npz"]
    assert call(*common, "-o", str(tmp_path / "half")) == 2
    assert "another configuration: shaping.detail is 0.5 there and 1.0 here" in capsys.readouterr().err
    assert call(*common, "--detail", "4.5", "-o", str(tmp_path / "no")) == 2
    assert "4.5 is out of range; give a number from 0 to 4" in capsys.readouterr().err


def test_detail_in_a_region_and_in_a_mask(cache: Path, tmp_path: Path, tiny_model: str) -> None:
    frame, model = volumes.read(source(cache)), upscaling.load(tiny_model, device="cpu")
    (tmp_path / "regions.yaml").write_text(f"regions: [{HALF}]")
    left = np.ones(frame.shape, np.float32)
    left[:12] = 0
    expected = model.upsample(frame, detail=2 * left).density
    found = upsampled(
        cache,
        tmp_path / "region",
        "--model",
        tiny_model,
        "--region",
        str(tmp_path / "regions.yaml"),
        "--detail",
        "2",
    )
    np.testing.assert_allclose(found.density, expected, atol=1e-3)
    mask = tmp_path / "mask.npz"
    volumes.write(mask, frame.with_fields({"density": 2 * left}), precision="float")
    found = upsampled(cache, tmp_path / "mask", "--model", tiny_model, "--detail-mask", str(mask))
    np.testing.assert_allclose(found.density, expected, atol=1e-3)
    velocity = upsampled(cache, tmp_path / "velocity", "--model", tiny_model, "--mask", str(mask))
    shown = model.upsample(frame, velocity_scale=2 * left).density
    np.testing.assert_allclose(velocity.density, shown, atol=1e-3)


def test_a_scene_and_its_option_are_one(
    tmp_path: Path, tiny_model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ["simulate", "plume2d", *SMALL, *EXACT, "--frames", "4"]
    model = ["--model", tiny_model]
    assert call(*run, *model, "--detail", "0.5", "-o", str(tmp_path / "option")) == 0
    assert call(*run, *model, "--set", "upscale.detail=0.5", "-o", str(tmp_path / "key")) == 0
    assert contents(tmp_path / "option") == contents(tmp_path / "key")
    assert call(*run, *model, "-o", str(tmp_path / "key")) == 2
    assert "scene.upscale.detail is 0.5 there and 1.0 here" in capsys.readouterr().err
    region = ["--set", f"upscale.regions=[{HALF}]"]
    assert call(*run, *model, "--detail", "0.5", *region, "-o", str(tmp_path / "region")) == 0
    assert contents(tmp_path / "region") != contents(tmp_path / "key")
    carry = ["--set", "upscale={method: carry, frames: 1}", "--detail"]
    for detail in ("0", "2"):
        assert call(*run, *carry, detail, "-o", str(tmp_path / f"carry{detail}")) == 0
    assert np.abs(fine(tmp_path / "carry0", 4).density - fine(tmp_path / "carry2", 4).density).max() > 1e-3


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            ["--set", "upscale={method: wavelet}"],
            "--detail: applies to generators only; set upscale.strength for wavelet",
        ),
        (["--model", "none"], "--detail: the coarse frames are the output; leave it out, or give a --model"),
    ],
)
def test_detail_is_refused_where_no_generator_adds_any(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], says: str
) -> None:
    assert call("simulate", "plume2d", *SMALL, *options, "--detail", "0.5", "-o", str(tmp_path / "run")) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1 and not (tmp_path / "run").exists()


@pytest.mark.parametrize("suffix", ["vdb", "npz"])
def test_confidence_is_written(cache: Path, tmp_path: Path, masked: str, suffix: str) -> None:
    folder = tmp_path / "fine"
    common = ["--model", masked, "--device", "cpu", "--format", suffix, "--field", "confidence"]
    assert call("upsample", source(cache), *common, "-o", str(folder)) == 0
    found = volumes.read(folder / "frames" / f"plume2d_0006.{suffix}", fields=["density", "confidence"])
    model = upscaling.load(masked, device="cpu", tile=5)
    expected = model.upsample(volumes.read(source(cache)), fields=["confidence"])
    assert list(expected.fields()) == ["density", "confidence"]
    confidence = expected.fields()["confidence"]
    assert (
        0 < confidence.max() < 1
        and (confidence == 0).any()
        and (expected.density[confidence == 0] == 0).all()
    )
    np.testing.assert_allclose(found.fields()["confidence"], confidence, atol=1e-3)
    np.testing.assert_allclose(found.density, expected.density, atol=1e-3)


def test_a_scene_writes_confidence_beside_the_fine_density_alone(tmp_path: Path, masked: str) -> None:
    fields = ["--set", "output.fields=[density,confidence]", "--set", "output.coarse=true"]
    run = ["simulate", "plume2d", "--model", masked, *SMALL, *EXACT, *fields, "--frames", "4"]
    assert call(*run, "-o", str(tmp_path / "run")) == 0
    names = volumes.read(tmp_path / "run" / "frames" / "plume2d_0004.npz").fields()
    assert list(names) == ["density", "confidence"] and names["confidence"].any()
    assert list(volumes.read(tmp_path / "run" / "coarse" / "plume2d_0004.npz").fields()) == ["density"]


def test_a_model_without_a_mask_refuses_confidence(
    cache: Path, tmp_path: Path, tiny_model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    says = (
        "'tiny' has no mask, which confidence requires; leave it out, or choose a model that was trained with"
    )
    common = ["--model", tiny_model, "--device", "cpu", "-o", str(tmp_path / "run")]
    assert call("upsample", source(cache), *common, "--field", "confidence") == 2
    assert f"Error: --field: {says}" in capsys.readouterr().err
    fields = ["--set", "output.fields=[density,confidence]"]
    assert call("simulate", "plume2d", *SMALL, *fields, *common) == 2
    assert f"Error: output.fields: {says}" in capsys.readouterr().err
    assert call("simulate", "plume2d", *SMALL, *fields, "--model", "none", "-o", str(tmp_path / "run")) == 2
    assert "no model upsamples the frames" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_passes_of_two_models_are_two_calls(
    cache: Path, tmp_path: Path, tiny_model: str, double: str, capsys: pytest.CaptureFixture[str]
) -> None:
    both = ["--model", tiny_model, "--model", double, "--format", "npz", "--device", "cpu", "--detail", "0.5"]
    chain = ["upsample", source(cache), *both, "-o", str(tmp_path / "chain"), "--json"]
    assert call(*chain) == 0
    assert json.loads(capsys.readouterr().out)["models"] == [tiny_model, double]
    once = upsampled(cache, tmp_path / "once", "--model", tiny_model, "--detail", "0.5")
    assert once.velocity is not None  # so that its files can go on
    second = [
        "--model",
        double,
        "--velocity-scale",
        "0.25",
        "--detail",
        "0.5",
        "--device",
        "cpu",
        "--format",
        "npz",
    ]
    assert call("upsample", str(tmp_path / "once"), *second, "-o", str(tmp_path / "twice")) == 0
    found, expected = fine(tmp_path / "chain"), fine(tmp_path / "twice")
    assert found.shape == (192, 288) and found.origin == expected.origin
    assert found.cell_size == pytest.approx(0.05 / 8)
    np.testing.assert_allclose(found.density, expected.density, atol=2e-3)
    np.testing.assert_allclose(found.velocity, expected.velocity, atol=2e-3)
    done = contents(tmp_path / "chain")
    assert call(*chain) == 0 and contents(tmp_path / "chain") == done  # complete
    capsys.readouterr()
    other = ["--model", double, "--model", tiny_model, *both[4:]]
    assert call("upsample", source(cache), *other, "-o", str(tmp_path / "chain")) == 2
    assert "another configuration: models is" in capsys.readouterr().err


def test_a_dry_run_knows_the_cost_of_each_pass(
    cache: Path, tmp_path: Path, tiny_model: str, double: str, capsys: pytest.CaptureFixture[str]
) -> None:
    chain = ["--model", tiny_model, "--model", double, "--device", "cpu", "--json", "-o", str(tmp_path / "x")]
    assert call("upsample", str(cache), *chain, "--dry-run") == 0
    reported = json.loads(capsys.readouterr().out)
    assert reported["frames"] == 6 and reported["factor"] == 8 and reported["coarse_shape"] == [24, 36]
    assert [each["fine_shape"] for each in reported["passes"]] == [[96, 144], [192, 288]]
    assert [each["memory_bytes"]["input"] for each in reported["passes"]] == [12 * 24 * 36, 12 * 96 * 144]
    assert all(each["memory_bytes"]["generator"] > 0 for each in reported["passes"])
    assert not (tmp_path / "x").exists()


def test_models_that_do_not_go_together_are_refused(
    cache: Path, tmp_path: Path, tiny_model: str, double: str, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["upsample", source(cache), "--model", tiny_model, "-o", str(tmp_path / "run")]
    for options, says in (
        (
            ["--model", double, "--passes", "2"],
            "--passes: several models are given, one for each pass; leave it",
        ),
        (["--model", "smoke3d-x4"], "--model: 'tiny' is 2-D and 'smoke3d-x4' 3-D; give models of the same"),
        (["--model", double] * 3, "--model: 4 passes are out of range; give 1 to 3"),
    ):
        assert call(*common, *options) == 2
        error = capsys.readouterr().err
        assert says in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()
    assert models_of("a", 2) == models_of(["a", "a"]) == ("a", "a")


def test_a_pass_whose_input_does_not_fit_is_refused(
    cache: Path,
    tmp_path: Path,
    tiny_model: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from fluidsr import memory

    monkeypatch.setattr(memory, "free", lambda device="cpu": memory.Free(100_000, "on this machine"))
    common = ["upsample", source(cache), "--model", tiny_model, "--passes", "2", "--device", "cpu"]
    assert call(*common, "-o", str(tmp_path / "run")) == 2
    assert (
        "the input of pass 2 needs 0.0 GB of memory, but only 0.0 GB are free on this machine"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("factor", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_other_factors_go_from_pairs_to_files(cache: Path, tmp_path: Path, factor: int) -> None:
    store, name = str(tmp_path / "pairs.zarr"), f"smoke2d-x{factor}"
    size = [
        "--dim",
        "2",
        "--resolution",
        "8",
        "--factor",
        str(factor),
        "--simulations",
        "3",
        "--frames",
        "3",
        "--set",
        "warm_up.frames=1",
    ]
    assert call("generate-dataset", *size, "--device", "cpu", "-o", store) == 0
    tiny = ["--set", "generator.width=4", "--set", "generator.blocks=1", "--set", "precision=float32"]
    patches = ["--set", "patches={tile: 4, batch: 1, frames: 3}", "--device", "cpu"]
    run = ["train", "--data", store, "--recipe", name, "--steps", "2", *tiny, *patches]
    assert call(*run, "-o", str(tmp_path / "run")) == 0
    model = str(tmp_path / "run" / f"{name}.safetensors")
    common = ["--model", model, "--device", "cpu", "--format", "npz", "--tile", "9"]
    assert call("upsample", str(cache), *common, "--frames", "3-3", "-o", str(tmp_path / "fine")) == 0
    frame = fine(tmp_path / "fine", 3)
    assert frame.shape == (24 * factor, 36 * factor) and frame.density.max() > 0.1
