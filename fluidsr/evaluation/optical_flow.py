"""Dense optical flow between two pictures by the method of Lucas and Kanade, from coarse to fine."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

_WINDOW = (
    3.0  # standard deviation, in pixels, of the Gaussian window in which the flow is assumed to be constant
)
_ROUNDS = 3  # iterations on each level
_LEAST = 16  # least pixels along the shorter side of the coarsest level
_NOISE = 1e-5  # squared slope (1 / pixels²) below which the flow remains that of the coarser level


def optical_flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The flow from `first` to `second`, gray pictures `[h, w]` with values from 0 to 1.

    Returns `[2, h, w]` (rows, columns; in pixels) with `second(x + flow(x)) = first(x)`. The flow minimizes the
    linearized squared difference in a Gaussian window (Lucas and Kanade, IJCAI 1981). This is iterated after warping by
    the flow so far, from the smallest of several successively halved pictures to the full ones (Bouguet 2001). Where
    the pictures have no structure, the flow is that of the coarser level, or zero. Raises ValueError if the shapes
    differ.
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
    """The flow from `a` to `b`, linearized for small displacements."""
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
    """The values of `picture [h, w]` at the ends of `flow [2, h, w]`."""
    places = np.indices(picture.shape, dtype=np.float64) + flow
    moved: np.ndarray = ndimage.map_coordinates(picture, places, order=1, mode="nearest")
    return moved


def halved(picture: np.ndarray) -> np.ndarray:
    """The picture, blurred and reduced to half its size: pixel `i` is at pixel `2 i` of the full picture."""
    blurred: np.ndarray = ndimage.gaussian_filter(picture, 1.0, mode="nearest")[::2, ::2]
    return blurred


def _enlarged(flow: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The flow of the coarser level, interpolated to pictures of `shape`."""
    if flow.shape[1:] == shape:
        return flow
    places = np.indices(shape, dtype=np.float64) / 2
    return np.stack([2 * ndimage.map_coordinates(f, places, order=1, mode="nearest") for f in flow])
