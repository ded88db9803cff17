"""Transforms of patches: exact symmetries of the grid, and random similarity transforms.

Symmetries do not resample. They form the hyperoctahedral group: every permutation of the axes followed by any set of
reflections, 8 elements in 2-D, 48 in 3-D, including quarter turns. A scalar field only moves; the components of a
vector field are also permuted and reflected. No axis is special, since networks do not read buoyancy.

Similarity transforms rotate by any angle, scale, mirror and move (tempoGAN, 3.4.2). There is no shear, no stretch
along one axis and no change of time, so the smoke of a transformed patch obeys the same equations. Density is
resampled; velocity is resampled, rotated *and scaled*, since it is in cells per frame. Derived fields (vorticity)
must be computed after the transform.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fluidsr.dataset.splines import sample


@dataclass(frozen=True)
class Symmetry:
    """A symmetry of the grid: the new axis `i` is the old axis `axes[i]`, reversed if `flips[i]`."""

    axes: tuple[int, ...]
    flips: tuple[bool, ...]

    def scalar(self, field: np.ndarray) -> np.ndarray:
        """Apply to the last axes of `field [..., *S]`; a view of the input."""
        lead = field.ndim - len(self.axes)
        moved = field.transpose(*range(lead), *(lead + axis for axis in self.axes))
        reversals = (Ellipsis, *(slice(None, None, -1 if flip else 1) for flip in self.flips))
        return moved[reversals]

    def vector(self, field: np.ndarray) -> np.ndarray:
        """Apply to `field [..., d, *S]`: components are permuted, and change sign with their axes; a copy."""
        dim = len(self.axes)
        signs = np.where(self.flips, -1.0, 1.0).astype(field.dtype)
        turned = np.take(self.scalar(field), self.axes, axis=field.ndim - dim - 1)
        return turned * signs.reshape(dim, *(1,) * dim)

    def then(self, other: Symmetry) -> Symmetry:
        """The symmetry that applies this one first, then `other`."""
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
    """All symmetries in `dim` dimensions, the identity first."""
    return tuple(
        Symmetry(axes, flips)
        for axes in itertools.permutations(range(dim))
        for flips in itertools.product((False, True), repeat=dim)
    )


SCALES = (0.85, 1.15)


@dataclass(frozen=True)
class Affine:
    """A similarity transform: position `x` in a patch (coarse cells from its center) shows position `turn @ x / scale`
    of the data.

    `turn [d, d]` is orthogonal, with determinant -1 if it mirrors. With `scale` above 1, things appear larger. Smoke
    that moves by `v` in the data moves by `scale * turn.T @ v` in the patch.
    """

    turn: np.ndarray
    scale: float

    def reach(self, tile: int) -> np.ndarray:
        """`[d]`: how many coarse cells around its center a patch of `tile` cells needs of the data, along each axis."""
        reach: np.ndarray = np.abs(self.turn).sum(axis=1) * tile / (2 * self.scale)
        return reach

    def resample(
        self, splines: Sequence[np.ndarray], centre: Sequence[float], tile: int, cells: int = 1
    ) -> np.ndarray:
        """Transformed patches of fields: float32 `[fields, tile * cells, ...]`.

        Args:
            splines: `splines.coefficients` of the fields, with `cells` cells per coarse cell.
            centre: center of the patch, in coarse cells of the data.
            tile: edge of the patch, in coarse cells.
            cells: cells of the fields per coarse cell, along each axis.

        Cubic splines (Unser 1999) keep detail that linear interpolation would blur; beyond the outermost cell centers
        the data are mirrored. Raises ValueError if the patch does not lie within the data (see `reach`).
        """
        matrix, count = self.turn / self.scale, tile * cells
        first = np.asarray(centre) * cells - 0.5 - matrix.sum(axis=1) * (count - 1) / 2
        return sample(splines, matrix, first, count)

    def transform_vectors(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors `[..., d, *S]` in coarse cells per frame after the transform: rotated and scaled."""
        axis = vectors.ndim - len(self.turn) - 1
        turned = np.tensordot((self.scale * self.turn.T).astype(np.float32), vectors, axes=([1], [axis]))
        return np.moveaxis(turned, 0, axis)


def random_affine(rng: np.random.Generator, dim: int, smallest: float = SCALES[0]) -> Affine:
    """A random transform, with a scale of at least `smallest`; half of them mirror.

    The rotation is uniform: in 2-D from -90 to 90 degrees, in 3-D over all rotations.
    """
    if dim == 2:
        angle = rng.uniform(-math.pi / 2, math.pi / 2)
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    else:
        turn = _of_quaternion(rng.normal(size=4))
    if rng.random() < 0.5:
        turn = turn * np.array([-1.0] + [1.0] * (dim - 1))
    return Affine(turn, float(rng.uniform(max(smallest, SCALES[0]), SCALES[1])))


def fitting_affine(
    rng: np.random.Generator, shape: Sequence[int], tile: int, tries: int = 16
) -> Affine | None:
    """A random transform for which a patch of `tile` coarse cells fits into data of `shape`.

    None if none of `tries` fits, because the data are hardly larger than the patch.
    """
    for _ in range(tries):
        drawn = random_affine(rng, len(shape))
        # A rotated patch that is too large may fit with a larger scale.
        need = float(np.max(Affine(drawn.turn, 1.0).reach(tile) * 2 / np.asarray(shape)))
        if need <= drawn.scale:
            return drawn
        if need <= SCALES[1]:
            return Affine(drawn.turn, float(rng.uniform(need, SCALES[1])))
    return None


def _of_quaternion(q: np.ndarray) -> np.ndarray:
    """The rotation of a quaternion; four normal numbers give uniform rotations (Shoemake 1992)."""
    w, x, y, z = q / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
