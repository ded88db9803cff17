"""Shapes of sources and obstacles, as signed distances."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from fluidsr.errors import InputError

KINDS = ("sphere", "box", "cylinder", "capsule", "mesh")
# Samples per axis in a cell that a surface cuts (see `shares`); fewer for shapes that are many cells wide.
PIECES, FEW_PIECES = 8, 4


@dataclass(frozen=True, eq=False)
class SampledDistance:
    """A signed distance (m, negative inside), sampled on a cubic lattice that encloses the shape's bounding box.

    Attributes:
        values: the samples, float32, one array axis per axis of the domain.
        origin: position of the first sample relative to the centre of the bounding box, m.
        spacing: distance of the samples, m.
        half_extent: half the edge lengths of the bounding box, m.
    """

    values: np.ndarray
    origin: tuple[float, ...]
    spacing: float
    half_extent: tuple[float, ...]

    def at(self, offset: list[np.ndarray]) -> np.ndarray:
        """The distance at `offset` from the centre of the bounding box (m, one broadcastable array per axis).

        It is interpolated linearly; outside the lattice it is the value at the nearest point of the lattice plus the
        distance to that point."""
        wide = np.broadcast_arrays(
            *((d - o) / self.spacing for d, o in zip(offset, self.origin, strict=True))
        )
        held = [np.clip(x, 0, n - 1) for x, n in zip(wide, self.values.shape, strict=True)]
        value = ndimage.map_coordinates(self.values, held, np.float64, order=1, mode="nearest")
        beyond = [x - h for x, h in zip(wide, held, strict=True)]
        return value + self.spacing * _length(beyond)


@dataclass(frozen=True)
class Shape:
    """The shape of a source or an obstacle, in metres. Raises InputError if a required value is missing or invalid.

    `center` has one number per axis of the domain. The required values of each `kind`:

    - "sphere": radius.
    - "box": size, the full edge lengths.
    - "cylinder": radius, height (full), axis.
    - "capsule": radius, height of the straight part (each of the two caps adds a radius), axis.
    - "mesh": field, the signed distance around the center.

    In 2-D the first four are a circle, a rectangle, a rectangle or (axis = 2) a circle, and a stadium or (axis = 2) a
    circle.
    """

    kind: str
    center: tuple[float, ...]
    radius: float | None = None
    size: tuple[float, ...] | None = None
    height: float | None = None
    axis: int | None = None
    field: SampledDistance | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError("shape", f"'{self.kind}' is unknown", f"use one of {', '.join(KINDS)}")
        lengths = (*self.center, *(self.size or ()), self.radius or 0.0, self.height or 0.0)
        if math.inf in map(abs, lengths) or any(map(math.isnan, self.center)):
            raise InputError(self.kind, "a number is not finite", "give meters")
        if self.kind == "mesh":
            if self.field is None or self.field.values.ndim != len(self.center):
                raise InputError("mesh", "it has no signed distance", "give one with as many axes")
            return
        if self.kind == "box":
            if self.size is None or len(self.size) != len(self.center) or not min(self.size) > 0:
                raise InputError(
                    "box", f"size must be positive, and is {self.size}", "give one length per axis"
                )
            return
        if self.radius is None or not self.radius > 0:
            raise InputError(self.kind, f"radius must be > 0, and is {self.radius}", "give a length in m")
        if self.kind != "sphere":
            if self.height is None or not self.height > 0:
                raise InputError(self.kind, f"height must be > 0, and is {self.height}", "give a length in m")
            if self.axis not in (0, 1, 2):
                raise InputError(self.kind, f"there is no axis {self.axis}", "give 0, 1 or 2")

    def signed_distance(self, *position: np.ndarray) -> np.ndarray:
        """The signed distance (m) to the surface, negative inside, at `position` (m, one broadcastable array per axis).
        Exact (Quilez 2008), except for a mesh."""
        offset = [p - c for p, c in zip(position, self.center, strict=True)]
        if self.field is not None:
            return self.field.at(offset)
        if self.kind == "sphere":
            return _length(offset) - self.radius
        if self.kind == "box":
            assert self.size is not None
            return _box([np.abs(d) - s / 2 for d, s in zip(offset, self.size, strict=True)])
        assert self.height is not None and self.radius is not None and self.axis is not None
        across = _length([d for a, d in enumerate(offset) if a != self.axis])
        if self.axis >= len(offset):  # a 2-D cut across the axis
            return across - self.radius
        along = np.abs(offset[self.axis]) - self.height / 2
        if self.kind == "cylinder":
            return _box([across - self.radius, along])
        return _length([across, np.maximum(along, 0)]) - self.radius

    def at_least(self, thickness: float) -> Shape:
        """The shape, enlarged where necessary so that none of its dimensions is less than `thickness` (m)."""
        half = thickness / 2
        return replace(
            self,
            radius=None if self.radius is None else max(self.radius, half),
            size=None if self.size is None else tuple(max(edge, thickness) for edge in self.size),
            height=max(self.height, thickness) if self.height and self.kind == "cylinder" else self.height,
        )

    def images(self, periods: Sequence[float]) -> list[Shape]:
        """Copies of the shape in a domain with these periods along each axis (m; 0: not periodic): the one with its
        center in the domain, and its neighbours."""
        places = (
            [c] if period == 0 else [c + period * (k - math.floor(c / period)) for k in (-1, 0, 1)]
            for c, period in zip(self.center, periods, strict=True)
        )
        return [replace(self, center=center) for center in itertools.product(*places)]

    def section(self, along: Sequence[float]) -> float | None:
        """The area (m²; in 2-D the width, m) of the shape's projection along the unit vector `along`; None for a
        mesh."""
        if self.field is not None:
            return None
        dim = len(self.center)
        if self.kind == "box":
            assert self.size is not None
            return sum(abs(e) * math.prod(self.size) / edge for e, edge in zip(along, self.size, strict=True))
        assert self.radius is not None
        round_end = 2 * self.radius if dim == 2 else math.pi * self.radius**2
        if self.kind == "sphere" or self.axis is None or self.axis >= dim:
            return round_end
        assert self.height is not None
        side = self.height if dim == 2 else 2 * self.radius * self.height
        endways = abs(along[self.axis])
        sideways = math.sqrt(max(1.0 - endways**2, 0.0))
        return side * sideways + round_end * (endways if self.kind == "cylinder" else 1.0)

    @property
    def thickness(self) -> float:
        """The least extent along any axis, m; 0 for a mesh, whose thickness is unknown."""
        if self.field is not None:
            return 0.0
        return 2 * min(self.half_extent(axis) for axis in range(len(self.center)))

    def half_extent(self, axis: int) -> float:
        """Half the length of the bounding box along `axis`, m."""
        if self.field is not None:
            return self.field.half_extent[axis]
        if self.kind == "box":
            assert self.size is not None
            return self.size[axis] / 2
        assert self.radius is not None
        if self.kind == "sphere" or axis != self.axis:
            return self.radius
        assert self.height is not None
        return self.height / 2 + (self.radius if self.kind == "capsule" else 0.0)


def _length(parts: list[np.ndarray]) -> np.ndarray:
    return np.sqrt(sum(p * p for p in parts))


def _box(beyond: list[np.ndarray]) -> np.ndarray:
    """The signed distance to a box, from the distances `beyond` its faces along each axis (negative inside)."""
    outside = _length([np.maximum(d, 0) for d in beyond])
    deepest = beyond[0]
    for d in beyond[1:]:
        deepest = np.maximum(deepest, d)
    return outside + np.minimum(deepest, 0)


def coverage(distance: np.ndarray, cell_size: float) -> np.ndarray:
    """The share of cells that lies inside a shape, from the distances (m) at their centres: 1 to 0 over one cell."""
    return np.clip(0.5 - distance / cell_size, 0.0, 1.0)


@dataclass(frozen=True)
class Shares:
    """The shares of the cells of a window that a shape covers.

    Attributes:
        first: index of the window's first cell along each axis.
        volume: `[x, y(, z)]`, share of each cell's volume (2-D: area), in [0, 1].
        across: `[d, x, y(, z)]`, for each axis the share of the cell's cross-section that the part of the shape in the
            cell covers, seen along that axis; at least `volume`.
        faces: `[2, d, x, y(, z)]`, the shares of each cell's lower and upper face along each axis that lie in the
            shape; at most `across`.
    """

    first: tuple[int, ...]
    volume: np.ndarray
    across: np.ndarray
    faces: np.ndarray


def shares(
    shape: Shape, ranges: Sequence[tuple[int, int]], offset: Sequence[float], cell_size: float
) -> Shares:
    """The shares of cubes of edge `cell_size` (m) that `shape` covers.

    `ranges`: (first, end) index of the window along each axis; the cubes are centred on the samples of `positions` with
    this `offset`. Cubes that the surface may cut are sampled where they overlap the shape's bounding box, so that
    shapes much smaller than a cell are not missed: volumes are exact for a box along the axes, and within 3 % for round
    shapes of any size."""
    h, dim = cell_size, len(shape.center)
    first = tuple(a for a, _ in ranges)
    counts = tuple(b - a for a, b in ranges)
    middle = np.broadcast_to(shape.signed_distance(*positions(counts, tuple(offset), h, first)), counts)
    volume = np.where(middle < 0, 1.0, 0.0)
    across = np.stack([volume] * dim)
    faces = np.empty((2, dim, *counts), np.float32)
    faces[:] = volume
    cut = np.nonzero(abs(middle) < 0.5 * math.sqrt(dim) * h * 1.01)
    pieces = FEW_PIECES if shape.thickness > 6 * h else PIECES
    places, widths, reached = [], [], []
    for a in range(dim):
        center = (cut[a] + first[a] + offset[a]) * h
        ends = [shape.center[a] + side * shape.half_extent(a) for side in (-1, 1)]
        low = np.maximum(center - 0.5 * h, ends[0])
        width = np.maximum(np.minimum(center + 0.5 * h, ends[1]) - low, 0.0) / pieces
        reached.append((ends[0] < center - 0.5 * h, ends[1] > center + 0.5 * h))
        at = low[:, None] + (np.arange(pieces) + 0.5) * width[:, None]
        places.append(at.reshape(-1, *(pieces if b == a else 1 for b in range(dim))))
        widths.append(width)
    edge = np.maximum(np.minimum.reduce(widths), 1e-12 * h).reshape(-1, *(1,) * dim)
    inside = np.broadcast_to(coverage(shape.signed_distance(*places), edge), (len(cut[0]), *(pieces,) * dim))
    axes = tuple(range(1, dim + 1))
    volume[cut] = inside.sum(axes) * np.prod([w / h for w in widths], axis=0)
    for a in range(dim):
        side = np.prod([w / h for b, w in enumerate(widths) if b != a], axis=0)
        across[a][cut] = inside.max(a + 1).sum(axes[:-1]) * side
        for end, layers in enumerate(((0, 1), (-1, -2))):
            near, far = (inside.take(layer, a + 1).sum(axes[:-1]) * side for layer in layers)
            faces[end, a][cut] = reached[a][end] * np.clip(1.5 * near - 0.5 * far, 0.0, 1.0)  # extrapolated
        across[a] = np.maximum(across[a], faces[:, a].max(0))
    # A shape that only touches a face of the cube does not cover any of it.
    across[:, volume <= 0] = faces[:, :, volume <= 0] = 0.0
    across = np.clip(across, volume, 1.0)
    return Shares(first, np.minimum(volume, 1.0), across, np.minimum(faces, across))


def positions(
    shape: tuple[int, ...], offset: tuple[float, ...], cell_size: float, first: tuple[int, ...] = (0, 0, 0)
) -> list[np.ndarray]:
    """Coordinates (m) of the samples of an array of `shape` that starts at index `first`, one broadcastable array per
    axis. `offset` is 0.5 along axes with samples at cell centres and 0 along axes with samples on faces."""
    axes = [(first[a] + offset[a] + np.arange(n)) * cell_size for a, n in enumerate(shape)]
    return list(np.meshgrid(*axes, indexing="ij", sparse=True))


def box_of(
    shape: Shape,
    counts: Sequence[int],
    offset: Sequence[float],
    h: float,
    periodic: Sequence[bool] = (False,) * 3,
) -> list[tuple[int, int]]:
    """Index ranges (first, end) of the samples within one cell of `shape` on a grid of cell size `h` (m), cut to an
    array of `counts` samples except along `periodic` axes. `offset`: see `positions`."""
    ranges = []
    for a, n in enumerate(counts):
        reach = shape.half_extent(a) + h
        first = math.floor((shape.center[a] - reach) / h - offset[a])
        last = math.ceil((shape.center[a] + reach) / h - offset[a]) + 1
        ranges.append((first, last) if periodic[a] else (min(max(first, 0), n), min(max(last, 0), n)))
    return ranges
