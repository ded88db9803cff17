"""Sharpness: the mean gradient over the reference's."""

from __future__ import annotations

import math

import numpy as np

from fluidsr.evaluation import Metric


class Sharpness(Metric):
    """Blurred smoke has less than 1, grainy smoke more."""

    name = "sharpness"
    heading = "sharpness"
    meaning = "mean magnitude of the density's gradient over the reference's; 1 is right"

    def value(self, output: np.ndarray, reference: np.ndarray, coarse: np.ndarray) -> float:
        expected = _mean_gradient(reference)
        return _mean_gradient(output) / expected if expected > 0 else math.nan


def _mean_gradient(density: np.ndarray) -> float:
    return float(np.sqrt(sum(slope**2 for slope in np.gradient(density))).mean())
