"""The geometry of a simulation: which cells hold fluid and what share of each face is open, updated as obstacles move.

All values near a solid are functions of time and position only: those of a cell depend on the distances within two
cells of it, whatever window they are computed in. An update therefore costs only the cells near moving obstacles, and a
resumed run has the same bits as an uninterrupted one. The open share of a face follows from the signed distances at its
corners (Batty, Bertails and Bridson 2007).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from fluidsr.errors import InputError
from fluidsr.solver.bodies import CHUNK, Body, bodies_at, fraction_in
from fluidsr.solver.cell_boxes import Box, chunks, merged, overlap, window
from fluidsr.solver.grid import Grid
from fluidsr.solver.pockets import pockets_of
from fluidsr.solver.setup import Obstacle

# Smaller openings are closed. An opening contributes an eigenvalue of about its own size to the preconditioned pressure
# matrix, so the smallest one determines the condition number, and the flow through it vanishes in float32 rounding.
LEAST_OPENING = 0.02
MOST_OPENING = 0.999  # larger shares become 1, as a surface in a plane of faces is exact only up to rounding


def open_share(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """The share of square faces on which the distance to solids is positive.

    `a` to `d`: 1-D arrays of the distances at the four corners, in their order around the face. The distance is
    interpolated linearly on the four triangles between an edge and the centre, so the share is second order accurate,
    exact for a plane, and symmetric. In two dimensions (a = d, b = c) it is the share of the edge.
    """
    middle = 0.25 * (a + b + c + d)
    edges = ((a, b), (b, c), (c, d), (d, a))
    share = sum(_triangle(p, q, middle) for p, q in edges) * 0.25
    return np.where(share < LEAST_OPENING, 0.0, np.where(share > MOST_OPENING, 1.0, share))


def _triangle(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """The share of a triangle on which the linear function with these corner values is positive."""
    low, high = np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)
    mid = np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))
    with np.errstate(divide="ignore", invalid="ignore"):
        one_in = 1.0 - low * low / ((low - mid) * (low - high))
        two_in = high * high / ((high - low) * (high - mid))
    mixed = np.where(mid >= 0, one_in, two_in)
    return np.where(high <= 0, 0.0, np.where(low >= 0, 1.0, mixed))


# Enclosed pockets of fewer cells become solid.
LEAST_POCKET = 8
SURFACE = (
    1e-4  # cells; points this near to a surface count as solid, or rounding could open a face that lies in it
)
MARGIN = 2  # the values of a window depend on this many corners around it
FAR = 2.0  # cells; the upper limit of stored distances
# Cells: half the diagonal of a cell. If no corner within two cells lies deeper in a solid, the solid may be so thin
# that faces with open corners lead through it.
THIN = 0.87
PROBES = np.arange(-4, 5) / 8  # cells; points between two cell centres that are tested for thin solids
LEAST_THICKNESS = 0.25  # cells; thinner shapes are thickened to this, so that the probes do not miss them


class CutCellGrid:
    """Owns the arrays of a Geometry (`fluid`, `weights`, `pockets`, `wall_flux`, `solid_velocity`), which `move`
    updates in place."""

    def __init__(self, grid: Grid, obstacles: Sequence[Obstacle], time: float) -> None:
        self.grid, h = grid, grid.cell_size
        self.obstacles = [replace(o, shape=o.shape.at_least(LEAST_THICKNESS * h)) for o in obstacles]
        self.moves = any(obstacle.motion is not None for obstacle in obstacles)
        self.fluid = np.ones(grid.cells, bool)
        self.weights = _box_weights(grid, shared=not obstacles)
        self.pockets: tuple[np.ndarray, ...] = ()
        self.wall_flux = np.zeros(grid.cells, np.float32) if self.moves else None
        self.solid_velocity = _on_faces(grid, 0.0) if self.moves else None
        self.touched: list[Box] = []  # boxes that the last move changed
        self._stale: list[Box] = []  # boxes that the next move updates besides those that obstacles enter
        self._update(bodies_at(time, self.grid, self.obstacles), everywhere=True)

    def move(self, time: float) -> None:
        """Update all arrays to the positions of the obstacles at `time` (s). Raises InputError if no fluid is left."""
        if self.moves:
            self._update(bodies_at(time, self.grid, self.obstacles), everywhere=False)

    def solid_fraction(self) -> np.ndarray:
        """The share of each cell that is solid, smoothed over a cell: a new float32 array `[nx, ny, nz]`."""
        return fraction_in(self._present, self.grid, [(0, n) for n in self.grid.cells])

    def _update(self, bodies: list[Body], *, everywhere: bool) -> None:
        self._present = bodies
        moving = [body.box for body in bodies if body.moves]
        boxes = [body.box for body in bodies] if everywhere else self._stale + moving
        self.touched = merged(self._cut(boxes))
        for box in self.touched:
            for chunk in chunks(box, CHUNK):
                self._update_box(chunk, bodies)
        self._stale = list(moving)
        if self.obstacles:
            self._match_periodic_faces()
            self._close_small_pockets()
            if not self.fluid.any():
                raise InputError("obstacles", "they leave no room for fluid", "make them smaller")
        else:
            self.pockets = tuple(pockets_of(self.grid, self.fluid, self.weights))
        if self.moves:
            self._update_wall_flux(self._cut(moving))

    def _cut(self, boxes: Sequence[Box]) -> list[Box]:
        """The parts of `boxes` inside the grid."""
        return [
            tuple((max(a, 0), min(b, n)) for (a, b), n in zip(box, self.grid.cells, strict=True))
            for box in boxes
        ]

    def _update_box(self, box: Box, bodies: list[Body]) -> None:
        """Update fluid, weights and solid velocity in `box`."""
        h, dim = self.grid.cell_size, self.grid.dim
        near = [b for b in bodies if overlap(b.box, [(lo - 2 * MARGIN, hi + 2 * MARGIN) for lo, hi in box])]
        axes = [(np.arange(lo - MARGIN, hi + MARGIN + 1)) * h for lo, hi in box[:dim]]
        corners = np.meshgrid(*axes, indexing="ij", sparse=True)
        phi = np.full([len(axis) for axis in axes], FAR * h)
        nearest_body = np.zeros(phi.shape, np.int16)
        for number, body in enumerate(near):
            distance = body.shape.signed_distance(*corners) - SURFACE * h
            nearest_body[distance < phi] = number
            np.minimum(phi, distance, out=phi)
        deepest = ndimage.minimum_filter(phi, 2 * MARGIN + 1)
        inner = (slice(MARGIN, -MARGIN),) * dim
        phi, nearest_body, deepest = (_solid_corners(a[inner]) for a in (phi, nearest_body, deepest))
        speeds = np.array([body.velocity + (0.0,) * (3 - dim) for body in near] or [(0.0,) * 3])
        for axis in range(3):
            window = tuple(slice(lo, hi + (a == axis)) for a, (lo, hi) in enumerate(box))
            around = _corners(phi, axis)
            share = np.ones(around[0].shape, np.float32)
            lowest, highest = _extremes(around)
            share[highest <= 0] = 0.0
            cut = np.nonzero((lowest < 0) & (highest > 0))
            share[cut] = open_share(*(c[cut] for c in around))
            thin = (lowest < h) & (share > 0) & (_extremes(_corners(deepest, axis))[0] > -THIN * h)
            if axis < dim and thin.any():
                self._close_across_thin_solids(share, np.nonzero(thin), axis, box, near)
            self._close_walls(share, axis, box)
            self.weights[axis][window] = share
            if self.solid_velocity is not None:
                nearest = np.argmin(np.stack(around), axis=0)[None]
                body_index = np.take_along_axis(np.stack(_corners(nearest_body, axis)), nearest, axis=0)[0]
                speed = np.where(lowest < h, speeds[body_index, axis], 0.0).astype(np.float32)
                self._close_walls(speed, axis, box)
                self.solid_velocity[axis][window] = speed
        opening = np.zeros([hi - lo for lo, hi in box], np.float32)
        for axis in range(3):
            window = tuple(slice(lo, hi + (a == axis)) for a, (lo, hi) in enumerate(box))
            w = self.weights[axis][window]
            opening += np.delete(w, -1, axis) + np.delete(w, 0, axis)
        self.fluid[tuple(slice(lo, hi) for lo, hi in box)] = opening > 0

    def _close_across_thin_solids(
        self, share: np.ndarray, faces: tuple[np.ndarray, ...], axis: int, box: Box, near: list[Body]
    ) -> None:
        """Set the `share` of those `faces` (indices in `box`) to 0 that have a solid on the straight line between the
        centres of their two cells."""
        h = self.grid.cell_size
        at = [
            (index + lo + (0.0 if a == axis else 0.5)) * h
            for a, (index, (lo, _)) in enumerate(zip(faces, box, strict=True))
        ][: self.grid.dim]
        blocked = np.zeros(len(faces[0]), bool)
        for probe in PROBES:
            position = [x + probe * h if a == axis else x for a, x in enumerate(at)]
            for body in near:
                blocked |= body.shape.signed_distance(*position) <= SURFACE * h
        share[tuple(index[blocked] for index in faces)] = 0.0

    def _close_walls(self, share: np.ndarray, axis: int, box: Box) -> None:
        """Set the values on the closed ends of the domain, which are walls at rest, to 0."""
        (low, high), (first, end) = self.grid.opened[axis], box[axis]
        if self.grid.periodic[axis]:
            return
        if first == 0 and not low:
            _plane(share, axis, 0)[...] = 0.0
        if end == self.grid.cells[axis] and not high:
            _plane(share, axis, -1)[...] = 0.0

    def _match_periodic_faces(self) -> None:
        """Make the two copies of a face at the ends of a periodic axis equal."""
        for axis in range(self.grid.dim):
            if self.grid.periodic[axis]:
                for faces in (self.weights, self.solid_velocity or ()):
                    if faces:
                        _plane(faces[axis], axis, -1)[...] = _plane(faces[axis], axis, 0)

    def _close_small_pockets(self) -> None:
        """Update the pockets, and make those of fewer than LEAST_POCKET cells solid."""
        self.pockets = ()
        kept = []
        for pocket in pockets_of(self.grid, self.fluid, self.weights):
            if len(pocket) >= LEAST_POCKET:
                kept.append(pocket)
                continue
            cells = np.unravel_index(pocket, self.grid.cells)
            self.fluid[cells] = False
            for axis in range(3):
                self.weights[axis][cells] = 0.0
                self.weights[axis][tuple(c + (a == axis) for a, c in enumerate(cells))] = 0.0
            self._stale.append(tuple((int(c.min()), int(c.max()) + 1) for c in cells))
            self.touched.append(self._stale[-1])
        self._match_periodic_faces()
        self.pockets = tuple(kept)

    def _update_wall_flux(self, moving: list[Box]) -> None:
        """Update the flux that moving solids drive out of the cells ahead of them and into those behind."""
        assert self.wall_flux is not None and self.solid_velocity is not None
        self.wall_flux.fill(0.0)
        for box in moving:
            cells = tuple(slice(lo, hi) for lo, hi in box)
            flux = np.zeros([hi - lo for lo, hi in box], np.float32)
            for axis in range(3):
                window = tuple(slice(lo, hi + (a == axis)) for a, (lo, hi) in enumerate(box))
                flux += np.diff(
                    (1 - self.weights[axis][window]) * self.solid_velocity[axis][window], axis=axis
                )
            self.wall_flux[cells] = np.where(self.fluid[cells], flux, 0.0)


def blocked_cells(
    grid: Grid,
    fluid: np.ndarray,
    weights: Sequence[np.ndarray],
    box: Sequence[tuple[int, int]],
    least: float = 0.0,
) -> np.ndarray:
    """Whether each cell of a box is solid or has a closed face inside the domain.

    Faces with weight 0 or below `least` are closed; walls of the domain do not count. The box may extend beyond
    periodic ends.
    """
    blocked = ~window(fluid, box)
    for axis, (lo, hi) in enumerate(box):
        faces = tuple((a, b + (other == axis)) for other, (a, b) in enumerate(box))
        share = window(face_weights(grid, weights, axis), faces)
        closed = (share == 0) | (share < least)
        if not grid.periodic[axis]:
            walls = [i for i in range(hi - lo + 1) if lo + i in (0, grid.cells[axis])]
            closed[(slice(None),) * axis + (walls,)] = False
        blocked |= np.delete(closed, -1, axis) | np.delete(closed, 0, axis)
    return blocked


def face_weights(grid: Grid, weights: Sequence[np.ndarray], axis: int) -> np.ndarray:
    """The weights of the faces normal to `axis`, without the second copy of the first layer on a periodic axis."""
    return weights[axis][(slice(None),) * axis + (slice(None, -1),)] if grid.periodic[axis] else weights[axis]


def _box_weights(grid: Grid, *, shared: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The weights of an empty box. If they are `shared`, all faces of a layer share one number in memory, and the
    arrays are read-only."""
    weights = []
    for axis, (low, high) in enumerate(grid.opened):
        layers = np.ones(grid.cells[axis] + 1, np.float32)
        if not grid.periodic[axis]:
            layers[0], layers[-1] = low, high
        thin = layers.reshape([-1 if a == axis else 1 for a in range(3)])
        whole = np.broadcast_to(thin, grid.faces(axis))
        weights.append(whole if shared else whole.copy())
    u, v, w = weights
    return u, v, w


def _on_faces(grid: Grid, value: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    u, v, w = (np.full(grid.faces(axis), value, np.float32) for axis in range(3))
    return u, v, w


def _plane(array: np.ndarray, axis: int, index: int) -> np.ndarray:
    """A view of the layer `index` of `array` along `axis`."""
    return array[(slice(None),) * axis + (index,)]


def _solid_corners(corners: np.ndarray) -> np.ndarray:
    """Corner values of a 2-D grid as those of a 3-D grid one cell thick; 3-D ones unchanged."""
    return corners if corners.ndim == 3 else np.repeat(corners[..., None], 2, axis=2)


def _corners(corners: np.ndarray, axis: int) -> list[np.ndarray]:
    """The four corner values of each face normal to `axis`, in their order around the face."""
    b, c = (a for a in range(3) if a != axis)
    result = []
    for at_b, at_c in ((0, 0), (1, 0), (1, 1), (0, 1)):
        window = [slice(None)] * 3
        window[b] = slice(1, None) if at_b else slice(None, -1)
        window[c] = slice(1, None) if at_c else slice(None, -1)
        result.append(corners[tuple(window)])
    return result


def _extremes(around: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The least and the greatest of the four corner values of each face."""
    p, q, r, s = around
    low = np.minimum(np.minimum(p, q), np.minimum(r, s))
    return low, np.maximum(np.maximum(p, q), np.maximum(r, s))


@dataclass(frozen=True)
class Geometry:
    """The obstacles on a grid at one time.

    Attributes:
        fluid: `[nx, ny, nz]`, whether a cell holds fluid, at least in part.
        weights: for each axis the share of each face that fluid can flow through, in [0, 1], float32; 0 on closed ends
            of the domain, in solids, and where a thin solid separates two cells.
        pockets: flat indices of the cells of each body of fluid that touches no open face, in which the pressure is
            determined up to a constant.
        wall_flux: `[nx, ny, nz]`, m/s, the flux that moving solids drive out of a cell: the sum over its faces of
            (1 - weight) * solid velocity * outward sign. The net outflow of a cell is the sum over its faces of
            weight * velocity * outward sign, plus `wall_flux`. None if no obstacle moves.
        solid_velocity: for each axis the speed (m/s) of the nearest solid at the faces near solids, 0 elsewhere.
            None if no obstacle moves.
    """

    fluid: np.ndarray
    weights: tuple[np.ndarray, np.ndarray, np.ndarray]
    pockets: tuple[np.ndarray, ...]
    wall_flux: np.ndarray | None = None
    solid_velocity: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    @staticmethod
    def of(grid: Grid, obstacles: Sequence[Obstacle], time: float = 0.0) -> Geometry:
        """The geometry of `obstacles` at their positions at `time` (s). Raises InputError if no fluid is left."""
        return Geometry.at_present(CutCellGrid(grid, obstacles, time))

    @staticmethod
    def at_present(cut_cells: CutCellGrid) -> Geometry:
        """The present geometry of `cut_cells`. It shares their arrays, which the next move changes."""
        return Geometry(
            cut_cells.fluid,
            cut_cells.weights,
            cut_cells.pockets,
            cut_cells.wall_flux,
            cut_cells.solid_velocity,
        )
