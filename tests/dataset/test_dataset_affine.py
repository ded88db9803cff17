"""Affine augmentation: a transformed patch is what a turned camera would have seen, and still moves as smoke does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluidsr.dataset.augmentation import SCALES, Affine, fitting_affine, random_affine
from fluidsr.dataset.splines import coefficients


def _scalar(
    transform: Affine, field: np.ndarray, centre: Sequence[float], tile: int, cells: int = 1
) -> np.ndarray:
    return transform.resample([coefficients(field)], centre, tile, cells)[0]


def _vector(transform: Affine, field: np.ndarray, centre: Sequence[float], tile: int) -> np.ndarray:
    return transform.transform_vectors(
        transform.resample([coefficients(component) for component in field], centre, tile)
    )


_SEEDS = st.integers(0, 10**6)
_DIMS = st.sampled_from([2, 3])


def _centres(shape: tuple[int, ...], cells: int = 1) -> np.ndarray:
    """Positions of cell centres in coarse cells, `[d, *S]`."""
    return np.stack(np.meshgrid(*[(np.arange(n * cells) + 0.5) / cells for n in shape], indexing="ij"))


def _waves(rng: np.random.Generator, dim: int) -> Callable[[np.ndarray], np.ndarray]:
    """A smooth function of place, many cells long."""
    waves = [(rng.uniform(-0.25, 0.25, dim), rng.uniform(0, 6.28)) for _ in range(4)]
    return lambda at: 1 + sum(0.2 * np.sin(np.tensordot(k, at, axes=1) + phase) for k, phase in waves)


def _drawn(seed: int, dim: int, tile: int) -> tuple[np.random.Generator, Affine, tuple[int, ...], np.ndarray]:
    """A transform, the shape of data it fits in, and a centre, off the border: there the data end in a kink."""
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(18, 30, dim))
    transform = fitting_affine(rng, shape, tile)
    assert transform is not None
    reach = transform.reach(tile) + (2.5 if tile < 8 else 0)
    return rng, transform, shape, rng.uniform(reach, np.array(shape) - reach)


@settings(deadline=None, max_examples=25)
@given(_SEEDS, _DIMS, st.sampled_from([1, 2, 4]))
def test_a_patch_shows_what_lies_at_its_transformed_places(seed: int, dim: int, cells: int) -> None:
    rng, transform, shape, centre = _drawn(seed, dim, 6)
    wave = _waves(rng, dim)
    patch = _scalar(transform, wave(_centres(shape, cells)), centre, 6, cells)
    at = _centres((6,) * dim, cells) - 3
    offset = centre.reshape(dim, *(1,) * dim)
    seen = wave(np.tensordot(transform.turn, at, axes=1) / transform.scale + offset)
    np.testing.assert_allclose(patch, seen, atol=6e-3 if cells == 1 else 2e-3)


@settings(deadline=None, max_examples=25)
@given(_SEEDS, _DIMS)
def test_smoke_that_drifts_still_drifts_by_the_velocity_it_is_given(seed: int, dim: int) -> None:
    rng, transform, shape, centre = _drawn(seed, dim, 6)
    wave, drift = _waves(rng, dim), rng.uniform(-0.8, 0.8, dim)
    column = drift.reshape(dim, *(1,) * dim)
    velocity = np.broadcast_to(column, (dim, *shape)).astype(np.float32)
    seen = _vector(transform, velocity, centre, 6)
    # One frame later the wave has moved by `drift`; in the patch it must have moved by the patch's velocity.
    later = _scalar(transform, wave(_centres(shape) - column), centre, 6)
    at = _centres((6,) * dim) - 3 - seen
    offset = centre.reshape(dim, *(1,) * dim)
    expected = wave(np.tensordot(transform.turn, at, axes=1) / transform.scale + offset)
    np.testing.assert_allclose(later, expected, atol=6e-3)


@settings(deadline=None, max_examples=25)
@given(_SEEDS, _DIMS)
def test_divergence_and_vorticity_scale_as_a_rate_does(seed: int, dim: int) -> None:
    """Both are per frame, so a change of scale leaves them alone; a mirror turns a swirl around."""
    rng, transform, shape, centre = _drawn(seed, dim, 6)
    gradient = rng.uniform(-0.1, 0.1, (dim, dim))
    velocity = np.tensordot(gradient, _centres(shape), axes=1).astype(np.float32)
    seen = _vector(transform, velocity, centre, 6)
    found = np.stack([[np.diff(seen[i], axis=j).mean() for j in range(dim)] for i in range(dim)])
    assert np.trace(found) == pytest.approx(np.trace(gradient), abs=2e-3)
    if dim == 2:
        spin = np.linalg.det(transform.turn) * (gradient[1, 0] - gradient[0, 1])
        assert found[1, 0] - found[0, 1] == pytest.approx(spin, abs=2e-3)


@settings(deadline=None, max_examples=200)
@given(_SEEDS, _DIMS, st.integers(4, 24))
def test_transforms_are_similarities_that_fit(seed: int, dim: int, tile: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(tile, tile + 16, dim))
    drawn, fitting = random_affine(rng, dim), fitting_affine(rng, shape, tile)
    np.testing.assert_allclose(drawn.turn @ drawn.turn.T, np.eye(dim), atol=1e-12)
    assert SCALES[0] <= drawn.scale <= SCALES[1]
    if fitting is not None:
        corners = np.stack(np.meshgrid(*[[-tile / 2, tile / 2]] * dim, indexing="ij")).reshape(dim, -1)
        needs = np.abs(fitting.turn @ corners / fitting.scale).max(axis=1)
        np.testing.assert_allclose(fitting.reach(tile), needs, rtol=1e-9)
        assert (2 * needs <= np.array(shape) * (1 + 1e-9)).all()
        assert SCALES[0] <= fitting.scale <= SCALES[1]


@pytest.mark.parametrize("dim", [2, 3])
def test_all_directions_and_both_hands_come_up(dim: int) -> None:
    drawn = [random_affine(np.random.default_rng(seed), dim) for seed in range(400)]
    hands = np.mean([np.linalg.det(a.turn) > 0 for a in drawn])
    assert 0.4 < hands < 0.6
    ups = np.array([a.turn[:, 1] for a in drawn])
    assert np.abs(ups[:, 0].mean()) < 0.15
    if dim == 3:  # evenly over the sphere: every component has variance 1/3
        np.testing.assert_allclose((ups**2).mean(axis=0), 1 / 3, atol=0.06)
    else:
        assert (ups[:, 1] >= -1e-12).all()  # by at most a right angle


@settings(deadline=None, max_examples=15)
@given(_SEEDS, _DIMS)
def test_the_inverse_brings_the_middle_back(seed: int, dim: int) -> None:
    rng, transform, shape, centre = _drawn(seed, dim, 8)
    wave = _waves(rng, dim)(_centres(shape))
    patch = _scalar(transform, wave, centre, 8)
    back = _scalar(Affine(transform.turn.T, 1 / transform.scale), patch, (4.0,) * dim, 2)
    plain = _scalar(Affine(np.eye(dim), 1.0), wave, centre, 2)
    np.testing.assert_allclose(back, plain, atol=0.02)
