"""From pairs to a judged model, by the commands that a user types."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from fluidsr import metrics, upscaling
from fluidsr.cli import main
from fluidsr.dataset import Store
from fluidsr.models.resample import upsample
from fluidsr.pipeline.validation import panels

TINY = [
    "--set", "generator={width: 8, blocks: 1, rise_width: 4}", "--set", "patches={tile: 8, batch: 2, frames: 3}",
    "--set", "precision=float32", "--device", "cpu",
]  # fmt: skip
FIGURES = (metrics.psnr, metrics.log_spectrum_error)


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return int(stop.value.code or 0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three simulations, so that every split has one."""
    store = tmp_path_factory.mktemp("data") / "tiny.zarr"
    size = [
        "--dim",
        "2",
        "--resolution",
        "16",
        "--factor",
        "4",
        "--simulations",
        "3",
        "--frames",
        "6",
        "--set",
        "warm_up.frames=2",
    ]
    assert call("generate-dataset", *size, "--device", "cpu", "-o", str(store)) == 0
    return str(store)


@pytest.fixture(scope="module")
def trained(data: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training") / "run"
    assert (
        call("train", "--data", data, "--recipe", "smoke2d-x4", "--steps", "6", *TINY, "-o", str(folder)) == 0
    )
    return folder


def test_a_data_set_is_described(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    assert call("info", data, "-o", str(pictures)) == 0
    reported = yaml.safe_load(capsys.readouterr().out)[data]
    assert reported["pictures"] == [str(pictures / f"tiny.{name}.png") for name in ("marginals", "pairs")]
    assert all(Path(picture).read_bytes()[:4] == b"\x89PNG" for picture in reported["pictures"])
    columns = reported["least, median and most"]
    assert sum(columns["kind"].values()) == sum(columns["boundary"].values()) == 3
    least, _, most = columns["fastest air, cells/frame"]
    assert 0 < least <= most < 24
    assert reported["kind"] == "dataset"
    assert reported["factor"] == 4


def test_a_dry_run_of_a_data_set_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        call("generate-dataset", "--dim", "3", "--resolution", "32", "--dry-run", "-o", str(tmp_path / "x"))
        == 0
    )
    reported = yaml.safe_load(capsys.readouterr().out)
    assert reported["cost_at_most"]["fine_cells"] == 128**3
    assert not list(tmp_path.iterdir())


def test_a_trained_model_has_a_card_with_figures(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(trained / "smoke2d-x4.safetensors")
    assert call("models", "show", model) == 0
    page = capsys.readouterr().out
    assert "# smoke2d-x4" in page and "psnr" in page
    assert call("info", model) == 0
    card = yaml.safe_load(capsys.readouterr().out)[model]
    assert card["steps"] == 6 and card["data"]["sets"][0]["seed"] == 0
    assert card["metrics"]["smoke2d-x4"]["psnr"] > 0


def test_training_goes_on_to_the_same_weights(data: str, trained: Path, tmp_path: Path) -> None:
    common = ["train", "--data", data, "--recipe", "smoke2d-x4", *TINY, "-o", str(tmp_path / "run")]
    assert call(*common, "--steps", "6", "--minutes", "1e-9") == 0  # one step, then the time is over
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert max(json.loads(line)["step"] for line in lines) == 1
    assert call(*common, "--steps", "6") == 0
    model = "smoke2d-x4.safetensors"
    assert (tmp_path / "run" / model).read_bytes() == (trained / model).read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_three_hundred_steps_on_wavelet_pairs_beat_cubic_interpolation(tmp_path: Path) -> None:
    """The commands of docs/results/dataset.md. On pairs of simulations that are held out."""
    data, run = str(tmp_path / "wavelet.zarr"), tmp_path / "run"
    size = ["--dim", "2", "--resolution", "32", "--simulations", "13", "--frames", "12"]
    pairs = ["--pairs", "wavelet", "--strength", "2", "--device", "cpu", "-o", data]
    assert call("generate-dataset", *size, *pairs) == 0
    short = [
        "--set", "generator={width: 16, blocks: 2, rise_width: 16}", "--set", "losses.temporal=0",
        "--set", "patches={tile: 16, batch: 4, frames: 1}", "--set", "optimizer.average=0.98",
        "--set", "optimizer.warmup_steps=20", "--set", "precision=float32", "--device", "cpu",
    ]  # fmt: skip
    command = ["train", "--data", data, "--recipe", "smoke2d-x4", "--steps", "300", *short]
    assert call(*command, "-o", str(run)) == 0
    model = upscaling.load(run, device="cpu")
    rows = []
    for simulation in Store.open(data).simulations("test"):
        for index in range(0, simulation.frames, 3):
            coarse, truth = simulation.coarse(index), simulation.fine_density(index).astype(np.float32)
            cubic = upsample(torch.from_numpy(coarse.density[None, None]), 4)[0, 0].numpy()
            generated = model.upsample(coarse, fields=()).density
            rows.append([f(d, truth) for f in FIGURES for d in (cubic, generated)])
    cubic_psnr, psnr, cubic_spectrum, spectrum = np.mean(rows, axis=0)
    assert psnr > cubic_psnr + 0.5, (psnr, cubic_psnr)
    assert spectrum < 0.6 * cubic_spectrum, (spectrum, cubic_spectrum)


def test_a_model_is_judged_beside_its_baselines(
    data: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, folder = str(trained / "smoke2d-x4.safetensors"), tmp_path / "report"
    command = [
        "evaluate",
        "--model",
        model,
        "--data",
        data,
        "--stride",
        "3",
        "--pairs",
        "filtered",
        "--pairs",
        "free",
        "--device",
        "cpu",
        "-o",
        str(folder),
    ]
    assert call(*command) == 0
    reported = capsys.readouterr().out
    assert "cubic" in reported and "wavelet" in reported and "free pairs" in reported
    assert list((folder / "free").glob("movie0_*.mp4"))
    report = json.loads((folder / "report.json").read_text())
    assert {"cubic", "linear", "smoke2d-x4"} <= set(report["mean"] if "mean" in report else report["methods"])
    page = (folder / "index.html").read_text()
    assert "<img" in page and "http" not in page.replace("http://www.w3.org", "")
    assert call(*command) == 2 and "--overwrite" in capsys.readouterr().err
    assert call(*command, "--overwrite") == 0


def test_a_training_on_two_data_sets(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    second = shutil.copytree(data, tmp_path / "second.zarr")
    common = [
        "train",
        "--data",
        data,
        "--recipe",
        "smoke2d-x4",
        *TINY,
        "--steps",
        "1",
        "-o",
        str(tmp_path / "run"),
    ]
    assert call(*common, "--data", str(second)) == 0
    capsys.readouterr()
    model = str(tmp_path / "run" / "smoke2d-x4.safetensors")
    assert call("info", model) == 0
    sets = yaml.safe_load(capsys.readouterr().out)[model]["data"]["sets"]
    assert [(each["name"], each["simulations"]["train"]) for each in sets] == [
        ("tiny.zarr", 1),
        ("second.zarr", 1),
    ]
    assert call(*common, "--data", data) == 2
    assert "is given twice; give each dataset once" in capsys.readouterr().err


def test_recipe_and_data_must_fit(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("train", "--data", data, "--recipe", "smoke3d-x4") == 2
    assert "dim is 3, but that of" in capsys.readouterr().err


def test_a_misspelt_recipe_key(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("train", "--data", data, "--recipe", "smoke2d-x4", "--set", "losses.gradeint=1") == 2
    assert "gradient" in capsys.readouterr().err


def test_a_dry_run_of_training(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("train", "--data", data, "--recipe", "smoke2d-x4", "--dry-run") == 0
    reported = yaml.safe_load(capsys.readouterr().out)
    assert reported["recipe"]["name"] == "smoke2d-x4"
    assert reported["cost"]["weights"] > 100_000


def test_an_adversary_from_a_trained_model(data: str, trained: Path, tmp_path: Path) -> None:
    small = [
        *TINY,
        "--set",
        "discriminators.spatial={width: 8}",
        "--set",
        "discriminators.temporal={width: 8}",
    ]
    command = ["train", "--data", data, "--recipe", "smoke2d-x4-gan", "--steps", "2", *small]
    model = str(trained / "smoke2d-x4.safetensors")
    assert call(*command, "--init", model, "-o", str(tmp_path / "run")) == 0
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    (judged,) = [r for r in records if r["group"] == "validation"]
    assert {"psnr", "spectrum", "temporal", "phase", "mass"} <= judged.keys()
    assert {"accuracy_spatial_train", "accuracy_temporal_held_out"} <= judged.keys()
    (picture,) = (tmp_path / "run" / "samples").iterdir()
    assert picture.suffix == ".png"


def test_what_a_model_to_start_from_is_not(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "--data", data, "--recipe", "smoke2d-x4-gan", *TINY, "-o", str(tmp_path / "run")]
    assert call(*command, "--init", "smoke2d_x4") == 2
    assert "did you mean 'smoke2d-x4'" in capsys.readouterr().err
    assert call(*command, "--init", "smoke2d-x4") == 2  # its width is another
    assert "the recipe's generator is" in capsys.readouterr().err


def test_panels_stand_side_by_side_with_y_up() -> None:
    coarse, fine = np.zeros((2, 3)), np.zeros((8, 12))
    coarse[0, 2], fine[0, 11] = 5.0, 5.0  # the upper left corner
    picture = panels(coarse, fine, fine)
    assert picture.shape == (12, 3 * 8 + 2 * 4, 3) and picture.dtype == np.uint8
    bright = np.argwhere(picture[..., 0] == 255)
    assert {tuple(p) for p in bright} == {(y, x) for y in range(4) for x in range(4)} | {(0, 12), (0, 24)}
    deep = panels(np.zeros((1, 1, 1)), np.zeros((4, 4, 4)), np.ones((4, 4, 4)))
    assert deep.shape == (4, 3 * 4 + 2 * 4, 3) and deep[0, -1, 0] > 250
