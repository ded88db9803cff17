"""A substep once more, in NumPy and float64, written from docs/solver.md: for empty boxes, to compare with."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from pressure_cases import pressure_matrix

from fluidsr.solver import Grid, Setup, Source

Array = np.ndarray


@dataclass
class Reference:
    """`density`, `temperature` [nx, ny, nz] and `velocity` (u, v, w on faces) of a setup without obstacles, whose
    sources are spheres without noise. `advance` is one substep."""

    setup: Setup
    density: Array
    temperature: Array
    velocity: list[Array]

    def advance(self, dt: float) -> None:
        grid, physics = self.setup.grid, self.setup.physics
        step = dt / grid.cell_size
        centred = [0.5 * (_below(f, a) + _above(f, a)) for a, f in enumerate(self.velocity)]
        cells = np.stack(np.meshgrid(*(np.arange(n) for n in grid.cells), indexing="ij")).astype(float)
        midpoint = cells - 0.5 * step * np.stack(centred)
        slope = [_interpolate(c, midpoint, grid.periodic)[0] for c in centred]
        back = [-step * s for s in slope]
        forth = [step * (2 * c - s) for c, s in zip(centred, slope, strict=True)]
        self.density = self._moved(self.density, back, forth, None, 0.0)
        self.temperature = self._moved(self.temperature, back, forth, None, 0.0)
        self.density *= np.exp(-physics.dissipation_density * dt)
        self.temperature *= np.exp(-physics.dissipation_temperature * dt)
        wind = physics.wind or (0.0,) * grid.dim
        for axis in range(grid.dim):
            shifts = [[_beside(d, axis, grid.periodic[axis]) for d in way] for way in (back, forth)]
            self.velocity[axis] = self._moved(self.velocity[axis], *shifts, axis, wind[axis])
        self._emit()
        lift = physics.buoyancy_temperature * self.temperature - physics.buoyancy_density * self.density
        up = grid.up
        self.velocity[up] += dt * physics.gravity * _beside(lift, up, grid.periodic[up])
        self._project()

    def _moved(self, phi: Array, back: list, forth: list, normal: int | None, inflow: float) -> Array:
        """A step with the correction of its error, or without; air beyond an open end is `inflow`."""
        grid = self.setup.grid
        wraps = grid.periodic
        if normal is not None and wraps[normal]:  # the last face is the first once more
            phi, back, forth = _below(phi, normal), [_below(d, normal) for d in back], [
                _below(d, normal) for d in forth
            ]  # fmt: skip
        here = np.stack(np.meshgrid(*(np.arange(n) for n in phi.shape), indexing="ij")).astype(float)
        there = here + np.stack(back)
        value, low, high = _interpolate(phi, there, wraps)
        share = np.minimum(self._outside(there, phi.shape), 1.0)
        low, high = (
            np.where(share > 0, best(b, inflow), b) for b, best in ((low, np.minimum), (high, np.maximum))
        )
        hat = (1 - share) * value + share * inflow
        if self.setup.numerics.advection == "maccormack":
            ahead = here + np.stack(forth)
            lost = 0.5 * (phi - _interpolate(hat, ahead, wraps)[0])
            error = np.where(self._outside(ahead, phi.shape) > 0, 0.0, lost)
            corrected = _interpolate(phi + _smoothed(error, wraps), there, wraps)[0]
            hat = np.clip((1 - share) * corrected + share * inflow, low, high)
        if normal is not None and wraps[normal]:
            hat = np.concatenate([hat, hat.take([0], normal)], normal)
        return hat

    def _outside(self, position: Array, shape: tuple[int, ...]) -> Array:
        """How far beyond open ends, in cells."""
        total = np.zeros(shape)
        for x, n, (low, high) in zip(position, shape, self.setup.grid.opened, strict=True):
            total += np.maximum(-x, 0) * low + np.maximum(x - (n - 1), 0) * high
        return total

    def _emit(self) -> None:
        grid = self.setup.grid
        for source in self.setup.sources:
            share = _sphere(grid, source, None)
            if source.density is not None:
                self.density = np.maximum(self.density, source.density * share)
            if source.temperature is not None:
                self.temperature = np.maximum(self.temperature, source.temperature * share)
            for axis, speed in enumerate(source.velocity or ()):
                share = _sphere(grid, source, axis)
                if not (grid.opened[axis][0] or grid.periodic[axis]):
                    _end(share, axis, 0)[...] = 0.0
                if not (grid.opened[axis][1] or grid.periodic[axis]):
                    _end(share, axis, -1)[...] = 0.0
                self.velocity[axis] += share * (speed - self.velocity[axis])

    def _project(self) -> None:
        """By a dense least-squares solution of the pressure equation."""
        grid = self.setup.grid
        weights = []
        for axis in range(3):
            weight = np.ones(grid.faces(axis))
            for end, is_open in zip((0, -1), grid.opened[axis], strict=True):
                if not (is_open or grid.periodic[axis]):
                    _end(weight, axis, end)[...] = 0.0
            weights.append(weight)
        net = sum(
            -np.diff(w * f, axis=a) for a, (w, f) in enumerate(zip(weights, self.velocity, strict=True))
        )
        matrix, _ = pressure_matrix(grid, (weights[0], weights[1], weights[2]))
        p = np.linalg.lstsq(matrix.toarray(), np.asarray(net).reshape(-1), rcond=1e-12)[0].reshape(grid.cells)
        for axis in range(3):
            (low, high), first, last = grid.opened[axis], p.take([0], axis), p.take([-1], axis)
            before = last if grid.periodic[axis] else -first * low
            after = first if grid.periodic[axis] else -last * high
            slope = np.diff(np.concatenate([before, p, after], axis), axis=axis)
            self.velocity[axis] = weights[axis] * (self.velocity[axis] - slope)


def _interpolate(a: Array, position: Array, wraps: tuple[bool, ...]) -> tuple[Array, Array, Array]:
    """Linear, with the least and the greatest of the eight samples; ends go on, periodic axes repeat."""
    first, share = [], []
    for x, n, periodic in zip(position, a.shape, wraps, strict=True):
        x = x if periodic else np.clip(x, 0, n - 1)
        start = np.floor(x if periodic else np.clip(x, 0, max(n - 1.5, 0)))
        first.append(start.astype(int))
        share.append(x - start)
    value, low, high = np.zeros(position.shape[1:]), np.inf, -np.inf
    for corner in itertools.product((0, 1), repeat=3):
        index, weight = [], 1.0
        for i, f, up, n, periodic in zip(first, share, corner, a.shape, wraps, strict=True):
            index.append((i + up) % n if periodic else np.minimum(i + up, n - 1))
            weight = weight * (f if up else 1 - f)
        sample = a[tuple(index)]
        value += weight * sample
        low, high = np.minimum(low, sample), np.maximum(high, sample)
    return value, np.asarray(low), np.asarray(high)


def _below(a: Array, axis: int) -> Array:
    return a.take(range(a.shape[axis] - 1), axis)


def _above(a: Array, axis: int) -> Array:
    return a.take(range(1, a.shape[axis]), axis)


def _beside(cells: Array, axis: int, wraps: bool) -> Array:
    """On faces, the mean of the two cells beside each."""
    first, last = cells.take([0], axis), cells.take([-1], axis)
    ends = (last, first) if wraps else (first, last)
    wide = np.concatenate([ends[0], cells, ends[1]], axis)
    return 0.5 * (_below(wide, axis) + _above(wide, axis))


def _end(a: Array, axis: int, index: int) -> Array:
    return a[(slice(None),) * axis + (index,)]


def _smoothed(a: Array, wraps: tuple[bool, ...]) -> Array:
    """Weighted 1 2 1 along each axis."""
    for axis, periodic in enumerate(wraps):
        around = [(int(n == axis), int(n == axis)) for n in range(a.ndim)]
        wide = np.pad(a, around, "wrap" if periodic else "edge")
        count = a.shape[axis]
        below, here, above = (wide.take(range(n, n + count), axis) for n in range(3))
        a = 0.25 * below + 0.5 * here + 0.25 * above
    return a


def _sphere(grid: Grid, source: Source, normal: int | None) -> Array:
    """1 inside, 0 outside, linear over one cell, at cell centres or at the faces normal to an axis."""
    shape = grid.cells if normal is None else grid.faces(normal)
    square = np.zeros(shape)
    for axis, (n, c, wraps) in enumerate(zip(shape, source.shape.center, grid.periodic, strict=False)):
        away = abs((np.arange(n) + (0.0 if axis == normal else 0.5)) * grid.cell_size - c)
        if wraps:
            length = grid.cells[axis] * grid.cell_size
            away = np.minimum(away, length - away)
        square += np.expand_dims(away**2, [a for a in range(3) if a != axis])
    distance = np.sqrt(square) - float(source.shape.radius or 0)
    return np.clip(0.5 - distance / grid.cell_size, 0.0, 1.0)
