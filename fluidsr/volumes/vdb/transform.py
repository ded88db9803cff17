"""From integer voxel index to metres: the transforms of a VDB grid.

The index is the voxel's *centre* (docs/conventions.md, "Place").
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from fluidsr.errors import VolumeError
from fluidsr.volumes.vdb.binary import Cursor, pack_string

Vector = tuple[float, float, float]
_SCALE_BLOCK = "15d"  # scale, |scale|, 1/scale, 1/scale^2, 1/(2 scale)


@dataclass(frozen=True)
class Transform:
    """`position = matrix @ index + translation`, in metres; `matrix` is row-major, for column vectors."""

    matrix: tuple[Vector, Vector, Vector]
    translation: Vector
    kind: str

    @property
    def scale(self) -> Vector:
        """Length of one index step along each axis, m."""
        columns = zip(*self.matrix, strict=True)
        x, y, z = (math.sqrt(sum(value * value for value in column)) for column in columns)
        return x, y, z

    def cell_size(self, where: str) -> float:
        """The edge of the cubic, axis-aligned voxel, m. Raises VolumeError where voxels are anything else."""
        size = self.matrix[0][0]
        tolerance = 1e-6 * abs(size)
        for i, row in enumerate(self.matrix):
            for j, value in enumerate(row):
                if not abs(value - (size if i == j else 0.0)) <= tolerance:
                    raise VolumeError(
                        where,
                        f"its transform is rotated, mirrored or has unequal voxel edges {self.scale}",
                        "resample it to cubic voxels along the axes",
                    )
        if not (size > 0 and math.isfinite(size)):
            raise VolumeError(where, f"its voxel size is {size} m", "give it a transform of positive scale")
        if not all(map(math.isfinite, self.translation)):
            raise VolumeError(where, f"its position is {self.translation}", "give it a finite position")
        return size


def read_transform(cursor: Cursor) -> Transform | None:
    """The transform at the cursor; None for a frustum or an unknown map, whose end is not known."""
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


def pack_transform(cell_size: float, translation: Vector) -> bytes:
    """A uniform scale with a translation, as OpenVDB stores it."""
    scales = (cell_size, cell_size, 1 / cell_size, 1 / cell_size**2, 1 / (2 * cell_size))
    block = [value for value in scales for _ in range(3)]
    return pack_string("UniformScaleTranslateMap") + struct.pack("<3d" + _SCALE_BLOCK, *translation, *block)


def _diagonal(values: tuple[float, ...]) -> tuple[Vector, Vector, Vector]:
    x, y, z = values
    return (x, 0.0, 0.0), (0.0, y, 0.0), (0.0, 0.0, z)
