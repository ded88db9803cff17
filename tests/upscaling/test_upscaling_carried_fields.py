"""Fields beside the density: their detail is the density's, by the slope of the one over the other."""

import numpy as np
import pytest
import torch

from fluidsr.models.resample import upsample, upsample_faces
from fluidsr.upscaling import Box
from fluidsr.upscaling.carried_fields import Carried, described, method_of

FACTOR = 4


@pytest.mark.parametrize("shape", [(14, 12), (9, 8, 7)])
def test_a_field_that_is_linear_in_the_density_gets_its_detail(shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    density = torch.rand(shape)
    smooth = upsample(density[None, None], FACTOR)[0, 0]
    made = smooth + 0.2 * torch.rand(smooth.shape)
    field = torch.stack([3 - 2 * density, 5 + 0 * density, density])  # against it, without it, as it
    box = Box((0,) * len(shape), shape)
    found = Carried(field, density, FACTOR).of(box, made)
    for part, coarse, wanted in zip(found, field, (3 - 2 * made, 5 + 0 * made, made), strict=True):
        torch.testing.assert_close(part, wanted.clamp(coarse.min(), coarse.max()), rtol=0, atol=0.02)
    # Where the generator made no smoke, it is as if it had made a density of 0; far from any, cubic interpolation.
    carried = Carried(field[0], density, FACTOR)
    torch.testing.assert_close(carried.of(box, None), carried.of(box, torch.zeros_like(made)))
    alone = Carried(field[0], 0 * density, FACTOR).of(box, None)
    expected = upsample(field[:1, None], FACTOR)[0, 0].clamp(field[0].min(), field[0].max())
    torch.testing.assert_close(alone, expected)
    # A part is that part of the whole.
    inner = Box(tuple(n // 3 for n in shape), tuple(n // 3 + 4 for n in shape))
    part = Carried(field, density, FACTOR).of(inner, inner.scaled(FACTOR).of(made))
    torch.testing.assert_close(part, inner.scaled(FACTOR).of(found), rtol=0, atol=1e-6)


def test_faces_that_coincide_keep_their_values() -> None:
    faces = torch.from_numpy(np.random.default_rng(3).random((1, 3, 5, 4, 6)).astype(np.float32))
    fine = upsample_faces(faces, FACTOR)
    assert fine.shape == (1, 3, 20, 16, 24)
    for axis in range(3):
        on_faces = fine[0, axis].movedim(axis, 0)[::FACTOR]  # every fourth, across the cells along the others
        plane = faces[0, axis].movedim(axis, 0)[:, None]
        expected = upsample(plane, FACTOR, "linear")[:, 0]
        torch.testing.assert_close(on_faces, expected)
        between = fine[0, axis].movedim(axis, 0)[FACTOR // 2 :: FACTOR][:-1]
        torch.testing.assert_close(between, (expected[:-1] + expected[1:]) / 2)


def test_each_field_has_its_way() -> None:
    half, whole = np.full(2, 0.5), np.zeros(2)
    names = ["velocity", "velocity.faces", "solid", "flame", "Cd", "Cd.x", "color_r", "id", "pressure"]
    methods = {name: method_of(name, half if name == "pressure" else whole) for name in names}
    assert list(methods.values()) == [
        "linear", "faces", "linear", "carried", "linear", "linear", "carried", "nearest", "linear"
    ]  # fmt: skip
    reported = "fields beside the density: flame, color_r sharpened as the density; "
    assert described(methods) == f"{reported}velocity, solid, Cd, Cd.x, pressure interpolated; id repeated"
    assert described({}) is None
