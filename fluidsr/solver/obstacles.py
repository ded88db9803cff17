"""Where the fluid is: face weights of the pressure equation, and how fields are continued into solids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from fluidsr.errors import InputError
from fluidsr.solver.grid import Grid
from fluidsr.solver.setup import Obstacle
from fluidsr.solver.shapes import positions

# Layers of solid samples that advection may look at: it is bounded by how far flow along a wall strays into
# it.
LAYERS = 3
# Enclosed pockets of fewer cells become solid: nothing can flow in them.
LEAST_POCKET = 8


@dataclass(frozen=True)
class Geometry:
    """`fluid [nx, ny, nz]`: whether a cell holds fluid. `weights`: for each axis the share of every face
    that fluid can flow through, in [0, 1]; 0 on closed faces of the domain and between fluid and solid.
    `pockets`: flat indices of the cells of each body of fluid that touches no open face, where pressure is
    known up to a constant. Where solids move (else None): `wall_flux [nx, ny, nz]`, m/s, what flows out of a
    cell through the covered shares of its faces with the velocity of the solid, sum of outward sign * (1 -
    weight) * velocity; `solid_velocity`, of every face, m/s, is what shut ones carry."""

    fluid: np.ndarray
    weights: tuple[np.ndarray, np.ndarray, np.ndarray]
    pockets: tuple[np.ndarray, ...]
    wall_flux: np.ndarray | None = None
    solid_velocity: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    @staticmethod
    def of(grid: Grid, obstacles: Sequence[Obstacle]) -> Geometry:
        """Cells whose centre is in an obstacle are solid. Raises InputError where no fluid is left."""
        fluid = np.ones(grid.cells, bool)
        centres = positions(grid.shape, (0.5,) * grid.dim, grid.cell_size)
        for obstacle in obstacles:
            fluid &= (obstacle.shape.signed_distance(*centres) > 0).reshape(grid.cells)
        weights = _face_weights(grid, fluid)
        pockets = _pockets(grid, fluid)
        if any(len(pocket) < LEAST_POCKET for pocket in pockets) and len(obstacles) > 0:
            for pocket in pockets:
                fluid.reshape(-1)[pocket] &= len(pocket) >= LEAST_POCKET
            weights = _face_weights(grid, fluid)
            pockets = [pocket for pocket in pockets if len(pocket) >= LEAST_POCKET]
        if not fluid.any():
            raise InputError("obstacles", "they leave no room for fluid", "make them smaller")
        return Geometry(fluid, weights, tuple(pockets))


def _face_weights(grid: Grid, fluid: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    u, v, w = (
        (
            _pad(fluid, axis, (is_open[0], True)) & _pad(fluid, axis, (True, is_open[1]), after=True)
        ).astype(np.float32)
        for axis, is_open in enumerate(grid.opened)
    )  # fmt: skip
    return u, v, w


def _pad(fluid: np.ndarray, axis: int, outside: tuple[bool, bool], after: bool = False) -> np.ndarray:
    """Whether the cell before (after) each face normal to `axis` holds fluid; outside the domain as told."""
    width = [(0, 0)] * 3
    width[axis] = (0, 1) if after else (1, 0)
    return np.pad(fluid, width, constant_values=outside[1] if after else outside[0])


def _pockets(grid: Grid, fluid: np.ndarray) -> list[np.ndarray]:
    """Bodies of fluid that touch no open face of the domain, as flat indices."""
    labels, count = ndimage.label(fluid)
    vented = np.zeros(count + 1, bool)
    vented[0] = True
    for axis, (low, high) in enumerate(grid.opened):
        for side, is_open in ((0, low), (-1, high)):
            if is_open:
                vented[np.unique(np.take(labels, side, axis))] = True
    if vented.all():
        return []
    order = np.argsort(labels, axis=None, kind="stable")
    bounds = np.searchsorted(labels.reshape(-1)[order], np.arange(count + 2))
    return [order[bounds[n] : bounds[n + 1]] for n in range(1, count + 1) if not vented[n]]


class Continuation:
    """Continues a field into solids, layer by layer with the mean of known neighbours, so that
    interpolation near a solid meets the value of the fluid beside it: free slip for velocity, no loss of
    smoke for density."""

    def __init__(self, known: np.ndarray, device: str) -> None:
        self.layers: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        known = known.copy()
        index = np.arange(known.size).reshape(known.shape)
        for _ in range(LAYERS):
            if known.all():
                break
            beside = _neighbours(known, False)
            fresh = ~known & np.any(beside, axis=0)
            if not fresh.any():
                break
            share = np.stack([b[fresh] for b in beside], axis=1).astype(np.float32)
            source = np.stack([b[fresh] for b in _neighbours(index, 0)], axis=1)
            share /= share.sum(axis=1, keepdims=True)
            self.layers.append(
                (
                    torch.from_numpy(index[fresh]).to(device),
                    torch.from_numpy(source).to(device),
                    torch.from_numpy(share).to(device),
                )
            )
            known |= fresh

    def fill(self, field: torch.Tensor) -> None:
        """Overwrite the unknown samples of the flat `field` that lie within LAYERS of a known one."""
        for target, source, share in self.layers:
            field[target] = (field[source] * share).sum(dim=1)


def _neighbours(array: np.ndarray, outside: int | bool) -> list[np.ndarray]:
    """The array shifted by one sample each way along each axis; `outside` where there is no neighbour."""
    shifted = []
    for axis in range(array.ndim):
        for step in (1, -1):
            moved = np.roll(array, step, axis)
            edge = [slice(None)] * array.ndim
            edge[axis] = slice(0, 1) if step == 1 else slice(-1, None)
            moved[tuple(edge)] = outside
            shifted.append(moved)
    return shifted


class Solids:
    """The torch side of a Geometry: keeps solids free of smoke, and continues fields into them for
    advection."""

    def __init__(self, geometry: Geometry, device: str) -> None:
        self.any = not bool(geometry.fluid.all())
        if not self.any:
            return
        self.cells = torch.from_numpy(np.nonzero(~geometry.fluid.reshape(-1))[0]).to(device)
        self.scalar = Continuation(geometry.fluid, device)
        # A face beside fluid is known (its flow is zero where it is closed); only those within solids are
        # not.
        self.faces = tuple(
            Continuation(
                _pad(geometry.fluid, axis, (False, False))
                | _pad(geometry.fluid, axis, (False, False), after=True),
                device,
            )
            for axis in range(3)
        )

    def continue_into(self, scalars: Sequence[torch.Tensor], velocity: Sequence[torch.Tensor]) -> None:
        """Give solid samples near fluid the values of that fluid."""
        if self.any:
            for scalar in scalars:
                self.scalar.fill(scalar)
            for component, faces in zip(velocity, self.faces, strict=False):
                faces.fill(component)

    def clear(self, scalars: Sequence[torch.Tensor]) -> None:
        """No smoke and no heat in solids."""
        if self.any:
            for scalar in scalars:
                scalar[self.cells] = 0.0
