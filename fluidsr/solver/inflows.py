"""Sources that create volume: nozzles, whose surface carries a given flux, and expanding gas."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fluidsr.errors import InputError
from fluidsr.solver.geometry import Geometry
from fluidsr.solver.grid import Grid
from fluidsr.solver.pockets import pockets_of
from fluidsr.solver.projection import Projection
from fluidsr.solver.setup import Source
from fluidsr.solver.shapes import Shape, box_of, shares
from fluidsr.solver.sources import CENTRES, Cover, cover, noise_factors

LEAST_SHARE = 0.02  # cells of which a nozzle covers less are not part of it
Faces = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class _Faces:
    """The closed faces of a nozzle normal to one axis.

    Attributes:
        source: the nozzle.
        axis: the normal of the faces.
        places: indices of the faces, `[n, 3]`.
        speed: flow through each face without noise, m/s, averaged over the face.
        from_solid: velocity that a moving solid contributes to the face, m/s.
        sides: flat indices of the cells on the lower and the upper side of each face; -1 outside the domain.
    """

    source: Source
    axis: int
    places: np.ndarray
    speed: np.ndarray
    from_solid: np.ndarray
    sides: tuple[np.ndarray, np.ndarray]


class Inflows:
    """The effect of sources with `inflow` or `expansion` on the pressure equation.

    A nozzle closes the faces of its cells and prescribes their velocity, like a moving solid. In the direction of its
    velocity, the faces of each line of cells carry the share of the cross-section that the shape covers. For a slanted
    velocity the flow through a face is limited to what crosses the true surface there, and the total is scaled to the
    flow through the shape's true cross-section. Nothing enters through the other sides: the cells inside create the
    volume.
    """

    def __init__(self, sources: Sequence[Source], grid: Grid, device: str) -> None:
        self.grid, self.device = grid, device
        self.sources = [(n, s) for n, s in enumerate(sources) if s.inflow or s.expansion]
        self._active_sources: tuple[int, ...] = ()
        self._noisy: list[_Faces] = []
        self._steady, self._walled = np.zeros(0, np.float32), np.zeros(0, np.int64)

    def changed(self, start: float, end: float) -> bool:
        """Whether the sources that are active in a substep from `start` to `end` (s) differ from those of the last
        `over`, or one of them moves."""
        active = self._active(start, end)
        return active != self._active_sources or any(
            s.motion is not None for n, s in self.sources if n in active
        )

    def _active(self, start: float, end: float) -> tuple[int, ...]:
        return tuple(n for n, s in self.sources if s.active(start, end))

    def check(self, geometry: Geometry) -> None:
        """Raise InputError if a source, when it starts, would blow into a body of air that no gas can leave, in this
        `geometry`."""
        for n, source in self.sources:
            self._over(geometry, [(n, source)], source.seconds[0])

    def over(self, geometry: Geometry, start: float, end: float) -> Geometry:
        """The `geometry` of the solids, extended by the sources that are active in a substep from `start` to `end` (s),
        at their positions at the end.

        Raises InputError if a source would blow into a body of air that no gas can leave.
        """
        self._active_sources = self._active(start, end)
        return self._over(geometry, [(n, s) for n, s in self.sources if n in self._active_sources], end)

    def _over(self, base: Geometry, sources: list[tuple[int, Source]], time: float) -> Geometry:
        self._noisy = []
        if not sources:
            return base
        grid = self.grid
        fluid, weights = base.fluid.copy(), _copies(base.weights)
        u, v, w = (np.zeros(grid.faces(axis), np.float32) for axis in range(3))
        speeds = _copies(base.solid_velocity or (u, v, w))
        outflow = np.zeros(
            grid.cells, np.float32
        )  # flux out of the faces of cells, m/s, negative where air comes in
        parts: list[_Faces] = []
        for _, source in sources:
            covered = cover(source, grid, base.fluid, time)
            if covered is None:
                continue
            if source.expansion:
                expanding = np.nonzero(covered.volume)
                outflow[covered.cells(expanding, grid)] -= (
                    source.expansion * grid.cell_size * covered.volume[expanding]
                )
            velocity = source.velocity_at(time)
            if source.inflow and velocity is not None:
                inside = covered.volume > LEAST_SHARE * covered.volume.max()
                fluid[covered.cells(np.nonzero(inside), grid)] = False
                excess = _excess(covered.shape, velocity, grid)
                parts += [
                    self._close(source, covered, inside, axis, velocity, excess, weights, speeds)
                    for axis in range(grid.dim)
                ]
        flux = np.zeros(grid.cells, np.float32) if base.wall_flux is None else base.wall_flux
        steady = np.where(fluid, flux + outflow, 0.0).astype(np.float32)
        for part in parts:
            _blow(outflow, part, part.speed)
        flux = np.where(fluid, flux + outflow, 0.0).astype(np.float32)
        pockets = tuple(pockets_of(grid, fluid, weights))
        self._refuse_trapped_air(np.where(fluid, -outflow, 0.0), pockets, sources)
        self._noisy = [part for part in parts if part.source.noise is not None]
        for part in parts:
            if part.source.noise is None:
                _blow(steady, part, part.speed)
        self._steady, self._walled = steady, np.flatnonzero(~fluid)
        return Geometry(fluid, weights, pockets, flux, speeds)

    def _close(
        self,
        source: Source,
        covered: Cover,
        inside: np.ndarray,
        axis: int,
        velocity: tuple[float, ...],
        excess: float,
        weights: Faces,
        speeds: Faces,
    ) -> _Faces:
        """Close the faces normal to `axis` of the cells of a nozzle, and add its flow to their `speeds`.

        Args:
            source: the nozzle.
            covered: the cells that it covers.
            inside: which cells of the window of `covered` belong to the nozzle.
            axis: normal of the faces.
            velocity: velocity of the emitted gas, m/s.
            excess: factor by which the flow through the faces is too large (see `_excess`).
            weights: open shares of all faces of the grid, changed in place.
            speeds: velocities of closed faces of the grid (m/s), changed in place.
        """
        n = self.grid.cells[axis]
        places, flow = _stairs(covered, inside, axis, velocity, self.grid.cell_size)
        flow = (flow / excess).astype(np.float32)
        for a in range(3):
            if self.grid.periodic[a]:
                places[:, a] %= self.grid.cells[a]
        # A face of two images of the nozzle keeps the stronger flow.
        order = np.argsort(abs(flow), kind="stable")
        places, flow = places[order], flow[order]
        _, strongest = np.unique(places[::-1], axis=0, return_index=True)
        keep = len(places) - 1 - strongest
        places, flow = places[keep], flow[keep]
        index = tuple(places.T)
        share = weights[axis][index]
        from_solid = (1.0 - share) * speeds[axis][index]
        weights[axis][index] = 0.0
        speeds[axis][index] = share * flow + from_solid
        if self.grid.periodic[axis]:
            for faces in (weights[axis], speeds[axis]):
                np.moveaxis(faces, axis, 0)[-1] = np.moveaxis(faces, axis, 0)[0]
        sides = []
        for step in (-1, 0):
            cells = places.copy()
            cells[:, axis] += step
            if self.grid.periodic[axis]:
                cells[:, axis] %= n
            outside = (cells[:, axis] < 0) | (cells[:, axis] >= n)
            flat = (cells[:, 0] * self.grid.cells[1] + cells[:, 1]) * self.grid.cells[2] + cells[:, 2]
            sides.append(np.where(outside, -1, flat))
        return _Faces(source, axis, places, share * flow, from_solid, (sides[0], sides[1]))

    def _refuse_trapped_air(
        self, blown: np.ndarray, pockets: Sequence[np.ndarray], sources: list[tuple[int, Source]]
    ) -> None:
        """Raise InputError if more gas is `blown` into a pocket than rounding accounts for."""
        for pocket in pockets:
            if float(blown.reshape(-1)[pocket].sum(dtype=np.float64)) > 1e-3 * float(abs(blown).sum()) > 0:
                number, source = sources[-1]
                raise InputError(
                    f"sources[{number}].{'inflow' if source.inflow else 'expansion'}",
                    "the air that it brings in cannot leave: the body of air around it touches no open side",
                    "open a side of the domain, or leave it out",
                )

    def renew(self, projection: Projection, time: float) -> None:
        """Update `projection` to the flux of the nozzles with noise at `time` (s)."""
        if not self._noisy:
            return
        device, flux = (
            projection.device,
            torch.from_numpy(self._steady).to(projection.device).view(-1).clone(),
        )
        for part in self._noisy:
            factor = noise_factors(part.source, self.grid, part.axis, part.places, time, device)
            flow = torch.from_numpy(part.speed).to(device) * factor
            counts = self.grid.faces(part.axis)
            x, y, z = part.places.T
            faces = torch.from_numpy((x * counts[1] + y) * counts[2] + z).to(device)
            speeds = projection.solid_velocity[part.axis]
            speeds[faces] = flow + torch.from_numpy(part.from_solid).to(device)
            if self.grid.periodic[part.axis]:
                faces_3d = speeds.view(counts)
                faces_3d.select(part.axis, -1).copy_(faces_3d.select(part.axis, 0))
            for cells, sign in zip(part.sides, (1.0, -1.0), strict=True):
                blown = cells >= 0
                flux.index_add_(
                    0,
                    torch.from_numpy(cells[blown]).to(device),
                    sign * flow[torch.from_numpy(blown).to(device)],
                )
        flux[torch.from_numpy(self._walled).to(device)] = 0.0
        projection.wall_flux.copy_(flux)


def _stairs(
    covered: Cover, inside: np.ndarray, axis: int, velocity: tuple[float, ...], cell_size: float
) -> tuple[np.ndarray, np.ndarray]:
    """Indices `[n, 3]` of the faces normal to `axis` of the cells `inside` a nozzle, and the flow through each, m/s."""
    speed = velocity[axis]
    across = np.where(inside, covered.across[axis], 0.0)
    line, full = np.moveaxis(across, axis, 0), np.moveaxis(inside, axis, 0)
    if speed < 0:
        line, full = line[::-1], full[::-1]
    line = line.copy()
    for i in range(1, len(line)):  # flow from one cell of the nozzle continues through the next one
        line[i] = np.where(full[i], np.maximum(line[i], line[i - 1]), 0.0)
    if speed < 0:
        line, full = line[::-1], full[::-1]
    none = np.zeros_like(line[:1])
    value = np.concatenate([none, line] if speed > 0 else [line, none]) * speed
    shut = np.concatenate([full, none > 0]) | np.concatenate([none > 0, full])
    value, shut = np.moveaxis(value, 0, axis), np.moveaxis(shut, 0, axis)
    index = np.nonzero(shut)
    flow = value[index].astype(np.float32)
    places = np.stack([w + f for w, f in zip(index, covered.first, strict=True)], axis=-1)
    if np.count_nonzero(velocity) > 1:
        flow *= _crossing(covered.shape, velocity, axis, places, cell_size)
    return places, flow


def _excess(shape: Shape, velocity: tuple[float, ...], grid: Grid) -> float:
    """The flow out of the stairs of cells that approximate `shape`, relative to the flow through the true cross-section
    of the shape, for a slanted `velocity` and without obstacles. 1 along an axis and for a mesh, whose cross-section is
    not known."""
    speed = math.hypot(*velocity)
    section = shape.section([v / speed for v in velocity]) if np.count_nonzero(velocity) > 1 else None
    if section is None:
        return 1.0
    ranges = box_of(shape, grid.shape, CENTRES, grid.cell_size, (True,) * 3)
    parts = shares(shape, ranges, CENTRES, grid.cell_size)
    counts = (*parts.volume.shape, 1)[:3]
    across = np.zeros((3, *counts))
    across[: grid.dim] = parts.across.reshape(grid.dim, *counts)
    volume = parts.volume.reshape(counts)
    covered = Cover(shape, (*parts.first, 0)[:3], volume, across, np.zeros((2, 3, *counts)))
    inside = volume > LEAST_SHARE * volume.max()
    flux = 0.0
    for axis in range(grid.dim):
        places, flow = _stairs(covered, inside, axis, velocity, grid.cell_size)
        ahead = (places - covered.first) - (np.arange(3) == axis) * (velocity[axis] < 0)
        within = ((ahead >= 0) & (ahead < counts)).all(axis=1)
        closed = inside[tuple(np.clip(ahead, 0, np.array(counts) - 1).T)] & within
        flux += float(abs(flow[~closed]).sum(dtype=np.float64))
    return flux * grid.cell_size ** (grid.dim - 1) / (section * speed) or 1.0


def _crossing(
    shape: Shape, velocity: tuple[float, ...], axis: int, places: np.ndarray, cell_size: float
) -> np.ndarray:
    """The share of a slanted flow out of stairs of cells, at the faces `places [n, 3]` normal to `axis`, that crosses
    the true surface of `shape` there: v.n, relative to the sum of its positive components."""
    at = [(places[:, b] + (0.0 if b == axis else 0.5)) * cell_size for b in range(len(velocity))]
    through = []
    for b, v in enumerate(velocity):
        ahead, behind = (
            [x + step * (b == c) for c, x in enumerate(at)] for step in (0.5 * cell_size, -0.5 * cell_size)
        )
        through.append(v * (shape.signed_distance(*ahead) - shape.signed_distance(*behind)))
    outwards = np.maximum(through, 0.0).sum(axis=0)
    net = np.maximum(np.sum(through, axis=0), 0.0)
    return np.divide(net, outwards, out=np.ones_like(net), where=outwards > 0)


def _copies(faces: Faces) -> Faces:
    u, v, w = (np.array(array) for array in faces)
    return u, v, w


def _blow(flux: np.ndarray, part: _Faces, speed: np.ndarray) -> None:
    """Add the flow through the faces of a nozzle, `speed` (m/s), to the outward `flux` of the adjacent cells."""
    for cells, sign in zip(part.sides, (1.0, -1.0), strict=True):
        inside = cells >= 0
        np.add.at(flux.reshape(-1), cells[inside], sign * speed[inside])
