"""Cubic splines of whole frames: coefficients are computed once, values at many positions, for several frames at a
time.

A spline keeps detail that linear interpolation would blur, but needs 4^d coefficients for each value. Most of that
work is done by torch's bilinear lookup, which is vectorized: the weighted sum of four neighbors equals two linear
lookups at slightly shifted positions (Sigg and Hadwiger 2005). One thread; results are bitwise reproducible.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BORDER = 2  # cells added to the coefficients around a frame, for the outermost positions
_POLE = 3**0.5 - 2
# Cells after which the influence of a sample, which falls by `_POLE` per cell, is below the precision of float32.
_HORIZON = 16
# Away from smoke the filter would give subnormal numbers, which are ten times slower.
_OFFSET = np.float32(2**-20)
_BLOCK = 32  # edge of the boxes of a 3-D result that are computed at a time
_HALF = 2.0**14  # the largest coefficient that is stored as float16
_MOST_ROWS = 2**14  # of a stacked image: float32 positions are exact to 1e-3 rows


def coefficients(field: np.ndarray) -> np.ndarray:
    """The cubic spline through `field [*S]`, mirrored at the outermost cell centers: `[*(S + 2 BORDER)]`.

    float16 if `field` is and the values allow it, otherwise float32. It uses the recursive filter of Unser 1999 on a
    slab of cells at a time, which is vectorized across lines; scipy's filter is not.
    """
    spline = field.astype(np.float32)
    spline += _OFFSET  # an offset of the values only offsets the spline
    for _ in range(field.ndim):
        _filter(spline)
        # Rotate the axes; after all of them were filtered they are in their original order.
        spline = np.ascontiguousarray(np.moveaxis(spline, -1, 0))
    spline -= _OFFSET
    spline = np.pad(spline, BORDER, mode="reflect") if min(field.shape) > BORDER else _padded(spline)
    half = field.dtype == np.float16 and max(spline.max(), -spline.min()) <= _HALF
    return _halved(spline) if half else spline


def _halved(values: np.ndarray) -> np.ndarray:
    """The values as float16, by torch: NumPy takes thirty times as long for values that are subnormal as float16."""
    import torch

    half = np.empty(values.shape, np.float16)
    source, target = torch.from_numpy(values).view(-1), torch.from_numpy(half).view(-1)
    for start in range(0, len(source), 2**14):  # so few at a time that torch uses one thread
        target[start : start + 2**14] = source[start : start + 2**14]
    return half


def _filter(lines: np.ndarray) -> None:
    """Convert samples to coefficients along the first axis, in place (Unser 1999, box 2)."""
    count, pole = len(lines), np.float32(_POLE)
    if count == 1:
        return  # a constant is its own spline
    powers = _POLE ** np.arange(2 * count - 2, dtype=np.float64)
    if count <= _HORIZON:  # the sum over all periods of the mirrored line
        mirrored = np.r_[0:count, count - 2 : 0 : -1]
        lines[0] = np.tensordot(powers / (1 - _POLE ** (2 * count - 2)), lines[mirrored], axes=1)
    else:
        lines[0] = np.tensordot(powers[:_HORIZON], lines[:_HORIZON], axes=1)
    scratch = np.empty_like(lines[0])
    for i in range(1, count):
        lines[i] += np.multiply(lines[i - 1], pole, out=scratch)
    last = np.multiply(lines[-2], pole, out=scratch)
    lines[-1] = (lines[-1] + last) * np.float32(_POLE / (_POLE**2 - 1))
    for i in range(count - 2, -1, -1):
        np.multiply(np.subtract(lines[i + 1], lines[i], out=scratch), pole, out=lines[i])
    lines *= np.float32(6)


def _padded(spline: np.ndarray) -> np.ndarray:
    """The spline with mirrored borders, for a frame that is hardly larger than the border, or smaller."""
    for axis, count in enumerate(spline.shape):
        places = np.arange(-BORDER, count + BORDER)
        period = max(2 * count - 2, 1)
        spline = spline.take(np.minimum(places % period, -places % period), axis=axis)
    return spline


def sample(splines: Sequence[np.ndarray], matrix: np.ndarray, first: np.ndarray, count: int) -> np.ndarray:
    """The values of frames at the positions `first + matrix @ index`: float32 `[frames, count, ...]`.

    Args:
        splines: `coefficients` of the frames.
        matrix: `[d, d]`.
        first: `[d]`, position of index 0, in cells from the center of the first cell.
        count: positions along each axis.

    Positions are exact to 1e-3 cells; apart from that the result equals `scipy.ndimage.affine_transform` with order 3
    and mode `mirror`. Raises ValueError if a position lies outside the frames.
    """
    dim = len(first)
    values = np.empty((len(splines), *(count,) * dim), np.float32)
    # In boxes, whose part of the frames fits into the processor's cache, and whose positions fit into float32.
    edge = _BLOCK if dim == 3 else count
    for box in np.ndindex(*(-(-count // edge),) * dim):
        low = np.array(box) * edge
        size = np.minimum(edge, count - low)
        into = (slice(None), *(slice(a, a + n) for a, n in zip(low, size, strict=True)))
        _fill(values[into], splines, matrix, first + matrix @ low)
    return values


def _fill(values: np.ndarray, splines: Sequence[np.ndarray], matrix: np.ndarray, first: np.ndarray) -> None:
    """Write `sample` of one box into `values [frames, *S]`."""
    size = values.shape[1:]
    spans = [np.arange(n) for n in size]
    cells, parts, window = [], [], []
    for axis, row in enumerate(matrix):
        steps = np.ix_(*(slope * span for slope, span in zip(row, spans, strict=True)))
        place = sum(steps) + (first[axis] + BORDER)
        cell = np.floor(place)
        low, high = int(cell.min()) - 1, int(cell.max()) + 2
        if low < 0 or high >= splines[0].shape[axis]:
            raise ValueError("a place lies outside of the frame")
        window.append(slice(low, high + 1))
        parts.append((place - cell).astype(np.float32))
        cells.append((cell - low).astype(np.float32))
    rows = (window[0].stop - window[0].start) * (window[-2].stop - window[-2].start)
    group = max(1, _MOST_ROWS // rows) if len(size) == 3 else len(splines)
    for start in range(0, len(splines), group):
        windows = [spline[tuple(window)] for spline in splines[start : start + group]]
        interpolate = _interpolate_3d if len(size) == 3 else _interpolate_2d
        values[start : start + group] = interpolate(windows, cells, parts)


def _interpolate_3d(
    splines: list[np.ndarray], cells: list[np.ndarray], parts: list[np.ndarray]
) -> np.ndarray:
    """In 3-D: four neighboring slabs are the channels of one flat image; each position reads its own four."""
    count, (depth, height, width) = len(splines), splines[0].shape
    # [slab, frame, y, x]: slab k of frame t lies k * count + t planes after slab 0 of frame 0.
    stack = np.empty((depth, count, height, width), np.float32)
    for t, spline in enumerate(splines):
        stack[:, t] = spline
    channels = 4 * count
    shape = (1, channels, (depth * count - channels + 1) * height, width)
    image = np.lib.stride_tricks.as_strided(stack, shape, (0, height * width * 4, width * 4, 4))
    top = (cells[0] - 1) * (count * height)
    values = _interpolate_planes(image, [top + cells[1], cells[2]], parts[1:]).reshape(4, count, *top.shape)
    values *= np.stack(_weights(parts[0]))[:, None]
    return values.sum(axis=0)


def _interpolate_2d(
    splines: list[np.ndarray], cells: list[np.ndarray], parts: list[np.ndarray]
) -> np.ndarray:
    """In 2-D: the frames are the channels of one image."""
    return _interpolate_planes(np.stack(splines).astype(np.float32, copy=False)[None], cells, parts)


def _interpolate_planes(image: np.ndarray, cells: list[np.ndarray], parts: list[np.ndarray]) -> np.ndarray:
    """The cubic splines of the channels of `image [1, C, H, W]` at `cells + parts` (y, x; `[*S]`): `[C, *S]`."""
    import torch
    from torch.nn.functional import grid_sample

    source = torch.from_numpy(image)
    scale = [2 / (n - 1) for n in image.shape[2:]]
    (upper, lower, share_y), (left_column, right_column, share_x) = (
        _pair(cell, part) for cell, part in zip(cells, parts, strict=True)
    )
    places = np.empty((1, cells[0].shape[0], cells[0][0].size, 2), np.float32)
    flat = places.reshape(*cells[0].shape, 2)

    def lookup(y: np.ndarray, x: np.ndarray) -> np.ndarray:
        np.subtract(x * np.float32(scale[1]), 1, out=flat[..., 0])
        np.subtract(y * np.float32(scale[0]), 1, out=flat[..., 1])
        values = grid_sample(source, torch.from_numpy(places), padding_mode="border", align_corners=True)
        return values.numpy().reshape(-1, *cells[0].shape)

    return _mixed(
        _mixed(lookup(upper, left_column), lookup(upper, right_column), share_x),
        _mixed(lookup(lower, left_column), lookup(lower, right_column), share_x),
        share_y,
    )


def _mixed(one: np.ndarray, other: np.ndarray, share: np.ndarray) -> np.ndarray:
    """`share * one + (1 - share) * other`, written into `one`."""
    one -= other
    one *= share
    one += other
    return one


def _weights(part: np.ndarray) -> list[np.ndarray]:
    """The weights of cells -1, 0, 1, 2 for a position `part` of a cell beyond cell 0."""
    rest = 1 - part
    inner, outer = part * part * (part / 2 - 1) + np.float32(2 / 3), part**3 / 6
    before = rest**3 / 6
    return [before, inner, 1 - before - inner - outer, outer]


def _pair(cell: np.ndarray, part: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two positions whose linear interpolations add up to the value of the cubic spline; the third result is the share
    of the first.
    """
    before, inner, after, outer = _weights(part)
    share = before + inner
    return cell - 1 + inner / share, cell + 1 + outer / (after + outer), share
