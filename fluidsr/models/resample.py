"""Resampling between the coarse and the fine grid, as used by datasets, losses, metrics and generators.

Values are at cell centers (docs/conventions.md), so fine cell `i` of a grid upsampled `factor` times is at
`(i + 1/2) / factor - 1/2` in coarse index units. Beyond the border the outermost value is repeated. All filters are
separable. They are applied axis by axis as sums of shifted slices, which is two to four times faster than grouped
convolutions or banded matrix products, and makes a value depend on its neighbors but not on its position in the array.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from fluidsr.models.padding import replicate

GAUSSIAN_CUTOFF = 4.0  # standard deviations; the weights beyond are less than 1e-4 of the total


def upsample(x: Tensor, factor: int, order: str = "cubic") -> Tensor:
    """Upsample `x [B, C, *S]` to `[B, C, *(S * factor)]`, in 2-D or 3-D. Differentiable.

    `nearest` repeats each value. `linear` is multilinear interpolation; the result never leaves the range of the
    neighboring values. `cubic` is cubic convolution (Keys, IEEE Trans. ASSP 29(6), 1981, a = -1/2), which is exact for
    quadratic functions of position but may overshoot. Away from the border, `linear` and `cubic` are exact for linear
    functions of position. Raises ValueError for another order and for a factor below 1.
    """
    _check(x, factor)
    if order not in ("nearest", "linear", "cubic"):
        raise ValueError(f"order '{order}' is none of 'nearest', 'linear', 'cubic'")
    if factor == 1:
        return x
    if order == "nearest":
        for axis in range(x.dim() - 1, 1, -1):
            x = x.repeat_interleave(factor, dim=axis)
        return x
    phases = _upsampling_taps(factor, order)
    for axis in range(x.dim() - 1, 1, -1):  # the contiguous axis first, while the array is small
        x = _upsample_axis(x, axis, phases)
    return x


def upsample_along(x: Tensor, axis: int, factor: int, order: str = "linear") -> Tensor:
    """As `upsample`, but only along `axis` of `x`, counted from 0. `order`: `linear` or `cubic`."""
    return x if factor == 1 else _upsample_axis(x, axis, _upsampling_taps(factor, order))


def upsample_faces(x: Tensor, factor: int) -> Tensor:
    """Upsample a staggered velocity `x [B, d, *S]` linearly to `[B, d, *(S * factor)]`.

    Component c is at the center of the lower face of each cell along axis c. Faces of fine cells that are part of a
    coarse face depend only on coarse faces in the same plane, so the flow through a coarse face is preserved if the
    velocity varies linearly across it. Raises ValueError for a factor below 1.
    """
    _check(x, factor)
    if factor == 1:
        return x
    centers = _upsampling_taps(factor, "linear")
    faces = tuple((0, (1 - phase / factor, phase / factor)) for phase in range(factor))
    fine = []
    for component in range(x.shape[1]):
        part = x[:, component : component + 1]
        for axis in range(x.dim() - 1, 1, -1):
            part = _upsample_axis(part, axis, faces if axis == component + 2 else centers)
        fine.append(part)
    return torch.cat(fine, dim=1)


def downsample(x: Tensor, factor: int) -> Tensor:
    """Downsample `x [B, C, *S]` to `[B, C, *(S / factor)]` by a Gaussian filter, sampled at the coarse cell centers.

    The standard deviation is `factor / (2 sqrt(pi))` fine cells (tempoGAN, Xie et al. 2018). The filter is cut off at
    four standard deviations and normalized, so constants are preserved up to rounding. Raises ValueError if an edge of
    `S` is not a multiple of `factor`.
    """
    _check(x, factor)
    if any(n % factor for n in x.shape[2:]):
        raise ValueError(f"shape {tuple(x.shape[2:])} is not a multiple of the factor {factor}")
    if factor == 1:
        return x
    first, taps = _gaussian_taps(factor)
    for axis in range(2, x.dim()):
        count = x.shape[axis] // factor
        padded = replicate(x, axis, -first, first + len(taps) - factor)
        x = _weighted_sum(padded, axis, taps, count, factor)
    return x


def downsampling_taps(factor: int) -> int:
    """The number of fine cells that `downsample` reads along each axis, all in the coarse cell and its neighbors."""
    return len(_gaussian_taps(factor)[1])


def _check(x: Tensor, factor: int) -> None:
    if factor < 1:
        raise ValueError(f"factor {factor} is below 1")
    if x.dim() not in (4, 5):
        raise ValueError(f"shape {tuple(x.shape)} is not [B, C, x, y] or [B, C, x, y, z]")


@functools.cache
def _upsampling_taps(factor: int, order: str) -> tuple[tuple[int, tuple[float, ...]], ...]:
    """For each fine cell in a coarse one: the offset of the first coarse cell that it depends on, and the weights."""
    phases: list[tuple[int, tuple[float, ...]]] = []
    for phase in range(factor):
        position = (phase + 0.5) / factor - 0.5
        base = math.floor(position)
        t = position - base
        if order == "linear":
            phases.append((base, (1 - t, t)))
        else:
            weights = (
                -0.5 * t + t**2 - 0.5 * t**3,
                1 - 2.5 * t**2 + 1.5 * t**3,
                0.5 * t + 2 * t**2 - 1.5 * t**3,
                -0.5 * t**2 + 0.5 * t**3,
            )
            phases.append((base - 1, weights))
    return tuple(phases)


@functools.cache
def _gaussian_taps(factor: int) -> tuple[int, tuple[float, ...]]:
    """The offset of the first fine cell of the filter from the first fine cell in the coarse cell, and the weights."""
    sigma = factor / (2 * math.sqrt(math.pi))
    center = (factor - 1) / 2
    first = math.ceil(center - GAUSSIAN_CUTOFF * sigma)
    last = math.floor(center + GAUSSIAN_CUTOFF * sigma)
    raw = [math.exp(-0.5 * ((i - center) / sigma) ** 2) for i in range(first, last + 1)]
    total = math.fsum(raw)
    return first, tuple(w / total for w in raw)


def _upsample_axis(x: Tensor, axis: int, phases: tuple[tuple[int, tuple[float, ...]], ...]) -> Tensor:
    low = -min(first for first, _ in phases)
    high = max(first + len(taps) - 1 for first, taps in phases)
    padded = replicate(x, axis, low, high)
    count = x.shape[axis]
    fine = [
        _weighted_sum(padded.narrow(axis, low + f, count + len(w) - 1), axis, w, count) for f, w in phases
    ]
    return torch.stack(fine, dim=axis + 1).flatten(axis, axis + 1)


def _weighted_sum(x: Tensor, axis: int, taps: tuple[float, ...], count: int, stride: int = 1) -> Tensor:
    """`sum_k taps[k] * x[k + stride * i]` for `i` in `range(count)` along `axis`."""
    total: Tensor | None = None
    for k, weight in enumerate(taps):
        if weight == 0.0:
            continue
        part = x.narrow(axis, k, (count - 1) * stride + 1)
        if stride > 1:
            part = part[(slice(None),) * axis + (slice(None, None, stride),)]
        total = part * weight if total is None else torch.add(total, part, alpha=weight)
    assert total is not None
    return total


# Added to both densities, because their ratio would be noise where both are near zero.
MINIMUM_DENSITY = 0.01
# The ratio is limited to this and its inverse, which bounds the gradient in training.
MAXIMUM_RATIO = 4.0
# Coarse cells around a voxel's cell that `back_project` reads: one for the Gaussian, one for interpolating the ratio.
BACK_PROJECTION_RADIUS = 2


def back_project(fine: Tensor, density: Tensor, factor: int) -> Tensor:
    """Scale `fine [B, 1, *(S * factor)]` so that, downsampled, it is closer to `density [B, 1, *S]`.

        fine * linear(clamp((density + 0.01) / (downsample(fine) + 0.01), 1/4, 4))

    This is one step of back-projection (Irani and Peleg 1991) in the multiplicative form of Richardson 1972. Voxels
    that are zero remain zero, and signs do not change. Where `downsample(fine)` equals `density`, nothing changes. A
    voxel depends on `BACK_PROJECTION_RADIUS` coarse cells around the cell that contains it. Differentiable with respect
    to both arguments.
    """
    ratio = (density + MINIMUM_DENSITY) / (downsample(fine, factor) + MINIMUM_DENSITY)
    return fine * upsample(ratio.clamp(1 / MAXIMUM_RATIO, MAXIMUM_RATIO), factor, "linear")


def back_projection_macs(dim: int, factor: int) -> float:
    """The multiply-adds of `back_project` per fine voxel: the Gaussian and the interpolation along each axis, and the
    product."""
    taps = downsampling_taps(factor)
    down = sum(taps / factor ** (axis + 1) for axis in range(dim))
    up = sum(2 / factor**axis for axis in range(dim))
    return down + up + 1
