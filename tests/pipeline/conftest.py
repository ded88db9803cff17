"""A generator small enough for tests."""

from pathlib import Path

import pytest
import torch

from fluidsr.models import Card, SmokeGenerator, save
from fluidsr.models.store import properties_of


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return saved(tmp_path_factory.mktemp("models") / "tiny.safetensors", history="")


@pytest.fixture(scope="session")
def recalling_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One that reads the two frames before a frame."""
    return saved(tmp_path_factory.mktemp("models") / "recalling.safetensors", history="1 2")


def saved(path: Path, history: str) -> str:
    torch.manual_seed(1)
    last = "resized" if history else "balanced"
    generator = SmokeGenerator(2, 4, width=8, blocks=1, rise_width=4, last=last, history=history)
    with torch.no_grad():
        rise = generator.rises[-1]
        weight = rise.gather.weight if history else rise.weight
        weight.mul_(30)  # far from cubic upsampling, so that tests see the network
    card = Card(name=path.stem, **properties_of(generator), density_range=(0, 2), velocity_range=(-9, 9))
    save(path, generator, card)
    return str(path)
