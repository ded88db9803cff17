"""The loop learns, stops, goes on to the bit, and never lets a NaN reach the weights."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from fluidsr.errors import InputError, TrainingError
from fluidsr.models import load
from fluidsr.models.resample import upsample
from fluidsr.training import Sources, train
from fluidsr.training.checkpoint import TrainingState
from fluidsr.training.trainer import CHECKPOINT
from fluidsr.upscaling.network_input import typical_density


def weights(folder, name="tiny"):
    return load_file(folder / f"{name}.safetensors")


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_training_reduces_the_error(recipe, sampler, tmp_path):
    plan = recipe(steps=60, log_every=10, validate_every=100, checkpoint_every=100)
    batch = sampler(plan).batch(10_000)
    coarse, fine = batch.coarse.flatten(0, 1), batch.fine.flatten(0, 1)

    def validation(generator):
        assert not generator.training
        return {"error": (generator(coarse) - fine).abs().mean().item()}

    report = train(plan, Sources(sampler(plan)), tmp_path, validation=validation)
    cubic = (upsample(coarse[:, :1], 4).clamp(min=0) - fine).abs().mean().item()
    assert report.finished and report.steps == 60
    assert report.validation["error"] < 0.7 * cubic
    card = load(report.model).card
    assert card == report.card
    assert card.metrics["tiny"] == report.validation
    wanted = {"absolute": 1.0, "gradient": 1.0, "temporal": 0.5}
    assert card.recipe["losses"].items() >= wanted.items()
    assert card.density_range[1] > 0.5 and card.velocity_range[0] < 0 < card.velocity_range[1]
    low, high = card.typical_density
    assert high == pytest.approx(4 * low) and low < typical_density(coarse[:, 0]) < high


def test_the_typical_density_is_the_geometric_mean_over_samples_with_smoke(recipe):
    state = TrainingState(recipe(), 0, "cpu")
    assert state.typical_density is None
    coarse = torch.zeros(3, 2, 3, 8, 8)
    coarse[0, :, 0, 2:5] = 0.1  # the third sample has no smoke
    coarse[1, :, 0, 2:5] = 0.4
    state.widen_ranges(coarse)
    state.widen_ranges(coarse)
    assert state.typical_density == pytest.approx((0.1, 0.4))


@pytest.mark.parametrize("dim", [2, 3])
def test_a_resumed_training_ends_in_the_same_weights(recipe, sampler, tmp_path, dim):
    sizes = {"patches": {"tile": 6, "batch": 1, "frames": 3}} if dim == 3 else {}
    plan = recipe(dim, **sizes)
    train(plan, Sources(sampler(plan)), tmp_path / "whole")
    stopping = sampler(plan)

    def stop(progress):
        if progress.step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(plan, Sources(stopping), tmp_path / "parts", on_progress=stop)
    assert not (tmp_path / "parts" / "tiny.safetensors").exists()
    going_on = sampler(plan)
    report = train(plan, Sources(going_on), tmp_path / "parts")
    assert report.finished and going_on.served == [4, 5]
    assert equal(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    whole, parts = (load_file(tmp_path / name / CHECKPOINT) for name in ("whole", "parts"))
    assert equal(whole, parts)  # the optimizer's moments and the average too


def test_a_kill_between_checkpoints_costs_only_the_steps_since(recipe, sampler, tmp_path):
    plan = recipe()
    train(plan, Sources(sampler(plan)), tmp_path / "whole")

    class Killed(Exception):
        """Nothing catches this one, as nothing catches a kill."""

    def die(progress):
        if progress.step == 4:
            raise Killed

    plan_of_three = recipe(checkpoint_every=3)
    with pytest.raises(Killed):
        train(plan_of_three, Sources(sampler(plan)), tmp_path / "killed", on_progress=die)
    again = sampler(plan)
    train(plan, Sources(again), tmp_path / "killed")
    assert again.served == [3, 4, 5]
    assert equal(weights(tmp_path / "whole"), weights(tmp_path / "killed"))
    records = [json.loads(line) for line in (tmp_path / "killed" / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in records] == [2, 4, 6]


def test_minutes_stop_early_and_leave_a_model(recipe, sampler, tmp_path):
    plan = recipe()
    report = train(plan, Sources(sampler(plan)), tmp_path, minutes=1e-9)
    assert not report.finished and report.steps == 1
    assert load(report.model).card.steps == 1
    assert train(plan, Sources(sampler(plan)), tmp_path).finished


def test_a_finished_training_is_not_changed(recipe, sampler, tmp_path):
    plan = recipe()
    train(plan, Sources(sampler(plan)), tmp_path)
    before = weights(tmp_path)
    idle = sampler(plan)
    assert train(plan, Sources(idle), tmp_path).finished
    assert idle.served == [] and equal(before, weights(tmp_path))


def test_validation_leaves_no_trace_in_the_weights(recipe, sampler, tmp_path):
    plan = recipe()
    train(plan, Sources(sampler(plan)), tmp_path / "without")
    seen = []
    train(
        plan,
        Sources(sampler(plan)),
        tmp_path / "with",
        validation=lambda g: {"n": float(len(seen)) if not seen.append(g) else 0.0},
    )
    assert len(seen) == 2
    assert equal(weights(tmp_path / "without"), weights(tmp_path / "with"))


def test_a_nan_stops_the_run_and_keeps_the_last_good_state(recipe, sampler, tmp_path):
    plan = recipe()
    with pytest.raises(TrainingError, match="step 3") as caught:
        train(plan, Sources(sampler(plan, spoil_at=3)), tmp_path)
    assert caught.value.exit_code == 1
    assert all(t.isfinite().all() for t in load_file(tmp_path / CHECKPOINT).values())
    again = sampler(plan)
    assert train(plan, Sources(again), tmp_path).finished
    assert again.served == [3, 4, 5]


def test_another_recipe_or_seed_is_refused_by_name(recipe, sampler, tmp_path):
    plan = recipe()
    train(plan, Sources(sampler(plan)), tmp_path, steps=2)
    with pytest.raises(InputError, match=r"losses\.gradient = 1\.0, and 2\.0 was requested"):
        other = recipe(losses={"absolute": 1.0, "gradient": 2.0, "temporal": 0.5})
        train(other, Sources(sampler(other)), tmp_path)
    with pytest.raises(InputError, match="seed"):
        train(plan, Sources(sampler(plan)), tmp_path, seed=1)
    assert train(plan, Sources(sampler(plan)), tmp_path, steps=4).steps == 4  # longer is allowed


def test_a_recipe_with_augment_true_resumes_with_symmetries(recipe, sampler, tmp_path):
    """Earlier recipes knew true and false only; they mean what they meant."""
    plan = recipe(steps=4, checkpoint_every=2)
    train(plan, Sources(sampler(plan)), tmp_path / "new")
    train(plan.model_copy(update={"steps": 2}), Sources(sampler(plan)), tmp_path / "old")
    path = tmp_path / "old" / CHECKPOINT
    with safe_open(path, framework="pt") as file:
        record = json.loads(file.metadata()["state"])
    assert record["recipe"]["patches"]["augment"] == "symmetries"

    def said(augment):
        record["recipe"]["patches"]["augment"] = augment
        record["version"] = 2  # the last without a checksum
        record.pop("sha256", None)
        save_file(load_file(path), path, metadata={"state": json.dumps(record)})

    said(False)
    with pytest.raises(InputError, match=r"patches.augment = none, and symmetries was requested"):
        train(plan, Sources(sampler(plan)), tmp_path / "old")
    said(True)
    assert train(plan, Sources(sampler(plan)), tmp_path / "old").finished
    assert equal(weights(tmp_path / "old"), weights(tmp_path / "new"))


def test_a_damaged_checkpoint_is_one_clear_line(recipe, sampler, tmp_path):
    plan = recipe()
    train(plan, Sources(sampler(plan)), tmp_path, steps=2)
    file = tmp_path / CHECKPOINT
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(InputError, match="cannot be used") as caught:
        train(plan, Sources(sampler(plan)), tmp_path)
    assert "\n" not in str(caught.value)


def test_an_unwritable_folder_is_one_clear_line(recipe, sampler, tmp_path):
    (tmp_path / "file").write_text("in the way")
    plan = recipe()
    with pytest.raises(InputError, match="not a folder"):
        train(plan, Sources(sampler(plan)), tmp_path / "file" / "run")


def test_seeds_decide_the_start(recipe, sampler, tmp_path):
    plan = recipe(steps=1)
    state = torch.random.get_rng_state()
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(plan, Sources(sampler(plan)), tmp_path / folder, seed=seed)
    assert equal(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not equal(weights(tmp_path / "a"), weights(tmp_path / "c"))
    assert torch.equal(state, torch.random.get_rng_state())  # the caller's random numbers are left alone


def test_bfloat16_trains_close_to_float32(recipe, sampler, tmp_path):
    losses = {}
    for precision in ("float32", "bfloat16"):
        plan = recipe(precision=precision, steps=20, log_every=20, validate_every=100)
        losses[precision] = train(plan, Sources(sampler(plan)), tmp_path / precision).losses["total"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.05)
    assert weights(tmp_path / "bfloat16")["head.weight"].dtype == torch.float32


def test_what_was_written_can_be_read(recipe, sampler, tmp_path):
    plan = recipe()
    train(
        plan,
        Sources(sampler(plan)),
        tmp_path,
        validation=lambda g: {"psnr": 1.0},
        data={"store": "synthetic"},
        commit="abc",
    )
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(r["step"], r["group"]) for r in records] == [
        (2, "training"), (3, "validation"), (4, "training"), (6, "training"), (6, "validation"),
    ]  # fmt: skip
    assert {"absolute", "gradient", "temporal", "total", "gradient_norm", "learning_rate"} <= records[
        0
    ].keys()
    assert list((tmp_path / "tensorboard").iterdir())
    page = (tmp_path / "tiny.md").read_text()
    assert "synthetic" in page and "abc" in page
    assert not [p for p in tmp_path.iterdir() if p.name.endswith(".part")]
