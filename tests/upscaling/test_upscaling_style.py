"""Styles in tiles, windows, periodic domains and sequences of frames."""

import numpy as np
import pytest
import torch

from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.models import Card, Model, SmokeGenerator
from fluidsr.models.resample import downsample, upsample
from fluidsr.models.store import properties_of
from fluidsr.upscaling import Upscaler

CARD = {"name": "small", "density_range": (0.0, 2.0), "velocity_range": (-30.0, 30.0)}
LATENT = {"content": 4, "motion": 2}


@pytest.fixture(scope="module")
def model() -> Model:
    """A generator with weights far from its start, which a code and noise change much."""
    torch.manual_seed(2)
    generator = SmokeGenerator(
        2, 4, width=6, blocks=1, rise_width=4, last="resized", latent=LATENT, consistent=True
    )
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    generator.rises[-1].inner.gather.weight.data *= 0.02
    generator.rises[-1].inner.gather.bias.data.zero_()
    return Model(generator.requires_grad_(False).fold(), Card(**CARD, **properties_of(generator)))


def frame_of(cells: int = 24, origin=(0.3, -0.2), time: float = 0.5) -> Frame:
    random = np.random.default_rng(0)
    x, y = np.meshgrid(*[np.linspace(-2, 2, cells)] * 2, indexing="ij")
    density = (0.2 + np.exp(-(x**2) - y**2)).astype(np.float32)
    velocity = random.normal(size=(2, cells, cells)).astype(np.float32)
    return Frame(density, velocity=velocity, cell_size=0.1, origin=origin, dt=0.1, time=time)


def test_a_style_is_the_same_in_any_tiles_and_another_for_another_seed(model):
    frame = frame_of()
    whole, other = (Upscaler(model).upsample(frame, style_seed=seed).density for seed in (3, 4))
    tiled = Upscaler(model, tile=7).upsample(frame, style_seed=3).density
    np.testing.assert_allclose(tiled, whole, atol=1e-5)
    residual = whole - upsample(torch.from_numpy(frame.density)[None, None], 4, "cubic")[0, 0].numpy()
    assert np.sqrt(np.mean((whole - other) ** 2)) > 0.05 * np.sqrt(np.mean(residual**2))
    coarse = [downsample(torch.from_numpy(fine)[None, None], 4)[0, 0].numpy() for fine in (whole, other)]
    assert np.abs(coarse[0] - coarse[1]).mean() < 0.01 * coarse[0].mean()
    unset = Upscaler(model).upsample(frame).density
    assert np.array_equal(unset, Upscaler(model).upsample(frame, style_seed=0).density)


def test_a_window_of_a_frame_has_the_style_of_the_whole(model):
    frame, halo = frame_of(), model.generator.receptive_radius
    whole = Upscaler(model).upsample(frame, style_seed=3).density
    lo = 5
    window = Frame(
        frame.density[lo:, lo:],
        velocity=frame.velocity[:, lo:, lo:],
        cell_size=0.1,
        origin=tuple(n + lo * 0.1 for n in frame.origin),
        dt=0.1,
        time=0.5,
    )
    part = Upscaler(model).upsample(window, style_seed=3).density[4 * halo :, 4 * halo :]
    np.testing.assert_allclose(part, whole[4 * (lo + halo) :, 4 * (lo + halo) :], atol=1e-5)


def test_the_frames_time_decides_not_those_before_it(model):
    upscaler = Upscaler(model)
    forward = [upscaler.upsample(frame_of(time=n / 10), style_seed=3).density for n in range(3)]
    backward = [upscaler.upsample(frame_of(time=n / 10), style_seed=3).density for n in (2, 1, 0)]
    for one, two in zip(forward, reversed(backward), strict=True):
        assert np.array_equal(one, two)
    assert not np.array_equal(forward[0], forward[1])


def test_ends_that_are_joined_have_noise_that_is(model):
    frame, n = frame_of(30), 30
    frame.density[:6] = 0  # opened there
    upscaler = Upscaler(model, periodic=(True, False))
    fine = upscaler.upsample(frame, style_seed=3).density
    twice = Frame(
        np.concatenate([frame.density] * 3),
        velocity=np.concatenate([frame.velocity] * 3, axis=1),
        cell_size=0.1,
        origin=frame.origin,
        dt=0.1,
        time=0.5,
    )
    # In a domain of three lengths the noise goes on; in the middle of its own length it is that of the ring.
    alone = Upscaler(model).upsample(twice, style_seed=3).density
    inner = slice(4 * (6 + 7), 4 * (n - 7))
    np.testing.assert_allclose(fine[inner], alone[: 4 * n][inner], atol=1e-5)
    assert not np.allclose(alone[: 4 * n][inner], alone[4 * n : 8 * n][inner], atol=1e-3)


def test_a_shift_moves_the_content_and_must_fit_it(model):
    frame, upscaler = frame_of(), Upscaler(model)
    shifted = upscaler.upsample(frame, style_seed=3, style_shift=[1.0, 0, 0, 0]).density
    assert not np.allclose(shifted, upscaler.upsample(frame, style_seed=3).density, atol=1e-3)
    for shift in ([1.0], [np.nan] * 4):
        with pytest.raises(InputError, match="style_shift"):
            upscaler.upsample(frame, style_shift=shift)
    with pytest.raises(InputError, match="style_seed"):
        upscaler.upsample(frame, style_seed=-1)


def test_a_model_without_a_latent_code_refuses_a_style():
    generator = SmokeGenerator(2, 2, width=4, blocks=0).requires_grad_(False).eval()
    plain = Upscaler(Model(generator, Card(**CARD, **properties_of(generator))))
    for style in ({"style_seed": 0}, {"style_shift": [1.0]}):
        with pytest.raises(InputError, match="'small' has no latent code") as refused:
            plain.upsample(frame_of(8), **style)
        assert "\n" not in str(refused.value)
