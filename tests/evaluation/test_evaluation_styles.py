"""Scores of smoke, and the directions along which they grow."""

import numpy as np
import pytest

from fluidsr.evaluation.style_scores import SCORES, direction, without

STILL = np.zeros((2, 8, 8), np.float32)


def test_scores_of_known_smoke():
    x, y = np.meshgrid(*[np.arange(32.0)] * 2, indexing="ij")
    rising = np.where(y > 15, 1.0, 0.0)
    assert SCORES["enstrophy"](rising, rising, STILL) == 0
    assert SCORES["enstrophy"](3 * x, 3 * x, STILL) == pytest.approx(9)
    assert SCORES["mass"](rising, rising, STILL) == pytest.approx(0.5)
    assert SCORES["height"](rising, rising, STILL) == pytest.approx(0.75)
    assert SCORES["divergence"](rising, rising, STILL) == 0
    assert SCORES["divergence"](1.5 * rising, rising, STILL) == pytest.approx(1 / 3)
    flow = STILL.copy()
    flow[1] = 0.5  # coarse cells: two fine ones
    blob = np.exp(-((x - 16) ** 2 + (y - 12) ** 2) / 40)
    carried = np.roll(blob, 2, axis=1)
    assert SCORES["divergence"](carried, blob, flow) < 0.01 < SCORES["divergence"](blob, blob, flow)


def samples(noise: float, seed: int = 0):
    """A score that grows along (0.6, 0.8, 0, 0) and differs from frame to frame."""
    random = np.random.default_rng(seed)
    contents, frames = random.normal(size=(512, 4)), np.arange(512) % 16
    along = contents @ [0.6, 0.8, 0.0, 0.0]
    values = (1 + frames) * (5 + 0.5 * along + noise * random.normal(size=512))
    return contents, values, frames


def test_a_direction_is_found_in_spite_of_the_frames_with_its_slope():
    found = direction(*samples(0.1))
    np.testing.assert_allclose(found.vector, [0.6, 0.8, 0, 0], atol=0.03)
    assert found.r2 > 0.9 and found.slope == pytest.approx(0.1, rel=0.05)


def test_what_does_not_follow_the_content_explains_nothing():
    assert direction(*samples(10.0)).r2 < 0.1
    contents, _values, frames = samples(0.0)
    assert direction(contents, 1.0 + frames, frames).r2 == 0
    assert direction(contents, np.zeros(512), frames).slope == 0


def test_a_direction_across_others_leaves_them_alone():
    a, b = np.array([0.6, 0.8, 0.0]), np.array([1.0, 0.0, 0.0])
    across = without(a, [b])
    np.testing.assert_allclose(across, [0, 1, 0], atol=1e-12)
    assert without(a, [a]) is None
    np.testing.assert_array_equal(without(a, []), a)
