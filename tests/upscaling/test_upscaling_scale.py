"""The velocity scale, a number or a number for each coarse cell."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from upscaling_cases import model_of, smoke

from fluidsr.errors import InputError
from fluidsr.models import build
from fluidsr.upscaling import Upscaler


def crowded(dim: int):
    """Smoke nearly everywhere, so that velocity matters nearly everywhere."""
    return smoke((26, 24) if dim == 2 else (14, 13, 12), blobs=12, radius=6.0)


def test_an_array_of_one_number_is_that_number(model, dim):
    frame, upscaler = crowded(dim), Upscaler(model)
    assert upscaler.upsample(frame, velocity_scale=0.0).density.std() > 0
    for number in (0.0, 1.0, 2.5):
        expected = upscaler.upsample(frame, velocity_scale=number).density
        field = np.full(frame.shape, number, np.float64)
        for scale in (field, torch.from_numpy(field), np.float32(number), torch.tensor(number)):
            np.testing.assert_array_equal(upscaler.upsample(frame, velocity_scale=scale).density, expected)


@pytest.mark.parametrize("options", [{}, {"tile": 5}])
def test_a_region_changes_only_cells_within_the_halo(model, dim, options):
    frame, upscaler = crowded(dim), Upscaler(model, **options)
    plain = upscaler.upsample(frame).density
    scale = np.ones(frame.shape, np.float32)
    scale[(slice(0, 3),) * dim] = 3.0
    shaped = upscaler.upsample(frame, velocity_scale=scale).density
    reach = [min((3 + upscaler.halo) * upscaler.factor, n) for n in plain.shape]
    changed = np.argwhere(shaped != plain)
    assert len(changed) and (changed.max(axis=0) < reach).all()
    for axis, n in enumerate(plain.shape):  # and it is seen as far as the halo reaches
        if reach[axis] < n:
            assert changed[:, axis].max() >= reach[axis] - 2 * upscaler.factor


def test_other_fields_keep_their_own_velocity(small):
    frame = smoke((12, 9))
    field = np.full(frame.shape, 3.0, np.float32)
    plain = Upscaler(small).upsample(frame, fields=["velocity"]).velocity
    shaped = Upscaler(small).upsample(frame, fields=["velocity"], velocity_scale=field).velocity
    np.testing.assert_array_equal(shaped, plain)


def test_a_read_only_scale_is_used_without_a_warning(small):
    frame, field = smoke((12, 9)), np.full((12, 9), 0.5, np.float32)
    expected = Upscaler(small).upsample(frame, velocity_scale=field)
    field.flags.writeable = False
    fine = Upscaler(small).upsample(frame, velocity_scale=field)  # a warning of torch is an error
    np.testing.assert_array_equal(fine.density, expected.density)


@pytest.mark.parametrize(
    ("scale", "says"),
    [
        (np.ones((9, 12)), r"velocity_scale: shape \(9, 12\) does not fit the frame's \(12, 9\); give"),
        (np.full((12, 9), -1.0), "velocity_scale: it goes from -1 to -1; give 0 or more"),
        (np.full((12, 9), np.nan), "velocity_scale: it holds a NaN or an infinity; give 0 or more"),
        (np.full((12, 9), np.inf), "velocity_scale: it holds a NaN or an infinity"),
    ],
)
def test_a_field_that_is_no_scale_is_refused(small, scale, says):
    with pytest.raises(InputError, match=says):
        Upscaler(small).upsample(smoke((12, 9)), velocity_scale=scale)


@pytest.mark.parametrize("scale", [2.0, np.ones((12, 9), np.float32)])
def test_a_generator_of_density_alone_refuses_a_scale(scale):
    generator = build("SmokeGenerator", dim=2, factor=2, width=4, blocks=1, rise_width=4, inputs="density")
    upscaler, frame = Upscaler(model_of(generator.eval())), smoke((12, 9))
    upscaler.upsample(frame, velocity_scale=1.0)
    with pytest.raises(InputError, match="velocity_scale: the model reads density alone; leave it at 1, or"):
        upscaler.upsample(frame, velocity_scale=scale)
