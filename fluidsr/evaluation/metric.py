"""Metric: the base class of figures that other packages add to an evaluation."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fluidsr.extensions import Registry


class Metric:
    """One figure of a frame, for `evaluate --metric`; the report shows its mean over frames.

    `name` is that of its entry point in `fluidsr.metrics` and its key in `report.json`; `heading` and `meaning` explain
    it to readers, with the value that is right and which direction is better; `digits` are shown after the point.
    """

    name: ClassVar[str]
    heading: ClassVar[str]
    meaning: ClassVar[str]
    digits: ClassVar[int] = 3

    def value(self, output: np.ndarray, reference: np.ndarray, coarse: np.ndarray) -> float:
        """The figure of `output [*(S * factor)]` against `reference`, of the same shape, made from `coarse [*S]`:
        densities, float32. NaN where it is not defined."""
        raise NotImplementedError


METRICS: Registry[Metric] = Registry("fluidsr.metrics", Metric)
