"""RenderStyle: the extinction of smoke, the lights, the background."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fluidsr.errors import InputError

OPTICAL_DEPTH_OF_EDGE = 100.0

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class RenderStyle:
    """Smoke, lights and background; colours are linear RGB, angles degrees.

    `extinction` is in 1/m for density 1, so that the same density looks the same at any resolution: optical
    depth is extinction * density * metres. The default (None) is 100 / (longest edge of the domain): a puff
    of density 1 a twentieth of the domain wide lets e^-5, less than a hundredth, of the light through.

    The key light stands `key_azimuth` to the left of the camera (180 is behind the smoke) and `key_elevation`
    above the horizon, and turns with the camera; the fill light stands likewise on the right.

    `flame` is what the brightest flame emits, relative to what smoke of density 1 would absorb.

    `fade` is the width, in longest edges, over which smoke fades out towards all walls but the floor: what
    leaves an open box would else end in a bright flat cut.
    """

    extinction: float | None = None
    albedo: Colour = (0.96, 0.955, 0.95)
    key: Colour = (1.0, 0.93, 0.84)
    key_strength: float = 1.4
    key_azimuth: float = 122.0
    key_elevation: float = 45.0
    ambient: Colour = (0.62, 0.78, 1.0)
    sky_strength: float = 0.24
    ground_strength: float = 0.06
    fill_strength: float = 0.09
    forward_scattering: float = 0.45
    background_top: Colour = (0.016, 0.018, 0.022)
    background_bottom: Colour = (0.050, 0.054, 0.062)
    flame: float = 0.4
    exposure: float = 1.0
    fade: float = 0.15

    def __post_init__(self) -> None:
        if self.extinction is not None and not (0 < self.extinction < math.inf):
            raise InputError("extinction", f"{self.extinction} 1/m is out of range", "give a positive number")
        if not (0 <= self.flame < math.inf):
            raise InputError("flame", f"{self.flame} is out of range", "give 0 or more")
        if not -0.95 <= self.forward_scattering <= 0.95:
            raise InputError(
                "forward_scattering", f"{self.forward_scattering} is out of range", "give -0.95 to 0.95"
            )
        if not 0 <= self.fade <= 0.5:
            raise InputError("fade", f"{self.fade} is out of range", "give 0 to 0.5")
        if not (0 < self.exposure < math.inf):
            raise InputError("exposure", f"{self.exposure} is out of range", "give a positive number")

    def extinction_for(self, box: tuple[float, ...]) -> float:
        """1/m at density 1, for a domain with edges `box` (m)."""
        return self.extinction if self.extinction is not None else OPTICAL_DEPTH_OF_EDGE / max(box)

    def fade_widths(self, box: tuple[float, ...], up: int) -> tuple[list[float], list[float]]:
        """Widths at the lower and the upper walls (m), none at the floor of the axis `up`."""
        high = [self.fade * max(box)] * len(box)
        return [0.0 if axis == up else width for axis, width in enumerate(high)], high


def towards_light(azimuth: float, elevation: float, axes: np.ndarray) -> np.ndarray:
    """Unit vector from the smoke to a light `azimuth` degrees left of the viewer; `axes` are right, up,
    viewer.
    """
    a, e = math.radians(azimuth), math.radians(elevation)
    return np.array([-math.sin(a) * math.cos(e), math.sin(e), math.cos(a) * math.cos(e)]) @ axes
