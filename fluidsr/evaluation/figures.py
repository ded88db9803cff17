"""The figures of a report: their names, meanings, best values and sources, and the base class of those that other
packages add."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fluidsr.extensions import Registry

OCTAVES = {"octave_16": (1 / 16, 1 / 8), "octave_8": (1 / 8, 1 / 4), "octave_4": (1 / 4, 1 / 2)}
SCALES = {"wrinkling_1": 1, "wrinkling": 2, "wrinkling_4": 4}  # coarse cells
ALIGNED = ("recorded", "filtered")  # pairs that show the same smoke, voxel by voxel
SURFACE = 1 / 20  # level of the isosurface, as a fraction of the maximum of the reference
STILL = 1 / 100  # a voxel is still if it changes by less than this fraction of the maximum of the reference


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


@dataclass(frozen=True)
class Figure:
    """The description of a figure.

    Attributes:
        heading: the title in tables.
        digits: shown after the decimal point.
        meaning: a sentence for readers.
        group: the part of the page's table that contains it.
        right: the best value; infinity if more is better, None if it is the value of the reference, NaN if unknown.
        short: whether it is also in the text table.
        source: of the definition.
    """

    heading: str
    digits: int
    meaning: str
    group: str = "Other packages"
    right: float | None = None
    short: bool = False
    source: str = ""

    @classmethod
    def of(cls, metric: Metric) -> Figure:
        """The figure of a metric of another package, whose meaning says which values are good."""
        return cls(metric.heading, metric.digits, metric.meaning, right=math.nan, short=True)

    def away(self, value: float, reference: float) -> float:
        """The distance of `value` from the best one, for comparing methods; infinite if there is no best value."""
        if self.right is not None and math.isinf(self.right):
            return -value
        distance = abs(value - (reference if self.right is None else self.right))
        return distance if math.isfinite(distance) else math.inf


_SAME, _DETAIL, _LOOK = "Against the reference, voxel by voxel", "Detail", "What does not belong"
_TIME, _PICTURES = "From frame to frame", "Renderings under a fixed camera"
_HANN = "under a Hann window"
PICTURE_FIGURES = ("render_ssim", "tof", "lpips")

FIGURES: dict[str, Figure] = {
    "psnr": Figure(
        "PSNR dB",
        2,
        "peak signal-to-noise ratio against the reference's maximum; more is better",
        _SAME,
        math.inf,
        True,
    ),
    "ssim": Figure(
        "SSIM", 3, "structural similarity of densities; 1 is right", _SAME, 1.0, False, "Wang et al. 2004"
    ),
    "spectrum": Figure(
        "log-spectrum",
        3,
        f"mean |log10 E - log10 E_reference| over the upper two octaves, {_HANN}; 0 is right",
        _DETAIL,
        0.0,
        True,
    ),
    **{
        key: Figure(
            f"1/{round(1 / low)} to 1/{round(1 / high)}",
            3,
            f"the same between 1/{round(1 / low)} and 1/{round(1 / high)} cycles per voxel; 0 is right",
            _DETAIL,
            0.0,
        )
        for key, (low, high) in OCTAVES.items()
    },
    "velocity": Figure(
        "velocity",
        3,
        "log-spectrum error of the velocity, over the same two octaves; generators interpolate it; 0 is right",
        _DETAIL,
        0.0,
    ),
    "area": Figure(
        "area",
        2,
        "isosurface (2-D: line) at a twentieth of the reference's maximum, its area over the reference's; 1 is right",
        _DETAIL,
        1.0,
        True,
        "flying edges, Schroeder et al. 2015",
    ),
    **{
        key: Figure(
            "wrinkling" if key == "wrinkling" else f"wrinkling, {scale}",
            2,
            "area of that surface over its area without wrinkles below "
            f"{scale} coarse cell{'s' if scale > 1 else ''}, over the reference's; 1 is right",
            _DETAIL,
            1.0,
            key == "wrinkling",
        )
        for key, scale in SCALES.items()
    },
    "gradients": Figure(
        "gradients",
        3,
        "Wasserstein distance of the gradients' magnitudes, over the reference's mean; 0 is right",
        _DETAIL,
        0.0,
        True,
        "Villani 2009, ch. 6",
    ),
    "densities": Figure(
        "densities",
        3,
        "Wasserstein distance of the densities, over the reference's mean; 0 is right",
        _DETAIL,
        0.0,
        False,
        "Villani 2009, ch. 6",
    ),
    "mass": Figure("mass drift", 4, "relative error of the total density; 0 is right", _LOOK, 0.0, True),
    "consistency": Figure(
        "consistency",
        4,
        "difference from the coarse frame when downsampled, over its mean; 0 is right where pairs are filtered",
        _LOOK,
        0.0,
        True,
    ),
    "zigzag": Figure(
        "zigzag",
        3,
        "share of differences that alternate from voxel to voxel; the reference's own is right",
        _LOOK,
        None,
        True,
    ),
    "phase": Figure(
        "phase",
        4,
        "std over the means of the factor^d phases / rms: checkerboards; the reference's own is right",
        _LOOK,
        None,
        True,
        "Odena et al. 2016",
    ),
    "seams": Figure(
        "seams",
        3,
        "share of differences that lies across borders of coarse cells; the reference's own is right",
        _LOOK,
    ),
    "temporal": Figure(
        "T-diff",
        3,
        "change from frame to frame over the reference's; 1 is right",
        _TIME,
        1.0,
        True,
        "Chu et al. 2020",
    ),
    "warped": Figure(
        "warped T-diff",
        4,
        "change from frame to frame that the coarse flow does not explain, over the reference's mean density;"
        " the reference's own is right",
        _TIME,
        None,
        False,
        "Lai et al. 2018",
    ),
    "coherence": Figure(
        "flicker",
        3,
        "warped T-diff over the reference's, each along its own coarse flow; 1 is right",
        _TIME,
        1.0,
        True,
        "Lai et al. 2018",
    ),
    "still": Figure(
        "still",
        4,
        "root mean square change where reference and coarse frame stand still, over the reference's maximum;"
        " the reference's own is right",
        _TIME,
    ),
    "render_ssim": Figure(
        "SSIM",
        3,
        "structural similarity of the pictures' luma; 1 is right",
        _PICTURES,
        1.0,
        False,
        "Wang et al. 2004",
    ),
    "tof": Figure(
        "tOF",
        3,
        "distance of the optical flows of both sequences of pictures, in pixels per frame; 0 is right",
        _PICTURES,
        0.0,
        False,
        "Chu et al. 2020; Lucas and Kanade 1981",
    ),
    "lpips": Figure(
        "LPIPS", 3, "distance of AlexNet's features; 0 is right", _PICTURES, 0.0, False, "Zhang et al. 2018"
    ),
}
