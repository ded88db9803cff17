"""The ablation's variants: sound recipes, each different in what it says it varies."""

import runpy
from pathlib import Path

from fluidsr.training import load_recipe

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "ablation.py"


def test_every_variant_is_a_recipe_of_its_own_and_goes_on_from_l1():
    told = runpy.run_path(str(SCRIPT))
    variants = list(told["variants"]())
    assert len(variants) == len(set(variants)) == 3 + 4 * 3 * 3 + 2
    recipes = {v: load_recipe(told["RECIPE"], v.overrides) for v in variants}
    assert len({r.model_dump_json() for r in recipes.values()}) == len(variants)
    for variant, recipe in recipes.items():
        start = recipes[variant.start]
        assert recipe.generator == start.generator  # or its weights would not fit
        assert recipe.patches == start.patches and start.discriminators is None
        assert start.losses.absolute > 0 and not any(start.losses.features)
        if variant != variant.start:
            critics, losses = recipe.discriminators, recipe.losses
            assert (recipe.patches.augment != "none") == variant.augmented
            assert (critics.temporal is not None) == (variant.time in ("dt", "aligned"))
            assert critics.temporal is None or critics.temporal.align == (variant.time == "aligned")
            assert (losses.l2_t > 0) == (variant.time == "l2t")
            sign = {"minus": -1, "zero": 0, "plus": 1}[variant.features]
            assert all((w > 0) - (w < 0) == sign for w in losses.features)


def test_the_page_compares_like_with_like():
    told = runpy.run_path(str(SCRIPT))
    found = {}
    for n, variant in enumerate(told["variants"]()):
        better = 0.1 if variant.time == "aligned" else 0.5
        run = {"spectrum": better, "temporal": better, "psnr": 30.0 + n, "phase": 0.002, "steps": 5}
        found[variant] = dict.fromkeys(range(3), run)
    rows = {(row[0], row[1].split(",")[0]): row for row in (claim.row(found) for claim in told["CLAIMS"])}
    _, what, difference, pairs, verdict = rows["aligned Dt is best in time (3.2.3)", "time"]
    assert what == "time, aligned less dt" and difference.startswith("-0.4 ")
    assert (pairs, verdict) == ("27", "confirmed")
    assert rows["velocity is crucial (3.3.3)", "spectrum"][-1] == "no difference seen"
    assert rows["velocity is crucial (3.3.3)", "psnr"][-1] == "confirmed"
    assert rows["the adversary makes detail", "spectrum"][3] == "27"
    page = told["page"](found, 3)
    assert page.count("\n| l1 |") == 4 and "123 of 123 trainings" in page
    # A seed that one of two has not been trained with makes no pair.
    alone = {variant: {len(variant.name) % 2: run} for variant in found}
    assert int(told["CLAIMS"][0].row(alone)[3]) < 9
