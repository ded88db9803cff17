"""Training a generator that has a latent code."""

import math

import pytest
import torch

from fluidsr import models
from fluidsr.errors import ModelError, SceneError
from fluidsr.training import Recipe, Sources, train
from fluidsr.training.adversarial_step import AdversarialStep, MicroBatch, path_length_weight
from fluidsr.training.checkpoint import TrainingState, training_batch
from fluidsr.training.distributed import ProcessGroup

STYLED = {
    "generator": {
        "width": 4,
        "blocks": 1,
        "rise_width": 4,
        "last": "resized",
        "modulation": "spade",
        "latent": {"content": 3, "motion": 2},
    },
    "losses": {"absolute": 1.0, "temporal": 0.5, "diversity": 0.1},
}
EVEN = {**STYLED, "losses": {**STYLED["losses"], "path_length": {"every": 2}}}
RECURRENT = {
    "generator": {"width": 4, "blocks": 1, "rise_width": 4, "modulation": "spade", "previous": True},
    "losses": {"absolute": 1.0, "temporal": 0.5, "ping_pong": 0.1},
}


@pytest.mark.parametrize("settings", [STYLED, EVEN, RECURRENT], ids=["styled", "even", "recurrent"])
def test_a_training_that_was_stopped_ends_in_the_same_weights(settings, recipe, sampler, tmp_path):
    plan = recipe(**settings, steps=4, log_every=1, checkpoint_every=1)

    def stop(progress):
        if progress.step == 2:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        train(plan, Sources(sampler(plan)), tmp_path / "parts", on_progress=stop)
    parts = train(plan, Sources(sampler(plan)), tmp_path / "parts")
    whole = train(plan, Sources(sampler(plan)), tmp_path / "whole")
    assert parts.steps == 4 and parts.card.sha256 == whole.card.sha256
    generator = models.load(parts.model).generator
    assert generator.options.previous == plan.generator.previous and generator.latent == plan.generator.latent
    assert generator.spades[0].norm.running_var.min() > 0


def test_diversity_teaches_the_factors_and_without_it_there_is_no_such_recipe(recipe, sampler):
    plan = recipe(**STYLED)
    state = TrainingState(plan, 0, "cpu")
    metrics = AdversarialStep(state, sampler(plan), None, ProcessGroup()).run()
    assert 0 < metrics["diversity"] <= 1
    moved = dict(state.generator.network.named_parameters())
    assert all(moved[name].grad.any() for name in moved if "factors.weight" in name or "recurrence" in name)
    for losses, words in (
        ({"absolute": 1.0}, "ignore its latent"),
        ({"diversity": 0.1, "reverse": 0.1}, "reverse"),
    ):
        with pytest.raises((SceneError, ValueError), match=words):
            recipe(generator=STYLED["generator"], losses={**losses, "absolute": 1.0})
    for name in ("diversity", "energy_score"):
        with pytest.raises((SceneError, ValueError), match="no latent code"):
            recipe(losses={"absolute": 1.0, name: 0.1})


def test_a_model_without_a_code_can_be_continued_with_one(recipe, sampler, tmp_path):
    plain = {name: value for name, value in STYLED["generator"].items() if name != "latent"}
    start = train(
        recipe(generator=plain, steps=2, losses={"absolute": 1.0}),
        Sources(sampler(recipe(generator=plain))),
        tmp_path / "plain",
    )
    plan = recipe(
        generator=STYLED["generator"],
        init=str(start.model),
        losses={"absolute": 0.0, "energy_score": 1.0, "air": 1.0},
    )
    state = TrainingState(plan, 0, "cpu")
    state.load_init()
    batch = sampler(plan).batch(0).coarse.flatten(0, 1)
    generator = state.ema.eval()
    torch.testing.assert_close(
        generator(batch), models.load(start.model).generator(batch), rtol=1e-4, atol=1e-5
    )
    metrics = AdversarialStep(state, sampler(plan), None, ProcessGroup()).run()
    assert metrics["energy_score"] > 0 and metrics["air"] >= 0
    moved = dict(state.generator.network.named_parameters())
    assert all(moved[name].grad.any() for name in moved if "factors.weight" in name)
    other = {**STYLED["generator"], "latent": {"content": 5, "motion": 2}}
    styled = TrainingState(recipe(generator=other, losses={"energy_score": 1.0}), 0, "cpu").ema
    models.save(tmp_path / "other.safetensors", styled.fold(), models.read_card(str(start.model)))
    with pytest.raises(ModelError, match="the recipe's generator"):
        TrainingState(
            plan.model_copy(update={"init": str(tmp_path / "other.safetensors")}), 0, "cpu"
        ).load_init()


def test_path_length_regularization_has_an_update_of_its_own_after_every_so_many(recipe, sampler):
    plan = recipe(**EVEN)
    state = TrainingState(plan, 0, "cpu")
    step = AdversarialStep(state, sampler(plan), None, ProcessGroup())
    assert state.generator.options.learning_rate == pytest.approx(plan.optimizer.learning_rate * 2 / 3)
    reported = [step.run() for _ in range(4)]
    assert ["path_length" in each for each in reported] == [False, True, False, True]
    assert state.generator.updates == 6
    first, second = (each["path_length"] for each in reported if "path_length" in each)
    assert first > 0 and state.path_length == pytest.approx(first + 0.01 * (second - first))
    assert path_length_weight((48, 48)) == pytest.approx(math.log(2) / (48**2 * (math.log(48) - math.log(2))))
    state.path_length = 0.0  # so that lengths are to vanish
    state.generator.update = state.generator.zero_grad = lambda *_: None  # gradients stay to be looked at
    batch = training_batch(state, sampler(plan).batch(9))
    state.generator.network.zero_grad()
    step._update_path_length([MicroBatch(batch, None)])
    moved = dict(state.generator.network.named_parameters())
    assert all(moved[name].grad.any() for name in moved if "factors.weight" in name)
    with pytest.raises((SceneError, ValueError), match=r"losses\.path_length is of a latent code"):
        recipe(losses={"absolute": 1.0, "path_length": {}})


def test_weights_of_a_spectral_norm_go_on_from_a_folded_model(recipe, sampler, tmp_path):
    plan = recipe(generator={"width": 4, "blocks": 1, "rise_width": 4, "norm": "spectral"}, steps=2)
    first = train(plan, Sources(sampler(plan)), tmp_path / "first")
    assert first.card.hyperparameters["norm"] == "none"
    second = Recipe.model_validate({**plan.model_dump(), "init": str(first.model)})
    state = TrainingState(second, 0, "cpu")
    state.load_init()
    given = models.load(first.model).generator
    coarse = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(state.ema.eval()(coarse), given(coarse), rtol=1e-3, atol=1e-5)
