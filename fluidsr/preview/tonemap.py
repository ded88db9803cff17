"""From light to image: background, tone curve, sRGB."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from fluidsr.preview.style import RenderStyle

_SHADES = 1 << 13  # of the table of the tone curve: a sixth of a step of the picture, or less
_BRIGHTEST = 16.0  # what is brighter is white
_BRIGHTEST_SMOKE = 4.0  # linear light that smoke scatters, relative to its alpha; what is brighter burns


def tonemap(light: np.ndarray, style: RenderStyle, glow: np.ndarray | None = None) -> np.ndarray:
    """`light [h, w, 3]` = (key, soft, transmittance) as uint8 sRGB `[h, w, 3]` over the background, with the linear RGB
    `glow [h, w, 3]` of flames."""
    height, width, _ = light.shape
    linear = _scattered(light, style)
    linear += light[..., 2:] * background(width, height, style)
    if glow is not None:
        linear += glow
    linear *= np.float32((_SHADES / _BRIGHTEST**0.5) ** 2 * style.exposure)
    np.sqrt(linear, out=linear)
    display = _curve().take(linear.astype(np.int32), mode="clip")
    display += _dither(width, height)
    return display.astype(np.uint8)


def premultiplied(light: np.ndarray, style: RenderStyle, glow: np.ndarray | None = None) -> np.ndarray:
    """The same without background and tone curve: float32 linear RGBA `[h, w, 4]`, RGB multiplied by alpha. Flames add
    light, and no alpha."""
    linear = _scattered(light, style)
    if glow is not None:
        linear += glow
    return np.concatenate([np.float32(style.exposure) * linear, 1.0 - light[..., 2:]], axis=2)


def straight(rgba: np.ndarray) -> np.ndarray:
    """What `premultiplied` gives as uint8 sRGB with straight alpha, `[h, w, 4]`, as game engines read it.

    The light of flames, which has no alpha of its own, gets as much as it is bright.
    """
    light, alpha = rgba[..., :3], rgba[..., 3:]
    excess = np.maximum(light.max(axis=2, keepdims=True) - _BRIGHTEST_SMOKE * alpha, 0.0)
    alpha = np.clip(np.maximum(alpha, tone_curve(excess)), 0.0, 1.0)
    colour = encode_srgb(tone_curve(light / np.maximum(alpha, np.float32(1e-6))))
    return np.rint(255.0 * np.concatenate([colour, alpha], axis=2)).astype(np.uint8)


def _scattered(light: np.ndarray, style: RenderStyle) -> np.ndarray:
    """The linear RGB `[h, w, 3]` that smoke and solids scatter to the camera."""
    key = np.multiply(style.albedo, style.key) * style.key_strength
    soft = np.multiply(style.albedo, style.ambient)
    scattered: np.ndarray = light[..., :2] @ np.stack([key, soft]).astype(np.float32)
    return scattered


@lru_cache(maxsize=1)
def _curve() -> np.ndarray:
    """What is displayed, 0 to 255, of linear light 0 to `_BRIGHTEST`, evenly over its square root."""
    linear = ((np.arange(_SHADES) + 0.5) / _SHADES) ** 2 * _BRIGHTEST
    return (255.0 * encode_srgb(tone_curve(linear))).astype(np.float32)


@lru_cache(maxsize=8)
def background(width: int, height: int, style: RenderStyle) -> np.ndarray:
    """Linear RGB `[h, w, 3]`: a vertical gradient, a little brighter behind the middle."""
    y = (
        np.linspace(0.0, 1.0, height, dtype=np.float32)[:, None, None]
        if height > 1
        else np.full((1, 1, 1), 0.5)
    )
    x = np.linspace(-1.0, 1.0, width, dtype=np.float32)[None, :, None] if width > 1 else np.zeros((1, 1, 1))
    top, bottom = (
        np.asarray(style.background_top, np.float32),
        np.asarray(style.background_bottom, np.float32),
    )
    halo = 1.0 + 0.9 * np.exp(-1.6 * (x * x + (2.0 * y - 1.1) ** 2))
    return ((top + (bottom - top) * y) * halo).astype(np.float32)


def tone_curve(linear: np.ndarray) -> np.ndarray:
    """Scene-linear to display-linear in [0, 1]: the filmic curve of Narkowicz (2015), a fit to ACES."""
    x = linear * np.float32(0.6)
    return np.clip(x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14), 0.0, 1.0)


def encode_srgb(linear: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1, of values in [0, 1]."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.power(linear, 1 / 2.4) - 0.055)


@lru_cache(maxsize=8)
def _dither(width: int, height: int) -> np.ndarray:
    """Interleaved gradient noise in [0, 1) (Jimenez 2014): rounds without bands, and always alike."""
    x, y = np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64)[:, None]
    return (np.modf(52.9829189 * np.modf(0.06711056 * x + 0.00583715 * y)[0])[0])[..., None].astype(
        np.float32
    )
