"""Resampling between the coarse and the fine grid: the one definition of `upsample` and `downsample`.

Values sit at cell centres (docs/conventions.md), so fine cell `i` of a grid upsampled `factor` times lies at
`(i + 1/2) / factor - 1/2` in coarse index units. Beyond the border the last value is repeated. All filters
are separable and applied axis by axis as sums of shifted slices (measured against grouped convolutions and
banded matrix products, which were two to four times slower), so a value depends on its neighbours alone and
not on its position in the array. `back_project` brings a fine density closer to the coarse one.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from fluidsr.models.padding import replicate

GAUSSIAN_CUTOFF = 4.0  # standard deviations; what lies beyond weighs less than 1e-4 of the whole


def upsample(x: Tensor, factor: int, order: str = "cubic") -> Tensor:
    """Upsample `x [B, C, *S]` (2-D or 3-D, any device, differentiable) to `[B, C, *(S * factor)]`.

    `nearest` repeats every value. `linear` is multilinear interpolation and never leaves the range of its
    neighbours; `cubic` is cubic convolution (Keys, IEEE Trans. ASSP 29(6), 1981, a = -1/2), exact for
    quadratics, and may overshoot. Both reproduce a field linear in position exactly, away from the border. Raises
    ValueError for another order and for a factor below 1.
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
    """`x` upsampled along the one `axis`, counted from 0, `linear` or `cubic`, as `upsample` does along all of them."""
    return x if factor == 1 else _upsample_axis(x, axis, _upsampling_taps(factor, order))


def upsample_faces(x: Tensor, factor: int) -> Tensor:
    """Upsample `x [B, d, *S]`, whose component c lies on the lower face of each cell along axis c, to the lower faces
    of `S * factor` cells, linearly.

    Where coarse and fine faces coincide the values are kept, so that the flow through a coarse face stays what it is
    as far as it is linear across it. Raises ValueError for a factor below 1.
    """
    _check(x, factor)
    if factor == 1:
        return x
    centres = _upsampling_taps(factor, "linear")
    faces = tuple((0, (1 - phase / factor, phase / factor)) for phase in range(factor))
    fine = []
    for component in range(x.shape[1]):
        part = x[:, component : component + 1]
        for axis in range(x.dim() - 1, 1, -1):
            part = _upsample_axis(part, axis, faces if axis == component + 2 else centres)
        fine.append(part)
    return torch.cat(fine, dim=1)


def downsample(x: Tensor, factor: int) -> Tensor:
    """Downsample `x [B, C, *S]` to `[B, C, *(S / factor)]`: a Gaussian, sampled at the coarse cells' centres.

    The standard deviation is `factor / (2 sqrt(pi))` fine cells (tempoGAN, Xie et al. 2018), cut off at four
    of them and normalised, so constants are kept up to rounding. Raises ValueError where an edge of `S` is
    not a multiple of `factor`.
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
    """Fine cells that `downsample` reads along each axis; they lie within the cell's own and its neighbours."""
    return len(_gaussian_taps(factor)[1])


def _check(x: Tensor, factor: int) -> None:
    if factor < 1:
        raise ValueError(f"factor {factor} is below 1")
    if x.dim() not in (4, 5):
        raise ValueError(f"shape {tuple(x.shape)} is not [B, C, x, y] or [B, C, x, y, z]")


@functools.cache
def _upsampling_taps(factor: int, order: str) -> tuple[tuple[int, tuple[float, ...]], ...]:
    """Per phase: the offset of the first coarse cell it reads, and its weights."""
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
    """The offset of the first fine cell read, from the first of the coarse cell's own, and the weights."""
    sigma = factor / (2 * math.sqrt(math.pi))
    centre = (factor - 1) / 2
    first = math.ceil(centre - GAUSSIAN_CUTOFF * sigma)
    last = math.floor(centre + GAUSSIAN_CUTOFF * sigma)
    raw = [math.exp(-0.5 * ((i - centre) / sigma) ** 2) for i in range(first, last + 1)]
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


# Added to both densities of the ratio, which would be noise where both are near zero.
MINIMUM_DENSITY = 0.01
# A voxel is scaled by at most this, up or down: it bounds the gradient in training.
MAXIMUM_RATIO = 4.0
# Coarse cells: one for the Gaussian, whose taps end within the neighbours, one for interpolating the ratio.
BACK_PROJECTION_RADIUS = 2


def back_project(fine: Tensor, density: Tensor, factor: int) -> Tensor:
    """`fine [B, 1, *(S * factor)]` scaled so that, downsampled, it is closer to `density [B, 1, *S]`.

    fine * linear((density + e) / (downsample(fine) + e)),   e = 0.01, the ratio kept within 1/4 and 4

    One multiplicative back-projection (Irani and Peleg 1991, in the multiplicative form of Richardson 1972):
    it never makes smoke where there was none and never makes it negative. Differentiable in both; a voxel
    reads `BACK_PROJECTION_RADIUS` coarse cells around its own. Where `downsample(fine)` is `density` already,
    nothing changes.
    """
    ratio = (density + MINIMUM_DENSITY) / (downsample(fine, factor) + MINIMUM_DENSITY)
    return fine * upsample(ratio.clamp(1 / MAXIMUM_RATIO, MAXIMUM_RATIO), factor, "linear")


def back_projection_macs(dim: int, factor: int) -> float:
    """Of `back_project`, per fine voxel: the Gaussian's taps and the interpolation's two, axis by axis, and one."""
    taps = downsampling_taps(factor)
    down = sum(taps / factor ** (axis + 1) for axis in range(dim))
    up = sum(2 / factor**axis for axis in range(dim))
    return down + up + 1
