"""Twenty steps, loss by loss, as they were: `python tests/training/test_training_golden.py FOLDER` writes them."""

import json
import sys
from pathlib import Path

import pytest
from synthetic_smoke import SyntheticSampler

from fluidsr.training import Recipe, Sources, train

GOLDEN = Path(__file__).with_name("golden.json")
PLAN = {
    "name": "tiny",
    "dim": 2,
    "generator": {"width": 16, "blocks": 1, "rise_width": 16},
    "patches": {"tile": 8, "batch": 2, "frames": 3},
    "losses": {"absolute": 1.0, "gradient": 1.0, "temporal": 0.5},
    "optimizer": {"learning_rate": 2e-3, "warmup_steps": 2, "average": 0.9},
    "steps": 20,
    "log_every": 1,
}
DUEL = {
    "losses": {
        **PLAN["losses"],
        "spatial": 0.1,
        "temporal_adversarial": 0.1,
        "features": [0, 1e-3, 0, -1e-3],
    },
    "discriminators": {"spatial": {"width": 8}, "temporal": {"width": 8}, "start": 5},
}
PLANS = {"alone": PLAN, "duel": PLAN | DUEL}
TOLD = (
    "total",
    "absolute",
    "temporal",
    "discriminator_spatial",
    "discriminator_temporal",
    "spatial",
    "temporal_adversarial",
)


def curves(name: str, folder: Path) -> dict[str, list[float]]:
    plan = Recipe.model_validate(PLANS[name])
    train(plan, Sources(SyntheticSampler(plan)), folder)
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    reported = {key: [r[key] for r in records if key in r] for key in TOLD}
    return {key: values for key, values in reported.items() if values}


@pytest.mark.parametrize("name", PLANS)
def test_twenty_steps_reproduce_the_golden_losses(name, tmp_path):
    golden, now = json.loads(GOLDEN.read_text())[name], curves(name, tmp_path)
    assert golden.keys() == now.keys()
    for key, values in golden.items():
        # Rounding differs between processors and grows from step to step, in adversarial training faster.
        assert now[key] == pytest.approx(values, rel=1e-3 if name == "alone" else 0.02), key


if __name__ == "__main__":
    made = {name: curves(name, Path(sys.argv[1]) / name) for name in PLANS}
    GOLDEN.write_text(json.dumps(made, indent=1) + "\n")
