"""The transforms of VDB grids, from integer voxel index to meters.

The index is the *center* of the voxel (docs/conventions.md, "Place").
"""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fluidsr.errors import InputError, VolumeError
from fluidsr.volumes.vdb.binary import Cursor, pack_string
from fluidsr.volumes.vdb.tree import Index, index_of

Vector = tuple[float, float, float]
_SCALE_BLOCK = "15d"
# The contents of that block.
_SCALES = (lambda s: s, abs, lambda s: 1 / s, lambda s: 1 / s**2, lambda s: 1 / (2 * s))

FRUSTUM = "NonlinearFrustumMap"  # the view of a camera
_EVEN = 1e-5  # of a voxel's edge; how far edges may differ


@dataclass(frozen=True)
class Transform:
    """`position = matrix @ index + translation`, in meters; `matrix` is row-major, for column vectors."""

    matrix: tuple[Vector, Vector, Vector]
    translation: Vector
    kind: str

    @classmethod
    def uniform(cls, cell_size: float, translation: Vector = (0.0, 0.0, 0.0)) -> Transform:
        """Cubic voxels of edge `cell_size` (m) along the axes; the center of voxel 0 is at `translation` (m)."""
        return cls(_diagonal((cell_size,) * 3), translation, "UniformScaleTranslateMap")

    def turned(self, order: Sequence[int], signs: Sequence[int]) -> Transform:
        """The same voxels in turned axes: the new axis `a` is the old axis `order[a]`, times `signs[a]`."""
        rows = [
            [sign * value for value in self.matrix[axis]] for axis, sign in zip(order, signs, strict=True)
        ]
        places = [sign * self.translation[axis] for axis, sign in zip(order, signs, strict=True)]
        x, y, z = (_vector(row) for row in rows)
        return Transform((x, y, z), _vector(places), "AffineMap")

    def pack(self) -> bytes:
        """The transform as OpenVDB stores it: scales with a translation if possible, otherwise an affine map.

        Raises InputError for a transform that is not finite or has no inverse.
        """
        scale = tuple(self.matrix[axis][axis] for axis in range(3))
        if not all(map(math.isfinite, [*self.translation, *(value for row in self.matrix for value in row)])):
            raise InputError("transform", "it is not finite", "give finite numbers")
        if self.matrix != _diagonal(scale):
            rows = [(*column, 0.0) for column in zip(*self.matrix, strict=True)]  # OpenVDB uses row vectors
            if abs(np.linalg.det(self.matrix)) < sys.float_info.min:
                raise InputError("transform", "it has no inverse", "give three independent axes")
            return pack_string("AffineMap") + struct.pack("<16d", *sum(rows, ()), *self.translation, 1.0)
        if not all(scale):
            raise InputError("transform", f"its voxels are {scale}", "give edges that are not zero")
        kind = "UniformScaleTranslateMap" if len(set(scale)) == 1 else "ScaleTranslateMap"
        block = [f(value) for f in _SCALES for value in scale]
        return pack_string(kind) + struct.pack("<3d" + _SCALE_BLOCK, *self.translation, *block)

    @property
    def scale(self) -> Vector:
        """Length (m) of one index step along each axis."""
        columns = zip(*self.matrix, strict=True)
        x, y, z = (math.sqrt(sum(value * value for value in column)) for column in columns)
        return x, y, z

    def axes(self, where: str, called: str = "voxels") -> Axes:
        """How the indices of cubic voxels run along the axes of the world.

        Raises VolumeError if the voxels are not cubes, or not aligned with the axes; the message calls them `called`.
        """
        matrix = np.array(self.matrix)
        if not np.isfinite(matrix).all() or np.abs(matrix).max() > 1e150:  # their squares would not be finite
            raise VolumeError(where, f"its voxel size is {self.scale} m", "give it a finite transform")
        order = np.abs(matrix).argmax(1)
        picked = matrix[np.arange(3), order]
        size = float(abs(picked[0]))
        rest = matrix.copy()
        rest[np.arange(3), order] = 0.0
        # Within the last digits of a float32, since many programs compute in float32.
        even = (np.abs(np.abs(picked) - size) <= _EVEN * size).all() and (np.abs(rest) <= _EVEN * size).all()
        if not size > 0:
            raise VolumeError(where, f"its voxel size is {size} m", "give it a transform of positive scale")
        if not even or sorted(order) != [0, 1, 2]:
            problem = f"its {called} are rotated by less than a quarter turn, or sheared"
            if (np.abs(rest) <= _EVEN * size).all() and sorted(order) == [0, 1, 2]:
                edges = " x ".join(f"{edge:g}" for edge in self.scale)
                problem = f"its {called} are not cubes ({edges} m)"
            raise VolumeError(where, problem, f"resample it to cubic {called} along the axes")
        if not all(map(math.isfinite, self.translation)):
            raise VolumeError(where, f"its position is {self.translation}", "give it a finite position")
        x, y, z = (int(axis) for axis in order)
        signs = tuple(1 if value > 0 else -1 for value in picked)
        return Axes((x, y, z), (signs[0], signs[1], signs[2]), size)

    def cell_size(self, where: str) -> float:
        """The edge (m) of the cubic, axis-aligned voxel. Raises VolumeError for any other voxels."""
        return self.axes(where).cell_size


@dataclass(frozen=True)
class Axes:
    """Quarter turns and mirrors: index `order[a]` runs along the axis `a` of the world, downwards if `signs[a]` is -1.

    A turned index is the index of the same voxel on a lattice without turns:
    `position = cell_size * turned + translation`.
    """

    order: tuple[int, int, int]
    signs: tuple[int, int, int]
    cell_size: float

    @property
    def straight(self) -> bool:
        """Whether there are neither turns nor mirrors."""
        return self.order == (0, 1, 2) and self.signs == (1, 1, 1)

    def turned(self, low: Index, high: Index) -> tuple[Index, Index]:
        """The box from `low` to `high` (exclusive) of the file's indices, in turned indices."""
        pairs = [
            (low[i], high[i]) if sign > 0 else (1 - high[i], 1 - low[i])
            for i, sign in zip(self.order, self.signs, strict=True)
        ]
        return index_of(a for a, _ in pairs), index_of(b for _, b in pairs)

    def of_file(self, low: Index, high: Index) -> tuple[Index, Index]:
        """The inverse of `turned`."""
        first, last = [0, 0, 0], [0, 0, 0]
        for i, sign, a, b in zip(self.order, self.signs, low, high, strict=True):
            first[i], last[i] = (a, b) if sign > 0 else (1 - b, 1 - a)
        return index_of(first), index_of(last)

    def turn(self, values: np.ndarray) -> np.ndarray:
        """Values `[..., x, y, z]` of a box of the file's indices, in the order of turned indices; a view."""
        lead = values.ndim - 3
        values = values.transpose(*range(lead), *(lead + i for i in self.order))
        flips: tuple[Any, ...] = (Ellipsis, *(slice(None, None, sign) for sign in self.signs))
        return values[flips]


def _vector(values: Iterable[float]) -> Vector:
    x, y, z = values
    return x, y, z


def read_transform(cursor: Cursor) -> Transform | None:
    """The transform at the cursor; None for a frustum or an unknown map, whose length is not known.

    Raises VolumeError if the file ends within it.
    """
    kind = cursor.string()
    translation: Vector = (0.0, 0.0, 0.0)
    matrix = _diagonal((1.0, 1.0, 1.0))
    if kind in ("UniformScaleMap", "ScaleMap"):
        matrix = _diagonal(cursor.unpack(_SCALE_BLOCK)[:3])
    elif kind in ("UniformScaleTranslateMap", "ScaleTranslateMap"):
        translation = cursor.unpack("3d")
        matrix = _diagonal(cursor.unpack(_SCALE_BLOCK)[:3])
    elif kind == "TranslationMap":
        translation = cursor.unpack("3d")
    elif kind in ("AffineMap", "UnitaryMap"):
        m = cursor.unpack("16d")  # row vectors: position = index @ m
        matrix = ((m[0], m[4], m[8]), (m[1], m[5], m[9]), (m[2], m[6], m[10]))
        translation = m[12:15]
    else:
        return None
    return Transform(matrix, translation, kind)


def _diagonal(values: tuple[float, ...]) -> tuple[Vector, Vector, Vector]:
    x, y, z = values
    return (x, 0.0, 0.0), (0.0, y, 0.0), (0.0, 0.0, z)
