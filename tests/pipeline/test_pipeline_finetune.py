"""`finetune` as a user types it: a few pairs of one's own, and a trained model that goes on with them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fluidsr import models, volumes
from fluidsr.cli import main
from fluidsr.dataset import ConcatStore, Store, choose_pairs
from fluidsr.errors import InputError, ModelError
from fluidsr.frame import Frame
from fluidsr.models.discriminators import Discriminator

FAST = ["--set", "patches={tile: 8, batch: 1, frames: 3}", "--set", "precision=float32", "--device", "cpu"]
GAN = [
    "--set", "discriminators={spatial: {width: 4}, temporal: null}", "--set", "losses.spatial=0.1",
]  # fmt: skip


def call(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    return int(stop.value.code or 0)


def shot(
    folder: Path, *, frames: int = 9, factor: int = 4, phase: float = 0.0, velocity: bool = True
) -> Path:
    """Both sides of a flower that rises through a box of 1.6 m, 64 / factor and 64 cells wide."""
    x, y = np.meshgrid(*[(np.arange(64) + 0.5) / 40] * 2, indexing="ij")
    for side, n in (("low", 64 // factor), ("high", 64)):
        (folder / side).mkdir(parents=True)
        for number in range(frames):
            x0, y0 = x - 0.8, y - 0.5 - 0.04 * number
            distance = np.hypot(x0, y0) + 0.1 * np.sin(4 * np.arctan2(y0, x0) + phase)
            density = 1 / (1 + np.exp(60 * (distance - 0.4)))
            density = density.reshape(n, 64 // n, n, 64 // n).mean((1, 3))
            flow = np.stack([np.zeros((n, n)), np.ones((n, n))]).astype(np.float32) if velocity else None
            frame = Frame(density.astype(np.float32), flow, cell_size=1.6 / n, time=number / 24, dt=1 / 24)
            volumes.write(folder / side / f"smoke_{number:04d}.npz", frame, precision="float")
    return folder


@pytest.fixture(scope="module")
def puff(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shot(tmp_path_factory.mktemp("puff") / "shot")


@pytest.fixture(scope="module")
def parent(puff: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that reads history, trained for a moment, from a folder of which nothing else is needed."""
    folder = tmp_path_factory.mktemp("parent")
    store = folder / "data.zarr"
    high, low = puff / "high", puff / "low"
    assert call("import-dataset", "--high", high, "--low", low, "-o", store, "-q") == 0
    network = "generator={width: 16, blocks: 1, rise_width: 8, last: resized, history: 1 2}"
    command = ["train", "--data", store, "--recipe", "smoke2d-x4", "--steps", "2", "--set", network, *FAST]
    assert call(*command, "-o", folder / "run", "-q") == 0
    return folder / "run"


def finetune(parent: Path, puff: Path, output: Path, *more: object) -> int:
    files = ["--low", puff / "low", "--high", puff / "high"]
    return call("finetune", "--model", parent, *files, "--device", "cpu", "-o", output, *more)


def test_a_model_learns_from_files(
    parent: Path, puff: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fast = [
        "--steps",
        "40",
        "--set",
        "optimizer.learning_rate=4e-3",
        "--pairs",
        "2",
        "--set",
        "validate_every=20",
    ]
    fast += ["--set", "losses.anchor=1e-3"]  # a moment's parent has nothing to hold on to
    assert finetune(parent, puff, tmp_path / "mine", *fast, "--json") == 0
    captured = capsys.readouterr()
    reported = json.loads(captured.out)
    assert (
        reported["pairs"] == 2
        and reported["held_out_by"] == "time"
        and reported["held_out"] == {"sim_00000": "6-8"}
    )
    assert "by time" in captured.err
    assert reported["after"]["absolute"] < 0.95 * reported["before"]["absolute"] and reported["steps"] > 0
    before, after = models.load(parent), models.load(tmp_path / "mine")  # both by their folders
    assert after.card.name == "smoke2d-x4-finetuned"
    assert after.card.recipe["init"] == str(parent) and after.card.steps == reported["steps"]
    assert after.card.data["chosen"]["frames"] == {"sim_00000": [2, 4]}
    assert after.card.metrics["run (before)"] == reported["before"]
    assert any("Held-out figures" in line for line in after.card.limits)
    assert before.generator.hyperparameters == after.generator.hyperparameters
    page = (tmp_path / "mine" / "smoke2d-x4-finetuned.md").read_text()
    assert str(parent) in page and "run (before)" in page
    # Used like any other.
    fine = tmp_path / "fine"
    assert (
        call("upsample", puff / "low", "--model", tmp_path / "mine", "--frames", "1", "-o", fine, "-q") == 0
    )


@pytest.mark.parametrize("name", ["smoke2d-x4", "smoke2d-x4-gan"])
def test_a_shipped_model_is_finetuned_on_a_users_pairs(name: str, puff: Path, tmp_path: Path) -> None:
    """Whatever its own recipe drew from its own datasets."""
    assert finetune(Path(name), puff, tmp_path / "mine", "--steps", 1, "--pairs", 2, "-q") == 0
    patches = models.read_card(tmp_path / "mine").recipe["patches"]
    assert patches["filtered"] == 0 and patches["reached"] is None


def test_resuming_gives_the_same_bits(parent: Path, puff: Path, tmp_path: Path) -> None:
    every = ["--set", "checkpoint_every=2", "--set", "validate_every=3"]
    plan = ["--steps", "4", "--pairs", "3", *every, "-q"]
    assert finetune(parent, puff, tmp_path / "whole", *plan) == 0
    for _ in range(2):
        assert finetune(parent, puff, tmp_path / "parts", *plan, "--minutes", "1e-9") == 0
    assert finetune(parent, puff, tmp_path / "parts", *plan) == 0
    for name in ("smoke2d-x4-finetuned.safetensors", "checkpoint.safetensors"):
        whole, parts = (load_file(tmp_path / run / name) for run in ("whole", "parts"))
        assert whole.keys() == parts.keys()
        assert all(torch.equal(whole[key], parts[key]) for key in whole)
    assert any(name.startswith("anchor/") for name in whole) and any(
        name.startswith("best/") for name in whole
    )
    # Nothing is trained, and nothing imported, a second time; another count is another training.
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "whole" / "data.zarr").rglob("c/*")}
    assert finetune(parent, puff, tmp_path / "whole", *plan) == 0
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in files.items())
    other = [*plan[:2], "--pairs", "1", *plan[4:]]
    assert finetune(parent, puff, tmp_path / "whole", *other) == 2
    assert finetune(parent, puff, tmp_path / "whole", *other, "--overwrite") == 0


def test_what_gets_worse_is_not_kept(parent: Path, puff: Path, tmp_path: Path) -> None:
    assert finetune(parent, puff, parent, "--overwrite") == 2  # never into the model's own folder
    wild = ["--steps", "64", "--set", "optimizer.learning_rate=1.0", "--set", "patience=1", "-q"]
    assert finetune(parent, puff, tmp_path / "wild", *wild) == 0
    tuned, start = models.load(tmp_path / "wild"), models.load(parent)
    assert tuned.card.steps == 0
    pairs = zip(tuned.generator.parameters(), start.generator.parameters(), strict=True)
    assert all(torch.allclose(now, then, atol=1e-6) for now, then in pairs)
    lines = (tmp_path / "wild" / "metrics.jsonl").read_text().splitlines()
    assert max(json.loads(line)["step"] for line in lines) == 4  # one validation, after four steps


def test_several_simulations_are_held_out_whole(parent: Path, puff: Path, tmp_path: Path) -> None:
    second = shot(tmp_path / "second", frames=4, phase=1.0)
    more = ["--low", second / "low", "--high", second / "high", "--steps", "1", "-q"]
    assert finetune(parent, puff, tmp_path / "two", *more) == 0
    chosen = models.read_card(tmp_path / "two").data["chosen"]
    assert chosen["held_out_by"] == "simulation" and chosen["held_out"] == {"sim_00001": "0-3"}
    assert chosen["frames"] == {"sim_00000": [1, 2, 3, 4, 5, 6, 7]}


def test_discriminators_go_on(
    parent: Path, puff: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, gan = parent.parent / "data.zarr", tmp_path / "gan"
    command = ["train", "--data", store, "--recipe", "smoke2d-x4", "--init", parent, "--steps", "2"]
    network = "generator={width: 16, blocks: 1, rise_width: 8, last: resized, history: 1 2}"
    assert call(*command, "--set", network, *FAST, *GAN, "-o", gan, "-q") == 0
    kept = load_file(gan / "discriminators.safetensors")
    started = Discriminator(2, 2, tile=32, norm="none", head="pooled", widths=(4, 8, 16, 32))
    assert {name.split("/weight.")[1] for name in kept} == {name for name, _ in started.named_parameters()}
    capsys.readouterr()
    assert (
        finetune(
            gan,
            puff,
            tmp_path / "mine",
            "--steps",
            "1",
            "--set",
            "discriminators.optimizer.learning_rate=1e-30",
        )
        == 0
    )
    assert "discriminators" not in capsys.readouterr().err
    assert models.read_card(tmp_path / "mine").recipe["losses"]["spatial"] == 0.1
    after = load_file(tmp_path / "mine" / "discriminators.safetensors")
    assert all(
        torch.equal(kept[name], after[name]) for name in kept
    )  # no step moved them: they are the parent's

    (gan / "discriminators.safetensors").rename(tmp_path / "elsewhere.safetensors")
    assert finetune(gan, puff, tmp_path / "plain", "--steps", "1") == 0
    assert "discriminators were not kept: it continues with its other losses" in capsys.readouterr().err
    card = models.read_card(tmp_path / "plain")
    assert card.recipe["discriminators"] is None and card.recipe["losses"]["spatial"] == 0
    assert not (tmp_path / "plain" / "discriminators.safetensors").exists()

    shutil.copy(tmp_path / "elsewhere.safetensors", tmp_path / "plain" / "discriminators.safetensors")
    assert (
        finetune(tmp_path / "plain", puff, tmp_path / "other", "--steps", "1") == 0
    )  # its recipe has none now
    whole = (tmp_path / "elsewhere.safetensors").read_bytes()
    (gan / "discriminators.safetensors").write_bytes(whole[: len(whole) // 2])
    assert finetune(gan, puff, tmp_path / "damaged", "--steps", "1") == 0
    assert "cannot be used" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "closure2d-x4"], "corrects coarse runs"),
        (["--model", "smoke3d-x4"], "has 2-D pairs of factor 4, but smoke3d-x4 upsamples 3-D smoke 4x"),
        (["--model", "no-such-model"], "is neither a shipped model nor a file"),
        (["--model", "{empty}"], "is a folder without a model"),
        (
            ["--pairs", "5"],
            "has 4 frame pairs with a frame before and after to train on, and 5 were requested",
        ),
        (["--data", "{data}"], "a dataset and files are both given"),
        (["--set", "losses.anchr=1"], "losses.anchr"),
        (["--set", "losses.extra=[{loss: os:system}]"], "is not known here"),
    ],
)
def test_what_does_not_fit_is_refused(
    parent: Path,
    puff: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"{empty}": tmp_path / "empty", "{data}": parent.parent / "data.zarr"}
    given = [str(places.get(argument, argument)) for argument in arguments]
    assert finetune(parent, puff, tmp_path / "out", *given) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error and error.startswith("Error: ")
    assert not list((tmp_path / "out").glob("*.safetensors"))


@pytest.mark.parametrize("option", [("--frames", "1-2"), ("--velocity-unit", "m/s"), ("--density-grid", "d")])
def test_options_for_files_do_not_apply_to_a_dataset(
    option: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("finetune", "--model", "smoke2d-x4", "--data", "nowhere.zarr", *option) == 2
    error = capsys.readouterr().err
    assert error.startswith(
        f"Error: {option[0]}: says how files are read, and a dataset is given; leave it out"
    )


def test_sides_that_do_not_fit_the_model(
    parent: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = shot(tmp_path / "half", factor=2)
    assert finetune(parent, half, tmp_path / "out") == 2
    assert "has 2-D pairs of factor 2, but smoke2d-x4 upsamples 2-D smoke 4x" in capsys.readouterr().err
    still = shot(tmp_path / "still", velocity=False)
    assert finetune(parent, still, tmp_path / "out") == 2
    assert "there is no velocity" in capsys.readouterr().err
    command = ["import-dataset", "--zero-velocity", "--low", still / "low", "--high", still / "high"]
    assert call(*command, "-o", tmp_path / "still.zarr", "-q") == 0
    assert call("finetune", "--model", parent, "--data", tmp_path / "still.zarr", "-o", tmp_path / "out") == 2
    assert "has no velocity on the coarse side" in capsys.readouterr().err
    assert call("finetune", "--model", parent) == 2
    assert "give --low and --high, or --data" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_card_from_outside_runs_no_code(parent: Path, puff: Path, tmp_path: Path) -> None:
    model = models.load(parent)
    hostile = {**model.card.recipe, "losses": {"extra": [{"loss": "antigravity:fly"}]}}
    for name, recipe in (("hostile", hostile), ("broken", {"patches": 3}), ("empty", {})):
        card = model.card.model_copy(update={"name": name, "recipe": recipe})
        models.save(tmp_path / f"{name}.safetensors", model.generator, card)
    import sys

    from fluidsr.pipeline.finetune import finetune_recipe, generator_card

    store = ConcatStore([Store.open(parent.parent / "data.zarr")])
    for name in ("hostile", "broken"):
        path = str(tmp_path / f"{name}.safetensors")
        with pytest.raises(ModelError, match="recipe in its card cannot be used"):
            finetune_recipe(path, generator_card(path), store, None, None)
    assert "antigravity" not in sys.modules
    path = str(tmp_path / "empty.safetensors")
    recipe, _ = finetune_recipe(path, generator_card(path), store, 1, None)
    given = {key: value for key, value in recipe.generator.hyperparameters.items() if value is not None}
    assert given.items() <= model.card.hyperparameters.items()


def test_a_dry_run_writes_nothing(
    parent: Path, puff: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert finetune(parent, puff, tmp_path / "out", "--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["simulations"][0]["factor"] == 4
    data = [
        "--data",
        parent.parent / "data.zarr",
        "--pairs",
        "2",
        "-o",
        tmp_path / "out",
        "--dry-run",
        "--json",
    ]
    assert call("finetune", "--model", parent, *data) == 0
    reported = json.loads(capsys.readouterr().out)
    assert reported["pairs"]["frames"] == {"sim_00000": [2, 4]} and reported["recipe"]["losses"]["anchor"] > 0
    assert not (tmp_path / "out").exists()


class _Simulation:
    def __init__(self, name: str, frames: int) -> None:
        self.name, self.path, self.frames = name, Path(name), frames


class _Source:
    """A dataset of so many frames for each simulation, by split."""

    def __init__(self, **splits: list[int]) -> None:
        self._splits = {
            split: [_Simulation(f"{split}{n}", frames) for n, frames in enumerate(counts)]
            for split, counts in splits.items()
        }

    def simulations(self, split: str) -> list[_Simulation]:
        return self._splits.get(split, [])


@pytest.mark.parametrize("neighbours", [False, True])
def test_pairs_are_spread_evenly_and_apart_from_what_is_held_out(neighbours: bool) -> None:
    reach = int(neighbours)
    for frames in range(5, 40):
        source = _Source(train=[frames])
        whole = choose_pairs(source, None, neighbours=neighbours)
        (span,) = whole.held_out.values()
        assert span.stop == frames and len(span) == max(2, frames // 3) and whole.by_time
        assert whole.count == span.start - 2 * reach
        for count in range(1, whole.count + 1):
            choice = choose_pairs(source, count, neighbours=neighbours)
            (chosen,) = choice.training.values()
            assert len(set(chosen)) == count and list(chosen) == sorted(chosen)
            assert chosen[0] >= reach and chosen[-1] + reach < span.start
            gaps = np.diff(chosen)
            assert count < 2 or gaps.max() - gaps.min() <= 1
        with pytest.raises(InputError, match=f"has {whole.count} frame pairs.* to train on"):
            choose_pairs(source, whole.count + 1, neighbours=neighbours)


def test_splits_of_the_dataset_are_kept() -> None:
    choice = choose_pairs(_Source(train=[5, 7], validation=[4], test=[9]), 4, neighbours=False)
    assert {path.name for path in choice.held_out} == {"validation0"} and not choice.by_time
    assert choice.count == 4 and {path.name for path in choice.training} == {"train0", "train1"}
    choice = choose_pairs(_Source(train=[5] * 6), None, neighbours=True)
    assert [path.name for path in choice.held_out] == ["train2", "train5"] and choice.count == 4 * 3
    choice = choose_pairs(_Source(train=[9]), None, neighbours=False)
    assert "held out: frames 6 to 8 of train0, counted from 0" in choice.sentence()
    with pytest.raises(InputError, match="no simulations to train on"):
        choose_pairs(_Source(test=[9]), 1, neighbours=False)
    with pytest.raises(
        InputError, match=r"has no frame pairs with a frame before and after left .*; give more frames"
    ):
        choose_pairs(_Source(train=[4]), 1, neighbours=True)
