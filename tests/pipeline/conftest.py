"""A generator and a dataset small enough for tests."""

from pathlib import Path

import numpy as np
import pytest
import torch

from fluidsr.dataset.config import DatasetConfig, split_of
from fluidsr.dataset.layout import simulation_name
from fluidsr.dataset.writer import SimulationWriter, create_root
from fluidsr.frame import Frame
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


@pytest.fixture(scope="session")
def small_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three simulations, one for each split, of a blob that drifts."""
    path, cells = tmp_path_factory.mktemp("data") / "small.zarr", 16
    config = DatasetConfig(dim=2, resolution=cells, factor=4, simulations=3, frames=6, seed=7)
    create_root(path, {**config.as_dict(), "software": {}})
    x, y = (np.indices((4 * cells, 4 * cells)) + 0.5) / (4 * cells)
    for index in range(3):
        with SimulationWriter(path, simulation_name(index), 6, 2) as writer:
            for t in range(6):
                fine = np.exp(-40 * ((x - 0.3 - 0.03 * t - 0.1 * index) ** 2 + (y - 0.5) ** 2)).astype(
                    np.float32
                )
                coarse = fine.reshape(cells, 4, cells, 4).mean((1, 3))
                velocity = np.stack([np.full_like(coarse, 0.5), np.zeros_like(coarse)])
                frame = Frame(density=coarse, velocity=velocity, cell_size=0.05, time=t / 24, dt=1 / 24)
                writer.add(frame, {"density": fine.astype(np.float16)})
            about = {"seed": index, "split": split_of(index), "pairs": "filtered", "factor": 4, "dt": 1 / 24}
            place = {"start_time": 0.0, "origin": [0.0, 0.0], "low_cell_size": 0.05, "high_cell_size": 0.0125}
            writer.finish(about | place)
    return path
