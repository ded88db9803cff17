"""Training of a generator that reads its own last frame: unrolled, there and back, and what does not go with it."""

import pytest
import torch
from pydantic import ValidationError

from fluidsr.models import build
from fluidsr.models.batch import PatchBatch
from fluidsr.models.warp import advect
from fluidsr.training.adversarial_step import AdversarialStep
from fluidsr.training.batches import TrainingBatch
from fluidsr.training.checkpoint import TrainingState
from fluidsr.training.discriminators import build_discriminators
from fluidsr.training.distributed import ProcessGroup

SIZES = {"width": 16, "blocks": 1, "rise_width": 16}
PREVIOUS = {"generator": {**SIZES, "previous": True}}
ADVERSARY = {"view": "residual", "norm": "none", "spatial": None, "temporal": {"width": 8}}


def generator(previous, **options):
    torch.manual_seed(0)
    network = build("SmokeGenerator", dim=2, factor=4, **SIZES, previous=previous, **options)
    with torch.no_grad():
        network.rises[-1].weight.mul_(30)
    return network


@pytest.mark.parametrize("options", [{}, {"mask": True}], ids=["plain", "mask"])
def test_a_single_frame_trains_as_without_recurrence_to_the_bit(recipe, sampler, options):
    gradients = []
    for previous in (True, False):
        network = generator(previous, **options)
        plan = recipe(patches={"tile": 8, "batch": 2, "frames": 1}, losses={"absolute": 1.0})
        batch = TrainingBatch(sampler(plan).batch(0), 4)
        batch.output(network).square().sum().backward()
        gradients.append({n: p.grad for n, p in network.named_parameters()})
    recurrent, plain = gradients
    assert recurrent.pop("previous_head.weight") is None
    assert all(torch.equal(recurrent[name], gradient) for name, gradient in plain.items())


def test_frames_are_made_one_after_the_other_and_on_the_way_back(recipe, sampler):
    network = generator(True)
    batch = TrainingBatch(sampler(recipe()).batch(0), 4)
    output = batch.unflatten(batch.output(network, cache=True))
    made, previous = [], None
    for at in range(3):
        previous = None if previous is None else advect(previous, batch.velocity[:, at])
        previous = network(batch.coarse[:, at], previous=previous)
        made.append(previous)
    assert torch.equal(output, torch.stack(made, 1))
    first, second = batch.backward_pass(network).unbind(1)
    back = network(batch.coarse[:, 1], previous=advect(made[2], batch.velocity[:, 1], dt=-1.0))
    assert torch.equal(second, back)
    assert torch.equal(
        first, network(batch.coarse[:, 0], previous=advect(back, batch.velocity[:, 0], dt=-1.0))
    )
    first.sum().backward()
    assert network.head.weight.grad.abs().max() > 0


def test_the_ping_pong_loss_lowers_the_difference_it_measures(recipe, sampler):
    plan = recipe(
        **PREVIOUS, losses={"absolute": 1.0, "ping_pong": 50.0}, patches={"tile": 8, "batch": 1, "frames": 5}
    )
    step = AdversarialStep(TrainingState(plan, 0, "cpu"), sampler(plan), None, ProcessGroup())
    with torch.no_grad():
        step.state.generator.network.rises[-1].weight.mul_(30)
    reported = [step.run() for _ in range(6)]
    assert reported[0]["total"] == pytest.approx(
        reported[0]["absolute"] + 50 * reported[0]["ping_pong"], rel=1e-4
    )
    assert 0 < reported[-1]["ping_pong"] < reported[0]["ping_pong"]


def test_the_balance_gate_measures_log_probabilities(recipe, sampler):
    plan = recipe(
        discriminators=ADVERSARY | {"gate": {"kind": "balance", "temporal": 0.3, "memory": 0.5}},
        losses={"absolute": 1.0, "temporal_adversarial": 0.1},
    )
    step = AdversarialStep(TrainingState(plan, 0, "cpu"), sampler(plan), None, ProcessGroup())
    gate = step.state.discriminators["temporal"].gate
    assert gate.open and gate.value == 0
    reported = step.run()
    assert gate.value == pytest.approx(0.5 * reported["balance_temporal"])
    gate.value = 0.31
    assert step.run()["learns_temporal"] == 0


def test_all_frames_of_a_sample_and_three_of_them(recipe):
    """Dt on one level sees the middle three of five; on two levels all nine, real and generated ones alike."""
    views = {}
    for frames, levels in ((5, 1), (9, 2)):
        temporal = {"width": 8, "levels": levels} | ({"align": False} if levels == 1 else {})
        plan = recipe(
            discriminators=ADVERSARY | {"temporal": temporal, "view": "raw"},
            losses={"absolute": 1.0, "temporal_adversarial": 0.1},
            patches={"tile": 8, "batch": 1, "frames": frames},
        )
        discriminator = build_discriminators(plan, "cpu")["temporal"]
        fine = torch.arange(1.0, frames + 1).view(1, frames, 1, 1, 1).expand(1, frames, 1, 32, 32)
        for number in range(6):
            batch = TrainingBatch(PatchBatch(torch.rand(1, frames, 3, 8, 8), fine, number=number), 4)
            view = discriminator.view(batch, fine)
            assert torch.equal(view, discriminator.view(batch, fine.clone()))
            assert discriminator.network(view)[0].shape == (1, 1)
            views.setdefault(levels, set()).add(tuple(view.unique().round(decimals=3).tolist()))
    assert views[1] == {(2.0, 3.0, 4.0)}
    assert views[2] == {tuple(float(n) for n in range(1, 10))}


@pytest.mark.parametrize(
    ("changes", "needle"),
    [
        ({"losses": {"absolute": 1.0, "ping_pong": 0.5}}, "losses.ping_pong is always 0"),
        (
            {**PREVIOUS, "patches": {"frames": 1}, "losses": {"absolute": 1.0}},
            "generator.previous is read from a sample's second frame on",
        ),
        ({**PREVIOUS, "patches": {"frames": 5, "pairs": 4}}, "patches.pairs are of three frames"),
        ({"temporal": {"stride": 2}}, "temporal.stride is for levels above 1"),
        ({"temporal": {"levels": 2}}, "levels is 2, which leaves one frame or none of 3"),
        ({"temporal": {"levels": 2, "align": True}, "patches": {"frames": 9}}, "temporal.align carries two"),
        ({"temporal": {"levels": 2}, "patches": {"frames": 9, "tile": 6}}, "2 levels need a multiple of 16"),
        (
            {"temporal": {"levels": 2}, "patches": {"frames": 9}, "dim": 3},
            "temporal.levels is 2, and more than one is for 2-D",
        ),
        ({"gate": {"kind": "balance"}, "objective": "hinge"}, "balance is on probabilities"),
    ],
)
def test_what_has_no_effect_or_no_sense_is_refused(recipe, changes, needle):
    changes = dict(changes)
    keys = {key: changes.pop(key) for key in ("temporal", "gate", "objective") if key in changes}
    if keys:
        changes["discriminators"] = ADVERSARY | keys
        changes["losses"] = {"absolute": 1.0, "temporal_adversarial": 0.1}
    with pytest.raises(ValidationError, match=needle):
        recipe(**changes)
