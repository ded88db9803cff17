"""Wavelet noise and bands: one octave, no mean, exact where theory is."""

import numpy as np
import pytest
import torch

from fluidsr.upscaling.wavelet import bands, noise


@pytest.mark.parametrize("shape", [(32, 32, 32), (64, 64, 1), (24, 32, 16)])
def test_the_tile_is_one_octave_without_mean(shape):
    tile = noise.tile(shape, 3)
    assert tile.shape == (*shape, 3) and tile.dtype == np.float32
    assert np.abs(tile.mean(axis=(0, 1, 2))).max() < 1e-6
    assert np.abs(tile.std(axis=(0, 1, 2)) - 1).max() < 1e-5
    # What splines twice as wide can say of it is little (nothing, before it was added to itself, moved).
    band = bands.high_band(torch.from_numpy(np.moveaxis(tile, -1, 0).copy()), (True,) * 3).numpy()
    assert (band**2).sum() > 0.9 * (tile**2).sum()


def test_the_tile_has_no_long_waves():
    tile = noise.tile((64, 64, 1), 0)[:, :, 0, 0]
    power = np.abs(np.fft.fft2(tile)) ** 2
    waves = np.abs(np.fft.fftfreq(64))
    longest = np.maximum(waves[:, None], waves[None, :])
    assert power[longest < 1 / 8].sum() < 1e-4 * power.sum()
    assert power[longest < 1 / 4].sum() < 0.03 * power.sum()


def test_the_tile_is_its_seeds_alone():
    first = noise.tile((16, 16, 16), 1).copy()
    noise.tile.cache_clear()
    assert np.array_equal(noise.tile((16, 16, 16), 1), first)
    assert not np.array_equal(noise.tile((16, 16, 16), 2), first)
    components = first.reshape(-1, 3).T
    assert np.abs(np.corrcoef(components) - np.eye(3)).max() < 0.1


def test_even_and_odd_cells_vary_alike():
    tile = noise.tile((64, 64, 64), 0)
    even, odd = tile[::2, ::2, ::2].var(), tile[1::2, 1::2, 1::2].var()
    assert abs(even / odd - 1) < 0.1


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("n", [12, 64])
def test_the_coarse_part_is_a_projection_that_leaves_wide_splines_alone(n, periodic):
    p = bands.coarse_part(n, periodic)
    assert np.abs(p @ p - p).max() < 1e-9
    assert np.abs(p @ np.ones(n) - 1).max() < 1e-9
    if not periodic:  # a quadratic is made of splines of any width
        x = np.linspace(-1, 1, n)
        assert np.abs(p @ x**2 - x**2).max() < 1e-8
    highest = (-1.0) ** np.arange(64)
    assert np.abs(bands.coarse_part(64, periodic) @ highest)[16:48].max() < 0.01


def test_odd_numbers_of_cells_have_bands_too():
    p = bands.coarse_part(13, False)
    assert np.abs(p @ p - p).max() < 1e-9


@pytest.mark.parametrize("spacing", [0.25, 0.5])
def test_the_discrete_curl_is_free_of_divergence(spacing):
    """On the faces of cells, from a potential on their corners: the flow through a cell's faces sums to 0."""
    line = np.arange(20) * spacing
    psi = noise.evaluate(noise.tile((32, 32, 32), 0), (line, line, line)).astype(np.float64)
    psi *= np.random.default_rng(0).random(psi.shape[:3])[..., None]  # whatever the amplitude does

    def mean(a, axis):
        return (np.take(a, range(a.shape[axis] - 1), axis) + np.take(a, range(1, a.shape[axis]), axis)) / 2

    def face(a, b, normal):  # d_a psi_b - d_b psi_a through faces across `normal`
        return mean(np.diff(psi[..., b], axis=a), b) - mean(np.diff(psi[..., a], axis=b), a)

    faces = [face(1, 2, 0), face(2, 0, 1), face(0, 1, 2)]
    divergence = sum(np.diff(f, axis=axis) for axis, f in enumerate(faces))
    assert np.abs(divergence).max() < 1e-12 * np.abs(faces[0]).max() * 100
    centres = np.stack([mean(f, axis) for axis, f in enumerate(faces)], axis=-1)
    assert np.abs(centres - noise.curl(psi)).max() < 1e-12


def test_the_speed_of_the_curl_is_that_of_the_noise_where_samples_are_dense():
    tile = noise.tile((32, 32, 32), 0)
    assert noise.curl_speed(tile, 0.125, False) / 0.125 == pytest.approx(
        noise.curl_speed(tile, 0.25, False) / 0.25, rel=0.1
    )
