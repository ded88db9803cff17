"""Cubic splines of whole frames: their coefficients once, their values at many places, several frames at once.

A spline keeps detail that a linear interpolation would blur, and needs 4^d coefficients for each value. Nine tenths of
that work is left to torch's bilinear lookup, which is vectorised: a cubic weighs its four neighbours as two linear
lookups do, at places that are moved a little (Sigg and Hadwiger 2005). One thread, bit for bit repeatable.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BORDER = 2  # cells around a frame that its coefficients have more: what the outermost places need
_POLE = 3**0.5 - 2
_HORIZON = 16  # cells after which a sample's influence, which falls by `_POLE` a cell, is below float32
# Away from smoke the filter would run out into subnormal numbers, which take processors ten times as long.
_OFFSET = np.float32(2**-20)
_BLOCK = 32  # edge of the boxes of a 3-D result that are computed at a time
_HALF = 2.0**14  # the largest coefficient that is kept as float16
_MOST_ROWS = 2**14  # of a picture: float32 places are good to 1e-3 rows there


def coefficients(field: np.ndarray) -> np.ndarray:
    """The cubic spline through `field [*S]`, mirrored at the outermost cell centres: `[*(S + 2 BORDER)]`.

    float16 where `field` is and its values allow it, else float32. By the recursive filter of Unser 1999, a slab of
    cells at a time, which is vectorised across lines where scipy's is not.
    """
    spline = field.astype(np.float32)
    spline += _OFFSET  # a spline through values that are moved is moved as much
    for _ in range(field.ndim):
        _filter(spline)
        # Another axis comes to the front; after as many turns as there are axes all are where they were.
        spline = np.ascontiguousarray(np.moveaxis(spline, -1, 0))
    spline -= _OFFSET
    spline = np.pad(spline, BORDER, mode="reflect") if min(field.shape) > BORDER else _padded(spline)
    half = field.dtype == np.float16 and max(spline.max(), -spline.min()) <= _HALF
    return _halved(spline) if half else spline


def _halved(values: np.ndarray) -> np.ndarray:
    """As float16, by torch: NumPy takes thirty times as long over what is too small for float16."""
    import torch

    half = np.empty(values.shape, np.float16)
    source, target = torch.from_numpy(values).view(-1), torch.from_numpy(half).view(-1)
    for start in range(0, len(source), 2**14):  # so little at a time that torch takes one thread
        target[start : start + 2**14] = source[start : start + 2**14]
    return half


def _filter(lines: np.ndarray) -> None:
    """From samples to coefficients along the first axis, in place (Unser 1999, box 2)."""
    count, pole = len(lines), np.float32(_POLE)
    if count == 1:
        return  # a constant is its own spline
    powers = _POLE ** np.arange(2 * count - 2, dtype=np.float64)
    if count <= _HORIZON:  # the whole mirrored line, period after period
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
    """Mirrored around a frame that is hardly larger than the border, or smaller."""
    for axis, count in enumerate(spline.shape):
        places = np.arange(-BORDER, count + BORDER)
        period = max(2 * count - 2, 1)
        spline = spline.take(np.minimum(places % period, -places % period), axis=axis)
    return spline


def sample(splines: Sequence[np.ndarray], matrix: np.ndarray, first: np.ndarray, count: int) -> np.ndarray:
    """The values of frames, given by their `coefficients`, at the places `first + matrix @ index` (in cells, from the
    first cell's centre), `index` in `count` steps along each axis: float32 `[frames, count, ...]`.

    Every place must lie in a cell of the frames, else ValueError. Places are good to 1e-3 cells; but for that it is
    what `scipy.ndimage.affine_transform` gives with order 3 and mode `mirror`.
    """
    dim = len(first)
    values = np.empty((len(splines), *(count,) * dim), np.float32)
    # By boxes: what one needs of the frames fits into the processor's cache, and its places into float32.
    edge = _BLOCK if dim == 3 else count
    for box in np.ndindex(*(-(-count // edge),) * dim):
        low = np.array(box) * edge
        size = np.minimum(edge, count - low)
        into = (slice(None), *(slice(a, a + n) for a, n in zip(low, size, strict=True)))
        _fill(values[into], splines, matrix, first + matrix @ low)
    return values


def _fill(values: np.ndarray, splines: Sequence[np.ndarray], matrix: np.ndarray, first: np.ndarray) -> None:
    """`sample` of one box, into `made [frames, *S]`."""
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
    """In 3-D: four neighbouring slabs as channels of one flat picture, of which each place sees its own four."""
    count, (depth, height, width) = len(splines), splines[0].shape
    # [slab, frame, y, x]: slab k of frame t as seen from slab 0 lies k * count + t pictures on.
    stack = np.empty((depth, count, height, width), np.float32)
    for t, spline in enumerate(splines):
        stack[:, t] = spline
    channels = 4 * count
    shape = (1, channels, (depth * count - channels + 1) * height, width)
    picture = np.lib.stride_tricks.as_strided(stack, shape, (0, height * width * 4, width * 4, 4))
    top = (cells[0] - 1) * (count * height)
    values = _interpolate_planes(picture, [top + cells[1], cells[2]], parts[1:]).reshape(4, count, *top.shape)
    values *= np.stack(_weights(parts[0]))[:, None]
    return values.sum(axis=0)


def _interpolate_2d(
    splines: list[np.ndarray], cells: list[np.ndarray], parts: list[np.ndarray]
) -> np.ndarray:
    """In 2-D."""
    return _interpolate_planes(np.stack(splines).astype(np.float32, copy=False)[None], cells, parts)


def _interpolate_planes(picture: np.ndarray, cells: list[np.ndarray], parts: list[np.ndarray]) -> np.ndarray:
    """The cubic splines of the channels of `picture [1, C, H, W]` at `cells + parts` (y, x; `[*S]`): `[C, *S]`."""
    import torch
    from torch.nn.functional import grid_sample

    source = torch.from_numpy(picture)
    scale = [2 / (n - 1) for n in picture.shape[2:]]
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
    """`share * one + (1 - share) * other`, in the memory of `one`."""
    one -= other
    one *= share
    one += other
    return one


def _weights(part: np.ndarray) -> list[np.ndarray]:
    """Of the cells -1, 0, 1, 2 for a place `part` of a cell beyond cell 0."""
    rest = 1 - part
    inner, outer = part * part * (part / 2 - 1) + np.float32(2 / 3), part**3 / 6
    before = rest**3 / 6
    return [before, inner, 1 - before - inner - outer, outer]


def _pair(cell: np.ndarray, part: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two places whose linear interpolations, the first with the given share, add up to the cubic spline's value."""
    before, inner, after, outer = _weights(part)
    share = before + inner
    return cell - 1 + inner / share, cell + 1 + outer / (after + outer), share
