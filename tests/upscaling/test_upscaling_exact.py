"""Raised in tiles, a frame is what the generator makes of it in one piece."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from upscaling_cases import one_cell_short, smoke, whole

from fluidsr.errors import InputError, RunError
from fluidsr.upscaling import Upscaler
from fluidsr.upscaling.memory import MemoryModel

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


def test_a_halo_one_cell_short_would_show(model, dim):
    # Guards the test above: were the network blind to its outermost cells, any halo would pass.
    frame = smoke(SHAPES[dim][0], 3, 40)
    assert one_cell_short(Upscaler(model), frame) > 1e-4


@pytest.mark.parametrize("batch", [2, 7])
def test_the_batch_does_not_change_the_result(model, dim, batch):
    frame = smoke(SHAPES[dim][0], 5, 40)
    one = Upscaler(model, tile=4, batch=1).upsample(frame).density
    np.testing.assert_allclose(Upscaler(model, tile=4, batch=batch).upsample(frame).density, one, atol=1e-5)


def test_little_memory_means_more_tiles_and_the_same_result(model, dim):
    frame = smoke((60, 44) if dim == 2 else (30, 12, 26), 2, 40)
    plenty = Upscaler(model)
    expected = plenty.upsample(frame).density
    most = MemoryModel(model.generator).at_most(frame.shape)
    little = Upscaler(model, max_memory=most // 2)
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
    for name, box, density in upscaler.pieces(frame):
        assert (name, tuple(density.shape)) == ("density", box.shape)
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


def test_fields_come_in_pieces_as_they_come_whole(model, dim):
    frame = smoke(SHAPES[dim][0], 4, 30).replace(temperature=smoke(SHAPES[dim][0], 9, 30).density)
    fields = ("density", "velocity", "temperature")
    expected = Upscaler(model).upsample(frame, fields=fields)
    most = MemoryModel(model.generator).at_most(frame.shape)
    upscaler = Upscaler(model, max_memory=most * 3 // 8)
    count = {name: np.zeros(expected.shape, np.uint8) for name in fields}
    pieces = 0
    for name, box, values in upscaler.pieces(frame, fields=fields):
        box.of(count[name])[...] += 1
        whole_field = box.of(expected.fields()[name])
        if name == "velocity":
            np.testing.assert_array_equal(values.numpy(), whole_field)
        else:  # what rides with the density follows its detail, which a tile rounds differently
            np.testing.assert_allclose(values.numpy(), whole_field, atol=1e-5)
        pieces += name != "density"
    assert pieces > 2
    assert (count["velocity"] == 1).all() and (count["temperature"] == 1).all()
    assert count["density"].max() == 1 and not expected.density[count["density"] == 0].any()


@pytest.mark.parametrize("share", [0.6, 0.0])
def test_where_memory_runs_out_tiles_become_smaller(model, dim, share, monkeypatch):
    frame = smoke((40, 17) if dim == 2 else (26, 9, 12), 3, 60)
    upscaler = Upscaler(model, batch=4)
    expected = upscaler.upsample(frame).density
    whole_cells, sizes, genuine = upscaler.statistics.computed_cells, [], upscaler._runner.generate

    def scarce(coarse, cut):
        if coarse[:, 0].numel() > share * whole_cells:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        sizes.append(coarse[:, 0].numel())
        return genuine(coarse, cut)

    monkeypatch.setattr(upscaler._runner, "generate", scarce)
    if share == 0:
        with pytest.raises(RunError, match=r"a tile of \(.*\) cells: there is not enough memory"):
            upscaler.upsample(frame)
        return
    np.testing.assert_allclose(upscaler.upsample(frame).density, expected, atol=1e-5)
    assert upscaler.statistics.tiles_run == len(sizes) > 1
    assert upscaler.statistics.computed_cells == sum(sizes)
    assert [note for note in upscaler.statistics.notes if "ran out of memory" in note]
    np.testing.assert_allclose(upscaler.upsample(frame).density, expected, atol=1e-5)
    assert upscaler.statistics.tiles_run > 1  # laid out smaller beforehand


@pytest.mark.parametrize("threads", [1, 3])
def test_the_number_of_threads_does_not_change_the_result(model, dim, threads):
    frame = smoke(SHAPES[dim][0], 5, 40)
    expected, before = Upscaler(model).upsample(frame).density, torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        np.testing.assert_allclose(Upscaler(model).upsample(frame).density, expected, atol=1e-5)
    finally:
        torch.set_num_threads(before)


def test_lower_precision_is_close_and_in_float32(model, dim):
    frame = smoke(SHAPES[dim][0], 5, 40)
    expected = Upscaler(model).upsample(frame).density
    for tile in ("auto", 7):
        found = Upscaler(model, precision="bfloat16", tile=tile).upsample(frame).density
        assert found.dtype == np.float32
        error = np.abs(found - expected)
        assert 0 < error.max() < 0.05 * max(1.0, expected.max())


@pytest.mark.parametrize(
    ("precision", "message"), [("float16", "on a CPU; use bfloat16"), ("half", "is unknown")]
)
def test_a_precision_that_is_of_no_use_is_refused(small, precision, message):
    with pytest.raises(InputError, match=f"precision: .*{message}"):
        Upscaler(small, device="cpu", precision=precision)
