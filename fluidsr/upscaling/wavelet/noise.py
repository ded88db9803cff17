"""Wavelet noise (Cook and DeRose 2005): random noise of a single octave."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch

from fluidsr.upscaling.wavelet.bands import high_band

TILE = 64  # cells after which the noise repeats along axes that are not periodic


@lru_cache(maxsize=4)
def tile(shape: tuple[int, int, int], seed: int) -> np.ndarray:
    """The B-spline coefficients of three independent noises that repeat after `shape` cells, `[*shape, 3]`, float32.

    The numbers in `shape` are even, or 1 for an axis along which the noise is constant. The coefficients have mean 0
    and variance 1. The wavelengths are 2 to 4 cells.
    """
    rng = np.random.default_rng([seed, *shape])
    white = torch.from_numpy(rng.standard_normal((3, *shape)).astype(np.float32))
    band = high_band(white, (True, True, True)).numpy()
    # Even and odd cells have different variances. The sum of the noise and a copy that is shifted by an odd number of
    # cells has equal ones (Cook and DeRose, section 3.3).
    moves = tuple(n // 2 + 1 - (n // 2) % 2 if n > 1 else 0 for n in shape)
    band = band + np.roll(band, moves, axis=(1, 2, 3))
    band -= band.mean(axis=(1, 2, 3), keepdims=True)
    band /= band.std(axis=(1, 2, 3), keepdims=True)
    noise = np.ascontiguousarray(np.moveaxis(band, 0, -1), dtype=np.float32)
    noise.setflags(write=False)
    return noise


def weights(t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The quadratic B-spline weights of the three cells around a point.

    `t` is the distance from the point to the upper end of the spline of the first cell, 0 to 1.
    """
    return t * t / 2, 0.5 + t * (1 - t), (1 - t) ** 2 / 2


def evaluate(noise: np.ndarray, points: Sequence[np.ndarray]) -> np.ndarray:
    """The three noises on a lattice, `[nx, ny, nz, 3]`, whose coordinates along each axis are `points`.

    The kernel `potential` computes the same at arbitrary points.
    """
    values = noise
    for axis, line in enumerate(points):
        middle = np.ceil(line - 0.5).astype(int)
        shape = [-1 if a == axis else 1 for a in range(4)]
        values = sum(
            weight.reshape(shape).astype(np.float32)
            * np.take(values, (middle + k - 1) % noise.shape[axis], axis=axis)
            for k, weight in enumerate(weights(middle - (line - 0.5)))
        )
    return values


def curl_speed(noise: np.ndarray, spacing: float, planar: bool) -> float:
    """The root-mean-square speed of the discrete curl of the noise, in units of the noise per sample.

    The noise is sampled every `spacing` noise cells, and the finite differences are those of the kernel `flow`. Scaling
    by this speed gives eddies the intended energy on the fine grid, whatever the differences lose. `planar`: only the
    third component of the noise is used, as in 2-D.
    """
    count = min(48, int(min(n for n in noise.shape[:3] if n > 1) / spacing))
    line = np.arange(count) * spacing + 0.37
    psi = evaluate(noise, (line, line, np.zeros(2) if planar else line))
    if planar:
        psi = psi * np.array([0, 0, 1], np.float32)
    velocity = curl(psi)
    return float(np.sqrt((velocity.astype(np.float64) ** 2).sum(axis=-1).mean()))


def curl(psi: np.ndarray) -> np.ndarray:
    """The curl at cell centers, `[x - 1, y - 1, z - 1, 3]`, of `psi [x, y, z, 3]` at cell corners, per cell."""

    def slope(component: int, axis: int) -> np.ndarray:
        d = np.diff(psi[..., component], axis=axis)
        for other in range(3):
            if other != axis:
                n = d.shape[other]
                d = (np.take(d, range(n - 1), other) + np.take(d, range(1, n), other)) / 2
        return d

    return np.stack(
        [slope(2, 1) - slope(1, 2), slope(0, 2) - slope(2, 0), slope(1, 0) - slope(0, 1)], axis=-1
    )
