"""Raised in tiles, a frame is what the generator makes of it in one piece."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from upscaling_cases import smoke, whole

from fluidsr.upscaling import Upscaler
from fluidsr.upscaling.memory import bytes_per_cell

SHAPES = {2: [(37, 50), (1, 23), (16, 16)], 3: [(14, 19, 11), (1, 9, 12), (8, 8, 8)]}


@pytest.mark.parametrize("tile", [1, 5, 8, "auto"])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_tiled_equals_untiled(model, dim, tile, which):
    shape = SHAPES[dim][which]
    if tile == 1:
        shape = tuple(min(n, 6) for n in shape)
    upscaler = Upscaler(model, tile=tile)
    for seed, blobs in ((1, 1), (2, 3), (3, 40)):
        frame = smoke(shape, seed, blobs)
        np.testing.assert_allclose(upscaler.upsample(frame).density, whole(upscaler, frame), atol=1e-5)


def test_a_halo_one_cell_short_would_show(model, dim, monkeypatch):
    # Guards the test above: were the network blind to its outermost cells, any halo would pass.
    monkeypatch.setattr(Upscaler, "halo", model.generator.receptive_radius - 1)
    upscaler = Upscaler(model, tile=5)
    frame = smoke(SHAPES[dim][0], 3, 40)
    assert np.abs(upscaler.upsample(frame).density - whole(upscaler, frame)).max() > 1e-4


@pytest.mark.parametrize("batch", [2, 7])
def test_the_batch_does_not_change_the_result(model, dim, batch):
    frame = smoke(SHAPES[dim][0], 5, 40)
    one = Upscaler(model, tile=4, batch=1).upsample(frame).density
    np.testing.assert_allclose(Upscaler(model, tile=4, batch=batch).upsample(frame).density, one, atol=1e-5)


def test_little_memory_means_more_tiles_and_the_same_result(model, dim):
    frame = smoke((60, 44) if dim == 2 else (30, 12, 26), 2, 40)
    plenty = Upscaler(model)
    expected = plenty.upsample(frame).density
    per_cell = bytes_per_cell(model.generator, dim)
    little = Upscaler(model, max_memory=per_cell * frame.density.size // 2)
    np.testing.assert_allclose(little.upsample(frame).density, expected, atol=1e-5)
    assert plenty.statistics.tiles_run == 1 < little.statistics.tiles_run


def test_empty_space_is_not_computed_whatever_the_wind(model, dim):
    frame = smoke((80, 24) if dim == 2 else (120, 10, 10), blobs=0)
    frame.density[(10, *(5,) * (dim - 1))] = 1.0
    frame.density[(75, *(5,) * (dim - 1))] = 1.0
    upscaler = Upscaler(model, tile=12)
    np.testing.assert_allclose(upscaler.upsample(frame).density, whole(upscaler, frame), atol=1e-5)
    assert upscaler.statistics.tiles_run > 0 < upscaler.statistics.tiles_skipped
    assert upscaler.statistics.computed_cells < frame.density.size


def test_an_empty_frame_costs_nothing(model, dim):
    frame = smoke((9,) * dim, blobs=0)
    upscaler = Upscaler(model)
    fine = upscaler.upsample(frame)
    assert not fine.density.any()
    assert (upscaler.statistics.tiles_run, upscaler.statistics.multiply_adds) == (0, 0.0)


def test_streamed_tiles_are_disjoint_and_zero_elsewhere(model, dim):
    frame = smoke(SHAPES[dim][0], 4, 3)
    upscaler = Upscaler(model, tile=7)
    fine, written = np.zeros(whole(upscaler, frame).shape, np.float32), 0
    for box, density in upscaler.tiles_of(frame):
        assert tuple(density.shape) == box.shape
        fine[box.slices] = density.numpy()
        written += box.cells
    np.testing.assert_array_equal(fine, upscaler.upsample(frame).density)
    assert written < fine.size
    assert upscaler.statistics.computed_cells < frame.density.size * 9


@pytest.mark.gpu
def test_cuda_agrees_with_the_cpu(model, dim):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    frame = smoke(SHAPES[dim][0], 4, 30)
    expected = Upscaler(model).upsample(frame).density
    on_device = frame.torch("cuda:0")
    for tile in ("auto", 5):
        fine = Upscaler(model, device="cuda", tile=tile).upsample(on_device)
        assert fine.density.is_cuda
        np.testing.assert_allclose(fine.numpy().density, expected, atol=1e-3)
