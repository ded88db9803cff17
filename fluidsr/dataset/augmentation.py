"""Exact symmetries of the grid: what may be done to a patch without resampling anything.

The hyperoctahedral group, i.e. every permutation of the axes followed by any set of reflections: 8 elements
in 2-D, 48 in 3-D, quarter turns among them. A scalar field only moves; a vector field also has its
components permuted and reflected. No axis is special: buoyancy is not visible to the networks.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Symmetry:
    """New axis `i` is old axis `axes[i]`, then reversed where `flips[i]`."""

    axes: tuple[int, ...]
    flips: tuple[bool, ...]

    def scalar(self, field: np.ndarray) -> np.ndarray:
        """Apply to `field [..., *S]`, over its last axes; a view of the input."""
        lead = field.ndim - len(self.axes)
        moved = field.transpose(*range(lead), *(lead + axis for axis in self.axes))
        reversals = (Ellipsis, *(slice(None, None, -1 if flip else 1) for flip in self.flips))
        return moved[reversals]

    def vector(self, field: np.ndarray) -> np.ndarray:
        """Apply to `field [..., d, *S]`: components are permuted and change sign with their axes; a copy."""
        dim = len(self.axes)
        signs = np.where(self.flips, -1.0, 1.0).astype(field.dtype)
        turned = np.take(self.scalar(field), self.axes, axis=field.ndim - dim - 1)
        return turned * signs.reshape(dim, *(1,) * dim)

    def then(self, other: Symmetry) -> Symmetry:
        """This one first, then `other`, as one symmetry."""
        axes = tuple(self.axes[axis] for axis in other.axes)
        flips = tuple(self.flips[axis] ^ flip for axis, flip in zip(other.axes, other.flips, strict=True))
        return Symmetry(axes, flips)

    def inverse(self) -> Symmetry:
        """The symmetry that undoes this one."""
        axes = tuple(self.axes.index(i) for i in range(len(self.axes)))
        return Symmetry(axes, tuple(self.flips[axis] for axis in axes))


def identity(dim: int) -> Symmetry:
    """The symmetry that changes nothing."""
    return Symmetry(tuple(range(dim)), (False,) * dim)


def symmetries(dim: int) -> tuple[Symmetry, ...]:
    """All of them, the identity first."""
    return tuple(
        Symmetry(axes, flips)
        for axes in itertools.permutations(range(dim))
        for flips in itertools.product((False, True), repeat=dim)
    )
