"""A substep once more, in NumPy and float64, written from docs/solver.md: for empty boxes, to compare with."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from pressure_cases import pressure_matrix

from fluidsr.solver import Grid, Setup, Shape, Source
from fluidsr.solver.shapes import shares

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
        self._emit(back, dt)
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
            free = (1 - share) * corrected + share * inflow
            hat = np.clip(free, low, high)
            if normal is None:
                left = (phi * np.minimum(self._outside(ahead, phi.shape), 1.0)).sum()
                hat = _with_total(hat, low, high, _smoothed(free - hat, wraps), phi.sum() - left)
        if normal is not None and wraps[normal]:
            hat = np.concatenate([hat, hat.take([0], normal)], normal)
        return hat

    def _outside(self, position: Array, shape: tuple[int, ...]) -> Array:
        """How far beyond open ends, in cells."""
        total = np.zeros(shape)
        for x, n, (low, high) in zip(position, shape, self.setup.grid.opened, strict=True):
            total += np.maximum(-x, 0) * low + np.maximum(x - (n - 1), 0) * high
        return total

    def _emit(self, back: list, dt: float) -> None:
        for source in self.setup.sources:
            images = source.shape.images(self.setup.grid.periods)
            for name in ("density", "temperature"):
                target = getattr(source, name)
                if target is not None:
                    setattr(self, name, self._raised(getattr(self, name), target, images, back))
            self._push(source, dt)

    def _raised(self, field: Array, target: float, images: list[Shape], back: list) -> Array:
        """What is in the shape; the part of what has flowed through a cell that met the shape; what met it before."""
        grid = self.setup.grid
        beyond = [max(n, 2) if wraps else 1 for n, wraps in zip(grid.cells, grid.periodic, strict=True)]
        counts = [n + 2 * more for n, more in zip(grid.cells, beyond, strict=True)]
        domain = tuple(slice(more, more + n) for n, more in zip(grid.cells, beyond, strict=True))
        ranges = [(-more, n + more) for n, more in zip(grid.shape, beyond, strict=False)]
        volume, across, faces = np.zeros(counts), np.zeros((3, *counts)), np.zeros((2, 3, *counts))
        middle = (slice(None), slice(None), slice(None) if grid.dim == 3 else slice(1, 2))
        for image in images:
            found = shares(image, ranges, (0.5,) * 3, grid.cell_size)
            volume[middle] += found.volume.reshape(volume[middle].shape)
            for axis in range(grid.dim):
                across[axis][middle] += found.across[axis].reshape(volume[middle].shape)
                for end in range(2):
                    faces[end, axis][middle] += found.faces[end, axis].reshape(volume[middle].shape)
        volume, across, faces = (np.minimum(array, 1.0) for array in (volume, across, faces))
        for axis, wraps in enumerate(grid.periodic):
            if not wraps:  # nothing is emitted outside
                for array in (volume, *across, *faces[0], *faces[1]):
                    _end(array, axis, 0)[...] = _end(array, axis, -1)[...] = 0.0
        length = sum(abs(d) for d in back)
        some = np.maximum(length, 1e-30)

        def met(areas: list) -> Array:
            """Half the integral of |w.n| over the surface, for a ball or a part of it: its faces and the rest."""
            sections, below, above = areas[:3], areas[3:6], areas[6:]
            flat = sum(abs(d) * (b + a) for d, b, a in zip(back, below, above, strict=True))
            net = [d * (b - a) for d, b, a in zip(back, below, above, strict=True)]
            whole = [d * (2 * s - b - a) for d, s, b, a in zip(back, sections, below, above, strict=True)]
            round_ = sum(net) ** 2 + sum(w**2 - n**2 for w, n in zip(whole, net, strict=True))
            return np.minimum(0.5 * (flat + np.sqrt(np.maximum(round_, 0.0))) / some, 1.0)

        parts = [*across, *faces[0], *faces[1]]
        share = np.where((volume[domain] > 0) & (length > 1e-6), met([part[domain] for part in parts]), 0.0)
        best = np.maximum(volume[domain], np.minimum(share, field / target + share * np.minimum(length, 1.0)))
        most = np.maximum(np.max(np.abs(back), axis=0), 1e-30)
        here = np.stack(np.meshgrid(*(np.arange(n) for n in field.shape), indexing="ij")).astype(float)
        here += np.reshape(beyond, (3, 1, 1, 1))
        for part in range(1, 1 + int(most.max() / 0.25)):
            place = here + np.stack(back) * (part * 0.25 / most)
            within, *areas = (_interpolate(area, place, (False,) * 3)[0] for area in (volume, *parts))
            there = np.clip(most / 0.25 - part, 0, 1) * np.maximum(within, met(areas))
            best = np.where(volume[domain] < 1.0, np.maximum(best, there), best)
        return np.maximum(field, target * best)

    def _push(self, source: Source, dt: float) -> None:
        """Where the flow along the source's direction is slower than the source's velocity, it comes nearer to it."""
        grid = self.setup.grid
        v = np.array([*(source.velocity or ()), 0.0, 0.0, 0.0][:3])
        speed = float(np.linalg.norm(v))
        if speed == 0:
            return
        along = v / speed
        gains = []
        for axis in range(grid.dim):
            present = along[axis] * self.velocity[axis]
            for other in range(grid.dim):
                if other != axis:
                    centred = 0.5 * (
                        _below(self.velocity[other], other) + _above(self.velocity[other], other)
                    )
                    present = present + along[other] * _beside(centred, axis, grid.periodic[axis])
            share = _shares(grid, source, axis)
            for end, is_open in zip((0, -1), grid.opened[axis], strict=True):
                if not (is_open or grid.periodic[axis]):
                    _end(share, axis, end)[...] = 0.0
            rate = 2.0 * speed * dt / (2.0 * float(source.shape.radius or 0))
            gains.append(along[axis] * np.maximum(speed - present, 0.0) * (1.0 - np.exp(-rate * share)))
        for axis, gain in enumerate(gains):
            self.velocity[axis] = self.velocity[axis] + gain

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


def _with_total(a: Array, low: Array, high: Array, cut: Array, wanted: float) -> Array:
    """`a` with the total `wanted`, as far as its limits allow: beside what they `cut` off first, then everywhere."""
    sign = np.sign(a.sum() - wanted)
    room = np.minimum(a - low if sign > 0 else high - a, abs(a))
    near = np.minimum(room, 16 * np.maximum(-sign * cut, 0))
    excess, rest = abs(a.sum() - wanted), room - near
    if excess > near.sum():
        return a - sign * (near + rest * min((excess - near.sum()) / max(rest.sum(), 1e-300), 1.0))
    return a - sign * near * excess / max(near.sum(), 1e-300)


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


def _shares(grid: Grid, source: Source, normal: int) -> Array:
    """The sphere's share of the volume of the cube around each face normal to an axis."""
    counts = grid.faces(normal)
    offset = [0.0 if axis == normal else 0.5 for axis in range(3)]
    volume = np.zeros(counts)
    for image in source.shape.images(grid.periods):
        ranges = [(0, n) for n in counts[: grid.dim]]
        volume += shares(image, ranges, offset, grid.cell_size).volume.reshape(counts)
    return volume
