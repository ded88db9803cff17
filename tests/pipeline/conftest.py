"""A generator small enough for tests."""

import pytest
import torch

from fluidsr.models import Card, SmokeGenerator, save
from fluidsr.models.store import properties_of


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(1)
    generator = SmokeGenerator(2, 4, width=8, blocks=1, rise_width=4, last="resized", history="1 2")
    with torch.no_grad():
        # Far from cubic upsampling, so that tests see the network, and what it makes of the frames before.
        generator.rises[-1].gather.weight.mul_(30)
    path = tmp_path_factory.mktemp("models") / "tiny.safetensors"
    card = Card(name="tiny", **properties_of(generator), density_range=(0, 2), velocity_range=(-9, 9))
    save(path, generator, card)
    return str(path)
