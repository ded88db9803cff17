"""What solids do to the fields: they are continued into them for interpolation, smoke never goes through them,
and moving ones push it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from fluidsr.solver.advection import Advection
from fluidsr.solver.bodies import Box
from fluidsr.solver.geometry import Geometry, Terrain
from fluidsr.solver.kernels_solids import continue_layer, shielded, uncover

# Layers of solid samples that advection may look at: bounded by how far flow along a wall strays into it.
LAYERS = 3
DEEP = 100  # the layer of what lies deeper
WAITING = 127  # see kernels_solids.uncover
# A solid may move so far in a substep that the smoke before it has time to give way, in cells; a thin one no
# further than it is thick, lest it jump over a cell.
STRIDE = 1.0
# A layer of air between a surface and the next plane of faces is thin below this height, in cells.
THIN_LAYER = 0.5
NO_FACE = (0, 0, 0)


class Solids:
    """The obstacles of a grid as the solver meets them.

    Costs in proportion to the cells near solids. Memory: 4 bytes a cell (16 on CUDA), 20 more where any moves.
    """

    def __init__(self, terrain: Terrain, device: str) -> None:
        self.grid, self.device = terrain.grid, device
        grid, obstacles = terrain.grid, terrain.obstacles
        self.any, self.moves = len(obstacles) > 0, terrain.moves
        self.motions = [
            (o.motion, min(STRIDE, 0.8 * o.shape.thickness / grid.cell_size or STRIDE))
            for o in obstacles
            if o.motion
        ]
        if not self.any:
            return
        self.terrain = terrain
        self.periodic = tuple(int(p) for p in grid.periodic)
        self.normals = (NO_FACE, *(tuple(int(a == axis) for a in range(3)) for axis in range(3)))
        shapes = [grid.cells, *(grid.faces(axis) for axis in range(3))]
        # 0: known; 1 to LAYERS: continued, in this order; DEEP: left alone
        self.layers = [torch.zeros(shape, dtype=torch.int8, device=device) for shape in shapes]
        # What stands still is listed once; what lies near a moving solid, after each move.
        still = Terrain(grid, [o for o in obstacles if o.motion is None], 0.0) if self.moves else terrain
        self._still_boxes = still.touched
        self._still = [self._mark(still, self._still_boxes, kind) for kind in range(4)]
        self._still_walls: tuple[int, _Walls] | None = None
        self._refresh(self.terrain.touched if self.moves else [])

    def strides(self, start: float, end: float) -> float:
        """How many substeps moving solids ask for between two times (s)."""
        asked = (
            motion.speed(start, end) * (end - start) / (stride * self.grid.cell_size)
            for motion, stride in self.motions
        )
        return max(asked, default=0.0)

    def speed(self, start: float, end: float) -> float:
        """Greatest velocity component of any solid between two times (s), m/s."""
        return max((motion.speed(start, end) for motion, _ in self.motions), default=0.0)

    def about_to_move(self, start: float, end: float) -> list[Box]:
        """The cells that solids touch which move between two times (s), where they are at present; none where none
        moves."""
        if not self.any or self.speed(start, end) == 0:
            return []
        return self._moving_boxes

    def share(self) -> torch.Tensor | None:
        """Of each cell that is solid, [nx, ny, nz]; None where there are no obstacles."""
        return torch.from_numpy(self.terrain.share()).to(self.device) if self.any else None

    def continue_into(self, scalars: Sequence[torch.Tensor], velocity: Sequence[torch.Tensor]) -> None:
        """Give samples in solids, up to LAYERS from the fluid, the mean of the known ones beside them, so that
        interpolation near a solid meets the values of the fluid: free slip for velocity."""
        if not self.any:
            return
        for field, kind in [*((scalar, 0) for scalar in scalars), *zip(velocity, (1, 2, 3), strict=False)]:
            layer = self.layers[kind]
            if self._samples[kind].numel():
                for wanted in range(1, LAYERS + 1):
                    continue_layer(
                        field, layer.view(-1), self._samples[kind], wanted, *layer.shape, *self.periodic,
                        *self.normals[kind],
                    )  # fmt: skip

    def hold_back(self, velocity: Sequence[torch.Tensor]) -> None:
        """Where a cell holds but a thin layer of air on a solid, take the flow against and off the surface on the
        layer's other side towards the solid's own, in proportion to the layer's height.

        So near to a surface air hardly moves towards it. Advection, which has brought that flow from afar, sources
        and forces do not know this; and projection would turn a whole cell's momentum into a jet along the layer,
        which holds a fraction of its mass.
        """
        if not self.any:
            return
        for component, (faces, factor, resting) in zip(velocity, self._over_thin_layers, strict=False):
            component[faces] = resting + factor * (component[faces] - resting)

    @property
    def beside(self) -> torch.Tensor | None:
        """Cells (flat indices) of fluid that solids touch, or cut; None where there are no obstacles."""
        return self._beside if self.any else None

    def shield(
        self, scalar: torch.Tensor, advection: Advection, reach: float
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Cells (flat indices) whose advected value would be made of samples behind a wall, and the value that
        they get from this side; and solid cells, which get 0; to be put in place once `scalar` has been advected. None
        where there are no obstacles.

        `advection` has traced the flow, which crosses at most `reach` cells. Nothing is made of what no chain of open
        faces leads to, so smoke passes no wall, however thin.
        """
        if not self.any:
            return None
        found = [(self._solid, torch.zeros(self._solid.numel(), device=self.device))]
        for walls in self._walls(math.ceil(reach) + 1):
            count = walls.cells.numel()
            if count:
                value = torch.empty(count, dtype=torch.float32, device=self.device)
                behind = torch.empty(count, dtype=torch.int8, device=self.device)
                shielded(
                    scalar, walls.cells, walls.clearance, advection.came_from(walls.cells).view(-1), value, behind,
                    *self._weights, *self.grid.cells, *self.periodic,
                )  # fmt: skip
                where = behind.nonzero().squeeze(1)
                found.append((walls.cells[where].long(), value[where]))
        cells, values = (torch.cat(parts) for parts in zip(*found, strict=True))
        return cells, values

    def move(self, time: float, scalars: Sequence[torch.Tensor]) -> Geometry | None:
        """Bring solids to `time` (s), and empty them: no smoke and no heat in solids. Returns the geometry
        where it has changed.

        Cells that a solid uncovers get the mean of the fluid beside them, on this side of any wall; what is
        left in cells that it covers is gone. Face velocities stay as they are: the projection that follows
        gives the solids' to closed faces.
        """
        if not self.any:
            return None
        if self.moves:
            before = self.terrain.fluid.copy()
            self.terrain.move(time)
            self._refresh(self.terrain.touched)
            fluid = self.terrain.fluid
            fresh = torch.from_numpy(np.flatnonzero(fluid & ~before).astype(np.int32)).to(self.device)
            if fresh.numel():
                for scalar in scalars:
                    state = torch.from_numpy(np.where(before, 0, WAITING).astype(np.int8)).to(self.device)
                    scalar[fresh.long()] = 0.0
                    for wanted in range(1, LAYERS + 2):
                        uncover(
                            scalar, fresh, state.view(-1), wanted, *self._weights, *self.grid.cells,
                            *self.periodic,
                        )  # fmt: skip
        for scalar in scalars:
            scalar[self._solid] = 0.0
        return Geometry.at_present(self.terrain) if self.moves else None

    def _refresh(self, boxes: list[Box]) -> None:
        """Bring the lists up to date where the terrain has changed."""
        moving = [self._mark(self.terrain, boxes, kind, self.layers[kind]) for kind in range(4)]
        if not self.moves:
            for kind in range(4):
                self._mark(self.terrain, self._still_boxes, kind, self.layers[kind])
        self._samples = [
            torch.from_numpy(np.concatenate(pair)).to(self.device)
            for pair in zip(self._still, moving, strict=True)
        ]
        self._moving_boxes = boxes
        self._moving_walls: tuple[int, _Walls] | None = None
        self._solid = torch.from_numpy(np.flatnonzero(~self.terrain.fluid)).to(self.device)
        self._weights = [torch.from_numpy(w.reshape(-1)).to(self.device) for w in self.terrain.weights]
        near = self._still_boxes + boxes if self.moves else self._still_boxes
        self._over_thin_layers = [self._thin_layers(near, axis) for axis in range(self.grid.dim)]
        touched = [np.zeros(0, np.int32)]
        for box in near:
            fluid, blocked = _blocked(self.terrain, box, whole=1.0)
            touched.append(_flat(fluid & blocked, [lo for lo, _ in box], self.grid.cells))
        self._beside = torch.from_numpy(np.unique(np.concatenate(touched))).long().to(self.device)

    def _thin_layers(self, boxes: list[Box], axis: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """See `hold_back`: flat indices of faces normal to `axis`, what to multiply the velocity there by, and the
        solid's velocity."""
        weights, shape = self.terrain.weights, self.grid.faces(axis)
        factors: dict[int, float] = {}
        for box in boxes:
            first = [lo for lo, _ in box]
            low, high = _both_faces(weights[axis], axis, box)
            height = np.zeros(
                low.shape, np.float32
            )  # of the air in the cell: what its other faces are open by
            for other in range(3):
                if other != axis:
                    height = np.maximum(height, np.maximum(*_both_faces(weights[other], other, box)))
            thin = height < THIN_LAYER
            for inner, outer, up in ((low, high, 1), (high, low, 0)):
                found = thin & (inner == 0) & (outer > THIN_LAYER)
                start = [lo + up * (a == axis) for a, lo in enumerate(first)]
                for face, factor in zip(
                    _flat(found, start, shape).tolist(), (height[found] / THIN_LAYER).tolist(), strict=True
                ):
                    factors[face] = min(factor, factors.get(face, 1.0))
        if self.grid.periodic[axis]:  # both copies of a face
            step = int(np.prod(shape[axis + 1 :]))
            lap = self.grid.cells[axis] * step
            for face, factor in list(factors.items()):
                index = face // step % shape[axis]
                if index in (0, self.grid.cells[axis]):
                    factors[face - lap if index else face + lap] = factor
        faces = np.array(sorted(factors), np.int64)
        resting = np.zeros(len(faces), np.float32)
        if self.terrain.solid_velocity is not None:
            resting = self.terrain.solid_velocity[axis].reshape(-1)[faces]
        factor = np.array([factors[face] for face in faces.tolist()], np.float32)
        return tuple(torch.from_numpy(a).to(self.device) for a in (faces, factor, resting))  # type: ignore[return-value]

    def _mark(
        self, terrain: Terrain, boxes: list[Box], kind: int, layers: torch.Tensor | None = None
    ) -> np.ndarray:
        """Flat indices of the unknown samples near `boxes` that are to be continued, and their layers."""
        found = []
        for box in boxes:
            wide, window = self._grown(box, 2 * LAYERS), self._grown(box, LAYERS, cut=True)
            known = _known(terrain, wide, kind)
            layer = np.zeros(known.shape, np.int8)
            if not known.all():
                far = ndimage.distance_transform_cdt(~known, "taxicab")
                layer = np.where((far < 0) | (far > LAYERS), DEEP, far).astype(np.int8)
            face = self.normals[kind]
            inner = tuple(
                slice(lo - start, hi - start + e)
                for (lo, hi), (start, _), e in zip(window, wide, face, strict=True)
            )
            layer = layer[inner]
            if layers is not None:
                layers[tuple(slice(lo, hi + e) for (lo, hi), e in zip(window, face, strict=True))] = (
                    torch.from_numpy(np.ascontiguousarray(layer)).to(self.device)
                )
            shape = [n + e for n, e in zip(self.grid.cells, face, strict=True)]
            found.append(_flat((layer > 0) & (layer < DEEP), [lo for lo, _ in window], shape))
        return np.concatenate(found) if found else np.zeros(0, np.int32)

    def _grown(self, box: Box, cells: int, *, cut: bool = False) -> Box:
        """`box` with so many cells around it; not beyond the grid, but for periodic axes (unless `cut`)."""
        return tuple(
            (lo - cells, hi + cells) if periodic and not cut else (max(lo - cells, 0), min(hi + cells, n))
            for (lo, hi), n, periodic in zip(box, self.grid.cells, self.grid.periodic, strict=True)
        )

    def _walls(self, reach: int) -> list[_Walls]:
        """What `shield` looks at for flow that crosses at most `reach` cells."""
        if self._still_walls is None or self._still_walls[0] < reach:
            self._still_walls = reach, self._near_walls(self._still_boxes, reach)
        if self._moving_walls is None or self._moving_walls[0] < reach:
            self._moving_walls = reach, self._near_walls(self._moving_boxes, reach)
        return [self._still_walls[1], self._moving_walls[1]]

    def _near_walls(self, boxes: list[Box], reach: int) -> _Walls:
        found, clear = [np.zeros(0, np.int32)], [np.zeros(0, np.int8)]
        for box in boxes:
            wide, window = self._grown(box, 2 * reach), self._grown(box, reach, cut=True)
            fluid, blocked = _blocked(self.terrain, wide)
            if not blocked.any():
                continue
            away = ndimage.distance_transform_cdt(~blocked, "chessboard")
            inner = tuple(
                slice(lo - start, hi - start) for (lo, hi), (start, _) in zip(window, wide, strict=True)
            )
            away, near = away[inner], fluid[inner] & (away[inner] <= reach)
            found.append(_flat(near, [lo for lo, _ in window], self.grid.cells))
            clear.append(away[near].astype(np.int8))
        return _Walls(
            torch.from_numpy(np.concatenate(found)).to(self.device),
            torch.from_numpy(np.concatenate(clear)).to(self.device),
        )


@dataclass(frozen=True)
class _Walls:
    """Fluid cells (flat indices) near walls, and how many cells the nearest is away."""

    cells: torch.Tensor
    clearance: torch.Tensor


def _flat(chosen: np.ndarray, first: Sequence[int], shape: Sequence[int]) -> np.ndarray:
    """Flat indices in an array of `shape` of the true entries of a window that starts at `first`."""
    i, j, k = (index + start for index, start in zip(np.nonzero(chosen), first, strict=True))
    return ((i * shape[1] + j) * shape[2] + k).astype(np.int32)


def _cells(array: np.ndarray, box: Sequence[tuple[int, int]]) -> np.ndarray:
    """A window of an array; what lies beyond its ends comes from the other end (for periodic axes)."""
    return array[np.ix_(*(np.arange(lo, hi) % n for (lo, hi), n in zip(box, array.shape, strict=True)))]


def _faces(terrain: Terrain, axis: int, box: Sequence[tuple[int, int]]) -> np.ndarray:
    """Weights of the faces `lo .. hi - 1` along `axis`."""
    n = terrain.grid.cells[axis]
    weights = terrain.weights[axis]
    return _cells(_without_last(weights, axis) if terrain.grid.periodic[axis] and n else weights, box)


def _without_last(array: np.ndarray, axis: int) -> np.ndarray:
    return array[(slice(None),) * axis + (slice(None, -1),)]


def _both_faces(faces: np.ndarray, axis: int, box: Box) -> tuple[np.ndarray, np.ndarray]:
    """Of the cells of `box`, the numbers of their lower and upper faces normal to `axis`."""
    window = tuple(slice(lo, hi + (a == axis)) for a, (lo, hi) in enumerate(box))
    return np.delete(faces[window], -1, axis), np.delete(faces[window], 0, axis)


def _known(terrain: Terrain, box: Box, kind: int) -> np.ndarray:
    """Whether samples need no continuation: cells (`kind` 0) of fluid; faces (normal to axis `kind` - 1) that
    are open, or closed by a surface that is rather parallel to them: beside a cell of fluid that is open on its
    other side. (Faces that a slanted surface closes know nothing of the flow along it.)"""
    if kind == 0:
        return _cells(terrain.fluid, box)
    axis, grid = kind - 1, terrain.grid
    lo, hi = box[axis]
    wide = tuple((a - 1, b + 2) if a_ == axis else (a, b) for a_, (a, b) in enumerate(box))
    share = _faces(terrain, axis, wide)  # faces lo - 1 to hi + 1
    cells = _cells(
        terrain.fluid, tuple((a, b - 1) if a_ == axis else (a, b) for a_, (a, b) in enumerate(wide))
    )
    cells = cells.copy()
    if not grid.periodic[axis]:  # there are no cells outside
        outside = [i for i in range(hi - lo + 2) if not 0 <= lo - 1 + i < grid.cells[axis]]
        cells[(slice(None),) * axis + (outside,)] = False

    def part(array: np.ndarray, first: int, count: int) -> np.ndarray:
        return array[(slice(None),) * axis + (slice(first, first + count),)]

    count = hi - lo + 1
    upright = (share == 0) | (share >= 0.5)
    below = part(cells, 0, count) & part(upright, 0, count)
    above = part(cells, 1, count) & part(upright, 2, count)
    return (part(share, 1, count) > 0) | below | above


def _blocked(terrain: Terrain, box: Box, whole: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Whether cells hold fluid, and whether they are solid or have a face within the domain that is closed: open by
    no more than 0, or by less than `whole`."""
    fluid = _cells(terrain.fluid, box)
    blocked = ~fluid
    for axis, (lo, hi) in enumerate(box):
        share = _faces(terrain, axis, tuple((a, b + (a_ == axis)) for a_, (a, b) in enumerate(box)))
        closed = (share == 0) | (share < whole)
        if not terrain.grid.periodic[axis]:
            walls = [i for i in range(hi - lo + 1) if lo + i in (0, terrain.grid.cells[axis])]
            closed[(slice(None),) * axis + (walls,)] = False
        blocked |= np.delete(closed, -1, axis) | np.delete(closed, 0, axis)
    return fluid, blocked
