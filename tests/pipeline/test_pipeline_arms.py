"""Ablations from YAML: sound, distinct recipes; a finished arm is kept; the page compares like with like."""

import json
import runpy
from pathlib import Path

import pytest

from fluidsr.errors import SceneError
from fluidsr.pipeline.train import TrainJob
from fluidsr.training import load_recipe

FOLDER = Path(__file__).parents[2] / "benchmarks" / "arms"
ABLATIONS = {"stabilisers": (18, 27), "tempogan": (41, 27), "modulation": (3, 3)}  # arms, pairs of each claim


@pytest.fixture(scope="module")
def arms():
    return runpy.run_path(str(FOLDER.with_suffix(".py")))


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_arm_is_a_recipe_of_its_own_and_fits_its_start(arms, name):
    plan = arms["load_plan"](FOLDER / f"{name}.yaml")
    recipes = {arm: load_recipe(FOLDER / plan.recipe, plan.settings(arm)) for arm in plan.arms}
    count, fewest = ABLATIONS[name]
    assert len({r.model_dump_json() for r in recipes.values()}) == len(recipes) == count
    for arm, recipe in recipes.items():
        start = plan.arms[arm].start
        assert (recipe.discriminators is None) == (start is None)
        assert start is None or recipe.generator == recipes[start].generator  # or its weights would not fit
        assert start is None or recipe.patches == recipes[start].patches
    for claim in plan.claims:
        found = {arm: {seed: dict.fromkeys(arms["FIGURES"], 1.0) for seed in range(3)} for arm in plan.arms}
        assert len(list(arms["pairs"](claim, found))) >= fewest, claim


@pytest.fixture
def plan_file(tmp_path):
    def write(text):
        path = tmp_path / "tiny.yaml"
        path.write_text(f"title: Tiny\nrecipe: {FOLDER}/small.yaml\ndata: {{dim: 2}}\n{text}")
        return path

    return write


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("arms: {a: {from: b}}\n", ["arms.a", "from b"]),
        ("arms: {a: {from: b}, b: {from: a}}\n", ["starts from"]),
        ("arms: {a: {sett: []}}\n", ["tiny.yaml:4", "sett"]),
        ("arms: {'../a': []}\n", ["tiny.yaml"]),
    ],
)
def test_a_wrong_file_says_where(arms, plan_file, text, words):
    with pytest.raises(SceneError) as caught:
        arms["load_plan"](plan_file(text))
    assert all(word in str(caught.value) for word in words), caught.value


def test_a_finished_arm_is_not_trained_again(arms, plan_file, tmp_path, small_store, monkeypatch):
    start = "start: {steps: 2, set: [discriminators=null, 'losses={absolute: 1}']}"
    text = f"arms: {{{start}, next: {{from: start, set: [%s]}}}}\n"
    output, setting = tmp_path / "runs", "losses.absolute=3"

    def run(settings):
        plan = arms["load_plan"](plan_file(text % settings))
        runner = arms["Runner"](plan, tmp_path, output, small_store, "cpu", 1)
        for arm in plan.arms:
            runner.run(arm, 0)
        return runner.trained, plan

    assert run(setting)[0] == 2
    trained, plan = run(setting)
    assert trained == 0

    class Trains(Exception):
        """Instead of a training."""

    def train(*_, **__):
        raise Trains

    monkeypatch.setattr(TrainJob, "train", train)
    with pytest.raises(Trains):  # of another recipe by now
        run("losses.absolute=4")
    found = arms["results"](plan, output)
    figures = found["next"][0]
    assert {"spectrum", "coherence", "absolute", "absolute spread", "discriminator_spatial"} <= figures.keys()
    assert not {"total", "learning_rate", "accuracy_spatial"} & figures.keys()
    assert "2 of 2 trainings" in arms["page"](plan, found, 1)


def test_losses_are_those_of_the_last_quarter(arms, tmp_path):
    records = [
        {"step": n, "group": "training", "absolute": float(n), "total": 1.0, "share_data": 0.1}
        for n in range(1, 9)
    ]
    records.append({"step": 8, "group": "validation", "psnr": 3.0})
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    assert arms["losses"](tmp_path) == {"absolute": {"mean": 7.5, "spread": 0.5}}


def test_losses_of_discriminators_in_older_logs_have_their_present_names(arms, tmp_path):
    records = [
        {"step": 7, "group": "training", "critic_spatial": 1.0},
        {"step": 8, "group": "training", "discriminator_spatial": 2.0},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    assert arms["losses"](tmp_path) == {"discriminator_spatial": {"mean": 1.5, "spread": 0.5}}


def test_arms_are_ranked_by_what_is_right_and_claims_by_pairs_of_one_seed(arms, plan_file):
    plan = arms["load_plan"](
        plan_file("arms: {a-1: [], a-2: [], b-1: [], b-2: []}\n"
                  "claims: [{text: a is better, figure: coherence, one: 'a-(.)', than: 'b-\\1'}]\n")
    )  # fmt: skip

    def runs(spectrum, coherence, seeds=2):
        figures = {"spectrum": spectrum, "coherence": coherence, "temporal": 1.0, "phase": 0.0, "psnr": 30.0}
        return {
            n: {**figures, "coherence": coherence + 0.01 * n, "absolute": 0.5, "absolute spread": 0.1}
            for n in range(seeds)
        }

    found = {"a-1": runs(0.3, 0.98), "a-2": runs(0.2, 1.02), "b-1": runs(0.5, 0.7), "b-2": runs(0.4, 1.5, 1)}
    assert arms["ranking"](found) == ["a-2", "a-1", "b-2", "b-1"] or arms["ranking"](found)[:2] == [
        "a-1",
        "a-2",
    ]
    reported, difference, pairs, verdict = arms["judged"](plan.claims[0], found)
    assert (reported, pairs, verdict) == (
        "a is better (coherence)",
        "3",
        "confirmed",
    ) and difference.startswith("-")
    page = arms["page"](plan, found, 2)
    assert "7 of 8 trainings" in page and "0.5 ± 0 (0.1)" in page
    found["a-1"] = {}
    assert arms["judged"](plan.claims[0], found)[3] == "not measured"
