"""Emission: what sources put into density, temperature and velocity."""

from dataclasses import dataclass, replace

import numpy as np
import taichi as ti
import torch

from fluidsr.solver.geometry import Geometry
from fluidsr.solver.grid import Grid
from fluidsr.solver.layout import Layout
from fluidsr.solver.noise import RENEWALS_PER_SECOND, turbulence
from fluidsr.solver.sampling import F32
from fluidsr.solver.setup import Source
from fluidsr.solver.shapes import Shape, box_of, coverage, positions
from fluidsr.solver.state import State

CENTRES = (0.5, 0.5, 0.5)


@ti.kernel
def emit_into(
    field: F32, profile: F32, my: int, mz: int, bx: int, by: int, bz: int, sx: int, sy: int, sz: int,
    target: ti.f32, blend: int, strength: ti.f32, px: ti.f32, py: ti.f32, pz: ti.f32, dx: ti.f32, dz: ti.f32,
    time: ti.f32, seed: int,
):  # fmt: skip
    """Put target * modulation into `field [., my, mz]` over the box that starts at (bx, by, bz) and has the
    shape of `profile [sx, sy, sz]`: as a new value in proportion to the profile (`blend`), or times the
    profile where that is further from zero. (px, py, pz) and (dx, dx, dz): noise coordinates of the first
    sample, and between samples."""
    for row in range(sx * sy):
        i = row // sy
        j = row % sy
        for k in range(sz):
            share = profile[row * sz + k]
            if share > 0.0:
                value = target
                if strength != 0.0:
                    p = ti.Vector([px + i * dx, py + j * dx, pz + k * dz, time])
                    value *= ti.max(0.0, 1.0 + strength * turbulence(p, seed))
                q = ((bx + i) * my + by + j) * mz + bz + k
                if blend != 0:
                    field[q] += share * (value - field[q])
                elif target >= 0.0:
                    field[q] = ti.max(field[q], share * value)
                else:
                    field[q] = ti.min(field[q], share * value)


@dataclass(frozen=True)
class _Region:
    """The part of one field that a source covers."""

    profile: torch.Tensor  # flat [sx, sy, sz], in [0, 1]; zero in solids
    field_shape: tuple[int, int, int]
    first: tuple[int, ...]
    shape: tuple[int, ...]
    offset: tuple[float, ...]


class Emitter:
    """One source on one grid, with its profiles worked out once, or whenever it or a solid has moved."""

    def __init__(self, source: Source, grid: Grid, geometry: Geometry, device: str) -> None:
        self.source, self.grid, self.device = source, grid, device
        self.moves = source.motion is not None
        self.layout = Layout.of(grid, device)
        self.place(geometry, 0.0)

    def place(self, geometry: Geometry, time: float) -> None:
        """Work out what the source covers where it is at `time` (s), outside the solids of `geometry`; beyond a
        periodic end it goes on at the other."""
        shape, motion = self.source.shape, self.source.motion
        if motion is not None:
            at = tuple(c + o for c, o in zip(shape.center, motion.offset(time), strict=True))
            shape = replace(shape, center=at)
        images = shape.images(self.grid.periods)
        self.cells = self._regions(images, CENTRES, geometry.fluid)
        self.faces: list[list[_Region]] = []
        if self.source.velocity is not None:
            for axis in range(self.grid.dim):
                offset = tuple(0.0 if a == axis else 0.5 for a in range(3))
                self.faces.append(self._regions(images, offset, geometry.weights[axis]))

    def _regions(self, images: list[Shape], offset: tuple[float, ...], allowed: np.ndarray) -> list[_Region]:
        found = (_region(image, self.grid, offset, allowed, self.device) for image in images)
        return [region for region in found if region.profile.numel()]

    def active(self, time: float) -> bool:
        """Whether the source emits at `time` (s)."""
        return self.source.seconds[0] <= time < self.source.seconds[1]

    def speed(self, start: float, end: float) -> float:
        """Largest velocity component that it may impose, or move with, between two times (s), m/s."""
        noise, motion = self.source.noise, self.source.motion
        imposed = max(map(abs, self.source.velocity or (0.0,))) * (
            1.0 + (abs(noise.strength) if noise else 0.0)
        )
        return max(imposed, motion.speed(start, end) if motion else 0.0)

    def emit(self, state: State) -> None:
        """Emit into `state` at its time."""
        if not self.active(state.time):
            return
        for region in self.cells:
            if self.source.density is not None:
                self._put(state.density, region, self.source.density, False, state.time)
            if self.source.temperature is not None and state.temperature is not None:
                self._put(state.temperature, region, self.source.temperature, False, state.time)
        for axis, (regions, target) in enumerate(zip(self.faces, self.source.velocity or (), strict=False)):
            for region in regions:
                self._put(state.velocity[axis], region, target, True, state.time)
            self.layout.join(state.velocity[axis], axis)

    def _put(self, field: torch.Tensor, region: _Region, target: float, blend: bool, time: float) -> None:
        noise, h = self.source.noise, self.grid.cell_size
        per_metre = noise.scale / self.grid.longest_edge if noise else 0.0
        start = [(b + o) * h * per_metre for b, o in zip(region.first, region.offset, strict=True)]
        flat = self.grid.dim == 2  # a 2-D domain cuts the noise at z = 0, whatever its cell size
        emit_into(
            field, region.profile, *region.field_shape[1:], *region.first, *region.shape, target, int(blend),
            noise.strength if noise else 0.0, start[0], start[1], 0.0 if flat else start[2], h * per_metre,
            0.0 if flat else h * per_metre, time * RENEWALS_PER_SECOND, noise.seed % 2**31 if noise else 0,
        )  # fmt: skip


def _region(form: Shape, grid: Grid, offset: tuple[float, ...], allowed: np.ndarray, device: str) -> _Region:
    h, dim = grid.cell_size, grid.dim
    counts = allowed.shape
    ranges = box_of(form, counts[:dim], offset, h) + [(0, 1)] * (3 - dim)
    first = tuple(a for a, _ in ranges)
    shape = tuple(b - a for a, b in ranges)
    at = positions(shape[:dim], offset, h, first)
    profile = coverage(form.signed_distance(*at), h).reshape(shape)
    within = all(0 <= c <= n * h for c, n in zip(form.center, grid.shape, strict=True))
    if (
        within and profile.size and not profile.any()
    ):  # smaller than a cell, between samples: the nearest one emits
        profile.flat[np.argmin(form.signed_distance(*at))] = 1.0
    window = tuple(slice(a, b) for a, b in ranges)
    profile = np.where(allowed[window] > 0, profile, 0.0).astype(np.float32)
    tensor = torch.from_numpy(np.ascontiguousarray(profile).reshape(-1)).to(device)
    return _Region(tensor, (counts[0], counts[1], counts[2]), first, shape, offset)
