"""Growing: stages come when the recipe says, the reference keeps up, a stop in between goes on to the bit."""

import pytest
import torch
from safetensors.torch import load_file

from fluidsr.errors import InputError, SceneError
from fluidsr.models import load
from fluidsr.training import Sources, load_recipe, train
from fluidsr.training.checkpoint import TrainingState, training_batch
from fluidsr.training.growing import Growing
from fluidsr.training.trainer import CHECKPOINT

NETWORK = {"architecture": "multipass", "passes": 1, "width": 8, "second_width": 16}


@pytest.fixture
def growing(recipe):
    def make(**changes):
        base = {
            "factor": 4,
            "generator": NETWORK,
            "growing": {"steps": 2},
            "patches": {"tile": 4, "batch": 1, "frames": 1},
            "losses": {"absolute": 1.0},
            "steps": 8,
        }
        return recipe(3, **(base | changes))

    return make


def test_each_stage_is_mixed_in_and_settles():
    plan = Growing(steps=4)
    assert [plan.stages_at(step) for step in range(9)] == [0, 0.25, 0.5, 0.75, 1, 1, 1, 1, 1]
    assert plan.stages_at(10) == 1.5 and plan.steps_of(3) == 24 and plan.stages_at(24) == 3


def test_the_reference_of_a_batch_is_what_the_stages_in_use_can_show(growing, sampler):
    plan = growing()
    state = TrainingState(plan, 0, "cpu")
    batch = sampler(plan).batch(0)
    assert torch.equal(training_batch(state, batch).fine, batch.fine)  # as for use: it has all stages
    state.grow(4)
    assert state.ema.options.grown == state.generator.network.options.grown == 1
    seen = training_batch(state, batch).fine
    assert torch.equal(seen[..., ::2, ::2, :], seen[..., 1::2, 1::2, :])
    assert (seen - batch.fine).abs().max() > 0.01


def test_a_growing_training_resumes_bit_identically(growing, sampler, tmp_path):
    plan = growing(validate_every=5)
    report = train(plan, Sources(sampler(plan)), tmp_path / "whole")
    assert "grown" not in report.card.hyperparameters

    def stop(progress):
        if progress.step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(plan, Sources(sampler(plan)), tmp_path / "parts", on_progress=stop)
    seen = []
    train(
        plan,
        Sources(sampler(plan)),
        tmp_path / "parts",
        validation=lambda g: seen.append(g.options.grown) or {},
    )
    assert seen == [1.5, None]  # after steps 5 and 8
    whole, parts = (load_file(tmp_path / name / CHECKPOINT) for name in ("whole", "parts"))
    assert whole.keys() == parts.keys() and all(torch.equal(whole[k], parts[k]) for k in whole)


def test_a_model_that_still_grows_knows_its_stages(growing, sampler, tmp_path):
    plan = growing()
    report = train(plan, Sources(sampler(plan)), tmp_path, minutes=1e-9)
    assert not report.finished and report.card.hyperparameters["grown"] == 0.5
    model = load(report.model)
    coarse = torch.rand(1, 4, 2, 2, 2)
    fine = model.generator(coarse)
    assert torch.equal(fine[:, :, ::2, ::2], fine[:, :, 1::2, 1::2])
    second = growing(generator={**NETWORK, "passes": 2}, init=str(report.model))
    with pytest.raises(Exception, match=r"is MultiPass\(.*grown=0.5"):
        train(second, Sources(sampler(plan)), tmp_path / "second")


def test_the_second_pass_is_trained_on_the_first(growing, sampler, tmp_path):
    plan = growing(growing=None, steps=2)
    first = train(plan, Sources(sampler(plan)), tmp_path / "first")
    both = growing(generator={**NETWORK, "passes": 2}, init=str(first.model), growing={"steps": 1}, steps=4)
    report = train(both, Sources(sampler(plan)), tmp_path / "second")
    before, after = load(first.model).generator, load(report.model).generator
    assert all(
        torch.equal(a, b) for a, b in zip(before.first.parameters(), after.first.parameters(), strict=True)
    )
    coarse = torch.rand(1, 4, 3, 3, 3)
    assert (after(coarse) - before(coarse)).abs().max() > 1e-4
    with pytest.raises(InputError, match=r"generator.passes: is 2: .* give its model as `init`"):
        train(growing(generator={**NETWORK, "passes": 2}), Sources(sampler(plan)), tmp_path / "alone")


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("dim: 2\ngenerator: {architecture: multipass}", ["generator.architecture", "multipass", "dim is 2"]),
        ("dim: 3\ngrowing: {steps: 1}", ["growing", "smoke has none"]),
        (
            "dim: 3\ngenerator: {architecture: multipass}\ngrowing: {steps: 2}",
            ["growing.steps", "8 steps of 5"],
        ),
        (
            "dim: 3\ngenerator: {architecture: multipass}\ngrowing: {steps: 1}\npatience: 2",
            ["patience", "growing: null"],
        ),
    ],
)
def test_contradictory_growing_is_refused_in_one_line(tmp_path, keys, words):
    path = tmp_path / "r.yaml"
    path.write_text(f"name: a\nsteps: 5\n{keys}\n")
    with pytest.raises(SceneError) as caught:
        load_recipe(path)
    message = str(caught.value)
    assert "\n" not in message and all(word in message for word in words), message


def test_the_recipes_have_the_published_networks():
    first, second = load_recipe("multipass3d-x8"), load_recipe("multipass3d-x8-second")
    assert (first.generator.passes, second.generator.passes) == (1, 2)
    for recipe in (first, second):
        network = recipe.generator
        assert (network.width, network.second_width, network.residual) == (128, 48, "first")
        assert recipe.discriminators.objective == "wgan-gp" and recipe.optimizer.betas == (0.0, 0.99)
        assert recipe.growing.steps_of(3) <= recipe.steps
    assert (first.losses.absolute, second.losses.absolute) == (10.0, 5.0)
