"""Generators whose answer to emptiness is not zero: raised in tiles as in one piece, and no more than needed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from upscaling_cases import model_of, one_cell_short, smoke, whole

from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.models import build
from fluidsr.models.blocks import NormedConvolution
from fluidsr.upscaling import Upscaler
from fluidsr.upscaling.tiles import Box, uncovered_boxes

# Thin in 3-D, where the reference costs three million multiply-adds per fine voxel.
SHAPES = {2: (26, 13), 3: (11, 2, 3)}
KINDS = [
    ("TempoGAN", {}),
    ("TempoGAN", {"inputs": "density velocity vorticity"}),
    ("UNet", {"width": 4, "depth": 2}),
]


def reference(dim, architecture, **options):
    """A random generator whose batch norms have seen something."""
    torch.manual_seed(11)
    generator = build(architecture, dim=dim, factor=4, **options)
    for module in generator.modules():
        if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)):
            torch.nn.init.normal_(module.running_mean, 0.0, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
            torch.nn.init.normal_(module.bias, 0.0, 0.2)
        if isinstance(module, NormedConvolution) and module.norm is None:
            module.weight.data.mul_(8.0)  # the start's small ones would hide what is far away
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if name.split(".")[-1] == "bias":
                parameter.add_(0.2)  # the last rectifier stays open
    return model_of(generator.fold())


def close(found, expected):
    """Equal up to rounding: sums of 3,200 products, in another order for each shape."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=4e-5 * expected.max())


@pytest.mark.parametrize(("architecture", "options"), KINDS)
@pytest.mark.parametrize("dim", [2, 3])
def test_tiled_equals_untiled_with_the_derived_halo_alone(dim, architecture, options):
    model = reference(dim, architecture, **options)
    frame = smoke(SHAPES[dim], 3, 40)
    upscaler = Upscaler(model, tile=3 if dim == 3 else 6)
    expected = whole(upscaler, frame)
    assert expected.std() > 0.005
    close(upscaler.upsample(frame).density, expected)
    assert upscaler.statistics.tiles_run > 1
    assert one_cell_short(upscaler, frame) > 1e-4 * expected.max()


def test_the_published_halo_of_three_is_one_short():
    assert build("TempoGAN", dim=3).receptive_radius == 4


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (1, 9), (1, 1, 1), (5, 1, 3)])
@pytest.mark.parametrize(("architecture", "factor"), [("TempoGAN", 4), ("UNet", 2), ("UNet", 8)])
def test_sizes_without_common_divisors_are_upsampled(architecture, factor, shape):
    torch.manual_seed(3)
    options = {"width": 4} if architecture == "UNet" else {}
    upscaler = Upscaler(
        model_of(build(architecture, dim=len(shape), factor=factor, **options).fold()), tile=3
    )
    rng = np.random.default_rng(1)
    velocity = rng.normal(0, 1, (len(shape), *shape)).astype(np.float32)
    frame = Frame(rng.random(shape, np.float32), velocity)
    np.testing.assert_allclose(upscaler.upsample(frame).density, whole(upscaler, frame), atol=1e-5)


@pytest.mark.parametrize("architecture", ["SmokeGenerator", "TempoGAN", "UNet"])
def test_a_consistent_generator_is_tiled_as_exactly(architecture):
    model = reference(2, architecture, consistent=True)
    frame = smoke((36, 12), 3, 10)
    upscaler = Upscaler(model, tile=6)
    expected = whole(upscaler, frame)
    close(upscaler.upsample(frame).density, expected)
    assert upscaler.statistics.tiles_run > 1


@pytest.mark.parametrize("tile", [5, "auto"])
@pytest.mark.parametrize("shape", [(40, 13), (9, 30), (5, 5), (23, 8)])
def test_empty_still_air_gets_the_background_response_without_computation(shape, tile):
    model = reference(2, "TempoGAN")
    frame = smoke(shape, blobs=0)
    frame.velocity[:] = 0
    upscaler = Upscaler(model, tile=tile)
    expected = whole(upscaler, frame)
    assert expected.max() > 0.01  # biases give emptiness an answer
    close(upscaler.upsample(frame).density, expected)
    assert upscaler.statistics.computed_cells == 0
    frame.density[2, 3] = 1.0
    frame.velocity[:, 3, 3] = 0.4
    close(upscaler.upsample(frame).density, whole(upscaler, frame))
    assert upscaler.statistics.tiles_run > 0
    covered = sum(piece.box.cells for piece in upscaler.pieces(frame))
    assert covered == 16 * frame.density.size  # every voxel once


def test_wind_alone_has_an_answer_of_its_own():
    model = reference(2, "TempoGAN")
    frame = smoke((20, 12), blobs=0)
    upscaler = Upscaler(model, tile=5)
    close(upscaler.upsample(frame).density, whole(upscaler, frame))
    assert upscaler.statistics.tiles_skipped == 0


def test_gated_air_far_from_smoke_is_empty_whatever_the_wind():
    model = reference(2, "TempoGAN", gated=True)
    frame = smoke((40, 12), blobs=0)
    frame.density[5, 6] = 0.7
    upscaler = Upscaler(model, tile=5)
    fine = upscaler.upsample(frame).density
    close(fine, whole(upscaler, frame))
    assert fine.any() and not fine[8 * 4 :].any()
    assert upscaler.statistics.tiles_skipped > 0


def test_a_generator_of_density_alone_needs_no_velocity():
    model = reference(2, "TempoGAN", inputs="density")
    frame = smoke((12, 10), 1)
    bare = Frame(frame.density, None, cell_size=0.1, origin=(0.0, 0.0))
    upscaler = Upscaler(model)
    assert not upscaler.reads_velocity
    np.testing.assert_array_equal(upscaler.upsample(bare).density, upscaler.upsample(frame).density)
    with pytest.raises(InputError, match="velocity"):
        Upscaler(reference(2, "TempoGAN")).upsample(bare)


@pytest.mark.parametrize("most", [1, 7, 10**6])
def test_the_remainder_and_the_boxes_cover_every_cell_once(most):
    boxes = [Box((0, 2, 1), (3, 5, 4)), Box((4, 0, 0), (6, 7, 2)), Box((4, 0, 3), (5, 1, 5))]
    count = np.zeros((6, 7, 5), int)
    rest = uncovered_boxes(Box((0,) * count.ndim, count.shape), boxes, most)
    for box in [*boxes, *rest]:
        box.of(count)[...] += 1
    assert (count == 1).all()
    assert all(box.cells <= most for box in rest)
