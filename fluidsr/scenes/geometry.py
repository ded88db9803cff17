"""Geometry of shapes: bounds, containment and distance (NumPy, no solver)."""

from __future__ import annotations

from typing import Any

import numpy as np

from fluidsr.scenes import mesh


def bounds(body: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Lower and upper corner (m) of the box around a shape at its `center`. Raises InputError for a mesh that cannot be
    read.
    """
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
    """Lower and upper corner (m) of the box around all positions of a moving shape. Raises InputError as `bounds`
    does.
    """
    low, high = bounds(body)
    offsets = np.array([key.offset for key in body.motion or ()] or [(0.0,) * len(low)])
    return tuple(offsets.min(axis=0) + low), tuple(offsets.max(axis=0) + high)


def inside(body: Any, points: np.ndarray) -> np.ndarray:
    """Which of the `points [n, d]` (m) lie in the shape at its `center` or on its surface: `[n]` bool.

    For a mesh, to within a 64th of its size. Raises InputError as `bounds` does.
    """
    low, high = bounds(body)
    contained = np.asarray(((points >= low) & (points <= high)).all(axis=1))
    contained[contained] = distance(body, points[contained]) <= 0
    return contained


def distance(body: Any, points: np.ndarray) -> np.ndarray:
    """Distances (m) of the `points [n, d]` from the surface of the shape at its `center`, `[n]`, negative inside.

    Exact, except for a mesh, where they are exact to a 64th of its size within its box. Raises InputError as `bounds`
    does.
    """
    offset = points - np.asarray(body.center)
    if body.shape == "mesh":
        return mesh.distance(body.path, body.scale, offset)
    offset = np.abs(offset)
    if body.shape == "box":
        return _to_corner(offset - np.asarray(body.size) / 2)
    if body.shape == "sphere":
        return np.asarray(np.linalg.norm(offset, axis=1) - body.radius)
    axis = "xyz".index(body.axis)
    along, across = offset[:, axis] - body.height / 2, np.linalg.norm(np.delete(offset, axis, axis=1), axis=1)
    if body.shape == "cylinder":
        return _to_corner(np.stack([along, across - body.radius], axis=1))
    return np.asarray(np.hypot(np.maximum(along, 0), across) - body.radius)


def _to_corner(beyond: np.ndarray) -> np.ndarray:
    """The signed distance to the region in which all of `beyond [n, k]`, signed distances along k directions, are at
    most 0.
    """
    outside = np.linalg.norm(np.maximum(beyond, 0), axis=1)
    return np.asarray(outside + np.minimum(beyond.max(axis=1), 0))
