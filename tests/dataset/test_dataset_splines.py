"""Splines of frames: what SciPy's cubic splines are, several frames at once, to the stated accuracy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from fluidsr.dataset.splines import BORDER, coefficients, sample


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 40), min_size=2, max_size=3), st.integers(0, 10**6))
def test_coefficients_are_those_of_the_mirrored_spline(shape: list[int], seed: int) -> None:
    field = np.random.default_rng(seed).random(shape).astype(np.float32)
    found = coefficients(field)
    assert found.shape == tuple(n + 2 * BORDER for n in shape) and found.dtype == np.float32
    expected = field.astype(np.float64)
    for axis in range(field.ndim):
        expected = ndimage.spline_filter1d(expected, 3, axis=axis, mode="mirror")
    # Mirrored around the outermost cells: a period of 2 n - 2.
    for axis, n in enumerate(shape):
        at = np.arange(-BORDER, n + BORDER) % max(2 * n - 2, 1)
        expected = expected.take(np.minimum(at, max(2 * n - 2, 0) - at), axis=axis)
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("shape", [(40, 33), (38, 45, 41)])
@pytest.mark.parametrize("frames", [1, 3, 12])
def test_samples_are_those_of_scipy(shape: tuple[int, ...], frames: int) -> None:
    """Across the boxes that a result is made of, for as many frames as are given."""
    rng, dim, count = np.random.default_rng(frames), len(shape), 36 if len(shape) == 3 else 30
    fields = ndimage.gaussian_filter(rng.random((frames, *shape)), (0, *(1,) * dim)).astype(np.float32)
    turn, _ = np.linalg.qr(rng.normal(size=(dim, dim)))
    matrix = turn / 2.1
    first = (np.array(shape) - 1) / 2 - matrix.sum(axis=1) * (count - 1) / 2
    found = sample([coefficients(field) for field in fields], matrix, first, count)
    for field, seen in zip(fields, found, strict=True):
        expected = ndimage.affine_transform(field, matrix, first, (count,) * dim, order=3, mode="mirror")
        np.testing.assert_allclose(seen, expected, atol=1e-3 * np.ptp(field))


def test_half_precision_is_kept_where_it_holds_the_values() -> None:
    field = np.random.default_rng(0).random((20, 24)).astype(np.float16)
    half = coefficients(field)
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, coefficients(field.astype(np.float32)), atol=2e-3)
    huge = (field.astype(np.float32) * 6e4).astype(np.float16)
    assert coefficients(huge).dtype == np.float32
    assert np.isfinite(coefficients(huge)).all()


@pytest.mark.parametrize("dim", [2, 3])
def test_every_place_in_a_cell_can_be_seen_and_no_other(dim: int) -> None:
    spline, step = coefficients(np.random.default_rng(1).random((9,) * dim)), np.eye(dim)
    for first, count in ((-0.5, 10), (0.0, 9)):
        assert np.isfinite(sample([spline], step * 8.99 / 9, np.full(dim, first), count)).all()
    for first in (-1.6, 1.6):
        with pytest.raises(ValueError, match="outside"):
            sample([spline], step, np.full(dim, first), 10)
