"""Ds, Dt and G: which is updated when, what is kept, and that a stopped training resumes bit for bit."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch.nn.modules.batchnorm import _BatchNorm

from fluidsr.errors import ModelError, TrainingError
from fluidsr.training import Sources, load_recipe, train
from fluidsr.training.adversarial_step import AdversarialStep
from fluidsr.training.checkpoint import TrainingState
from fluidsr.training.distributed import ProcessGroup
from fluidsr.training.monitors import DivergenceMonitor, UpdateGate
from fluidsr.training.trainer import CHECKPOINT

ADVERSARY = {"view": "residual", "norm": "group", "spatial": {"width": 8}, "temporal": {"width": 8}}
LOSSES = {"absolute": 1.0, "spatial": 0.1, "temporal_adversarial": 0.1}


@pytest.fixture
def duel(recipe):
    """A small recipe with an adversary, its parts changed by name."""

    def make(dim=2, discriminators=None, losses=None, **changes):
        base = {"discriminators": ADVERSARY | (discriminators or {}), "losses": LOSSES | (losses or {})}
        return recipe(dim, **{"steps": 4, "patches": {"tile": 6, "batch": 1, "frames": 3}} | base | changes)

    return make


def new_step(plan, sampler, triplets=None):
    state = TrainingState(plan, 0, "cpu")
    return AdversarialStep(state, sampler(plan), triplets, ProcessGroup())


def weights(network):
    return {name: parameter.detach().clone() for name, parameter in network.named_parameters()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def records(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    clocks = ("seconds", "steps_per_second")
    return [
        {k: v for k, v in json.loads(line).items() if k not in clocks and not k.startswith("share_")}
        for line in lines
    ]


def running(folder):
    """The running figures of a checkpoint: the gates' accuracies, and what divergence is judged by."""
    with safe_open(folder / CHECKPOINT, framework="pt") as file:
        state = json.loads(file.metadata()["state"])
    return state["accuracy"], state["watch"], state["density_range"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"dim": 3},
        {"discriminators": {"norm": "batch", "updates": {"spatial": 2, "temporal": 1, "generator": 2}}},
        {"discriminators": {"norm": "spectral", "objective": "hinge"}},
        {"discriminators": {"norm": "none", "objective": "wgan-gp"}},
        {
            "patches": {"tile": 6, "batch": 2, "frames": 1, "triplets": 1},
            "losses": {"features": [-1, 1, 0, 2]},
        },
        {"generator": {"architecture": "tempogan"}, "losses": {"l2_t": 0.1}},
        {
            "generator": {"width": 16, "blocks": 1, "rise_width": 16, "previous": True},
            "patches": {"tile": 8, "batch": 1, "frames": 9},
            "losses": {"ping_pong": 0.5},
            "discriminators": {"temporal": {"width": 8, "levels": 2}, "gate": {"kind": "balance"}},
        },
    ],
    ids=["shared", "3-D", "batch norm", "spectral", "wgan", "triplets", "tempogan", "recurrent"],
)
def test_a_stopped_adversarial_training_resumes_bit_identically(duel, sampler, tmp_path, changes):
    plan = duel(log_every=1, checkpoint_every=1, **changes)
    beside = plan.model_copy(update={"patches": plan.patches.model_copy(update={"frames": 3, "batch": 1})})

    def sources():
        return Sources(sampler(plan), sampler(beside) if plan.patches.triplets else None)

    train(plan, sources(), tmp_path / "whole")

    class Killed(Exception):
        """Nothing catches this one, as nothing catches a kill."""

    def die(progress):
        if progress.step == 2:
            raise Killed

    with pytest.raises(Killed):
        train(plan, sources(), tmp_path / "parts", on_progress=die)
    assert train(plan, sources(), tmp_path / "parts").finished
    whole, parts = (load_file(tmp_path / name / CHECKPOINT) for name in ("whole", "parts"))
    assert same(whole, parts)
    assert any(name.startswith("spatial/exp_avg") for name in whole)
    assert running(tmp_path / "whole") == running(tmp_path / "parts")
    assert records(tmp_path / "whole") == records(tmp_path / "parts")


@pytest.mark.slow
def test_a_killed_adversarial_training_resumes_bit_identically(duel, sampler, tmp_path):
    """SIGKILL, which nothing can catch, in a process of its own: what it had on disk is all that is left."""
    plan = duel(log_every=1, checkpoint_every=2, steps=7)
    (tmp_path / "plan.json").write_text(plan.model_dump_json())
    child = [sys.executable, "-c", KILLED, str(tmp_path), str(Path(__file__).parent)]
    assert subprocess.run(child, timeout=120).returncode == -signal.SIGKILL
    with safe_open(tmp_path / "parts" / CHECKPOINT, framework="pt") as file:
        assert json.loads(file.metadata()["state"])["step"] == 4  # step 5 was on its way
    assert train(plan, Sources(sampler(plan)), tmp_path / "parts").finished
    train(plan, Sources(sampler(plan)), tmp_path / "whole")
    whole, parts = (records(tmp_path / name) for name in ("whole", "parts"))
    assert whole == parts  # every digit of every loss
    assert [r["step"] for r in whole if r["group"] == "training"] == list(range(1, 8))
    assert same(*(load_file(tmp_path / name / CHECKPOINT) for name in ("whole", "parts")))


KILLED = """
import os, signal, sys
from pathlib import Path

sys.path.insert(0, sys.argv[2])
from synthetic_smoke import SyntheticSampler
from fluidsr.training import Recipe, Sources, train

folder = Path(sys.argv[1])
plan = Recipe.model_validate_json((folder / "plan.json").read_text())

def die(progress):
    if progress.step == 5:
        os.kill(os.getpid(), signal.SIGKILL)

train(plan, Sources(SyntheticSampler(plan)), folder / "parts", on_progress=die)
"""


def test_every_loss_is_logged_unweighted_and_every_network_is_updated(duel, sampler):
    plan = duel(losses={"features": [-1.0, 0.5, 0.0, 1e-3], "temporal": 0.5, "l2_t": 0.25})
    adversarial_step = new_step(plan, sampler)
    discriminators = adversarial_step.state.discriminators
    before = [
        weights(n)
        for n in (adversarial_step.state.generator.network, *(c.network for c in discriminators.values()))
    ]
    metrics = adversarial_step.run()
    after = [
        weights(n)
        for n in (adversarial_step.state.generator.network, *(c.network for c in discriminators.values()))
    ]
    assert not any(same(a, b) for a, b in zip(before, after, strict=True))
    weighted = {"absolute": 1.0, "temporal": 0.5, "l2_t": 0.25, "spatial": 0.1, "temporal_adversarial": 0.1}
    weighted |= {"features_1": -1.0, "features_2": 0.5, "features_4": 1e-3}
    assert metrics["total"] == pytest.approx(sum(w * metrics[k] for k, w in weighted.items()), rel=1e-4)
    assert {
        "discriminator_spatial",
        "discriminator_temporal",
        "accuracy_spatial",
        "accuracy_temporal",
    } <= metrics.keys()


def test_a_shut_gate_leaves_the_discriminator_bit_identical(duel, sampler):
    adversarial_step = new_step(
        duel(discriminators={"gate": {"spatial": 0.6, "temporal": None, "memory": 0.5}}), sampler
    )
    discriminators = adversarial_step.state.discriminators
    adversarial_step.run()
    discriminators["spatial"].gate.value = 1.0
    before = {name: dict(c.optimizer.tensors()) for name, c in discriminators.items()}
    before = {name: {k: t.clone() for k, t in tensors.items()} for name, tensors in before.items()}
    metrics = adversarial_step.run()
    after = {name: dict(c.optimizer.tensors()) for name, c in discriminators.items()}
    assert same(before["spatial"], after["spatial"])  # its optimizer's moments too
    assert not same(before["temporal"], after["temporal"])
    assert metrics["learns_spatial"] == 0 and metrics["learns_temporal"] == 1
    assert "gradient_norm_spatial" not in metrics
    # It goes on being measured, and may learn again once the generator has caught up.
    assert discriminators["spatial"].gate.value == 0.5 + 0.5 * metrics["accuracy_spatial"]


def test_the_gate_opens_and_shuts_by_the_running_accuracy():
    gate = UpdateGate(0.75, memory=0.5)
    seen = []
    for accuracy in (1.0, 1.0, 1.0, 0.5, 0.5, 1.0):
        gate.update(accuracy)
        seen.append(gate.open)
    assert seen == [True, False, False, True, True, False]
    always = UpdateGate(None, 0.5, 1.0)
    assert always.open


def test_divergence_is_distinguished_from_noise():
    watch = DivergenceMonitor(10.0)
    assert not any(watch.update(0.1 * (1 + 0.5 * (-1) ** n)) for n in range(500))
    assert any(watch.update(3.0) for _ in range(100))
    assert not any(DivergenceMonitor(None).update(10.0**n) for n in range(200))


def test_pretraining_leaves_the_discriminators_alone(duel, sampler):
    plan = duel(discriminators={"start": 2})
    adversarial_step = new_step(plan, sampler)
    before = {
        name: weights(discriminator.network)
        for name, discriminator in adversarial_step.state.discriminators.items()
    }
    for _ in range(2):
        assert "discriminator_spatial" not in adversarial_step.run()
    assert all(
        same(before[name], weights(c.network)) for name, c in adversarial_step.state.discriminators.items()
    )
    assert "discriminator_spatial" in adversarial_step.run()
    assert not same(before["spatial"], weights(adversarial_step.state.discriminators["spatial"].network))


def test_updates_draw_their_own_batches_in_the_order_of_the_algorithm(duel, sampler):
    plan = duel(discriminators={"updates": {"spatial": 2, "temporal": 3, "generator": 1}})
    one = sampler(plan)
    adversarial_step = AdversarialStep(TrainingState(plan, 0, "cpu"), one, None, ProcessGroup())
    adversarial_step.run()
    adversarial_step.run()
    assert one.served == list(range(12))
    single = duel(patches={"tile": 6, "batch": 2, "frames": 1, "triplets": 1}, discriminators={
        "updates": {"spatial": 2, "temporal": 3, "generator": 2}
    })  # fmt: skip
    frames, triplets = sampler(single), sampler(plan)
    adversarial_step = AdversarialStep(TrainingState(single, 0, "cpu"), frames, triplets, ProcessGroup())
    adversarial_step.run()
    adversarial_step.run()
    assert frames.served == list(range(8)) and triplets.served == list(range(10))


@pytest.mark.parametrize("norm", ["group", "none", "spectral"])
def test_accumulated_batches_equal_the_big_one(duel, sampler, norm):
    many = duel(patches={"tile": 6, "batch": 1, "frames": 3, "accumulate": 2}, discriminators={"norm": norm})
    big = duel(patches={"tile": 6, "batch": 2, "frames": 3}, discriminators={"norm": norm})

    class Joined:
        def batch(self, step):
            parts = [sampler(many).batch(2 * step + n) for n in range(2)]
            joined = type(parts[0])
            return joined(*(torch.cat([getattr(p, k) for p in parts]) for k in ("coarse", "fine")))

    adversarial_steps = [
        AdversarialStep(TrainingState(many, 0, "cpu"), sampler(many), None, ProcessGroup()),
        AdversarialStep(TrainingState(big, 0, "cpu"), Joined(), None, ProcessGroup()),
    ]
    for _ in range(2):
        metrics = [adversarial_step.run() for adversarial_step in adversarial_steps]
    if norm != "spectral":  # whose power iterations count passes
        for name in ("total", "discriminator_spatial", "discriminator_temporal", "gradient_norm"):
            assert metrics[0][name] == pytest.approx(metrics[1][name], rel=1e-3), name
        for a, b in zip(
            *(p.state.discriminators["spatial"].network.parameters() for p in adversarial_steps), strict=True
        ):
            torch.testing.assert_close(a, b, rtol=1e-2, atol=2e-4)
    else:
        assert metrics[0]["discriminator_spatial"] == pytest.approx(
            metrics[1]["discriminator_spatial"], rel=0.1
        )


def test_a_nan_in_the_game_keeps_the_last_checkpoint(duel, sampler, tmp_path):
    plan = duel(steps=6, checkpoint_every=2)
    with pytest.raises(TrainingError, match="step 3"):
        train(plan, Sources(sampler(plan, spoil_at=3)), tmp_path)
    kept = load_file(tmp_path / CHECKPOINT)
    assert all(t.isfinite().all() for t in kept.values())
    again = sampler(plan)
    assert train(plan, Sources(again), tmp_path).finished
    assert again.served[0] in (2, 3)


def test_discriminators_are_examined_on_what_they_have_not_seen(duel, sampler, tmp_path):
    plan = duel(validate_every=4)
    held_out = sampler(plan)
    train(plan, Sources(sampler(plan)), tmp_path / "with", held_out=Sources(held_out))
    assert held_out.served == [0, 1, 2, 3]
    (metrics,) = [r for r in records(tmp_path / "with") if r["group"] == "validation"]
    names = {f"accuracy_{who}_{where}" for who in ("spatial", "temporal") for where in ("train", "held_out")}
    assert names <= metrics.keys() and all(0 <= metrics[name] <= 1 for name in names)
    train(plan, Sources(sampler(plan)), tmp_path / "without")
    with_, without = (load_file(tmp_path / name / CHECKPOINT) for name in ("with", "without"))
    assert same(with_, without)  # looking changes nothing


def test_training_starts_from_a_model(duel, recipe, sampler, tmp_path):
    first = train(recipe(steps=2), Sources(sampler(recipe())), tmp_path / "first")
    plan = duel(init=str(first.model), steps=1)
    state = TrainingState(plan, 0, "cpu")
    state.load_init()
    given = load_file(first.model)
    for name, tensor in state.ema.state_dict().items():
        torch.testing.assert_close(given[name], tensor, rtol=1e-6, atol=1e-7)  # folded once more
    kind = plan.generator.model_copy(update={"consistent": True})
    projected = TrainingState(plan.model_copy(update={"generator": kind}), 0, "cpu")
    projected.load_init()  # a layer more, without weights
    assert projected.ema.options.consistent
    for name, tensor in state.ema.state_dict().items():
        torch.testing.assert_close(projected.ema.state_dict()[name], tensor, rtol=0, atol=0)
    train(plan, Sources(sampler(plan)), tmp_path / "second")
    first.model.unlink()
    assert train(plan, Sources(sampler(plan)), tmp_path / "second", steps=2).steps == 2  # no longer needed
    other = duel(init="smoke2d-x4")
    with pytest.raises(ModelError, match=r"width=64.*width=16"):
        train(other, Sources(sampler(other)), tmp_path / "third")


@pytest.mark.parametrize(
    ("name", "batch", "triplets", "updates", "features"),
    [("tempogan-2d", 16, 5, 2, -1e-5), ("tempogan-3d", 1, 1, 16, -1e-6 / 3)],
)
def test_the_published_schedule_is_as_published(name, batch, triplets, updates, features):
    recipe = load_recipe(name)
    discriminators, rate = recipe.discriminators, recipe.optimizer
    assert recipe.generator.architecture == "tempogan" and recipe.patches.tile == 16
    assert (recipe.patches.batch, recipe.patches.frames, recipe.patches.triplets) == (batch, 1, triplets)
    assert {
        discriminators.updates.spatial,
        discriminators.updates.temporal,
        discriminators.updates.generator,
    } == {updates}
    assert recipe.losses.absolute == 5 and recipe.losses.feature_form == "published"
    assert recipe.losses.features == pytest.approx((features,) * 4)
    assert (recipe.losses.spatial, recipe.losses.temporal_adversarial) == (1, 1)
    for options in (rate, discriminators.optimizer):
        assert (options.learning_rate, options.betas[0], options.final_fraction) == (2e-4, 0.5, 1 / 20)
        assert options.decay == "polynomial" and options.weight_decay == 0
    assert (discriminators.view, discriminators.norm, discriminators.head) == ("raw", "batch", "full")
    assert discriminators.objective == "non-saturating"
    assert (discriminators.init, recipe.generator.init) == ("published", "published")
    assert recipe.patches.augment == "affine"  # any angle, and 0.85 to 1.15 as large: "crucial" (3.4.2)
    with torch.device("meta"):
        state = TrainingState(recipe, 0, "meta")
    norms = [m for n in state.networks().values() for m in n.modules() if isinstance(m, _BatchNorm)]
    assert len(norms) == 9 + 2 * 3 and {norm.eps for norm in norms} == {1e-3}
    assert recipe.steps == {"tempogan-2d": 40_000, "tempogan-3d": 7_000}[name]
