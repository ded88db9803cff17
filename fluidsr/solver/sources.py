"""Emission of density, temperature, fuel and velocity by sources."""

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
import taichi as ti
import torch
from scipy import ndimage

from fluidsr.solver.cell_boxes import window
from fluidsr.solver.dye import SMOKE_COLOR, dyed
from fluidsr.solver.geometry import Geometry, blocked_cells
from fluidsr.solver.grid import Grid
from fluidsr.solver.launch import kernel
from fluidsr.solver.layout import Layout
from fluidsr.solver.noise import RENEWALS_PER_SECOND, turbulence
from fluidsr.solver.sampling import F32, I3, I32, V3
from fluidsr.solver.setup import Source
from fluidsr.solver.shapes import Shape, box_of, shares
from fluidsr.solver.state import State

CENTRES = (0.5, 0.5, 0.5)
PATH_STEP = 0.25  # cells between the points of a path at which the source is sampled
# Relaxation times that gas spends in a source if it crosses it at the source's speed (see `push`). Two bring it within
# a few per cent of that speed.
RELAXATIONS = 2.0
PART = 10  # numbers that describe the part of a shape in a cell (`_Region.parts`)


@ti.func
def modulation(at, time, strength, seed, per_cell, first):
    """The factor of the noise on an emission at the grid's sample `at` and at `time` (in renewals)."""
    factor = 1.0
    if strength != 0.0:
        p = ti.Vector([first[0] + at[0] * per_cell[0], first[1] + at[1] * per_cell[1],
                       first[2] + at[2] * per_cell[2], time])  # fmt: skip
        factor = ti.max(0.0, 1.0 + strength * turbulence(p, seed))
    return factor


@ti.func
def crossing(part, way, length, flat):
    """The share of the flow through a cell that crosses the `part` of a shape in it (a row of `_Region.parts`).

    `way`: direction of the flow; `length`: the sum of its absolute components. `flat`: see `flat_axes`.

    The projection along w of a convex part is half the integral of |w.n| over its surface. On the cell's faces this is
    known. So is its value on the remaining surface for w along each axis, and the integral N of n there, which closes
    the surface. Between the axes, a flat piece has |w.N|, a round one the norm of the values along the axes; the sum of
    squares below is exact for both. The sides of a box and the ends of a cylinder add up instead.
    """
    projected, along, squares = 0.0, 0.0, 0.0
    for a in ti.static(range(3)):
        section, below, above = part[1 + a], part[4 + a], part[7 + a]
        size = ti.abs(way[a])
        if flat == 3 or flat == a:
            projected += section * size
        else:
            projected += 0.5 * (below + above) * size
            net, whole = (below - above) * way[a], (2.0 * section - below - above) * size
            along += net
            squares += whole * whole - net * net
    projected += 0.5 * ti.sqrt(ti.max(along * along + squares, 0.0))
    return ti.min(projected / length, 1.0)


@ti.func
def windowed(c, first, size, periods):
    """The flat index, in a window of `size` that begins at `first`, of the cell `c`; -1 where it lies outside."""
    index = 0
    within = True
    for a in ti.static(range(3)):
        i = c[a] - first[a]
        if periods[a] > 0:
            i = (i % periods[a] + periods[a]) % periods[a]
        within = within and i >= 0 and i < size[a]
        index = index * size[a] + i
    return index if within else -1


@kernel
def raise_to(
    field: F32, cells: I32, places: I32, came: F32, drift: V3, reach: F32, rows: I32, parts: F32,
    first: I3, size: I3, periods: I3, target: ti.f32, step: ti.f32, strength: ti.f32, seed: int,
    noise_first: V3, noise_step: V3, now: ti.f32, before: ti.f32, flat: int,
):  # fmt: skip
    """Raise `field` in `cells` (flat indices; `places`: their indices `[n, 3]`) to `target` times noise.

    `parts [rows, PART]`: what the shape covers of cells; `rows [size]`: the row of each cell of a window that begins at
    the cell `first`, -1 where the shape is not (see `_Region`). `periods`: in cells, 0 along axes that are not
    periodic. `came [3, n]`: displacement (cells) to where each cell's gas was at the start of the substep; the path is
    followed if it is at most `reach [n]` long. `drift`: how far the source has moved in the substep. `now`, `before`:
    noise times at the end and the start of the substep. `flat`: see `flat_axes`.

    A cell is raised in the share that lies in the shape, in the share of the gas that has flowed through the cell and
    crosses the shape there, and where its gas has met the shape earlier along its path.
    """
    count = cells.shape[0]
    for n in range(count):
        q = cells[n]
        cell = ti.Vector([places[3 * n], places[3 * n + 1], places[3 * n + 2]])
        gas = ti.Vector([came[n], came[n + count], came[n + 2 * count]])
        way = gas + drift  # relative to the source
        length = ti.abs(way[0]) + ti.abs(way[1]) + ti.abs(way[2])
        old = field[q]
        best = 0.0  # in units of the target
        if target != 0.0:
            old = old / target
        w = windowed(cell, first, size, periods)
        part = ti.Vector.zero(ti.f32, PART)  # what the shape covers of this cell
        if w >= 0 and rows[w] >= 0:
            for m in ti.static(range(PART)):
                part[m] = parts[rows[w] * PART + m]
        share_inside = part[0]
        if share_inside > 0.0:
            value = modulation(ti.cast(cell, ti.f32), now, strength, seed, noise_step, noise_first)
            best = share_inside * value
            if length > 1e-6:
                share = crossing(part, way, length, flat)
                best = ti.max(best, ti.min(share * value, old + share * value * ti.min(length, 1.0)))
        largest = ti.max(ti.abs(way[0]), ti.abs(way[1]), ti.abs(way[2]))
        # (Without noise, a cell that lies wholly in the shape has its final value already.)
        if (share_inside < 1.0 or strength != 0.0) and largest > step and largest <= reach[n]:
            # (The points are equidistant and the last one is faded in, so the result is continuous in the path.)
            for point in range(1, int(ti.ceil(largest / step))):
                back = ti.cast(point, ti.f32) * step / largest
                fade = ti.min(1.0, largest / step - ti.cast(point, ti.f32))
                x = ti.cast(cell, ti.f32) + back * way
                base = ti.floor(x)
                f = x - base
                there = ti.Vector.zero(ti.f32, PART)
                whole = 0.0  # weight of the cells that lie wholly in the shape
                for corner in range(8):
                    weight = 1.0
                    c = ti.Vector([0, 0, 0])
                    for a in ti.static(range(3)):
                        up = (corner >> a) & 1
                        c[a] = int(base[a]) + up
                        weight *= f[a] if up == 1 else 1.0 - f[a]
                    w = windowed(c, first, size, periods)
                    row = -1
                    if w >= 0:
                        row = rows[w]
                    if row == 0:
                        whole += weight
                    elif row > 0 and weight > 0.0:
                        for m in ti.static(range(PART)):
                            there[m] += weight * parts[row * PART + m]
                there += whole
                if there[0] > 0.0:
                    met = ti.max(ti.min(there[0], 1.0), crossing(there, way, length, flat))
                    time = now + back * (before - now)
                    best = ti.max(
                        best, fade * met * modulation(x, time, strength, seed, noise_step, noise_first)
                    )
        if best > old:
            field[q] = best * target


@ti.func
def mean_at_face(v: ti.template(), f, normal: ti.template(), axis: ti.template(), n, wraps):
    """Component `axis` of the velocity (flat face array `v`) at the face `f` (indices) normal to `normal`: the mean of
    the four nearest faces, without those outside the domain."""
    total = 0.0
    parts = 0.0
    for side in ti.static((-1, 0)):
        for up in ti.static((0, 1)):
            c = f
            c[normal] += side
            if wraps[normal] != 0:
                c[normal] = (c[normal] + n[normal]) % n[normal]
            if c[normal] >= 0 and c[normal] < n[normal]:
                c[axis] += up
                my = n[1] + (1 if ti.static(axis == 1) else 0)
                mz = n[2] + (1 if ti.static(axis == 2) else 0)
                total += v[(c[0] * my + c[1]) * mz + c[2]]
                parts += 1.0
    return total / ti.max(parts, 1.0)


@kernel
def push(
    u: F32, v: F32, w: F32, gained: F32, faces: I32, share: F32, normal: ti.template(), n: I3, wraps: I3, along: V3,
    speed: ti.f32, rate: ti.f32, strength: ti.f32, seed: int, noise_first: V3, noise_step: V3, time: ti.f32,
):  # fmt: skip
    """gained [m] = the change of velocity at `faces` (indices `[m, 3]`) normal to `normal`.

    The speed along the unit vector `along` relaxes towards `speed` times noise, at `rate` (per substep) times the
    `share` of a face's volume that the source takes. Faster flow is not changed.
    """
    for m in range(share.shape[0]):
        f = ti.Vector([faces[3 * m], faces[3 * m + 1], faces[3 * m + 2]])
        present = 0.0
        if ti.static(normal == 0):
            present = along[0] * u[(f[0] * n[1] + f[1]) * n[2] + f[2]]
            if along[1] != 0.0:
                present += along[1] * mean_at_face(v, f, normal, 1, n, wraps)
            if along[2] != 0.0:
                present += along[2] * mean_at_face(w, f, normal, 2, n, wraps)
        elif ti.static(normal == 1):
            present = along[1] * v[(f[0] * (n[1] + 1) + f[1]) * n[2] + f[2]]
            if along[0] != 0.0:
                present += along[0] * mean_at_face(u, f, normal, 0, n, wraps)
            if along[2] != 0.0:
                present += along[2] * mean_at_face(w, f, normal, 2, n, wraps)
        else:
            present = along[2] * w[(f[0] * n[1] + f[1]) * (n[2] + 1) + f[2]]
            if along[0] != 0.0:
                present += along[0] * mean_at_face(u, f, normal, 0, n, wraps)
            if along[1] != 0.0:
                present += along[1] * mean_at_face(v, f, normal, 1, n, wraps)
        target_speed = speed
        if present < speed * (1.0 + strength):
            target_speed *= modulation(ti.cast(f, ti.f32), time, strength, seed, noise_step, noise_first)
        missing = ti.max(0.0, target_speed - present)
        gained[m] = along[normal] * missing * (1.0 - ti.exp(-rate * share[m] * target_speed / speed))


@kernel
def fill_noise(
    factor: F32, places: I32, strength: ti.f32, seed: int, noise_first: V3, noise_step: V3, time: ti.f32
):
    """factor [n] = the factor of the noise on an emission at `places [n, 3]`."""
    for m in range(factor.shape[0]):
        f = ti.Vector([places[3 * m], places[3 * m + 1], places[3 * m + 2]])
        factor[m] = modulation(ti.cast(f, ti.f32), time, strength, seed, noise_step, noise_first)


@dataclass(frozen=True)
class Cover:
    """The fluid cells that a source covers.

    Attributes:
        shape: the shape of the source, at its position in the coordinates of the window.
        first: the first cell of the window, which may extend beyond periodic ends.
        volume, across, faces: `[sx, sy, sz]`, `[3, sx, sy, sz]` and `[2, 3, sx, sy, sz]`, see `shapes.Shares`; 0 in
            solids.
    """

    shape: Shape
    first: tuple[int, ...]
    volume: np.ndarray
    across: np.ndarray
    faces: np.ndarray

    def cells(self, chosen: tuple[np.ndarray, ...], grid: Grid) -> tuple[np.ndarray, ...]:
        """Convert indices in the window to indices in the grid."""
        return tuple((c + f) % n for c, f, n in zip(chosen, self.first, grid.cells, strict=True))


def flat_axes(shape: Shape) -> int:
    """The axes across which the sides of `shape` are flat and at right angles to the others: 3 for all, -1 for none."""
    if shape.kind == "box":
        return 3
    return shape.axis if shape.kind == "cylinder" and shape.axis is not None else -1


def placed(source: Source, time: float) -> Shape:
    """The shape of `source`, at its position at `time` (s)."""
    if source.motion is None:
        return source.shape
    at = zip(source.shape.center, source.motion.offset(time), strict=True)
    return replace(source.shape, center=tuple(c + o for c, o in at))


def cover(source: Source, grid: Grid, fluid: np.ndarray, time: float) -> Cover | None:
    """The cells with `fluid` (boolean, `[nx, ny, nz]`) that `source` covers at `time` (s); None if there are none."""
    images, dim = placed(source, time).images(grid.periods), grid.dim
    # The image with its center in the domain represents all of them, unless the shape is as long as the domain.
    central = images[len(images) // 2]
    ranges = box_of(central, grid.shape, CENTRES, grid.cell_size, grid.periodic)
    lap = [wraps and b - a >= n for (a, b), n, wraps in zip(ranges, grid.shape, grid.periodic, strict=False)]
    ranges = [(0, n) if is_full else pair for pair, n, is_full in zip(ranges, grid.shape, lap, strict=True)]
    wide = ranges + [(0, 1)] * (3 - dim)
    shape = tuple(b - a for a, b in wide)
    volume, across = np.zeros(shape, np.float32), np.zeros((3, *shape), np.float32)
    faces = np.zeros((2, 3, *shape), np.float32)
    for image in images:
        if all(is_full or c == d for c, d, is_full in zip(image.center, central.center, lap, strict=True)):
            covered = shares(image, ranges, CENTRES, grid.cell_size)
            volume += covered.volume.reshape(shape)
            across[:dim] += covered.across.reshape(dim, *shape)
            faces[:, :dim] += covered.faces.reshape(2, dim, *shape)
    shut = ~window(fluid, wide)
    volume[shut] = across[:, shut] = faces[:, :, shut] = 0.0
    if not volume.any():
        return None
    full = (np.minimum(array, 1.0) for array in (volume, across, faces))
    return Cover(central, tuple(a for a, _ in wide), *full)


def noise_factors(
    source: Source, grid: Grid, normal: int, places: np.ndarray, time: float, device: str
) -> torch.Tensor:
    """The factors of the noise of `source` at `time` (s), at the faces `places [n, 3]` normal to the axis `normal`."""
    offset = tuple(0.0 if a == normal else 0.5 for a in range(3))
    factor = torch.empty(len(places), device=device)
    at = torch.from_numpy(np.ascontiguousarray(places, np.int32).reshape(-1)).to(device)
    fill_noise(factor, at, *_noise(source, grid, offset), time * RENEWALS_PER_SECOND)
    return factor


def _noise(
    source: Source, grid: Grid, offset: tuple[float, ...]
) -> tuple[float, int, list[float], list[float]]:
    """The strength and seed of a source's noise, the noise coordinates of the grid's first sample, and the distances
    between samples. `offset`: position of the samples in their cells."""
    noise, h = source.noise, grid.cell_size
    if noise is None:
        return 0.0, 0, [0.0] * 3, [0.0] * 3
    per_cell = h * noise.scale / grid.longest_edge
    step = [per_cell, per_cell, 0.0 if grid.dim == 2 else per_cell]  # 2-D cuts the noise at z = 0
    start = [o * s for o, s in zip(offset, step, strict=True)]
    return noise.strength, noise.seed % 2**31, start, step


@dataclass(frozen=True)
class _Cells:
    """The cells that a source may reach in a substep."""

    reach: int  # the most cells that gas may cross
    cells: torch.Tensor  # flat indices
    places: torch.Tensor  # indices, flat [n, 3]
    clear: torch.Tensor  # how far a cell's path may be followed without meeting a wall, in cells


@dataclass
class _Region:
    """The cells that a source covers, as a `Cover` on the device. Cells that lie wholly in the shape share a row."""

    first: tuple[int, ...]
    rows: torch.Tensor  # flat [sx, sy, sz], of `parts`; -1 in solids and where the shape is not
    parts: torch.Tensor  # flat [rows, PART]: volume, across [3], faces [2, 3]; all in [0, 1]
    shape: tuple[int, ...]
    around: _Cells | None = None


@dataclass(frozen=True)
class _Pushed:
    """The faces normal to one axis whose gas a source accelerates."""

    faces: torch.Tensor  # flat indices
    places: torch.Tensor  # indices, flat [n, 3]
    share: torch.Tensor  # of a face's volume that the source takes


class Emitter:
    """One source on one grid. The cells that it covers are computed once, and again when it or a solid has moved."""

    def __init__(self, source: Source, grid: Grid, geometry: Geometry, device: str) -> None:
        self.source, self.grid, self.device = source, grid, device
        self.moves = source.motion is not None
        self.layout = Layout.of(grid, device)
        self._periods = [n * wraps for n, wraps in zip(grid.cells, grid.periodic, strict=True)]
        self._color = source.color or SMOKE_COLOR
        self._pushes = (source.velocity is not None or source.inherit > 0) and not source.inflow
        self.place(geometry, 0.0)

    def place(self, geometry: Geometry, time: float) -> None:
        """Compute the cells and faces that the source covers at `time` (s), outside the solids of `geometry` and across
        periodic ends."""
        source, grid = self.source, self.grid
        self._geometry = geometry
        self._region: _Region | None = None
        if (source.density, source.temperature, source.fuel) != (None, None, None):
            covered = cover(source, grid, geometry.fluid, time)
            if covered is not None:
                self._region = self._covered(covered)
        self._pushed: list[list[_Pushed]] = []
        if self._pushes:
            images = placed(source, time).images(grid.periods)
            self._pushed = [
                [part for image in images if (part := self._faces(image, axis)) is not None]
                for axis in range(grid.dim)
            ]

    def active(self, start: float, end: float) -> bool:
        """Whether the source emits in a substep from `start` to `end` (s)."""
        return self.source.active(start, end)

    def speed(self, start: float, end: float) -> float:
        """The greatest velocity component (m/s) between two times (s) that the source may impose, or that it moves
        with."""
        noise, motion = self.source.noise, self.source.motion
        moved = motion.speed(start, end) if motion else 0.0
        emitted = max(map(abs, self.source.velocity or (0.0,))) + self.source.inherit * moved
        return max(emitted * (1.0 + (abs(noise.strength) if noise else 0.0)), moved)

    def emit(
        self, state: State, seconds: float = 0.0, came_from: Callable[[torch.Tensor], torch.Tensor] | None = None,
        reach: float = 0.0,
    ) -> None:  # fmt: skip
        """Emit into `state` during one substep.

        Args:
            state: changed in place; the substep began at its time.
            seconds: length of the substep; 0 emits into still gas without accelerating it.
            came_from: displacements of cells over the substep (see `Advection.came_from`); None if nothing has moved.
            reach: the most cells that gas has crossed in the substep.

        On return density, temperature and fuel are at least the source's value, times noise, times the share of the
        cell that the shape takes (also where gas has flowed across the shape). Gas that is slower than the source's
        velocity, along its direction, has been accelerated towards it.
        """
        if not self.active(state.time, state.time + seconds):
            return
        if self._region is not None:
            drift = self._drift(state.time, seconds) if came_from is not None else (0.0, 0.0, 0.0)
            reach = max(1, math.ceil(reach + max(map(abs, drift)))) if came_from is not None else 0
            around = self._around(self._region, reach)
            came = torch.zeros(3 * around.cells.numel(), device=self.device)
            if came_from is not None:
                came = came_from(around.cells).reshape(-1)
            for field, target in (
                (state.density, self.source.density),
                (state.temperature, self.source.temperature),
                (state.fuel, self.source.fuel),
            ):
                if field is None or target is None or not around.cells.numel():
                    continue
                emitted = dyed(state, self._color, around.cells) if field is state.density else nullcontext()
                with emitted:
                    self._raise(field, self._region, around, came, drift, target, state.time, seconds)
        if seconds > 0 and self._pushed:
            self._push(state, seconds)

    def _raise(
        self, field: torch.Tensor, region: _Region, around: _Cells, came: torch.Tensor,
        drift: tuple[float, ...], target: float, start: float, seconds: float,
    ) -> None:  # fmt: skip
        strength, seed, first, step = _noise(self.source, self.grid, CENTRES)
        raise_to(
            field, around.cells, around.places, came, drift, around.clear, region.rows, region.parts,
            region.first, region.shape, self._periods, target, PATH_STEP, strength, seed, first, step,
            (start + seconds) * RENEWALS_PER_SECOND, start * RENEWALS_PER_SECOND, flat_axes(self.source.shape),
        )  # fmt: skip

    def _drift(self, start: float, seconds: float) -> tuple[float, ...]:
        """How far the source itself moves in a substep, in cells."""
        motion = self.source.motion
        if motion is None:
            return (0.0, 0.0, 0.0)
        ends = zip(motion.offset(start), motion.offset(start + seconds), strict=True)
        return (*((b - a) / self.grid.cell_size for a, b in ends), 0.0)[:3]

    def _push(self, state: State, seconds: float) -> None:
        """Accelerate the gas in the source towards its velocity."""
        grid, end = self.grid, state.time + seconds
        velocity = self.source.velocity_at(state.time)
        speed = math.hypot(*velocity) if velocity is not None else 0.0
        if velocity is None or speed == 0:
            return
        along = [v / speed for v in velocity]
        depth = sum(e * e * 2 * self.source.shape.half_extent(axis) for axis, e in enumerate(along))
        rate = RELAXATIONS * speed * seconds / depth
        gains = []
        for axis, pushed in enumerate(self._pushed):
            offset = tuple(0.0 if a == axis else 0.5 for a in range(3))
            strength, seed, first, step = _noise(self.source, grid, offset)
            for part in pushed:
                gained = torch.empty_like(part.share)
                push(
                    *state.velocity, gained, part.places, part.share, axis, grid.cells, self._periods,
                    [*along, 0.0][:3], speed, rate, strength, seed, first, step, end * RENEWALS_PER_SECOND,
                )  # fmt: skip
                gains.append((axis, part.faces, gained))
        for axis, faces, gained in gains:
            state.velocity[axis][faces] += gained
        for axis in range(grid.dim):
            self.layout.join(state.velocity[axis], axis)

    def _covered(self, cover: Cover) -> _Region:
        cut = (cover.volume > 0) & (cover.volume < 1)
        rows = np.where(cover.volume >= 1, 0, -1).astype(np.int32)
        rows[cut] = 1 + np.arange(np.count_nonzero(cut))
        arrays = (cover.volume[cut][None], cover.across[:, cut], cover.faces[:, :, cut].reshape(6, -1))
        parts = np.concatenate([np.ones((1, PART), np.float32), np.concatenate(arrays).T])
        return _Region(cover.first, self._tensor(rows), self._tensor(parts), cover.volume.shape)

    def _around(self, region: _Region, reach: int) -> _Cells:
        if region.around is None or region.around.reach < reach:
            region.around = self._reached(region, reach)
        return region.around

    def _reached(self, region: _Region, reach: int) -> _Cells:
        """The fluid cells within `reach` cells of the region. Paths that may cross a wall are not to be followed."""
        grid, geometry = self.grid, self._geometry
        ranges = []
        for f, s, n, wraps in zip(region.first, region.shape, grid.cells, grid.periodic, strict=True):
            a, b = f - reach * (n > 1), f + s + reach * (n > 1)
            if wraps:
                ranges.append((a, b) if b - a < n else (0, n))
            else:
                ranges.append((max(a, 0), min(b, n)))
        fluid = window(geometry.fluid, ranges)
        clear = np.full(fluid.shape, 2.0**20, np.float32)
        if reach:
            wide = [
                (a - reach - 1, b + reach + 1) if wraps else (max(a - reach - 1, 0), min(b + reach + 1, n))
                for (a, b), n, wraps in zip(ranges, grid.cells, grid.periodic, strict=True)
            ]
            walls = blocked_cells(grid, geometry.fluid, geometry.weights, wide)
            if walls.any():
                distance = ndimage.distance_transform_cdt(~walls, "chessboard")
                inner = tuple(slice(a - lo, b - lo) for (a, b), (lo, _) in zip(ranges, wide, strict=True))
                clear = distance[inner].astype(np.float32) - 1.0
        places = np.nonzero(fluid)
        at = np.stack([(p + a) % n for p, (a, _), n in zip(places, ranges, grid.cells, strict=True)], axis=-1)
        flat = (at[:, 0] * grid.cells[1] + at[:, 1]) * grid.cells[2] + at[:, 2]
        return _Cells(
            reach,
            self._tensor(flat.astype(np.int32)),
            self._tensor(at.astype(np.int32)),
            self._tensor(clear[places]),
        )

    def _faces(self, shape: Shape, axis: int) -> _Pushed | None:
        """The open faces normal to `axis` in `shape`; None if there are none."""
        grid, weights = self.grid, self._geometry.weights[axis]
        offset = tuple(0.0 if a == axis else 0.5 for a in range(3))
        counts = grid.faces(axis)
        ranges = box_of(shape, counts[: grid.dim], offset, grid.cell_size)
        if any(a >= b for a, b in ranges):
            return None
        covered = shares(shape, ranges, offset, grid.cell_size)
        wide = ranges + [(0, 1)] * (3 - grid.dim)
        volume = covered.volume.reshape([b - a for a, b in wide])
        volume = np.where(weights[tuple(slice(a, b) for a, b in wide)] > 0, volume, 0.0)
        places = np.nonzero(volume)
        if not len(places[0]):
            return None
        at = np.stack([p + a for p, (a, _) in zip(places, wide, strict=True)], axis=-1).astype(np.int32)
        flat = (at[:, 0].astype(np.int64) * counts[1] + at[:, 1]) * counts[2] + at[:, 2]
        return _Pushed(self._tensor(flat), self._tensor(at), self._tensor(volume[places].astype(np.float32)))

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array).reshape(-1)).to(self.device)
