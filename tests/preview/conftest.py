"""Small pieces of smoke."""

import numpy as np
import pytest

from fluidsr.frame import Frame


def _centres(shape):
    """Cell centres per axis, the longest edge being 1."""
    return np.meshgrid(*[(np.arange(n) + 0.5) / max(shape) for n in shape], indexing="ij")


@pytest.fixture
def ball():
    """A frame with a ball of smoke: centre and radius in longest edges, which is 1 m long."""

    def make(shape=(32, 32, 32), centre=(0.5, 0.5, 0.5), radius=0.25, density=1.0, softness=0.1):
        distance = np.sqrt(sum((x - c) ** 2 for x, c in zip(_centres(shape), centre, strict=False)))
        profile = np.clip((radius - distance) / (softness * radius) + 0.5, 0, 1)
        return Frame((density * profile).astype(np.float32), cell_size=1.0 / max(shape))

    return make


@pytest.fixture
def puffs():
    """A smooth, asymmetric field that every resolution resolves."""

    def make(shape):
        x = _centres(shape)
        waves = 1.0
        for axis, (frequency, phase) in enumerate([(5.0, 0.3), (7.0, 1.1), (6.0, 2.0)][: len(shape)]):
            waves = waves * (0.6 + 0.4 * np.sin(frequency * x[axis] + phase))
        edge = 1.0
        for axis, n in enumerate(shape):
            edge = edge * np.sin(np.pi * x[axis] * max(shape) / n) ** 2
        return Frame((waves * edge).astype(np.float32), cell_size=1.0 / max(shape))

    return make
