"""From a model's file, or its shipped name, to fine smoke."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from upscaling_cases import smoke, whole

from fluidsr import models, upscaling
from fluidsr.errors import InputError, ModelError


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(3)
    generator = models.SmokeGenerator(2, 4, width=8, blocks=1, rise_width=4)
    figures = {"receptive_radius": 0, "support_radius": 0, "weights": 0, "multiply_adds": 0}
    card = models.Card(
        name="tiny2d-x4",
        architecture="SmokeGenerator",
        hyperparameters={},
        dim=2,
        factor=4,
        density_range=(0.0, 1.0),
        velocity_range=(-2.0, 2.0),
        **figures,
    )
    path = tmp_path / "tiny2d-x4.safetensors"
    models.save(path, generator, card)
    return path


def test_a_model_is_loaded_from_its_file(saved):
    upscaler = upscaling.load(str(saved), device="cpu", tile=8)
    frame = smoke((20, 30))
    fine = upscaler.upsample(frame)
    assert upscaler.card.name == "tiny2d-x4"
    assert (upscaler.factor, upscaler.halo) == (4, upscaler.card.receptive_radius)
    assert upscaler.statistics.multiply_adds == pytest.approx(
        upscaler.card.multiply_adds * 16 * upscaler.statistics.computed_cells
    )
    np.testing.assert_allclose(fine.density, whole(upscaler, frame), atol=1e-5)


def test_a_model_that_is_not_there_and_a_device_that_is_none_are_refused(saved):
    with pytest.raises(ModelError, match="nowhere: is neither a shipped model nor a file"):
        upscaling.load("nowhere", device="cpu")
    with pytest.raises(InputError, match="device"):
        upscaling.load(str(saved), device="gpu")


@pytest.mark.parametrize("name", models.shipped())
def test_shipped_models_are_equal_tiled_and_untiled(name):
    auto = upscaling.load(name, device="cpu")
    dim = auto.card.dim
    frame = smoke((60, 44) if dim == 2 else (26, 34, 22), seed=1, blobs=6, radius=5.0)
    expected = whole(auto, frame)
    assert np.abs(expected).max() > 0.1
    for tile in ("auto", 13):
        fine = upscaling.load(name, device="cpu", tile=tile).upsample(frame).density
        np.testing.assert_allclose(fine, expected, atol=1e-5)
