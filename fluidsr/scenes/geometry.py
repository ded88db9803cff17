"""Where a shape is, for the checks of a scene: its bounds, and which points it holds (NumPy, no solver)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from fluidsr.scenes import mesh

if TYPE_CHECKING:
    from fluidsr.scenes.schema import Scene

_MOST_PER_AXIS = 48


def bounds(body: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Lower and upper corner of the box around a shape where it was placed, in metres."""
    half = []
    for axis, _ in enumerate(body.center):
        if body.shape == "mesh":
            half.append(mesh.read(body.path).half_extent[axis] * body.scale)
        elif body.shape == "box":
            half.append(body.size[axis] / 2)
        elif body.shape == "sphere" or "xyz"[axis] != body.axis:
            half.append(body.radius)
        else:
            half.append(body.height / 2 + (body.radius if body.shape == "capsule" else 0.0))
    low = tuple(c - h for c, h in zip(body.center, half, strict=True))
    high = tuple(c + h for c, h in zip(body.center, half, strict=True))
    return low, high


def swept(body: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Lower and upper corner of the box around all places of a shape that moves, in metres."""
    low, high = bounds(body)
    offsets = np.array([key.offset for key in body.motion or ()] or [(0.0,) * len(low)])
    return tuple(offsets.min(axis=0) + low), tuple(offsets.max(axis=0) + high)


def inside(body: Any, points: np.ndarray) -> np.ndarray:
    """Which of the `points [n, d]` (metres) the shape holds where it was placed, `[n]` bool, its surface
    included; of a mesh to within a 64th of its size."""
    if body.shape == "mesh":
        spacing = max(mesh.read(body.path).half_extent) * body.scale / 32
        field = mesh.sample(body.path, body.scale, spacing)
        at = (points - np.asarray(body.center) - field.origin) / field.spacing
        return ndimage.map_coordinates(field.values, at.T, order=1, mode="constant", cval=np.inf) <= 0
    offset = np.abs(points - np.asarray(body.center))
    if body.shape == "box":
        return (offset <= np.asarray(body.size) / 2).all(axis=1)
    if body.shape == "sphere":
        return (offset**2).sum(axis=1) <= body.radius**2
    axis = "xyz".index(body.axis)
    along, across = offset[:, axis], (np.delete(offset, axis, axis=1) ** 2).sum(axis=1)
    if body.shape == "cylinder":
        return (along <= body.height / 2) & (across <= body.radius**2)
    beyond = np.maximum(along - body.height / 2, 0)
    return beyond**2 + across <= body.radius**2


def cell_centres(scene: Scene, low: Sequence[float], high: Sequence[float]) -> np.ndarray:
    """Cell centres `[n, d]` (metres) of the domain between two corners; of many, an even selection."""
    h = scene.domain.cell_size
    axes = []
    for a, b, n in zip(low, high, scene.domain.resolution, strict=True):
        first = max(0, int(np.ceil(a / h - 0.5 - 1e-9)))
        last = min(n - 1, int(np.floor(b / h - 0.5 + 1e-9)))
        step = max(1, -(-(last - first + 1) // _MOST_PER_AXIS))
        axes.append((np.arange(first, last + 1, step) + 0.5) * h)
    grids = np.meshgrid(*axes, indexing="ij")
    return np.stack([g.ravel() for g in grids], axis=1)
