"""Octave bands of fields: the multiresolution analysis of Cook and DeRose 2005 with quadratic B-splines.

A field `f = sum_i R_i B(x - i)`, with the quadratic B-spline B, is the sum of its projection on splines twice as wide
and a remainder, which is one octave of detail. Cook and DeRose tabulate the analysis filter as 32 numbers. Here the
least-squares projection, from which they derive it, is computed exactly, so the filter is not truncated.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

REFINEMENT = (0.25, 0.75, 0.75, 0.25)  # B(x/2 - j) = sum_k REFINEMENT[k] B(x - 2j + 1 - k)
GRAM = (66 / 120, 26 / 120, 1 / 120)  # inner products of B with itself, 0, 1 and 2 cells apart
SMOOTHING = (6 / 16, 4 / 16, 1 / 16)  # binomial weights with a standard deviation of one cell


def high_band(field: Tensor, periodic: Sequence[bool]) -> Tensor:
    """The finest octave of `field [c, *S]`: `N = R - up(down(R))` (Cook and DeRose, eq. 6).

    It is zero for constants and all other fields that splines of twice the width can represent. Axes of one cell are
    ignored. No values are assumed beyond ends that are not periodic.
    """
    low = field
    for axis, is_periodic in enumerate(periodic):
        if field.shape[axis + 1] > 1:
            low = along(low, axis + 1, coarse_part(field.shape[axis + 1], is_periodic))
    return field - low


def local_mean(field: Tensor, periodic: Sequence[bool]) -> Tensor:
    """The average of `field [*S]` over about a wavelength of the finest octave, with binomial weights."""
    for axis, is_periodic in enumerate(periodic):
        if field.shape[axis] > 1:
            field = along(field, axis, _smoothing(field.shape[axis], is_periodic))
    return field


def along(field: Tensor, axis: int, matrix: np.ndarray) -> Tensor:
    """Multiply every line of `field` along `axis`, of n cells, by `matrix [n, n]`."""
    m = torch.from_numpy(matrix.astype(np.float32)).to(field.device)
    return torch.tensordot(field, m, dims=([axis], [1])).movedim(-1, axis).contiguous()


@cache
def coarse_part(n: int, periodic: bool) -> np.ndarray:
    """The projection `[n, n]` of B-spline coefficients on the fields that splines of twice the width can represent."""
    if periodic:
        u = np.zeros((n, n // 2))
        for j in range(n // 2):
            for k, weight in enumerate(REFINEMENT):
                u[(2 * j - 1 + k) % n, j] += weight
    else:  # all wide splines that overlap the domain
        first, last = -1, n // 2 + 2
        u = np.zeros((n, last - first))
        for j in range(first, last):
            for k, weight in enumerate(REFINEMENT):
                if 0 <= 2 * j - 1 + k < n:
                    u[2 * j - 1 + k, j - first] += weight
        u = u[:, u.any(axis=0)]
    g = _banded(n, GRAM, periodic)
    projection = u @ np.linalg.lstsq(u.T @ g @ u, u.T @ g, rcond=None)[0]
    projection.setflags(write=False)
    return projection


@cache
def _smoothing(n: int, periodic: bool) -> np.ndarray:
    """The matrix of `local_mean` along an axis of n cells; its rows sum to 1."""
    matrix = _banded(n, SMOOTHING, periodic)
    return matrix / matrix.sum(axis=1, keepdims=True)


def _banded(n: int, taps: Sequence[float], periodic: bool) -> np.ndarray:
    """The symmetric matrix `[n, n]` with `taps[k]` at distance k from the diagonal."""
    matrix = np.zeros((n, n))
    rows = np.arange(n)
    for offset, tap in enumerate(taps):
        for signed in {offset, -offset}:
            columns = rows + signed
            inside = np.full(n, True) if periodic else (columns >= 0) & (columns < n)
            np.add.at(matrix, (rows[inside], columns[inside] % n), tap)
    return matrix
