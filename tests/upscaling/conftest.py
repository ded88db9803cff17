"""Models to upscale with, as fixtures."""

from __future__ import annotations

import pytest
import torch
from upscaling_cases import StandIn, model_of

from fluidsr.models import Model, SmokeGenerator


@pytest.fixture(params=["stand-in", "smoke"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=[2, 3], ids=["2d", "3d"])
def dim(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture
def model(kind: str, dim: int) -> Model:
    torch.manual_seed(7)
    if kind == "stand-in":
        return model_of(StandIn(dim, factor=3, layers=3, support=1))
    generator = SmokeGenerator(dim, 4, width=8, blocks=1, rise_width=4)
    with torch.no_grad():
        generator.rises[-1].weight.mul_(100.0)  # untrained, its last layer is close to nothing
    return model_of(generator.fold())


@pytest.fixture
def small() -> Model:
    """A 2-D stand-in for tests of everything that is not about numbers."""
    torch.manual_seed(7)
    return model_of(StandIn(2, factor=2, layers=2, support=1))
