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
        runs = [{"spectrum": better, "temporal": better, "psnr": 30.0 + n, "phase": 0.002, "steps": 5}] * 3
        found[variant] = runs
    verdicts = {claim: told for claim, _, told in told["claims"](found)}
    assert verdicts["alignment helps Dt (3.2.3)"].startswith("confirmed: -0.4")
    assert verdicts["alignment helps Dt (3.2.3)"].endswith("over 27 pairs")
    assert verdicts["velocity is crucial (3.3.3)"].startswith("no difference seen")
    assert verdicts["the adversary makes detail"].endswith("over 9 pairs")  # L1 has no features to weigh
    assert told["page"](found).count("\n| l1 |") == 4
