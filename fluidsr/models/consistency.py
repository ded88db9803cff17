"""Consistency with the coarse frame: a last layer that gives every coarse cell the smoke it had."""

from __future__ import annotations

from torch import Tensor

from fluidsr.models.resample import downsample, downsampling_taps, upsample

# Smoke thinner than this is not scaled up: without it the ratio of two numbers near zero would be noise.
THIN = 0.01
# The most that a voxel is scaled by, up or down: bounds the gradient while a network learns.
MOST = 4.0
# Coarse cells: one for the Gaussian, whose taps end within the neighbours, one for interpolating the ratio.
PROJECTION_RADIUS = 2


def project(fine: Tensor, density: Tensor, factor: int) -> Tensor:
    """`fine [B, 1, *(S * factor)]` scaled so that, lowered, it is closer to `density [B, 1, *S]`.

    fine * linear((density + e) / (downsample(fine) + e)),   e = 0.01, the ratio kept within 1/4 and 4

    One multiplicative back-projection (Irani and Peleg 1991, in the multiplicative form of Richardson 1972):
    it never makes smoke where there was none and never makes it negative. Differentiable in both; a voxel
    reads `PROJECTION_RADIUS` coarse cells around its own. Where `downsample(fine)` is `density` already,
    nothing changes.
    """
    ratio = (density + THIN) / (downsample(fine, factor) + THIN)
    return fine * upsample(ratio.clamp(1 / MOST, MOST), factor, "linear")


def projection_multiply_adds(dim: int, factor: int) -> float:
    """Of `project`, per fine voxel: the Gaussian's taps and the interpolation's two, axis by axis, and one."""
    taps = downsampling_taps(factor)
    down = sum(taps / factor ** (axis + 1) for axis in range(dim))
    up = sum(2 / factor**axis for axis in range(dim))
    return down + up + 1
