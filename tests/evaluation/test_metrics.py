"""Metrics against cases whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from fluidsr import metrics


def test_psnr_of_a_known_error() -> None:
    reference = np.zeros((8, 8))
    reference[0, 0] = 2.0
    assert metrics.psnr(reference + 0.02, reference) == pytest.approx(40.0)  # peak 2, rms error 0.02
    assert metrics.psnr(reference + 0.02, reference, peak=0.2) == pytest.approx(20.0)
    assert metrics.psnr(np.full((8, 8), 0.1), np.zeros((8, 8))) == pytest.approx(
        20.0
    )  # an empty reference: peak 1
    assert metrics.psnr(reference, reference) == math.inf
    with pytest.raises(ValueError, match="differ"):
        metrics.psnr(reference, reference[:4])


@pytest.mark.parametrize("shape", [(64, 48), (33, 40), (32, 24, 16), (16, 16, 15)])
def test_spectrum_keeps_the_energy(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    smooth = np.zeros(shape)
    for _ in range(5):  # waves well below Nyquist: nothing lies in the corners beyond the last shell
        wave = [rng.integers(0, n // 6 + 1) / n for n in shape]
        smooth += np.cos(
            2 * np.pi * sum(w * x for w, x in zip(wave, np.indices(shape), strict=True)) + rng.random()
        )
    windowed = smooth.copy()
    for axis, n in enumerate(shape):
        hann = np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2
        windowed *= hann.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    assert metrics.spectrum(smooth)[1].sum() == pytest.approx(np.mean(windowed**2), rel=1e-9)


@pytest.mark.parametrize(
    ("shape", "wave"), [((64, 64), (12, 5)), ((32, 64), (4, 16)), ((32, 32, 32), (6, 0, 8))]
)
def test_a_sine_has_its_energy_at_its_frequency(shape: tuple[int, ...], wave: tuple[int, ...]) -> None:
    phase = sum(w * x / n for w, x, n in zip(wave, np.indices(shape), shape, strict=True))
    frequencies, energies = metrics.spectrum(np.sin(2 * np.pi * phase))
    wanted = math.sqrt(sum((w / n) ** 2 for w, n in zip(wave, shape, strict=True)))
    near = np.abs(frequencies - wanted) <= 2.5 / max(
        shape
    )  # the window spreads a line over neighbouring shells
    assert abs(frequencies[energies.argmax()] - wanted) <= 1 / max(shape)
    assert energies[near].sum() > 0.99 * energies.sum()
    mean_square = 0.5 * (3 / 8) ** len(shape)  # of a sine, times that of the window
    assert energies.sum() == pytest.approx(mean_square, rel=1e-6)


def test_white_noise_is_flat_per_wave() -> None:
    shape = (48, 48, 48)
    frequencies, energies = metrics.spectrum(np.random.default_rng(1).standard_normal(shape))
    # Energy in a shell grows with its number of waves, as f² in 3-D.
    used = (frequencies > 0.1) & (frequencies < 0.45)
    slope = np.polyfit(np.log(frequencies[used]), np.log(energies[used]), 1)[0]
    assert slope == pytest.approx(2.0, abs=0.15)


def test_log_spectrum_error_counts_decades_of_the_upper_two_octaves() -> None:
    noise = np.random.default_rng(2).standard_normal((64, 64))
    assert metrics.log_spectrum_error(noise, noise) == 0
    assert metrics.log_spectrum_error(noise * 0.1, noise) == pytest.approx(2.0)  # energy goes with the square
    assert metrics.log_spectrum_error(noise * 10, noise) == pytest.approx(2.0)
    other = np.random.default_rng(3).standard_normal((64, 64))
    assert metrics.log_spectrum_error(other, noise) < 0.15
    x = np.indices((64, 64))[0]
    low = np.sin(2 * np.pi * 3 * x / 64)  # three waves per edge: far below one in eight cells
    assert metrics.log_spectrum_error(noise + 5 * low, noise) < 0.05
    assert 1 < metrics.log_spectrum_error(np.zeros((64, 64)), noise) < 14
    assert metrics.log_spectrum_error(noise, np.zeros((64, 64))) == 0


def test_blur_is_an_error_of_the_spectrum_and_more_blur_a_greater_one() -> None:
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(4).standard_normal((96, 96))
    errors = [metrics.log_spectrum_error(gaussian_filter(noise, s), noise) for s in (0.3, 0.6, 1.2)]
    assert 0 < errors[0] < errors[1] < errors[2]


def test_temporal_difference_sees_flicker_and_lag() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.random((32, 32)), rng.random((32, 32))
    assert metrics.temporal_difference(a, b, a, b) == 1
    assert metrics.temporal_difference(a, a + (b - a) / 2, a, b) == pytest.approx(0.5)
    assert metrics.temporal_difference(a, a + 3 * (b - a), a, b) == pytest.approx(3.0)
    assert metrics.temporal_difference(a, a, b, b) == 1
    assert metrics.temporal_difference(a, b, b, b) == math.inf


def test_mass_drift_is_relative() -> None:
    reference = np.random.default_rng(6).random((16, 16, 16)).astype(np.float32)
    assert metrics.mass_drift(reference * 1.03, reference) == pytest.approx(0.03, rel=1e-4)
    assert metrics.mass_drift(reference * 0.97, reference) == pytest.approx(0.03, rel=1e-4)
    assert metrics.mass_drift(np.zeros(4), np.zeros(4)) == 0


@pytest.mark.parametrize("dim", [2, 3])
def test_phase_score_sees_checkerboards_only(dim: int) -> None:
    rng = np.random.default_rng(7)
    pattern = rng.standard_normal((4,) * dim)
    pattern -= pattern.mean()
    board = np.tile(pattern, (8,) * dim)
    assert metrics.phase_score(board, 4) == pytest.approx(1.0)
    assert metrics.phase_score(np.ones((32,) * dim), 4) == 0
    assert metrics.phase_score(np.zeros((32,) * dim), 4) == 0
    noise = rng.random((64,) * dim)
    assert metrics.phase_score(noise, 4) < 0.05
    assert metrics.phase_score(noise + 0.3 * np.tile(board, (2,) * dim), 4) > 0.2
    assert metrics.phase_score(np.pad(board, [(0, 3)] * dim, constant_values=9), 4) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("blur", "expected"), [(0.0, 0.86), (0.5, 0.76), (0.7, 0.47), (1.0, 0.19), (1.5, 0.06)]
)
def test_zigzag_of_noise_falls_with_its_blur(blur: float, expected: float) -> None:
    noise = np.random.default_rng(0).standard_normal((64, 64, 64))
    assert metrics.zigzag(ndimage.gaussian_filter(noise, blur)) == pytest.approx(expected, abs=0.03)


def test_zigzag_is_one_for_stripes_and_nothing_for_slopes() -> None:
    stripes = np.zeros((8, 9))
    stripes[::2] = 1.0
    assert metrics.zigzag(stripes, [0]) == 1.0 and metrics.zigzag(stripes, [1]) == 0.0
    assert metrics.zigzag(stripes) == 0.5
    assert metrics.zigzag(np.arange(20.0).reshape(4, 5)) == 0.0 and metrics.zigzag(np.zeros((2, 2, 2))) == 0.0


def ball(n: int, radius: float) -> np.ndarray:
    at = np.stack(np.meshgrid(*(np.arange(n) - (n - 1) / 2,) * 3, indexing="ij"))
    return np.asarray(np.clip(radius + 0.5 - np.sqrt((at**2).sum(0)), 0.0, 1.0))


def test_isosurface_of_a_ball_and_of_a_disk() -> None:
    assert metrics.isosurface_area(ball(48, 16.0), 0.5) == pytest.approx(4 * np.pi * 256, rel=0.01)
    assert metrics.isosurface_area(ball(48, 16.0)[:, :, 24], 0.5) == pytest.approx(2 * np.pi * 16, rel=0.01)
    assert metrics.isosurface_area(np.zeros((8, 8, 8)), 0.5) == 0.0


def test_wrinkling_is_one_for_a_ball_and_more_for_a_rough_one() -> None:
    smooth = ball(64, 20.0)
    rough = smooth + 4.0 * ndimage.gaussian_filter(
        np.random.default_rng(1).standard_normal(smooth.shape), 1.0
    )
    assert metrics.wrinkling(smooth, 0.5, 8.0) == pytest.approx(1.05, abs=0.05)
    assert metrics.wrinkling(rough, 0.5, 8.0) > 1.3
    assert metrics.wrinkling(np.zeros((8, 8, 8)), 0.5, 4.0) == 1.0


def test_distances_compare_distributions_and_not_places() -> None:
    field = np.random.default_rng(2).random((12, 12, 12))
    assert metrics.density_distance(field[::-1], field) == 0.0
    assert metrics.density_distance(field + 0.1, field) == pytest.approx(0.1 / field.mean())
    assert metrics.gradient_distance(field[::-1].copy(), field) == pytest.approx(0.0, abs=1e-12)
    assert metrics.gradient_distance(2 * field, field) == pytest.approx(1.0)


@pytest.mark.parametrize("factor", [1, 4])
def test_coherence_tells_flicker_from_motion(factor: int) -> None:
    """1 for the reference, more with noise that is new in every frame; motion, in which it drowns, does not count."""
    rng = np.random.default_rng(2)
    shape = (24 * factor, 20 * factor)
    i, j = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    flow = np.zeros((2, 24, 20), np.float32)
    flow[0] = 0.7  # coarse cells per frame

    def frame(number: int) -> np.ndarray:
        x = i - 0.7 * factor * number
        return (1 + np.sin(x / (2 * factor)) * np.cos(j / (3 * factor))).astype(np.float32)

    before, after = frame(0), frame(1)
    assert metrics.coherence(before, after, before, after, flow) == 1
    found = []
    for strength in (0.01, 0.03, 0.1):
        noisy = [f + strength * rng.normal(size=shape).astype(np.float32) for f in (before, after)]
        found.append(
            (
                metrics.coherence(*noisy, before, after, flow),
                metrics.temporal_difference(*noisy, before, after),
            )
        )
    with_flow = [both[0] for both in found]
    assert 1 < with_flow[0] < with_flow[1] < with_flow[2] and with_flow[2] > 3
    assert all(a - 1 > 3 * (b - 1) for a, b in found), found
    # A pattern in the wrong place that moves with the flow is an error, but no flicker.
    beside = [np.roll(each, factor, axis=1) for each in (before, after)]
    error = np.abs(beside[1] - after).mean()
    for measured in (
        metrics.coherence(*beside, before, after, flow),
        metrics.temporal_difference(*beside, before, after),
    ):
        assert measured == pytest.approx(1, abs=0.02)
    flicker = [each + sign * error for each, sign in ((before, 1), (after, -1))]
    assert metrics.coherence(*flicker, before, after, flow) > 2
    # A reference that flows the other way: a prediction that follows its own flow is as coherent.
    mirrored = before[::-1], after[::-1]
    assert metrics.coherence(before, after, *mirrored, flow, -flow) == pytest.approx(1, abs=1e-3)
    assert metrics.coherence(before, after, *mirrored, flow) < 0.5
    with pytest.raises(ValueError, match="does not fit"):
        metrics.coherence(before, after, before, after, flow[:, :-1])


def test_ssim_is_one_for_equal_fields_and_knows_contrast_from_structure() -> None:
    field = ndimage.gaussian_filter(np.random.default_rng(0).random((48, 40)), 1.0)
    assert metrics.structural_similarity(field, field) == pytest.approx(1.0)
    turned = metrics.structural_similarity(2 * field.mean() - field, field)
    noisy = metrics.structural_similarity(field + 0.02, field)
    assert turned < 0 < noisy < 1
    # Two constants: (2 a b + c1) / (a² + b² + c1), c1 = (0.01 peak)².
    expected = (2 * 0.5 * 1.0 + 1e-4) / (0.25 + 1.0 + 1e-4)
    found = metrics.structural_similarity(np.full((8, 8, 8), 0.5), np.ones((8, 8, 8)))
    assert found == pytest.approx(expected)


def test_consistency_is_relative_to_the_coarse_smoke() -> None:
    coarse = np.ones((4, 5), np.float32)
    assert metrics.consistency_error(np.full((16, 20), 1.1), coarse) == pytest.approx(0.1, rel=1e-5)
    assert metrics.consistency_error(np.zeros((16, 20)), np.zeros((4, 5))) == 0.0


def test_seams_are_differences_across_borders_of_blocks() -> None:
    noise = np.random.default_rng(1).random((16, 16))
    assert metrics.border_share(np.kron(noise, np.ones((4, 4))), 4) == 1.0
    assert metrics.border_share(np.random.default_rng(1).random((128, 128)), 4) == pytest.approx(
        0.25, abs=0.01
    )
    assert metrics.border_share(np.zeros((8, 8)), 4) == 0.0


def test_the_distance_of_spectra_is_that_of_the_octave() -> None:
    frequencies = np.arange(33) / 64
    wanted = np.ones(33)
    blurred = np.where(frequencies < 1 / 4, 1.0, 0.01)
    assert metrics.log_spectrum_distance(frequencies, blurred, wanted, 1 / 8, 1 / 4) == 0.0
    assert metrics.log_spectrum_distance(frequencies, blurred, wanted, 1 / 4, 1 / 2) == pytest.approx(2.0)
