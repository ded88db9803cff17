"""Smoke on a fine grid, carried by the coarse flow and by the eddies that it is too coarse to hold.

Kim, Thuerey, James and Gross, "Wavelet Turbulence for Fluid Simulation", ACM Trans. Graph. 27(3), 2008. What
differs from the paper: the amplitude stands inside of the curl, so that the added flow is free of divergence
exactly; the energy is averaged over about a wavelength; and coordinates are taken at the middle of a substep.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fluidsr.errors import InputError, RunError
from fluidsr.frame import Frame
from fluidsr.models.resample import upsample as resample
from fluidsr.solver import Grid
from fluidsr.upscaling.deformation import torn
from fluidsr.upscaling.tile_cover import bounding_box
from fluidsr.upscaling.tiles import Box
from fluidsr.upscaling.wavelet import kernels, noise
from fluidsr.upscaling.wavelet.bands import high_band, local_mean

# Each octave holds 2^(-5/3) of the energy of the one before (Kolmogorov 1941), its speed the root of that
# (Kim et al. 2008, eq. 2).
PERSISTENCE = 2.0 ** (-5.0 / 6.0)
STRIDE = 6.0  # fine cells that the coarse flow may cross in a substep
NOTHING = 1e-6  # less density is none: it costs like smoke and shows like air
BYTES_PER_FINE_CELL = 4 * (1 + 3 + 3)  # density, flow, potential (the advection's scratch lies in its place)

Emit = Callable[[Tensor, float, float], None]


@dataclass(frozen=True)
class TurbulenceSettings:
    """`factor`: fine cells along the edge of a coarse one; `strength`: factor on the speed of the eddies;
    `octaves` of eddies, the first with the noise's cells as large as coarse ones (None: down to noise cells
    of two fine ones); `seed`; `maccormack`: advection of the fine density, semi-Lagrangian without;
    `dissipation` of density, 1/s."""

    factor: int
    strength: float = 1.0
    octaves: int | None = None
    seed: int = 0
    maccormack: bool = True
    dissipation: float = 0.0

    @property
    def sizes(self) -> int:
        """How many octaves there are."""
        return self.octaves or max(1, int(math.log2(self.factor)))


class WaveletTurbulence:
    """Fine smoke that goes along with a coarse simulation, frame by frame, on "cpu" or "cuda".

    `grid` is the coarse one, `start` its first frame (density, velocity, time). `emit(density, from, to)` does
    to the fine density, flat and in place, what sources and solids do in a substep between two times.
    `fluid_mask [x, y(, z)]` says how much of each coarse cell is air at present (None: all). Taichi must have been
    started on `device`.
    """

    def __init__(
        self,
        grid: Grid,
        start: Frame,
        settings: TurbulenceSettings,
        device: str,
        emit: Emit,
        fluid_mask: Callable[[], Tensor | None] = lambda: None,
    ) -> None:
        self.grid, self.settings, self.device = grid, settings, device
        self._emit, self._fluid_mask = emit, fluid_mask
        self.cells, self.fz = grid.cells, settings.factor if grid.dim == 3 else 1
        f = settings.factor
        self._fine = (self.cells[0] * f, self.cells[1] * f, self.cells[2] * self.fz)
        if math.prod(n + 1 for n in self._fine) * 3 >= 2**31:  # kernels index with 32 bits
            problem = f"{' x '.join(map(str, self._fine))} fine cells are more than can be indexed"
            raise InputError("upscale.factor", problem, "give a smaller factor or domain")
        self._wraps = sum(1 << axis for axis, wraps in enumerate(grid.periodic) if wraps)
        sides = (*grid.boundary, ("closed", "closed"))[:3]
        self._opened, self._closed = (
            sum(1 << bit for bit, side in enumerate(s for pair in sides for s in pair) if side == kind)
            for kind in ("open", "closed")
        )
        self._tile_shape, scales = self._noise()
        self._tile = (
            torch.from_numpy(noise.tile(self._tile_shape, settings.seed).copy()).to(device).reshape(-1)
        )
        self._scales = torch.tensor(scales, dtype=torch.float32, device=device)

        coarse = start.torch(device)
        self.time = start.time
        self._velocity = self._triples(coarse)
        self._displacement = torch.zeros_like(self._velocity)
        upsampled = resample(coarse.density[None, None], f, "linear") if bool(coarse.density.any()) else None
        fine_cells = math.prod(self._fine)
        self.density = torch.zeros(fine_cells, device=device) if upsampled is None else upsampled.reshape(-1)
        self._flow = torch.empty(3 * fine_cells, device=device)
        self._psi = torch.empty(3 * math.prod(n + 1 for n in self._fine), device=device)
        self._hat, self._least, self._most = self._psi[: 3 * fine_cells].chunk(3)
        self.torn_share = 0.0

    @property
    def factor(self) -> int:
        """Fine cells along the edge of a coarse one."""
        return self.settings.factor

    def advance(self, coarse: Frame) -> None:
        """Advance the fine smoke to `coarse.time`; the flow is interpolated linearly from the last frame to this one.

        The same frames from the same start give the same bits. Raises RunError where density is not finite.
        """
        f, now = self.factor, self._triples(coarse.torch(self.device))
        seconds = coarse.time - self.time
        fastest = max(float(v.abs().max()) for v in (self._velocity, now))
        count = max(1, math.ceil(fastest * seconds * f / STRIDE - 1e-6))
        dt, start = seconds / count, self.time
        for step in range(count):
            velocity = torch.lerp(self._velocity, now, (step + 0.5) / count)
            self._step(velocity, fastest, dt)
            self._emit(self.density, start + step * dt, start + (step + 1) * dt)
        self._velocity, self.time = now, coarse.time
        if not math.isfinite(float(self.density.sum(dtype=torch.float64))):
            raise RunError(
                f"t = {self.time:.4g} s",
                "the fine density is not finite",
                "lower upscale.strength or time.cfl",
            )

    def _step(self, velocity: Tensor, fastest: float, dt: float) -> None:
        """One substep: eddies along with the flow, their energy from it, smoke along with both."""
        self._carry(velocity, dt / 2)
        whole = self._displacement.view(*self.cells, 3)
        bad = torn(whole, self.grid.periodic)
        whole[bad] = 0.0  # regenerate: c = x
        bad |= torn(whole, self.grid.periodic)  # beside newly drawn parts, the texture is discontinuous
        amplitude = self.amplitude(velocity).masked_fill_(bad, 0.0)
        self._carry(velocity, dt / 2)

        max_displacement = (fastest * self.factor + 4 * float(amplitude.max())) * dt  # fine cells
        smoke = self._smoke()
        self.torn_share = float((bad & smoke).sum()) / max(1, int(smoke.sum()))
        reach = math.ceil(max_displacement) + 1
        moving = _spread(smoke, -(-reach // self.factor), self.grid.periodic)
        traced = _spread(moving, -(-(reach // 2 + 2) // self.factor), self.grid.periodic)
        self._make_flow(velocity, amplitude, traced)
        self._move(moving, dt, float(reach))

    def amplitude(self, velocity: Tensor) -> Tensor:
        """Speed of the eddies (fine cells per s, root mean square) that the first missing octave ought to have.

        `velocity`: coarse triples, cells/s. From the energy `e = |u_high|^2 / 2` of the finest octave that the
        coarse flow holds (Kim et al. 2008, eq. 5): `strength * 2^(-5/6) * sqrt(2 e)`. [x, y, z].
        """
        high = high_band(velocity.view(*self.cells, 3).movedim(-1, 0), self.grid.periodic)
        energy = local_mean((high * high).sum(dim=0) / 2, self.grid.periodic)
        speed = (self.settings.strength * PERSISTENCE * self.factor) * (2 * energy.clamp_min_(0)).sqrt()
        fluid_mask = self._fluid_mask()
        return speed if fluid_mask is None else speed * fluid_mask.to(self.device).reshape(self.cells)

    def frame(self, coarse: Frame, fields: Sequence[str] = ("density",)) -> Frame:
        """The fine frame of `coarse`, to which `advance` was called last.

        Velocity, in m/s, includes the eddies; other fields are upsampled by linear interpolation. Raises ValueError
        for any other coarse frame.
        """
        if coarse.time != self.time:
            raise ValueError(f"the frame is at {coarse.time:g} s and the fine smoke at {self.time:g} s")
        tensors = coarse.torch(self.device)
        fine: dict[str, Tensor] = {"density": self._shaped(self.density).clone()}
        for name in fields:
            if name == "velocity":
                fine[name] = self._fine_velocity()
            elif name != "density":
                values = tensors.fields()[name]
                parts = resample(values.reshape(1, -1, *coarse.shape), self.factor, "linear")
                fine[name] = parts.reshape(*values.shape[: -coarse.dim], *parts.shape[2:])
        return tensors.with_fields(fine, cell_size=coarse.cell_size / self.factor)

    def state(self) -> dict[str, Tensor]:
        """Copies, on the CPU, of everything that `restore` needs to continue bit-identically."""
        named = self._arrays()
        copies = {name: array.detach().to("cpu", copy=True) for name, array in named.items()}
        return copies | {"time": torch.tensor(self.time, dtype=torch.float64)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go back to what `state()` returned. Raises InputError where it does not fit."""
        for name, array in self._arrays().items():
            if name not in state or state[name].shape != array.shape:
                problem = f"'{name}' is missing or has another size"
                raise InputError("state", problem, "restore it with its own scene")
            array.copy_(state[name])
        self.time = float(state["time"])

    def _arrays(self) -> dict[str, Tensor]:
        return {"density": self.density, "velocity": self._velocity, "displacement": self._displacement}

    def _noise(self) -> tuple[tuple[int, int, int], list[float]]:
        """The tile's shape (along a periodic axis it repeats with the domain) and the factor of each octave."""
        x, y, z = (
            n if n == 1 or wraps else noise.TILE
            for n, wraps in zip(self.cells, self.grid.periodic, strict=True)
        )
        shape = (x, y, z)
        tile = noise.tile(shape, self.settings.seed)
        planar = self.grid.dim == 2
        return shape, [
            PERSISTENCE**octave / noise.curl_speed(tile, 2**octave / self.factor, planar)
            for octave in range(self.settings.sizes)
        ]

    def _triples(self, frame: Frame) -> Tensor:
        """The frame's velocity in cells per second, three numbers of a cell side by side, flat."""
        assert frame.velocity is not None  # frames of the solver have one
        velocity = frame.velocity / frame.cell_size
        if self.grid.dim == 2:
            velocity = F.pad(velocity[..., None], (0, 0, 0, 0, 0, 0, 0, 1))
        return velocity.movedim(0, -1).reshape(-1).contiguous()

    def _shaped(self, density: Tensor) -> Tensor:
        return density.view(self._fine[: self.grid.dim])

    def _carry(self, velocity: Tensor, dt: float) -> None:
        moved = torch.empty_like(self._displacement)
        kernels.carry(velocity, self._displacement, moved, *self.cells, self._wraps, dt)
        self._displacement = moved

    def _smoke(self) -> Tensor:
        """Coarse cells that hold any fine smoke, [x, y, z] bool."""
        nx, ny, nz = self.cells
        blocks = self.density.view(nx, self.factor, ny, self.factor, nz, self.fz)
        return blocks.amax(dim=(1, 3, 5)) > 0

    def _make_flow(self, velocity: Tensor, amplitude: Tensor, need: Tensor) -> None:
        for region in self._boxes(need):
            kernels.potential(
                self._psi, _bytes(need), self._displacement, amplitude.reshape(-1), self._tile, self._scales,
                *region, *self._tile_shape, self.settings.sizes, self._wraps, self._closed,
            )  # fmt: skip
            kernels.flow(self._psi, _bytes(need), velocity, self._flow, *region, self._wraps)

    def _move(self, need: Tensor, dt: float, reach: float) -> None:
        self._hat.zero_()  # the second pass looks a little beyond what the first has made
        settings = self.settings
        for region in self._boxes(need):
            arrays = (self.density, _bytes(need), self._flow, self._hat, self._least, self._most)
            sides = (self._wraps, self._opened)
            kernels.move_back(*arrays, *region, *sides, dt, reach)
            decay = math.exp(-settings.dissipation * dt)
            kernels.correct(*arrays, *region, *sides, dt, reach, int(settings.maccormack), decay, NOTHING)

    def _fine_velocity(self) -> Tensor:
        """The whole fine velocity now, [d, x, y(, z)], m/s."""
        everywhere = torch.ones(self.cells, dtype=torch.bool, device=self.device)
        bad = torn(self._displacement.view(*self.cells, 3), self.grid.periodic)
        self._make_flow(self._velocity, self.amplitude(self._velocity).masked_fill_(bad, 0.0), everywhere)
        h = self.grid.cell_size / self.factor
        velocity = self._flow.view(*self._fine, 3).movedim(-1, 0)[: self.grid.dim] * h
        return velocity.reshape(self.grid.dim, *self._fine[: self.grid.dim])

    def _boxes(self, need: Tensor) -> Iterator[tuple[int, ...]]:
        """Sizes and the box of fine cells that the kernels go through; none where there is nothing."""
        mask = need.cpu().numpy()
        box = bounding_box(mask, Box((0, 0, 0), mask.shape))
        if box is not None:
            times = (self.factor, self.factor, self.fz)
            edges = ((lo * t, hi * t) for lo, hi, t in zip(box.lo, box.hi, times, strict=True))
            yield (*self.cells, self.factor, self.fz, *(edge for pair in edges for edge in pair))


def _bytes(mask: Tensor) -> Tensor:
    return mask.to(torch.uint8).reshape(-1)


def _spread(mask: Tensor, by: int, periodic: Sequence[bool]) -> Tensor:
    """Cells within `by` cells (a cube) of a true one of `mask [x, y, z]`."""
    wide = mask.to(torch.float32)
    for axis, wraps in enumerate(periodic):
        n = wide.shape[axis]
        if n == 1:
            continue
        reach = min(by, n - 1)
        line = wide.movedim(axis, -1)
        flat = line.reshape(1, -1, n)
        padded = F.pad(flat, (reach, reach), mode="circular") if wraps else F.pad(flat, (reach, reach))
        wide = F.max_pool1d(padded, 2 * reach + 1, 1).reshape(line.shape).movedim(-1, axis)
    return wide.bool().contiguous()
