"""Optical flow between two pictures, after Lucas and Kanade: coarse to fine, dense, in NumPy."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

_WINDOW = 3.0  # deviation, in pixels, of the Gaussian under which pixels move alike
_ROUNDS = 3  # of warping, on each level
_LEAST = 16  # pixels along the shorter side of the coarsest level
_NOISE = 1e-5  # squared slope (1 / pixels²) below which the flow stays as the coarser level has it


def optical_flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The flow `[2, h, w]` (rows, columns; pixels) that carries `first` to `second`, grey pictures `[h, w]` of 0 to 1:
    `second(x + flow(x)) = first(x)`.

    Lucas and Kanade, IJCAI 1981: least squares of the linearised difference under a Gaussian window, warped and
    repeated, from halved pictures to whole ones (Bouguet 2001). Where the picture has no structure the flow is that of
    the coarser level, and zero where there is none anywhere. Raises ValueError for pictures of two shapes.
    """
    if first.shape != second.shape:
        raise ValueError(f"shapes {first.shape} and {second.shape} differ")
    levels = [(np.asarray(first, np.float64), np.asarray(second, np.float64))]
    while min(levels[-1][0].shape) >= 2 * _LEAST:
        levels.append((halved(levels[-1][0]), halved(levels[-1][1])))
    flow = np.zeros((2, *levels[-1][0].shape))
    for a, b in reversed(levels):
        flow = _enlarged(flow, a.shape)
        for _ in range(_ROUNDS):
            flow = flow + _step(a, _warped(b, flow))
    return flow


def _step(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The flow from `a` to `b`, where it is small."""
    slopes = np.gradient((a + b) / 2)
    change = b - a

    def mean(field: np.ndarray) -> np.ndarray:
        blurred: np.ndarray = ndimage.gaussian_filter(field, _WINDOW, mode="nearest")
        return blurred

    xx, yy, xy = mean(slopes[0] ** 2) + _NOISE, mean(slopes[1] ** 2) + _NOISE, mean(slopes[0] * slopes[1])
    x, y = mean(slopes[0] * change), mean(slopes[1] * change)
    determinant = xx * yy - xy**2
    return -np.stack([yy * x - xy * y, xx * y - xy * x]) / determinant


def _warped(picture: np.ndarray, flow: np.ndarray) -> np.ndarray:
    places = np.indices(picture.shape, dtype=np.float64) + flow
    moved: np.ndarray = ndimage.map_coordinates(picture, places, order=1, mode="nearest")
    return moved


def halved(picture: np.ndarray) -> np.ndarray:
    """The picture, blurred, at half its size: pixel `i` is at `2 i` of the whole."""
    blurred: np.ndarray = ndimage.gaussian_filter(picture, 1.0, mode="nearest")[::2, ::2]
    return blurred


def _enlarged(flow: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if flow.shape[1:] == shape:
        return flow
    places = np.indices(shape, dtype=np.float64) / 2
    return np.stack([2 * ndimage.map_coordinates(f, places, order=1, mode="nearest") for f in flow])
