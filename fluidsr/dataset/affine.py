"""Random similarity transforms of patches: turned by any angle, scaled, mirrored, moved (tempoGAN, 3.4.2).

No shear, no stretch along one axis, nothing along time: the smoke of a transformed patch still obeys the same
equations. Density is resampled; velocity is resampled, turned *and scaled*, since it is in cells per frame. What is
derived from them (vorticity) is to be derived after.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

SCALES = (0.85, 1.15)
# Samples around a window that its spline needs: the influence of a sample falls by 0.27 a cell.
_MARGIN = 10


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

    def scalar(self, field: np.ndarray, centre: Sequence[float], tile: int, cells: int = 1) -> np.ndarray:
        """A patch of `tile` coarse cells around `centre` (in coarse cells) of `field [*S]`, which has `cells`
        cells in each coarse one: float32 `[tile * cells, ...]`.

        By cubic splines (Unser 1999), which keep detail that a linear interpolation would blur; beyond the data's
        border the data are mirrored. The patch must lie within the data (`reach`).
        """
        matrix, count = self.turn / self.scale, tile * cells
        first = np.asarray(centre) * cells - 0.5 - matrix.sum(axis=1) * (count - 1) / 2
        reach = self.reach(tile) * cells + _MARGIN
        middle = np.asarray(centre) * cells - 0.5
        low = np.maximum(np.floor(middle - reach), 0).astype(int)
        high = np.minimum(np.ceil(middle + reach) + 1, field.shape).astype(int)
        window = field[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].astype(np.float32)
        spline = ndimage.spline_filter(window, 3, output=np.float32, mode="mirror")
        patch: np.ndarray = ndimage.affine_transform(
            spline, matrix, first - low, (count,) * field.ndim,
            output=np.float32, order=3, mode="mirror", prefilter=False,
        )  # fmt: skip
        return patch

    def vector(self, field: np.ndarray, centre: Sequence[float], tile: int) -> np.ndarray:
        """The same of `field [d, *S]` in coarse cells per frame: components are turned and scaled."""
        moved = np.stack([self.scalar(component, centre, tile) for component in field])
        turned = np.tensordot((self.scale * self.turn.T).astype(np.float32), moved, axes=1)
        return np.ascontiguousarray(turned, np.float32)


def random_affine(rng: np.random.Generator, dim: int, least: float = SCALES[0]) -> Affine:
    """A turn (2-D: by -90 to 90 degrees; 3-D: any, evenly), mirrored half of the time; a scale, at least `least`."""
    if dim == 2:
        angle = rng.uniform(-math.pi / 2, math.pi / 2)
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    else:
        turn = _of_quaternion(rng.normal(size=4))
    if rng.random() < 0.5:
        turn = turn * np.array([-1.0] + [1.0] * (dim - 1))
    return Affine(turn, float(rng.uniform(max(least, SCALES[0]), SCALES[1])))


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
