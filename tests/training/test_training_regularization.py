"""What holds discriminators in bounds, as recipes switch it on: what it computes, when, and that it resumes."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from fluidsr.errors import InputError, SceneError
from fluidsr.models import Discriminator
from fluidsr.models.constraints import operator_norm_bound
from fluidsr.models.registry import DISCRIMINATORS
from fluidsr.models.resample import upsample
from fluidsr.training import Recipe, Sources, load_recipe, train
from fluidsr.training.adversarial_step import AdversarialStep
from fluidsr.training.batches import BatchStream, TrainingBatch
from fluidsr.training.checkpoint import TrainingState
from fluidsr.training.discriminators import seeded_generator
from fluidsr.training.distributed import ProcessGroup
from fluidsr.training.examination import matched_auc
from fluidsr.training.optimizer import learning_rate
from fluidsr.training.trainer import CHECKPOINT

RMSPROP = {"kind": "rmsprop", "learning_rate": 5e-5, "betas": [0.0, 0.99]}
SPATIAL = {"spatial": {"width": 8}, "temporal": None}
ALONE = {"absolute": 1.0, "spatial": 0.1}


@pytest.fixture
def duel(recipe):
    """A small recipe with Ds and Dt, or with Ds alone (`temporal: null`), and keys of `discriminators`."""

    def make(discriminators=None, **changes):
        adversary = {"spatial": {"width": 8}, "temporal": {"width": 8}, **(discriminators or {})}
        losses = {**ALONE, **({"temporal_adversarial": 0.1} if adversary["temporal"] else {})}
        base = {"patches": {"tile": 4, "batch": 2, "frames": 3}, "losses": losses, "steps": 4}
        return recipe(**(base | {"discriminators": adversary} | changes))

    return make


def state_of(plan):
    return TrainingState(plan, 0, "cpu")


def batch_of(plan, sampler, step=0):
    return TrainingBatch(sampler(plan).batch(step), plan.factor)


def spatial_loss(state, batch, fake):
    return state.discriminators["spatial"].loss(batch, fake, seeded_generator("cpu", 0))


def gradients(network):
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_by_default_ds_passes_twice_and_pays_the_published_loss_alone(duel, sampler):
    plan = duel(SPATIAL)
    state, batch = state_of(plan), batch_of(plan, sampler)
    discriminator, fake = state.discriminators["spatial"], batch.fine.roll(1, -1)
    passes = []
    discriminator.network.register_forward_hook(lambda *_: passes.append(1))
    total, parts = spatial_loss(state, batch, fake)
    assert len(passes) == 2 and parts.keys() == {"discriminator", "accuracy"}
    real, other = (
        discriminator.network(discriminator.view(batch, frames))[0] for frames in (batch.fine, fake)
    )
    assert torch.equal(total, F.softplus(-real).mean() + F.softplus(other).mean())


@pytest.mark.parametrize(
    ("keys", "extra"),
    [
        ({"mismatched": 0.5}, lambda parts: 0.5 * parts["mismatched"]),
        ({"penalty": {"weight": 2.0}}, lambda parts: 2 * parts["penalty"]),
        ({"penalty": {"weight": 3.0, "on": "all", "one_sided": True}}, lambda parts: 3 * parts["penalty"]),
        ({"r1": {"weight": 0.5}}, lambda parts: 0.25 * parts["r1"]),
        ({"objective": "wgan-gp"}, lambda parts: 10 * parts["penalty"]),
        ({"objective": "relativistic"}, lambda parts: 0.005 * parts["r1"]),
        ({"objective": "relativistic", "r1": {"weight": 4.0, "on": "fine"}}, lambda parts: 2 * parts["r1"]),
        ({"r1": {"weight": 0.5, "every": 4}}, lambda parts: 0.0),
    ],
    ids=["mismatched", "penalty", "one-sided", "r1", "wgan-gp", "relativistic", "relativistic r1", "lazy"],
)
def test_each_part_of_the_loss_is_logged_unweighted_and_weighted_in_the_sum(duel, sampler, keys, extra):
    plan = duel(SPATIAL | keys)
    state, batch = state_of(plan), batch_of(plan, sampler)
    total, parts = spatial_loss(state, batch, batch.fine.roll(1, -1))
    assert total.item() == pytest.approx(parts["discriminator"] + extra(parts), rel=1e-5)
    assert len(parts) == 2 + (extra(dict.fromkeys(("mismatched", "penalty", "r1"), 1.0)) > 0) + (
        "slope" in parts
    )
    reported = AdversarialStep(state, sampler(plan), None, ProcessGroup()).run()
    assert {f"{part}_spatial" for part in parts} <= reported.keys()


def test_mismatched_pairs_are_real_frames_beside_another_coarse_frame(duel, sampler):
    plan = duel(SPATIAL | {"mismatched": 1.0}, patches={"tile": 4, "batch": 3, "frames": 1})
    state, batch = state_of(plan), batch_of(plan, sampler)
    discriminator = state.discriminators["spatial"]
    shown = []
    discriminator.network.register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0]))
    discriminator.logits(batch, batch.fine)
    discriminator.mismatched_logits(batch)
    matched, mismatched = shown
    assert torch.equal(matched[:, 0], mismatched[:, 0])  # the coarse frames
    raised = discriminator.view(batch, torch.zeros_like(batch.fine))[:, 1:]
    fine = [20 * batch.fine[k, :, 0] + raised[n] for n, k in enumerate((2, 0, 1))]
    torch.testing.assert_close(mismatched[:, 1:], torch.stack(fine), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("view", ["residual", "raw"])
def test_ds_heeds_the_coarse_frame_once_it_has_seen_mismatched_pairs(duel, sampler, view):
    """CGAN's condition (Mirza and Osindero 2014), measured on unseen pairs: blur alone tells fakes, so without
    mismatched pairs Ds need not learn it."""
    found = {}
    for weight in (0.0, 1.0):
        plan = duel(
            SPATIAL | {"view": view, "mismatched": weight, "optimizer": {"learning_rate": 2e-3}},
            patches={"tile": 4, "batch": 8, "frames": 1},
            steps=120,
        )
        state = state_of(plan)
        discriminator, batches = (
            state.discriminators["spatial"],
            [batch_of(plan, sampler, n) for n in range(40)],
        )
        for step in range(plan.steps):
            batch = batches[step % 40]
            fake = upsample(batch.density[:, 0], plan.factor, "cubic")[:, None]
            discriminator.optimizer.zero_grad()
            discriminator.loss(batch, fake, seeded_generator("cpu", step))[0].backward()
            discriminator.update(step, plan.steps)
        held_out = BatchStream(sampler(plan), 1, 1, ProcessGroup(), "cpu")
        found[weight] = matched_auc(state, held_out, 5000)["spatial"]
    assert found[1.0] > 0.9 and found[0.0] < 0.7, found


def test_the_area_is_reported_for_both_splits_and_looking_changes_nothing(duel, sampler, tmp_path):
    plan = duel(SPATIAL, validate_every=1, steps=2, patches={"tile": 4, "batch": 32, "frames": 1})
    held_out = sampler(plan)
    report = train(plan, Sources(sampler(plan)), tmp_path / "with", held_out=Sources(held_out))
    text = (tmp_path / "with" / "metrics.jsonl").read_text()
    assert text.count('"auc_matched_spatial_train"') == text.count('"auc_matched_spatial_held_out"') == 2
    assert held_out.served == [*range(4), *range(2)] * 2  # 64 pairs in batches of 32, the same each time
    assert not report.validation
    train(plan, Sources(sampler(plan)), tmp_path / "without")
    assert same(*(load_file(tmp_path / name / CHECKPOINT) for name in ("with", "without")))


def test_clipping_comes_after_the_first_update_and_every_so_many_later(duel, sampler):
    constraint = {"kind": "svc", "every": 3}
    plan = duel(SPATIAL | {"constraint": constraint, "gate": {"spatial": None}}, steps=8)
    free = duel(SPATIAL | {"gate": {"spatial": None}}, steps=8)
    steps = [AdversarialStep(state_of(p), sampler(p), None, ProcessGroup()) for p in (plan, free)]
    held, unheld = (s.state.discriminators["spatial"] for s in steps)
    clipped = []
    for _ in range(plan.steps):
        unheld.network.load_state_dict(held.network.state_dict())
        unheld.optimizer.optimizer.load_state_dict(copy.deepcopy(held.optimizer.optimizer.state_dict()))
        steps[1].state.generator.network.load_state_dict(steps[0].state.generator.network.state_dict())
        for step in steps:
            step.run()
        with torch.no_grad():  # so that there is something to clip every time
            clipped.append(not same(held.network.state_dict(), unheld.network.state_dict()))
            held.network.convolutions[0].weight.mul_(3)
    assert clipped == [True, False, False] * 2 + [True, False]


@pytest.mark.parametrize("kind", ["clip", "svc", "svc-strict"])
def test_a_constraint_holds_after_a_step(duel, sampler, kind):
    plan = duel({"objective": "wgan", "constraint": {"kind": kind, "every": 1}, "optimizer": RMSPROP})
    state = state_of(plan)
    AdversarialStep(state, sampler(plan), None, ProcessGroup()).run()
    for discriminator in state.discriminators.values():
        for layer in [*discriminator.network.convolutions, discriminator.network.full]:
            if kind == "clip":
                assert layer.weight.abs().max() <= 0.01 and layer.bias.abs().max() <= 0.01
            else:
                bound = operator_norm_bound(layer) if kind == "svc-strict" else 1.0
                assert torch.linalg.svdvals(layer.weight.detach().flatten(1))[0] <= bound * (1 + 1e-5)


def test_lazy_r1_adds_up_to_the_plain_one_on_frozen_weights(duel, sampler):
    """Mean gradient over four steps, of four updates and one of R1's own, against four with R1 in each."""
    plans = [duel(SPATIAL | {"r1": {"weight": 2.0, "every": every}}) for every in (1, 4)]
    means = []
    for plan, updates in zip(plans, (1, 5), strict=True):
        state, batch = state_of(plan), batch_of(plan, sampler)
        discriminator = state.discriminators["spatial"]
        for n in range(updates):
            if n == 4:
                (
                    discriminator.r1.every * discriminator.r1.weight / 2 * discriminator.r1_loss(batch)
                ).backward()
            else:
                spatial_loss(state, batch, batch.fine.roll(1, -1))[0].backward()
        means.append({k: g / max(1, updates - 1) for k, g in gradients(discriminator.network).items()})
    for name, gradient in means[0].items():
        torch.testing.assert_close(means[1][name], gradient, rtol=1e-5, atol=1e-6, msg=name)


def test_lazy_r1_has_an_update_of_its_own_after_every_so_many(duel, sampler):
    plan = duel(SPATIAL | {"r1": {"weight": 1.0, "every": 2}, "gate": {"spatial": None}}, steps=6)
    state = state_of(plan)
    step = AdversarialStep(state, sampler(plan), None, ProcessGroup())
    reported = [step.run() for _ in range(plan.steps)]
    discriminator = state.discriminators["spatial"]
    assert ["r1_spatial" in values for values in reported] == [False, True] * 3
    assert discriminator.optimizer.updates == 6 + 3
    (group,) = discriminator.optimizer.optimizer.param_groups
    assert group["betas"] == pytest.approx((0.5 ** (2 / 3), 0.999 ** (2 / 3)))
    rate = plan.discriminators.optimizer
    assert group["lr"] == pytest.approx(2 / 3 * learning_rate(rate, 5, 6))


@pytest.mark.parametrize(
    ("keys", "changes"),
    [
        (
            {
                "constraint": {"kind": "svc", "every": 2},
                "objective": "wgan",
                "optimizer": RMSPROP,
                "updates": {"spatial": 3},
            },
            {},
        ),
        ({"r1": {"every": 2}, "mismatched": 1.0, "real_target": 0.9}, {}),
        ({"init": "published", "penalty": {}}, {"optimizer": {"orthogonal": 1e-4}, "singular_values": True}),
    ],
    ids=["svc", "lazy r1", "penalty"],
)
def test_a_stopped_training_goes_on_to_the_bit(duel, sampler, tmp_path, keys, changes):
    plan = duel(SPATIAL | keys, log_every=1, checkpoint_every=1, validate_every=1, steps=3, **changes)
    train(plan, Sources(sampler(plan)), tmp_path / "whole")

    class Killed(Exception):
        """Nothing catches this one, as nothing catches a kill."""

    def die(progress):
        if progress.step == 2:
            raise Killed

    with pytest.raises(Killed):
        train(plan, Sources(sampler(plan)), tmp_path / "parts", on_progress=die)
    assert train(plan, Sources(sampler(plan)), tmp_path / "parts").finished
    assert same(*(load_file(tmp_path / name / CHECKPOINT) for name in ("whole", "parts")))


def test_each_network_has_a_learning_rate_of_its_own(duel, sampler):
    """Two time scales (Heusel et al. 2017)."""
    rates = {"learning_rate": 4e-4, "warmup_steps": 0}
    plan = duel(
        {"optimizer": rates},
        optimizer={"learning_rate": 1e-4, "warmup_steps": 0, "kind": "rmsprop", "betas": [0, 0.9]},
    )
    state = state_of(plan)
    AdversarialStep(state, sampler(plan), None, ProcessGroup()).run()
    found = {
        n: o.optimizer
        for n, o in [("G", state.generator), *((n, d.optimizer) for n, d in state.discriminators.items())]
    }
    assert found["G"].param_groups[0]["lr"] == 1e-4 and found["G"].param_groups[0]["alpha"] == 0.9
    assert found["spatial"].param_groups[0]["lr"] == found["temporal"].param_groups[0]["lr"] == 4e-4
    assert type(found["G"]).__name__ == "RMSprop" and type(found["spatial"]).__name__ == "AdamW"


def test_the_orthogonal_penalty_is_in_the_generators_loss_and_logged_unweighted(duel, sampler):
    plans = [duel(SPATIAL, optimizer={"orthogonal": weight}) for weight in (0.0, 0.5)]
    reported = [AdversarialStep(state_of(p), sampler(p), None, ProcessGroup()).run() for p in plans]
    assert "orthogonal" not in reported[0] and reported[1]["orthogonal"] > 0
    assert reported[1]["total"] == pytest.approx(
        reported[0]["total"] + 0.5 * reported[1]["orthogonal"], rel=1e-5
    )
    assert reported[1]["gradient_norm"] != reported[0]["gradient_norm"]


BASE = "name: a\ndim: 2\nsteps: 5\nlosses: {spatial: 1, temporal_adversarial: 1}\n"


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("objective: wgan", ["objective", "constraint"]),
        ("objective: wgan, penalty: {}, constraint: {kind: clip}", ["penalty", "wgan-gp"]),
        ("objective: wgan-gp, norm: batch", ["norm", "WGAN-GP"]),
        ("penalty: {weight: 2}, norm: batch", ["norm", "gradient penalty"]),
        ("r1: {weight: 2}, norm: batch", ["norm", "R1"]),
        ("constraint: {kind: clip}, norm: spectral", ["constraint", "spectral"]),
        ("constraint: {kind: svc}, norm: group", ["norm", "group"]),
        ("constraint: {kind: svc-strict}, norm: batch", ["norm", "svc-strict"]),
        ("constraint: {kind: svc, bound: 2}", ["bound"]),
        ("constraint: {kind: svd}", ["constraint", "svc"]),
        ("init: dcgan, norm: spectral", ["init", "spectral"]),
        ("init: xavier", ["init", "published"]),
        ("epsilon: 1.0e-3", ["epsilon", "none"]),
        ("mismatched: 1, spatial: null", ["mismatched"]),
        ("mismatched: 1", ["mismatched", "patches.batch"]),
        ("real_target: 0.9, objective: hinge", ["real_target", "hinge"]),
        ("real_target: 0.2", ["real_target", "0.5"]),
        ("optimizer: {kind: rmsprop}", ["betas", "[0, 0.99]"]),
        ("optimizer: {kind: rmsprop, betas: [0, 0.9], weight_decay: 0.1}", ["weight_decay", "rmsprop"]),
        ("r1: {weight: 0}", ["r1.weight"]),
    ],
)
def test_contradictory_regularization_is_refused_in_one_line(tmp_path, keys, words):
    path = tmp_path / "r.yaml"
    losses = BASE.replace("spatial: 1, ", "") if "spatial: null" in keys else BASE
    patches = "patches: {batch: 1}\n" if words[-1] == "patches.batch" else ""
    path.write_text(f"{losses}{patches}discriminators: {{{keys}}}\n")
    with pytest.raises(SceneError) as caught:
        load_recipe(path)
    message = str(caught.value)
    assert "\n" not in message and message.startswith(str(path))
    for word in words:
        assert word in message, message


def test_networks_whose_layers_cannot_be_bounded_are_refused(duel):
    class Grouped(Discriminator):
        name = "grouped"

        def __init__(self, dim, channels_in, **options):
            super().__init__(dim, channels_in, **options)
            self.extra = torch.nn.GroupNorm(2, 8)

    DISCRIMINATORS.register(Grouped)
    with pytest.raises(InputError, match="cannot bound the singular values of a GroupNorm"):
        state_of(duel({"network": "grouped", "constraint": {"kind": "svc"}}))
    state_of(duel({"network": "grouped", "constraint": {"kind": "clip"}}))


def test_a_recipe_of_before_reads_as_if_nothing_had_been_added(duel):
    plan = duel()
    data = plan.model_dump(mode="json")
    for key in ("init", "epsilon", "real_target", "mismatched", "penalty", "r1", "constraint"):
        del data["discriminators"][key]
    del data["optimizer"]["orthogonal"], data["optimizer"]["kind"], data["singular_values"]
    assert Recipe.model_validate(data) == plan
    assert math.isclose(plan.discriminators.epsilon, 1e-5)
