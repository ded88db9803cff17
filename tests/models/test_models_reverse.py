"""RR pretraining's loss: what it measures, and that training on it makes layers run backwards."""

import pytest
import torch
from pydantic import ValidationError

from fluidsr.models import SmokeGenerator
from fluidsr.models.reverse import reverse_error
from fluidsr.training.recipe import Recipe


def coarse(dim: int, n: int = 10) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.rand(2, 1 + dim, *(n,) * dim)


@pytest.mark.parametrize("dim", [2, 3])
def test_a_trunk_of_identities_runs_backwards_exactly(dim: int) -> None:
    generator = SmokeGenerator(dim, 4, width=1 + dim, blocks=2, rise_width=4)
    with torch.no_grad():
        for layer in (
            generator.head,
            *(layer for block in generator.trunk for layer in (block.first, block.second)),
        ):
            layer.weight.zero_()
            layer.bias.fill_(0.3)
            for channel in range(1 + dim):
                layer.weight[(channel, channel, *(1,) * dim)] = 1.0
        assert reverse_error(generator, coarse(dim)).item() < 1e-12
        generator.trunk[1].first.weight.mul_(2)
        # W^T W is 4 in that layer: its error is (d - 4 d)² over d², a fifth of the mean over five layers.
        assert reverse_error(generator, coarse(dim)).item() == pytest.approx(9 / 5, rel=1e-5)


def test_its_gradient_equals_finite_differences() -> None:
    torch.manual_seed(1)
    generator = SmokeGenerator(2, 4, width=4, blocks=1, rise_width=4)
    weight = generator.trunk[0].second.weight
    reverse_error(generator, coarse(2)).backward()
    direction = torch.randn_like(weight)
    slope = (weight.grad * direction).sum().item()
    values = []
    with torch.no_grad():
        for step in (1e-3, -1e-3):
            weight.add_(step * direction)
            values.append(reverse_error(generator, coarse(2)).item())
            weight.sub_(step * direction)
    assert (values[0] - values[1]) / 2e-3 == pytest.approx(slope, rel=1e-2)
    assert generator.rises[0].weight.grad is None  # head and trunk alone


def test_a_recipe_enables_the_reverse_loss_for_smoke_generators_only() -> None:
    plan = {"name": "tiny", "dim": 2, "steps": 2, "losses": {"absolute": 1.0, "reverse": 0.1}}
    assert Recipe.model_validate(plan).losses.reverse == 0.1
    with pytest.raises(ValidationError, match=r"losses\.reverse is of the layers of smoke, not of unet"):
        Recipe.model_validate({**plan, "generator": {"architecture": "unet"}})
