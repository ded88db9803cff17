"""The light of flames: the colour of a black body, and what of it reaches the smoke."""

from __future__ import annotations

import math

import numpy as np
import torch

from fluidsr.preview.style import RenderStyle

COOLEST, HOTTEST = 1200.0, 2000.0  # kelvin, of a flame of brightness 0 and 1
SHADES = 64
WAVELENGTHS = np.array([611.0, 549.0, 464.0])  # nm, where the sRGB primaries have their weight
SECOND_RADIATION = 1.4388e7  # nm kelvin, hc / k


def ramp() -> np.ndarray:
    """Linear RGB `[SHADES, 3]` of what flames of brightness 0 to 1 emit, 1 at most.

    The hue is that of a black body (Planck's law at three wavelengths). Its brightness would grow a thousandfold: here
    it grows as the square of the flame's, so that the cool parts are seen, too.
    """
    flame = np.linspace(0.0, 1.0, SHADES)[:, None]
    kelvin = COOLEST + (HOTTEST - COOLEST) * flame
    emitted = WAVELENGTHS**-5.0 / np.expm1(SECOND_RADIATION / (WAVELENGTHS * kelvin))
    return np.asarray(flame**2 * emitted / emitted.max(axis=1, keepdims=True), np.float32)


def hue(shades: np.ndarray) -> np.ndarray:
    """Linear RGB, 1 at most, of the light that a whole flame throws: that of a shade of three quarters' brightness."""
    typical = shades[3 * SHADES // 4]
    return np.asarray(typical / typical.max())


def light(
    flame: torch.Tensor, shape: tuple[int, int, int], box: np.ndarray, style: RenderStyle
) -> torch.Tensor:
    """How much light of the flames smoke scatters towards the eye, flat, for a flat `flame` on a grid of `shape` in a
    box of edges `box` (m).

    A cell that emits e in every direction lights another, at the distance r, with e / (4 pi r²) of its volume; smoke in
    between casts no shadow.
    """
    cell = box / shape
    emitted = style.flame * style.extinction_for(tuple(box)) * flame.reshape(shape) ** 2
    distances = [
        torch.fft.fftfreq(2 * n, 0.5 / n, device=flame.device) * size
        for n, size in zip(shape, cell, strict=True)
    ]
    x, y, z = torch.meshgrid(*distances, indexing="ij")
    # Within a cell the mean of 1 / distance² is about that at half its edge.
    spread = (
        float(math.prod(cell))
        / (4 * math.pi)
        / (x * x + y * y + z * z).clamp(min=float((cell / 2).min() ** 2))
    )
    size = [2 * n for n in shape]
    spread_light = torch.fft.irfftn(torch.fft.rfftn(emitted, size) * torch.fft.rfftn(spread), size)
    nx, ny, nz = shape
    return spread_light[:nx, :ny, :nz].clamp(min=0.0).reshape(-1).contiguous()
