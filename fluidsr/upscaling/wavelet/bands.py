"""Octave bands of fields on cells: the multiresolution analysis by quadratic B-splines of Cook and DeRose 2005.

A field `f = sum_i R_i B(x - i)` (B the quadratic B-spline) splits into what splines twice as wide can say and
a rest that none of them can: one octave of detail. Cook and DeRose give the analysis filter as a table of 32
numbers; here it is what they derived it from, the least-squares projection, so nothing is cut off.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

REFINEMENT = (0.25, 0.75, 0.75, 0.25)  # B(x/2 - j) = sum_k of these B(x - 2j + 1 - k)
GRAM = (66 / 120, 26 / 120, 1 / 120)  # inner products of B with itself, 0, 1 and 2 cells apart
SMOOTHING = (6 / 16, 4 / 16, 1 / 16)  # a bell of one cell's standard deviation


def high_band(field: Tensor, periodic: Sequence[bool]) -> Tensor:
    """The finest octave of `field [c, *S]`: `N = R - up(down(R))` (Cook and DeRose, eq. 6).

    Constants and all fields that splines of twice the width can represent give zero. An axis one cell thick
    takes no part. Beyond an end that is not periodic nothing is assumed.
    """
    low = field
    for axis, wraps in enumerate(periodic):
        if field.shape[axis + 1] > 1:
            low = along(low, axis + 1, coarse_part(field.shape[axis + 1], wraps))
    return field - low


def local_mean(field: Tensor, periodic: Sequence[bool]) -> Tensor:
    """`field [*S]` averaged over a bell that is about as wide as the finest octave's waves are long."""
    for axis, wraps in enumerate(periodic):
        if field.shape[axis] > 1:
            field = along(field, axis, _smoothing(field.shape[axis], wraps))
    return field


def along(field: Tensor, axis: int, matrix: np.ndarray) -> Tensor:
    """`matrix [n, n]` applied to every line of `field` along `axis`."""
    m = torch.from_numpy(matrix.astype(np.float32)).to(field.device)
    return torch.tensordot(field, m, dims=([axis], [1])).movedim(-1, axis).contiguous()


@cache
def coarse_part(n: int, periodic: bool) -> np.ndarray:
    """The projection [n, n] of B-spline coefficients on what splines twice as wide can represent."""
    if periodic:
        u = np.zeros((n, n // 2))
        for j in range(n // 2):
            for k, weight in enumerate(REFINEMENT):
                u[(2 * j - 1 + k) % n, j] += weight
    else:  # every wide spline that reaches into the domain, with a coefficient of its own
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
    matrix = _banded(n, SMOOTHING, periodic)
    return matrix / matrix.sum(axis=1, keepdims=True)


def _banded(n: int, taps: Sequence[float], periodic: bool) -> np.ndarray:
    matrix = np.zeros((n, n))
    rows = np.arange(n)
    for offset, tap in enumerate(taps):
        for signed in {offset, -offset}:
            columns = rows + signed
            inside = np.full(n, True) if periodic else (columns >= 0) & (columns < n)
            np.add.at(matrix, (rows[inside], columns[inside] % n), tap)
    return matrix
