"""What may be done to a patch: exact symmetries of the grid, and random similarity transforms.

Symmetries resample nothing. They are the hyperoctahedral group, i.e. every permutation of the axes followed by any
set of reflections: 8 elements in 2-D, 48 in 3-D, quarter turns among them. A scalar field only moves; a vector field
also has its components permuted and reflected. No axis is special: buoyancy is not visible to the networks.

Similarity transforms turn by any angle, scale, mirror and move (tempoGAN, 3.4.2). No shear, no stretch along one
axis, nothing along time: the smoke of a transformed patch still obeys the same equations. Density is resampled;
velocity is resampled, turned *and scaled*, since it is in cells per frame. What is derived from them (vorticity) is
to be derived after.
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


SCALES = (0.85, 1.15)


@dataclass(frozen=True)
class Affine:
    """The cell at `x` of a patch (in coarse cells from its centre) is taken from `turn @ x / scale` of the data.

    `turn [d, d]` is orthogonal, mirrored where its determinant is -1; `scale` above 1 shows things larger. What is
    seen moves by `scale * turn.T @ v` where the data moved by `v`.
    """

    turn: np.ndarray
    scale: float

    def reach(self, tile: int) -> np.ndarray:
        """`[d]`: coarse cells from the centre that a patch of `tile` cells needs of the data along each axis."""
        reach: np.ndarray = np.abs(self.turn).sum(axis=1) * tile / (2 * self.scale)
        return reach

    def resample(
        self, splines: Sequence[np.ndarray], centre: Sequence[float], tile: int, cells: int = 1
    ) -> np.ndarray:
        """Patches of `tile` coarse cells around `centre` (in coarse cells) of fields, given by their `coefficients`,
        which have `cells` cells in each coarse one: float32 `[fields, tile * cells, ...]`.

        By cubic splines (Unser 1999), which keep detail that a linear interpolation would blur; beyond the outermost
        cell centres the data are mirrored. The patch must lie within the data (`reach`), else ValueError.
        """
        matrix, count = self.turn / self.scale, tile * cells
        first = np.asarray(centre) * cells - 0.5 - matrix.sum(axis=1) * (count - 1) / 2
        return sample(splines, matrix, first, count)

    def transform_vectors(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors `[..., d, *S]` in coarse cells per frame as they look after the transform: turned and scaled."""
        axis = vectors.ndim - len(self.turn) - 1
        turned = np.tensordot((self.scale * self.turn.T).astype(np.float32), vectors, axes=([1], [axis]))
        return np.moveaxis(turned, 0, axis)


def random_affine(rng: np.random.Generator, dim: int, smallest: float = SCALES[0]) -> Affine:
    """A turn (2-D: by -90 to 90 degrees; 3-D: any, evenly), mirrored half of the time; a scale, at least `least`."""
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
    """A random transform for which a patch of `tile` coarse cells finds room in data of `shape`.

    None where none of `tries` does: there the data are hardly larger than the patch.
    """
    for _ in range(tries):
        drawn = random_affine(rng, len(shape))
        # What a turned patch lacks in room it may gain in scale.
        need = float(np.max(Affine(drawn.turn, 1.0).reach(tile) * 2 / np.asarray(shape)))
        if need <= drawn.scale:
            return drawn
        if need <= SCALES[1]:
            return Affine(drawn.turn, float(rng.uniform(need, SCALES[1])))
    return None


def _of_quaternion(q: np.ndarray) -> np.ndarray:
    """The rotation of a quaternion; four normal numbers give all rotations evenly (Shoemake 1992)."""
    w, x, y, z = q / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
