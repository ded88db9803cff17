"""What the tests of training share."""

import pytest
from synthetic_smoke import SyntheticSampler

from fluidsr.training.recipe import Recipe


@pytest.fixture
def recipe():
    def make(dim=2, **changes):
        base = {
            "name": "tiny",
            "dim": dim,
            "generator": {"width": 16, "blocks": 1, "rise_width": 16},
            "patches": {"tile": 8, "batch": 2, "frames": 3},
            "losses": {"absolute": 1.0, "gradient": 1.0, "temporal": 0.5},
            "optimizer": {"learning_rate": 2e-3, "warmup_steps": 2, "average": 0.9},
            "steps": 6,
            "log_every": 2,
            "validate_every": 3,
            "checkpoint_every": 2,
        }
        return Recipe.model_validate(base | changes)

    return make


@pytest.fixture
def sampler():
    return SyntheticSampler
