"""The effect of solids on the fields: values are extrapolated into them for interpolation, and smoke neither leaks
through them nor stays in them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from fluidsr.solver.advection import Advection
from fluidsr.solver.cell_boxes import Box, window
from fluidsr.solver.geometry import CutCellGrid, Geometry, blocked_cells, face_weights
from fluidsr.solver.kernels_solids import block_leaks, extrapolate_layer, fill_uncovered

# Layers of samples in solids that are extrapolated. Paths along a wall do not lead deeper into it.
LAYERS = 3
DEEP = 100  # marks samples deeper than LAYERS
WAITING = 127  # see kernels_solids.fill_uncovered
# Cells that a solid may move in a substep, so that the smoke ahead of it can flow away. A thin solid moves less than
# its thickness, or it could jump over a cell.
STRIDE = 1.0
# In cells. Layers of air between a surface and the next plane of faces count as thin below this height.
THIN_LAYER = 0.5
NO_FACE = (0, 0, 0)


class Solids:
    """Moves the obstacles of a simulation and treats the fields near them.

    The time is proportional to the number of cells near solids. Memory: 4 bytes per cell (16 on CUDA), 20 more if any
    obstacle moves.
    """

    def __init__(self, cut_cells: CutCellGrid, device: str) -> None:
        self.grid, self.device = cut_cells.grid, device
        grid, obstacles = cut_cells.grid, cut_cells.obstacles
        self.any, self.moves = len(obstacles) > 0, cut_cells.moves
        self.motions = [
            (o.motion, min(STRIDE, 0.8 * o.shape.thickness / grid.cell_size or STRIDE))
            for o in obstacles
            if o.motion
        ]
        if not self.any:
            return
        self.cut_cells = cut_cells
        self.periodic = tuple(int(p) for p in grid.periodic)
        self.normals = (NO_FACE, *(tuple(int(a == axis) for a in range(3)) for axis in range(3)))
        shapes = [grid.cells, *(grid.faces(axis) for axis in range(3))]
        # Of each sample: 0 if it is known, 1 to LAYERS if it is extrapolated in this order, DEEP if it is left alone.
        self.layers = [torch.zeros(shape, dtype=torch.int8, device=device) for shape in shapes]
        # Samples near still solids are collected once, those near moving solids after each move.
        still = (
            CutCellGrid(grid, [o for o in obstacles if o.motion is None], 0.0) if self.moves else cut_cells
        )
        self._still_boxes = still.touched
        self._still = [self._mark(still, self._still_boxes, kind) for kind in range(4)]
        self._still_walls: tuple[int, _Walls] | None = None
        self._refresh(self.cut_cells.touched if self.moves else [])

    def required_substeps(self, start: float, end: float) -> float:
        """The number of substeps that moving solids require between two times (s)."""
        required = (
            motion.speed(start, end) * (end - start) / (stride * self.grid.cell_size)
            for motion, stride in self.motions
        )
        return max(required, default=0.0)

    def speed(self, start: float, end: float) -> float:
        """The greatest velocity component of any solid between two times (s), in m/s."""
        return max((motion.speed(start, end) for motion, _ in self.motions), default=0.0)

    def about_to_move(self, start: float, end: float) -> list[Box]:
        """The boxes of the cells that moving solids touch at present; empty if no solid moves between two times (s)."""
        if not self.any or self.speed(start, end) == 0:
            return []
        return self._moving_boxes

    def solid_fraction(self) -> torch.Tensor | None:
        """The share of each cell that is solid, `[nx, ny, nz]`, a new tensor; None without obstacles."""
        return torch.from_numpy(self.cut_cells.solid_fraction()).to(self.device) if self.any else None

    def extrapolate(self, scalars: Sequence[torch.Tensor], velocity: Sequence[torch.Tensor]) -> None:
        """Extrapolate `scalars` and `velocity` (u, v, w), flat and in place, into the first LAYERS of samples in
        solids, so that interpolation near a solid uses values of the fluid. For velocity this means free slip."""
        if not self.any:
            return
        for field, kind in [*((scalar, 0) for scalar in scalars), *zip(velocity, (1, 2, 3), strict=False)]:
            layer = self.layers[kind]
            if self._samples[kind].numel():
                for wanted in range(1, LAYERS + 1):
                    extrapolate_layer(
                        field, layer.view(-1), self._samples[kind], wanted, *layer.shape, *self.periodic,
                        *self.normals[kind],
                    )  # fmt: skip

    def damp_thin_layers(self, velocity: Sequence[torch.Tensor]) -> None:
        """Damp the flow normal to a surface in cells that hold only a thin layer of air on it: the velocity on the
        outer face of the layer is moved towards that of the solid, more so for thinner layers.

        So near to a surface air hardly moves towards it. Advection, sources and forces ignore this, and projection
        would turn the momentum of a whole cell into a jet along a layer that holds a fraction of its mass.
        """
        if not self.any:
            return
        for component, (faces, factor, resting) in zip(velocity, self._over_thin_layers, strict=False):
            component[faces] = resting + factor * (component[faces] - resting)

    @property
    def beside(self) -> torch.Tensor | None:
        """The fluid cells (flat indices) that solids touch or cut; None without obstacles."""
        return self._beside if self.any else None

    def block_leaks(
        self, scalar: torch.Tensor, advection: Advection, reach: float
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        """The cells whose advected value must be replaced so that smoke does not pass through walls, however thin.

        Args:
            scalar: flat, one number per cell, before it is advected.
            advection: has traced the flow.
            reach: the most cells that the flow crosses.

        Returns the cells (flat indices) and their values after advection: for cells whose value would come from samples
        behind a wall, an interpolation of the samples that a chain of open faces connects with them; for solid cells,
        0. None without obstacles.
        """
        if not self.any:
            return None
        fixed = [(self._solid, torch.zeros(self._solid.numel(), device=self.device))]
        for walls in self._walls(math.ceil(reach) + 1):
            count = walls.cells.numel()
            if count:
                value = torch.empty(count, dtype=torch.float32, device=self.device)
                behind = torch.empty(count, dtype=torch.int8, device=self.device)
                block_leaks(
                    scalar, walls.cells, walls.clearance, advection.came_from(walls.cells).view(-1), value, behind,
                    *self._weights, *self.grid.cells, *self.periodic,
                )  # fmt: skip
                leaking = behind.nonzero().squeeze(1)
                fixed.append((walls.cells[leaking].long(), value[leaking]))
        cells, values = (torch.cat(parts) for parts in zip(*fixed, strict=True))
        return cells, values

    def move(self, time: float, scalars: Sequence[torch.Tensor]) -> Geometry | None:
        """Move the solids to `time` (s) and set the flat `scalars` inside them to 0. Returns the geometry if it may
        have changed, otherwise None.

        Cells that a solid uncovers get the mean of the adjacent fluid on the same side of any wall; the content of
        cells that it covers is lost. The velocity of closed faces is set by the projection that follows.
        """
        if not self.any:
            return None
        if self.moves:
            was_fluid = self.cut_cells.fluid.copy()
            self.cut_cells.move(time)
            self._refresh(self.cut_cells.touched)
            fluid = self.cut_cells.fluid
            fresh = torch.from_numpy(np.flatnonzero(fluid & ~was_fluid).astype(np.int32)).to(self.device)
            if fresh.numel():
                for scalar in scalars:
                    state = torch.from_numpy(np.where(was_fluid, 0, WAITING).astype(np.int8)).to(self.device)
                    scalar[fresh.long()] = 0.0
                    for wanted in range(1, LAYERS + 2):
                        fill_uncovered(
                            scalar, fresh, state.view(-1), wanted, *self._weights, *self.grid.cells,
                            *self.periodic,
                        )  # fmt: skip
        for scalar in scalars:
            scalar[self._solid] = 0.0
        return Geometry.at_present(self.cut_cells) if self.moves else None

    def _refresh(self, boxes: list[Box]) -> None:
        """Update the lists of samples near solids after a change of the geometry in `boxes`."""
        moving = [self._mark(self.cut_cells, boxes, kind, self.layers[kind]) for kind in range(4)]
        if not self.moves:
            for kind in range(4):
                self._mark(self.cut_cells, self._still_boxes, kind, self.layers[kind])
        self._samples = [
            torch.from_numpy(np.concatenate(pair)).to(self.device)
            for pair in zip(self._still, moving, strict=True)
        ]
        self._moving_boxes = boxes
        self._moving_walls: tuple[int, _Walls] | None = None
        self._solid = torch.from_numpy(np.flatnonzero(~self.cut_cells.fluid)).to(self.device)
        self._weights = [torch.from_numpy(w.reshape(-1)).to(self.device) for w in self.cut_cells.weights]
        near = self._still_boxes + boxes if self.moves else self._still_boxes
        self._over_thin_layers = [self._thin_layers(near, axis) for axis in range(self.grid.dim)]
        touched = [np.zeros(0, np.int32)]
        for box in near:
            fluid, blocked = window(self.cut_cells.fluid, box), self._blocked(box, least=1.0)
            touched.append(_flat(fluid & blocked, [lo for lo, _ in box], self.grid.cells))
        self._beside = torch.from_numpy(np.unique(np.concatenate(touched))).long().to(self.device)

    def _thin_layers(self, boxes: list[Box], axis: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The faces normal to `axis` that `damp_thin_layers` changes: their flat indices, the factors on their velocity
        relative to the solid, and the velocity of the solid (m/s)."""
        weights, shape = self.cut_cells.weights, self.grid.faces(axis)
        factors: dict[int, float] = {}
        for box in boxes:
            first = [lo for lo, _ in box]
            low, high = _both_faces(weights[axis], axis, box)
            height = np.zeros(
                low.shape, np.float32
            )  # of the air in the cell: how far its other faces are open
            for across in range(3):
                if across != axis:
                    height = np.maximum(height, np.maximum(*_both_faces(weights[across], across, box)))
            thin = height < THIN_LAYER
            for inner, outer, up in ((low, high, 1), (high, low, 0)):
                thin_faces = thin & (inner == 0) & (outer > THIN_LAYER)
                start = [lo + up * (a == axis) for a, lo in enumerate(first)]
                for face, factor in zip(
                    _flat(thin_faces, start, shape).tolist(),
                    (height[thin_faces] / THIN_LAYER).tolist(),
                    strict=True,
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
        if self.cut_cells.solid_velocity is not None:
            resting = self.cut_cells.solid_velocity[axis].reshape(-1)[faces]
        factor = np.array([factors[face] for face in faces.tolist()], np.float32)
        return tuple(torch.from_numpy(a).to(self.device) for a in (faces, factor, resting))  # type: ignore[return-value]

    def _mark(
        self, cut_cells: CutCellGrid, boxes: list[Box], kind: int, layers: torch.Tensor | None = None
    ) -> np.ndarray:
        """The flat indices of the samples near `boxes` that are extrapolated. `kind`: 0 for cells, 1 + axis for faces.
        The layers of all samples near the boxes are written to `layers`, if given."""
        marked = []
        for box in boxes:
            wide, inside = self._grown(box, 2 * LAYERS), self._grown(box, LAYERS, cut=True)
            known = _known(cut_cells, wide, kind)
            layer = np.zeros(known.shape, np.int8)
            if not known.all():
                distance = ndimage.distance_transform_cdt(~known, "taxicab")
                layer = np.where((distance < 0) | (distance > LAYERS), DEEP, distance).astype(np.int8)
            face = self.normals[kind]
            inner = tuple(
                slice(lo - start, hi - start + e)
                for (lo, hi), (start, _), e in zip(inside, wide, face, strict=True)
            )
            layer = layer[inner]
            if layers is not None:
                layers[tuple(slice(lo, hi + e) for (lo, hi), e in zip(inside, face, strict=True))] = (
                    torch.from_numpy(np.ascontiguousarray(layer)).to(self.device)
                )
            shape = [n + e for n, e in zip(self.grid.cells, face, strict=True)]
            marked.append(_flat((layer > 0) & (layer < DEEP), [lo for lo, _ in inside], shape))
        return np.concatenate(marked) if marked else np.zeros(0, np.int32)

    def _grown(self, box: Box, cells: int, *, cut: bool = False) -> Box:
        """`box` extended by `cells` on all sides and cut to the grid; without `cut`, not along periodic axes."""
        return tuple(
            (lo - cells, hi + cells) if periodic and not cut else (max(lo - cells, 0), min(hi + cells, n))
            for (lo, hi), n, periodic in zip(box, self.grid.cells, self.grid.periodic, strict=True)
        )

    def _blocked(self, box: Box, least: float = 0.0) -> np.ndarray:
        return blocked_cells(self.grid, self.cut_cells.fluid, self.cut_cells.weights, box, least)

    def _walls(self, reach: int) -> list[_Walls]:
        """The cells that `block_leaks` tests for flow that crosses at most `reach` cells."""
        if self._still_walls is None or self._still_walls[0] < reach:
            self._still_walls = reach, self._near_walls(self._still_boxes, reach)
        if self._moving_walls is None or self._moving_walls[0] < reach:
            self._moving_walls = reach, self._near_walls(self._moving_boxes, reach)
        return [self._still_walls[1], self._moving_walls[1]]

    def _near_walls(self, boxes: list[Box], reach: int) -> _Walls:
        cells, clearances = [np.zeros(0, np.int32)], [np.zeros(0, np.int8)]
        for box in boxes:
            wide, inside = self._grown(box, 2 * reach), self._grown(box, reach, cut=True)
            fluid, blocked = window(self.cut_cells.fluid, wide), self._blocked(wide)
            if not blocked.any():
                continue
            distance = ndimage.distance_transform_cdt(~blocked, "chessboard")
            inner = tuple(
                slice(lo - start, hi - start) for (lo, hi), (start, _) in zip(inside, wide, strict=True)
            )
            distance, near = distance[inner], fluid[inner] & (distance[inner] <= reach)
            cells.append(_flat(near, [lo for lo, _ in inside], self.grid.cells))
            clearances.append(distance[near].astype(np.int8))
        return _Walls(
            torch.from_numpy(np.concatenate(cells)).to(self.device),
            torch.from_numpy(np.concatenate(clearances)).to(self.device),
        )


@dataclass(frozen=True)
class _Walls:
    """The fluid cells near walls."""

    cells: torch.Tensor  # flat indices
    clearance: torch.Tensor  # distance to the nearest wall, in cells


def _flat(chosen: np.ndarray, first: Sequence[int], shape: Sequence[int]) -> np.ndarray:
    """The flat indices, in an array of `shape`, of the true entries of a window that starts at `first`."""
    i, j, k = (index + start for index, start in zip(np.nonzero(chosen), first, strict=True))
    return ((i * shape[1] + j) * shape[2] + k).astype(np.int32)


def _both_faces(faces: np.ndarray, axis: int, box: Box) -> tuple[np.ndarray, np.ndarray]:
    """The values of the lower and the upper faces normal to `axis` of the cells of `box`."""
    near = faces[tuple(slice(lo, hi + (a == axis)) for a, (lo, hi) in enumerate(box))]
    return np.delete(near, -1, axis), np.delete(near, 0, axis)


def _known(cut_cells: CutCellGrid, box: Box, kind: int) -> np.ndarray:
    """Whether each sample of `box` has a value of its own, so that it needs no extrapolation.

    `kind` 0: cells of fluid. `kind` 1 + axis: faces normal to the axis that are open, or that a roughly parallel
    surface closes, which is assumed if they are beside a fluid cell that is open on its other side. (The velocity of a
    face that a slanted surface closes says nothing about the flow along it.)"""
    if kind == 0:
        return window(cut_cells.fluid, box)
    axis, grid = kind - 1, cut_cells.grid
    lo, hi = box[axis]
    wide = tuple((a - 1, b + 2) if a_ == axis else (a, b) for a_, (a, b) in enumerate(box))
    share = window(face_weights(grid, cut_cells.weights, axis), wide)  # faces lo - 1 to hi + 1
    cells = window(
        cut_cells.fluid, tuple((a, b - 1) if a_ == axis else (a, b) for a_, (a, b) in enumerate(wide))
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
