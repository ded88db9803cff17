"""The grid's symmetries are a group, and what they do to velocity is what turning the smoke would do."""

from __future__ import annotations

import numpy as np
import pytest

from fluidsr.dataset.augmentation import identity, symmetries


def _divergence(velocity: np.ndarray) -> np.ndarray:
    """Central differences of periodic data, exact under every symmetry of the grid."""
    dim = velocity.shape[0]
    return sum((np.roll(velocity[i], -1, i) - np.roll(velocity[i], 1, i)) / 2 for i in range(dim))


@pytest.mark.parametrize(("dim", "order"), [(2, 8), (3, 48)])
def test_there_are_as_many_as_the_group_has_and_all_differ(dim: int, order: int) -> None:
    marks = np.arange(3**dim).reshape((3,) * dim)
    images = {symmetry.scalar(marks).tobytes() for symmetry in symmetries(dim)}
    assert len(symmetries(dim)) == len(images) == order
    assert symmetries(dim)[0] == identity(dim)


@pytest.mark.parametrize("dim", [2, 3])
def test_divergence_turns_with_the_field(dim: int) -> None:
    velocity = np.random.default_rng(1).standard_normal((dim, *(6,) * dim))
    for symmetry in symmetries(dim):
        np.testing.assert_allclose(
            _divergence(symmetry.vector(velocity)), symmetry.scalar(_divergence(velocity)), atol=1e-12
        )


@pytest.mark.parametrize("dim", [2, 3])
def test_velocity_turns_as_the_gradient_of_a_turned_potential(dim: int) -> None:
    potential = np.random.default_rng(2).standard_normal((6,) * dim)

    def gradient(field: np.ndarray) -> np.ndarray:
        return np.stack([(np.roll(field, -1, i) - np.roll(field, 1, i)) / 2 for i in range(dim)])

    for symmetry in symmetries(dim):
        np.testing.assert_allclose(
            symmetry.vector(gradient(potential)), gradient(symmetry.scalar(potential)), atol=1e-12
        )


@pytest.mark.parametrize("dim", [2, 3])
def test_inverse_undoes_and_composition_composes(dim: int) -> None:
    rng = np.random.default_rng(3)
    velocity = rng.standard_normal((2, dim, *(4,) * dim)).astype(np.float32)  # a leading axis: frames
    for first in symmetries(dim):
        np.testing.assert_array_equal(first.inverse().vector(first.vector(velocity)), velocity)
        for second in symmetries(dim)[:: 5 if dim == 3 else 1]:
            both = second.vector(first.vector(velocity))
            np.testing.assert_array_equal(first.then(second).vector(velocity), both)
            np.testing.assert_array_equal(
                first.then(second).scalar(velocity[:, 0]), second.scalar(first.scalar(velocity[:, 0]))
            )


def test_a_swirl_seen_in_a_mirror_turns_the_other_way() -> None:
    x, y = np.meshgrid(np.arange(5) - 2.0, np.arange(5) - 2.0, indexing="ij")
    swirl = np.stack([-y, x])
    for symmetry in symmetries(2):
        handedness = np.prod(np.where(symmetry.flips, -1, 1)) * (1 if symmetry.axes == (0, 1) else -1)
        np.testing.assert_array_equal(symmetry.vector(swirl), handedness * swirl)
