"""Recipes: the shipped ones are sound, and a wrong one is named by file, line and key."""

import itertools
from pathlib import Path

import pytest

from fluidsr import models
from fluidsr.cli.training import RECIPES
from fluidsr.errors import InputError, SceneError
from fluidsr.models import SmokeGenerator
from fluidsr.training import Recipe, load_recipe, recipes, reference
from fluidsr.training.optimizer import learning_rate
from fluidsr.training.recipe_schema import (
    MultiPassNetwork,
    Optimizer,
    SmokeNetwork,
    TempoGANNetwork,
    UNetNetwork,
)


@pytest.mark.parametrize("name", [name for name in recipes() if name.startswith("smoke")])
def test_laptop_recipes_keep_the_budget(name):
    recipe = load_recipe(name)
    generator = SmokeGenerator(recipe.dim, recipe.factor, **recipe.generator.hyperparameters)
    # An adversary gets a last stage without phases, which costs a third more in 3-D.
    assert generator.macs_per_voxel <= (15_000 if name.startswith("smoke3d") else 20_000)
    assert generator.receptive_radius <= 12  # of which the projection reads 2, and that last stage 1
    # The part of a tile that no border touches must not be small.
    assert recipe.patches.tile >= 16


def test_the_help_names_every_recipe():
    assert set(recipes()) == set(RECIPES)


def test_overrides_reach_nested_keys():
    recipe = load_recipe("smoke2d-x4", ["optimizer.learning_rate=3e-4", "patches.batch=1"])
    assert recipe.optimizer.learning_rate == 3e-4 and recipe.patches.batch == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: a\ndim: 2\nsteps: 5\nlosses:\n  gradeint: 1.0\n", ["r.yaml:5", "gradeint", "gradient"]),
        ("name: a\ndim: 4\nsteps: 5\n", ["r.yaml:2", "dim"]),
        ("name: a\ndim: 2\nsteps: 0\n", ["r.yaml:3", "steps"]),
        ("name: a\ndim: 2\nsteps: 5\nprecision: float16\n", ["r.yaml:4", "precision"]),
        ("name: a\ndim: 2\nsteps: 5\nlosses: {temporal: 1}\npatches: {frames: 1}\n", ["frames"]),
        ("name: a\ndim: 2\nsteps: 5\nlosses: {absolute: 0}\n", ["losses"]),
        ("name: a\ndim: 2\nsteps: 5\npatches: {filtered: 0.8, reached: {share: 0.3}}\n", ["reached.share"]),
        ("name: a\ndim: 2\nsteps: 5\npatches: {frames: 5, reached: {longest: 3}}\n", ["reached.longest"]),
        ("name: a\ndim: 2\nsteps: 5\npatches: {pairs: 4, reached: {}}\n", ["patches.reached"]),
        ("name: a\ndim: 2\nsteps: 5\ngenerator: {widht: 3}\n", ["r.yaml:4", "widht", "width"]),
        ("name: a\ndim: 2\nsteps: 5\ngenerator: {architecture: unett}\n", ["r.yaml:4", "unet"]),
        ("name: a\ndim: 2\nsteps: 5\ngenerator: {architecture: tempogan, width: 3}\n", ["width"]),
        ("name: a\ndim: 2\nsteps: 5\ndiscriminators:\n  gat: {}\n", ["r.yaml:5", "gat", "gate"]),
        ("name: a\ndim: 2\nsteps: 5\ndiscriminators: {}\n", ["losses.spatial"]),
        ("name: a\ndim: 2\nsteps: 5\nlosses: {spatial: 1}\n", ["losses.spatial"]),
        ("name: a\ndim: 2\nsteps: 5\nlosses: {features: [1, 0, 0, 0]}\n", ["losses.features"]),
        (
            "name: a\ndim: 2\nsteps: 5\nlosses: {spatial: 1}\ndiscriminators: {temporal: null, start: 5}\n",
            ["start"],
        ),
        ("name: a\ndim: 2\nsteps: 5\npatches: {triplets: 2}\n", ["triplets"]),
        (
            "name: a\ndim: 2\nfactor: 2\nsteps: 5\npatches: {tile: 4}\nlosses: {distribution: 1}\n",
            ["losses.distribution", "10", "tile"],
        ),
        (
            "name: a\ndim: 2\nsteps: 5\nlosses: {spatial: 1, temporal_adversarial: 1}\n"
            "discriminators: {objective: wgan-gp, norm: batch}\n",
            ["norm", "batch"],
        ),
        (
            "name: a\ndim: 2\nsteps: 5\nlosses: {spatial: 1}\n"
            "discriminators: {temporal: null, view: raw, thin: 0.1}\n",
            ["thin", "residual"],
        ),
    ],
)
def test_a_wrong_recipe_says_where(tmp_path, text, words):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(SceneError) as caught:
        load_recipe(path)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_a_missing_recipe_names_the_closest():
    with pytest.raises(InputError, match="did you mean 'smoke3d-x4'"):
        load_recipe("smoke3d_x4")


def test_recipes_are_frozen():
    recipe = Recipe(name="a", dim=2, steps=1)
    with pytest.raises(ValueError):
        recipe.steps = 2


def test_the_rate_warms_up_and_falls_to_its_final_fraction():
    options = Optimizer(learning_rate=1.0, warmup_steps=10, final_fraction=0.1)
    rates = [learning_rate(options, step, 110) for step in range(111)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == pytest.approx(1.0)
    assert rates[60] == pytest.approx(0.55) and rates[110] == pytest.approx(0.1)
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))


def test_the_reference_page_is_fresh():
    path = Path(__file__).parents[2] / "docs" / "training.md"
    text = path.read_text(encoding="utf-8")
    assert reference.page(text) == text, "run: python -m fluidsr.training.reference docs/training.md"


@pytest.mark.parametrize("network", [SmokeNetwork, TempoGANNetwork, UNetNetwork, MultiPassNetwork])
def test_a_generator_in_a_recipe_has_the_keys_of_the_network(network):
    options = models.architectures()[network.kind].model_fields
    ours = {name: field for name, field in network.model_fields.items() if name != "architecture"}
    assert ours.keys() | {"dim", "factor"} == options.keys() - {"grown"}  # which training finds out
    assert all(field.default == options[name].default for name, field in ours.items())


def test_published_rates_are_constant_for_half_and_end_at_a_twentieth():
    options = Optimizer(learning_rate=2e-4, warmup_steps=0, decay="polynomial", final_fraction=0.05)
    rates = [learning_rate(options, step, 1000) for step in range(1001)]
    assert set(rates[:501]) == {2e-4} and rates[1000] == pytest.approx(1e-5)
    assert rates[750] == pytest.approx(1e-5 + (2e-4 - 1e-5) * 0.5**1.1)
