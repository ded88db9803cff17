"""What few-shot training adds: an anchor, a stop at the best held-out figure, discriminators that go on."""

from contextlib import suppress

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from fluidsr import models
from fluidsr.errors import InputError
from fluidsr.training import Sources, train
from fluidsr.training.checkpoint import TrainingState
from fluidsr.training.folder import CHECKPOINT, DISCRIMINATORS
from fluidsr.training.optimizer import learning_rate, named_tensors
from fluidsr.training.recipe_schema import Optimizer

ADVERSARY = {"norm": "spectral", "spatial": {"width": 8}, "temporal": {"width": 8}}
DUEL = {
    "discriminators": ADVERSARY,
    "losses": {"absolute": 1.0, "spatial": 0.1, "temporal_adversarial": 0.1},
    "patches": {"tile": 6, "batch": 1, "frames": 3},
}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def figures(*values):
    """A validation that gives these values in turn."""
    left = list(values)
    return lambda generator: {"absolute": left.pop(0)}


def test_the_best_weights_are_kept_and_training_ends(recipe, sampler, tmp_path):
    plan = recipe(steps=12, validate_every=2, patience=2)
    report = train(
        plan, Sources(sampler(plan)), tmp_path / "run", validation=figures(5.0, 4.0, 3.0, 3.0, 3.5, 1.0)
    )
    assert report.finished and report.steps == 8  # a figure that is not smaller is no better
    assert report.card.steps == 4 and report.validation == {"absolute": 3.0}
    assert report.card.metrics == {"before": {"absolute": 5.0}, "tiny": {"absolute": 3.0}}
    rates = {"optimizer": plan.optimizer.model_copy(update={"decay": "constant"})}
    for steps, name in ((12, "long"), (4, "short")):
        same = plan.model_copy(update={**rates, "steps": steps, "patience": 2 if steps > 4 else None})
        given = {"validation": figures(5.0, 4.0, 3.0, 3.0, 3.5)} if steps > 4 else {}
        train(same, Sources(sampler(same)), tmp_path / name, **given)
    assert equal(*(load_file(tmp_path / name / "tiny.safetensors") for name in ("long", "short")))
    # Once it is over, the same call trains and validates nothing.
    again = train(plan, Sources(sampler(plan)), tmp_path / "run", validation=figures())
    assert again.card == report.card


def test_a_kill_between_checkpoint_and_validation_keeps_the_best(recipe, sampler, tmp_path):
    plan = recipe(steps=6, validate_every=2, checkpoint_every=1, patience=3)
    stops = set()

    def run(folder):
        calls = []

        def validation(generator):
            calls.append(0)
            if len(calls) in stops:
                raise SystemExit  # nothing is saved any more, as after a kill
            return {"absolute": float(sum(weight.abs().sum() for weight in generator.parameters()))}

        with suppress(SystemExit):
            train(plan, Sources(sampler(plan)), tmp_path / folder, validation=validation)

    run("whole")
    stops |= {2}
    for _ in range(4):
        run("parts")
    stops.clear()
    run("parts")
    for name in (CHECKPOINT, "tiny.safetensors"):
        assert equal(*(load_file(tmp_path / folder / name) for folder in ("whole", "parts")))


def test_the_anchor_holds_the_weights(recipe, sampler, tmp_path):
    first = train(recipe(steps=1), Sources(sampler(recipe())), tmp_path / "first")
    start = models.load(first.model).generator

    def distance(name, anchor):
        losses = {"absolute": 1.0, "anchor": anchor}
        plan = recipe(steps=6, init=str(first.model), losses=losses, optimizer={"learning_rate": 1e-3})
        report = train(plan, Sources(sampler(plan)), tmp_path / name)
        tuned = models.load(report.model).generator
        pairs = zip(tuned.parameters(), start.parameters(), strict=True)
        return sum((now - then).square().sum().item() for now, then in pairs), report

    loose, _ = distance("loose", 0.0)
    held, report = distance("held", 1e6)
    assert held < 0.5 * loose
    assert report.losses["anchor"] > 0 and report.losses["total"] > report.losses["absolute"]
    assert TrainingState(recipe(), 0, "cpu").start == []


def test_what_few_shot_training_needs(recipe, sampler, tmp_path):
    with pytest.raises(ValidationError, match=r"losses\.anchor is a distance from the weights of init"):
        recipe(losses={"absolute": 1.0, "anchor": 1e-3})
    plan = recipe(patience=1)
    with pytest.raises(InputError, match="patience: needs held-out smoke, and there is none"):
        train(plan, Sources(sampler(plan)), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_constant_rate_stays():
    options = Optimizer(learning_rate=1e-3, warmup_steps=2, decay="constant")
    assert [learning_rate(options, step, 100) for step in (0, 1, 2, 99)] == [0.5e-3, 1e-3, 1e-3, 1e-3]


def test_discriminators_go_on_with_their_model(recipe, sampler, tmp_path):
    plan = recipe(steps=2, **DUEL)
    first = train(plan, Sources(sampler(plan)), tmp_path / "first")
    trained = load_file(tmp_path / "first" / CHECKPOINT)

    def started(init, **changes):
        reported = []
        state = TrainingState(recipe(steps=2, init=str(init), **(DUEL | changes)), 7, "cpu")
        state.load_init(reported.append)
        networks = {name: dict(named_tensors(d.network)) for name, d in state.discriminators.items()}
        return {f"{name}/{key}": t for name, own in networks.items() for key, t in own.items()}, reported

    kept, reported = started(first.model)
    assert not reported and len(kept) > 20
    assert all(torch.equal(tensor, trained[name]) for name, tensor in kept.items())
    # By their folder; of a discriminator of another kind, the other goes on.
    wider = {**ADVERSARY, "temporal": {"width": 16}}
    kept, reported = started(tmp_path / "first", discriminators=wider)
    assert all(torch.equal(t, trained[name]) for name, t in kept.items() if name.startswith("spatial"))
    assert "start from scratch (temporal): they were of another kind" in reported[0]
    # Beside another model, damaged, or gone, they are left.
    second = train(recipe(steps=1), Sources(sampler(recipe())), tmp_path / "second")
    whole = (tmp_path / "first" / DISCRIMINATORS).read_bytes()
    assert "were not kept" in started(second.model)[1][0]
    (tmp_path / "second" / DISCRIMINATORS).write_bytes(whole)
    assert "belongs to another model" in started(second.model)[1][0]
    (tmp_path / "first" / DISCRIMINATORS).write_bytes(whole[:-3])
    assert "cannot be used" in started(first.model)[1][0]


@pytest.mark.slow
def test_reverse_pretraining_lowers_its_error_and_is_logged(recipe, sampler, tmp_path):
    def error(weight):
        losses = {"absolute": 1.0, "reverse": weight}
        plan = recipe(steps=30, losses=losses, log_every=1, validate_every=100, checkpoint_every=100)
        return train(plan, Sources(sampler(plan)), tmp_path / f"{weight}").losses["reverse"]

    assert error(1.0) < 0.7 * error(1e-9)
