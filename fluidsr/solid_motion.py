"""Solids between two frames: a body that moves less than its own width is drawn once, between its two places.

Blended in place, it would be a smear of half a solid around what both frames share. The distance to the surface,
blended instead, has its zero where the body is in between (shape-based interpolation, Raya and Udupa 1990).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

_HALF = 0.5  # a cell is solid from this share on
_MARGIN = 2  # cells around those that change: the surfaces beside them


def solid_between(first: np.ndarray, last: np.ndarray, share: float) -> np.ndarray:
    """The share of each cell that solids fill, `[*S]`, at `share` (0 to 1) of the time from `first` to `last`.

    Cells where both agree keep their value. A body whose places in the two frames do not overlap, or that fills no cell
    by half, is blended in its place.
    """
    made: np.ndarray = first + np.float32(share) * (last - first)
    differ = first != last
    if not differ.any():
        return made
    parts, count = ndimage.label((first > 0) | (last > 0), np.ones((3,) * first.ndim))
    both = (first >= _HALF) & (last >= _HALF)
    overlapping = np.zeros(count + 1, bool)
    overlapping[parts[both]] = True
    moved = differ & overlapping[parts]
    for places in ndimage.find_objects(moved.astype(np.int8)):  # the box of all of them: distances take long
        box = tuple(slice(max(place.start - _MARGIN, 0), place.stop + _MARGIN) for place in places)
        distance = (1 - share) * _distance(first[box]) + share * _distance(last[box])
        made[box] = np.where(moved[box], np.clip(_HALF - distance, 0, 1), made[box])
    return made


def _distance(solid: np.ndarray) -> np.ndarray:
    """The distance from each cell's centre to the surface, in cells, negative inside: known from the share in the cells
    at the surface, elsewhere that of the nearest of these and the way there."""
    near = (solid > 0) & (solid < 1)
    full = solid >= 1
    for axis in range(solid.ndim):  # a full cell beside an empty one: the surface is their face
        ahead, behind = np.moveaxis(full, axis, 0)[1:], np.moveaxis(full, axis, 0)[:-1]
        face = (ahead != behind) & ~np.moveaxis(near, axis, 0)[1:] & ~np.moveaxis(near, axis, 0)[:-1]
        np.moveaxis(near, axis, 0)[1:] |= face & ahead
        np.moveaxis(near, axis, 0)[:-1] |= face & behind
    if not near.any():
        return np.where(full, -1.0, 1.0) * sum(solid.shape)  # farther than any
    way, nearest = ndimage.distance_transform_edt(~near, return_indices=True)
    distance = (_HALF - solid)[tuple(nearest)]
    return np.where(near, distance, np.where(full, distance - way, distance + way))
