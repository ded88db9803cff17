# SPDX-License-Identifier: GPL-3.0-or-later
"""Surfaces of objects: which are spheres, boxes and cylinders, and an STL file for the rest. Without bpy."""

import hashlib
from dataclasses import dataclass

import numpy as np

EXACT = 1e-3  # of the size: how far a vertex may lie from the shape that it is taken for
ROUND = 0.9  # of the radius: how far inside the middle of a triangle of a sphere or cylinder may lie


class Unusable(Exception):
    """A surface that bounds no volume; the text is for the user."""


@dataclass(frozen=True, eq=False)
class Surface:
    """Triangles in the world: `points [n, 3]` (m), and their indices in `triangles [m, 3]`."""

    points: np.ndarray
    triangles: np.ndarray

    @property
    def bounds(self):
        """Lower and upper corner (m)."""
        return self.points.min(axis=0), self.points.max(axis=0)

    @property
    def open_edges(self):
        """Number of edges that an odd number of triangles share."""
        edges = np.sort(self.triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
        _, counts = np.unique(edges, axis=0, return_counts=True)
        return int((counts % 2).sum())


def shape_of(surface, thickness):
    """The keys `shape`, `center` (m) and the lengths of a sphere, box or cylinder, or the first two of a mesh.

    A flat rectangle or disc becomes a box or cylinder of this `thickness` (m). Raises Unusable where the surface is
    open, or is flat and of another form.
    """
    if not len(surface.triangles):
        raise Unusable("has no faces; give it some")
    low, high = surface.bounds
    size, center = high - low, (low + high) / 2
    flat = np.flatnonzero(size <= 1e-6 * size.max())
    offsets = surface.points - center
    placed = {"center": center.tolist()}
    if len(flat) == 1:
        found = _flat(offsets, size, int(flat[0]), thickness)
        if found is None:
            raise Unusable("is flat, and neither a rectangle nor a disc; give it thickness (Solidify)")
        return {**found, **placed}
    if len(flat):
        raise Unusable("has no area; give it some")
    if holes := surface.open_edges:
        raise Unusable(f"is not closed ({holes} open edges); close it, or give it thickness (Solidify)")
    middles = offsets[surface.triangles].mean(axis=1)
    for found in (_sphere(offsets, size, middles), _box(offsets, size, surface.triangles)):
        if found is not None:
            return {**found, **placed}
    for axis in range(3):
        if found := _cylinder(offsets, size, axis, surface.triangles):
            return {**found, **placed}
    return {"shape": "mesh", **placed}


def _flat(offsets, size, axis, thickness):
    across = np.delete(offsets, axis, axis=1)
    edges = np.delete(size, axis)
    if _corners(across, edges) == 4:
        return {"shape": "box", "size": np.insert(edges, axis, thickness).tolist()}
    radius = edges.max() / 2
    distance = np.linalg.norm(across, axis=1)
    rim = np.abs(distance - radius) < EXACT * radius
    if rim.sum() >= 12 and (rim | (distance < EXACT * radius)).all():
        return {"shape": "cylinder", "radius": radius, "height": thickness, "axis": "xyz"[axis]}
    return None


def _corners(offsets, size):
    """How many corners of the box of this `size` around the origin are vertices."""
    held = (np.abs(np.abs(offsets) - size / 2) < EXACT * size.max()).all(axis=1)
    return len({tuple(row) for row in offsets[held] > 0})


def _sphere(offsets, size, middles):
    radius = size.max() / 2
    on_it = np.abs(np.linalg.norm(offsets, axis=1) - radius) < EXACT * radius
    whole = (np.linalg.norm(middles, axis=1) > ROUND * radius).all()
    return {"shape": "sphere", "radius": radius} if on_it.all() and whole else None


def _box(offsets, size, triangles):
    sides = np.abs(offsets - np.sign(offsets) * size / 2) < EXACT * size.max()
    signed = np.stack([sides & (offsets > 0), sides & (offsets < 0)])[
        :, triangles
    ]  # [2, m, 3 corners, 3 axes]
    if not signed.all(axis=2).any(axis=(0, 2)).all() or _corners(offsets, size) != 8:
        return None
    a, b, c = (offsets[triangles[:, i]] for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2
    whole = 2 * (size[0] * size[1] + size[1] * size[2] + size[2] * size[0])
    return {"shape": "box", "size": size.tolist()} if abs(area - whole) < 0.01 * whole else None


def _cylinder(offsets, size, axis, triangles):
    height, across = size[axis], np.delete(size, axis)
    radius = across.max() / 2
    if np.ptp(across) > EXACT * radius:
        return None
    distance = np.linalg.norm(np.delete(offsets, axis, axis=1), axis=1)
    at_end = np.abs(np.abs(offsets[:, axis]) - height / 2) < EXACT * size.max()
    on_side = np.abs(distance - radius) < EXACT * radius
    ends = np.where(at_end, np.sign(offsets[:, axis]), 0)[triangles]
    caps = (ends[:, :1] != 0).all(axis=1) & (ends == ends[:, :1]).all(axis=1)
    side = triangles[~caps]
    middles = np.delete(offsets[side].mean(axis=1), axis, axis=1)
    if not on_side[side].all() or (np.linalg.norm(middles, axis=1) < ROUND * radius).any() or not caps.any():
        return None
    return {"shape": "cylinder", "radius": radius, "height": height, "axis": "xyz"[axis]}


def write_stl(surface, folder, name):
    """Write a binary STL file into `folder`, and return its name, `name` and a digest of its content: another form is
    another file, so a run is not resumed with it."""
    facets = np.zeros(
        len(surface.triangles), [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("unused", "<u2")]
    )
    facets["corners"] = surface.points[surface.triangles]
    content = bytes(80) + np.uint32(len(facets)).tobytes() + facets.tobytes()
    path = folder / f"{name}-{hashlib.sha256(content).hexdigest()[:12]}.stl"
    temporary = path.with_suffix(".part")
    temporary.write_bytes(content)
    temporary.replace(path)
    return path.name
