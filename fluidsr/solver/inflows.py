"""Sources that make volume: nozzles, whose surface carries the flux that is asked for, and gas that expands."""

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

LEAST_SHARE = 0.02  # of a cell: smaller parts of a nozzle are left out
Faces = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class _Faces:
    """Faces of a nozzle: normal to `axis`, at `places [n, 3]`; `speed` of what the nozzle gives through them, m/s,
    without noise; `rest`, what a moving solid gives there. `sides`: flat indices of the cells before and behind each
    (-1: none that air can be blown into)."""

    source: Source
    axis: int
    places: np.ndarray
    speed: np.ndarray
    rest: np.ndarray
    sides: tuple[np.ndarray, np.ndarray]


class Inflows:
    """Owns what sources with `inflow` or `expansion` do to the equation of pressure.

    A nozzle closes the faces of the cells that it takes, and gives them its velocity, as a moving solid does; in
    direction of its velocity they carry, of each line of cells, the part of the cross-section that the shape covers;
    at a slant no more than what crosses the true surface there, and in all what the shape's own section lets through.
    Nothing comes in through the other sides: the cells within create the volume.
    """

    def __init__(self, sources: Sequence[Source], grid: Grid, device: str) -> None:
        self.grid, self.device = grid, device
        self.sources = [(n, s) for n, s in enumerate(sources) if s.inflow or s.expansion]
        self._on: tuple[int, ...] = ()
        self._noisy: list[_Faces] = []
        self._steady, self._walled = np.zeros(0, np.float32), np.zeros(0, np.int64)

    def changed(self, start: float) -> bool:
        """Whether what is on in a substep from `start` (s) differs from what `over` has met, or moves."""
        on = self._active(start)
        return on != self._on or any(s.motion is not None for n, s in self.sources if n in on)

    def _active(self, time: float) -> tuple[int, ...]:
        return tuple(n for n, s in self.sources if s.seconds[0] <= time < s.seconds[1])

    def check(self, geometry: Geometry) -> None:
        """Raise InputError where any source, at any time of its own, would blow into a body of air that nothing can
        leave, as `geometry` is."""
        for n, source in self.sources:
            self._over(geometry, [(n, source)], source.seconds[0])

    def over(self, geometry: Geometry, start: float, end: float) -> Geometry:
        """`geometry` (of solids) with what is on in a substep from `start` to `end` (s), where it is at the end.

        Raises InputError where air would be blown into a body that it cannot leave.
        """
        self._on = self._active(start)
        return self._over(geometry, [(n, s) for n, s in self.sources if n in self._on], end)

    def _over(self, base: Geometry, sources: list[tuple[int, Source]], time: float) -> Geometry:
        self._noisy = []
        if not sources:
            return base
        grid = self.grid
        fluid, weights = base.fluid.copy(), _copies(base.weights)
        u, v, w = (np.zeros(grid.faces(axis), np.float32) for axis in range(3))
        speeds = _copies(base.solid_velocity or (u, v, w))
        given = np.zeros(
            grid.cells, np.float32
        )  # flux out of the faces of cells, m/s, negative where air comes in
        parts: list[_Faces] = []
        for _, source in sources:
            found = cover(source, grid, base.fluid, time)
            if found is None:
                continue
            if source.expansion:
                some = np.nonzero(found.volume)
                given[found.cells(some, grid)] -= source.expansion * grid.cell_size * found.volume[some]
            velocity = source.velocity_at(time)
            if source.inflow and velocity is not None:
                inside = found.volume > LEAST_SHARE * found.volume.max()
                fluid[found.cells(np.nonzero(inside), grid)] = False
                excess = _excess(found.shape, velocity, grid)
                parts += [
                    self._close(source, found, inside, axis, velocity, excess, weights, speeds)
                    for axis in range(grid.dim)
                ]
        flux = np.zeros(grid.cells, np.float32) if base.wall_flux is None else base.wall_flux
        steady = np.where(fluid, flux + given, 0.0).astype(np.float32)
        for part in parts:
            _blow(given, part, part.speed)
        flux = np.where(fluid, flux + given, 0.0).astype(np.float32)
        pockets = tuple(pockets_of(grid, fluid, weights))
        self._refuse_pressure(np.where(fluid, -given, 0.0), pockets, sources)
        self._noisy = [part for part in parts if part.source.noise is not None]
        for part in parts:
            if part.source.noise is None:
                _blow(steady, part, part.speed)
        self._steady, self._walled = steady, np.flatnonzero(~fluid)
        return Geometry(fluid, weights, pockets, flux, speeds)

    def _close(
        self,
        source: Source,
        found: Cover,
        inside: np.ndarray,
        axis: int,
        velocity: tuple[float, ...],
        excess: float,
        weights: Faces,
        speeds: Faces,
    ) -> _Faces:
        """Close the faces normal to `axis` of the cells `inside` a nozzle, which flow leaves with `velocity` (m/s),
        `excess` times as much as it should."""
        n = self.grid.cells[axis]
        places, given = _stairs(found, inside, axis, velocity, self.grid.cell_size)
        given = (given / excess).astype(np.float32)
        for a in range(3):
            if self.grid.periodic[a]:
                places[:, a] %= self.grid.cells[a]
        # A face that two images share, or another nozzle has shut, keeps the stronger flow.
        order = np.argsort(abs(given), kind="stable")
        places, given = places[order], given[order]
        _, last = np.unique(places[::-1], axis=0, return_index=True)
        keep = len(places) - 1 - last
        places, given = places[keep], given[keep]
        index = tuple(places.T)
        share = weights[axis][index]
        rest = (1.0 - share) * speeds[axis][index]
        weights[axis][index] = 0.0
        speeds[axis][index] = share * given + rest
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
        return _Faces(source, axis, places, share * given, rest, (sides[0], sides[1]))

    def _refuse_pressure(
        self, blown: np.ndarray, pockets: Sequence[np.ndarray], sources: list[tuple[int, Source]]
    ) -> None:
        for pocket in pockets:
            if float(blown.reshape(-1)[pocket].sum(dtype=np.float64)) > 1e-3 * float(abs(blown).sum()) > 0:
                number, source = sources[-1]
                raise InputError(
                    f"sources[{number}].{'inflow' if source.inflow else 'expansion'}",
                    "the air that it brings in cannot leave: the body of air around it touches no open side",
                    "open a side of the domain, or leave it out",
                )

    def renew(self, projection: Projection, time: float) -> None:
        """Give nozzles with noise the flux that they have at `time` (s), in what `projection` solves for."""
        if not self._noisy:
            return
        device, flux = (
            projection.device,
            torch.from_numpy(self._steady).to(projection.device).view(-1).clone(),
        )
        for part in self._noisy:
            factor = noise_factors(part.source, self.grid, part.axis, part.places, time, device)
            given = torch.from_numpy(part.speed).to(device) * factor
            counts = self.grid.faces(part.axis)
            x, y, z = part.places.T
            faces = torch.from_numpy((x * counts[1] + y) * counts[2] + z).to(device)
            speeds = projection.solid_velocity[part.axis]
            speeds[faces] = given + torch.from_numpy(part.rest).to(device)
            if self.grid.periodic[part.axis]:
                whole = speeds.view(counts)
                whole.select(part.axis, -1).copy_(whole.select(part.axis, 0))
            for cells, sign in zip(part.sides, (1.0, -1.0), strict=True):
                there = cells >= 0
                flux.index_add_(
                    0,
                    torch.from_numpy(cells[there]).to(device),
                    sign * given[torch.from_numpy(there).to(device)],
                )
        flux[torch.from_numpy(self._walled).to(device)] = 0.0
        projection.wall_flux.copy_(flux)


def _stairs(
    found: Cover, inside: np.ndarray, axis: int, velocity: tuple[float, ...], cell_size: float
) -> tuple[np.ndarray, np.ndarray]:
    """Places [n, 3] of the faces normal to `axis` of the cells `inside` a nozzle, and what flows through each, m/s."""
    speed = velocity[axis]
    across = np.where(inside, found.across[axis], 0.0)
    line, full = np.moveaxis(across, axis, 0), np.moveaxis(inside, axis, 0)
    if speed < 0:
        line, full = line[::-1], full[::-1]
    line = line.copy()
    for i in range(1, len(line)):  # what enters one cell of a line leaves the next one
        line[i] = np.where(full[i], np.maximum(line[i], line[i - 1]), 0.0)
    if speed < 0:
        line, full = line[::-1], full[::-1]
    none = np.zeros_like(line[:1])
    value = np.concatenate([none, line] if speed > 0 else [line, none]) * speed
    shut = np.concatenate([full, none > 0]) | np.concatenate([none > 0, full])
    value, shut = np.moveaxis(value, 0, axis), np.moveaxis(shut, 0, axis)
    where = np.nonzero(shut)
    given = value[where].astype(np.float32)
    places = np.stack([w + f for w, f in zip(where, found.first, strict=True)], axis=-1)
    if np.count_nonzero(velocity) > 1:
        given *= _crossing(found.shape, velocity, axis, places, cell_size)
    return places, given


def _excess(shape: Shape, velocity: tuple[float, ...], grid: Grid) -> float:
    """How many times as much as through the section of `shape` flows at a slant out of the stairs of cells that stand
    for it, where nothing is in their way; 1 along an axis, and of a mesh, whose section is not known."""
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
    whole = Cover(shape, (*parts.first, 0)[:3], volume, across)
    inside = volume > LEAST_SHARE * volume.max()
    flux = 0.0
    for axis in range(grid.dim):
        places, given = _stairs(whole, inside, axis, velocity, grid.cell_size)
        ahead = (places - whole.first) - (np.arange(3) == axis) * (velocity[axis] < 0)
        within = ((ahead >= 0) & (ahead < counts)).all(axis=1)
        held = inside[tuple(np.clip(ahead, 0, np.array(counts) - 1).T)] & within
        flux += float(abs(given[~held]).sum(dtype=np.float64))
    return flux * grid.cell_size ** (grid.dim - 1) / (section * speed) or 1.0


def _crossing(
    shape: Shape, velocity: tuple[float, ...], axis: int, places: np.ndarray, cell_size: float
) -> np.ndarray:
    """Of the flow at a slant that stairs of cells would let out at faces normal to `axis`, at `places [n, 3]`, the
    share that crosses the surface of `shape` there: v.n over the sum of what its components would carry."""
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
    """Add to the outward `flux` of cells, in place, what goes through the faces of a nozzle."""
    for cells, sign in zip(part.sides, (1.0, -1.0), strict=True):
        there = cells >= 0
        np.add.at(flux.reshape(-1), cells[there], sign * speed[there])
