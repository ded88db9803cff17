"""Metric: the base class of figures that other packages add to an evaluation."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fluidsr.extensions import Registry


class Metric:
    """One figure of a frame, for `evaluate --metric`; the report shows its mean over frames.

    Attributes:
        name: of the entry point in the group `fluidsr.metrics`, and key in `report.json`.
        heading: the title in tables.
        meaning: a sentence for readers, which says what value is right, or which direction is better.
        digits: shown after the decimal point.
    """

    name: ClassVar[str]
    heading: ClassVar[str]
    meaning: ClassVar[str]
    digits: ClassVar[int] = 3

    def value(self, output: np.ndarray, reference: np.ndarray, coarse: np.ndarray) -> float:
        """Compare `output [*(S * factor)]`, the fine density for `coarse [*S]`, with `reference`, of the same shape.

        All are densities, float32. Returns NaN if the figure is not defined for them.
        """
        raise NotImplementedError


METRICS: Registry[Metric] = Registry("fluidsr.metrics", Metric)
