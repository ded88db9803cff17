"""Smoke on a fine grid, advected by the coarse flow and by synthesized eddies that are too small for the coarse grid.

Kim, Thuerey, James and Gross, "Wavelet Turbulence for Fluid Simulation", ACM Trans. Graph. 27(3), 2008. This
implementation differs from the paper in three ways: the amplitude is inside of the curl, so that the added flow is
exactly divergence-free; the energy is averaged over about a wavelength; and texture coordinates are those at the middle
of a substep.
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

# The ratio of the speeds of successive octaves: their energies have a ratio of 2^(-5/3) (Kolmogorov 1941; Kim et al.
# 2008, eq. 2).
PERSISTENCE = 2.0 ** (-5.0 / 6.0)
STRIDE = 6.0  # fine cells that the coarse flow may cross per substep
NOTHING = 1e-6  # density up to this is set to zero, as it is invisible but costs as much as smoke
BYTES_PER_FINE_CELL = 4 * (
    1 + 3 + 3
)  # density, flow, potential (the temporary arrays of the advection share its memory)

Emit = Callable[[Tensor, float, float], None]


@dataclass(frozen=True)
class TurbulenceSettings:
    """Settings of WaveletTurbulence.

    Attributes:
        factor: fine cells along a coarse one.
        strength: factor on the speed of the eddies.
        octaves: number of octaves of eddies; noise cells are as large as coarse cells in the first one. None: down to
            noise cells of two fine cells.
        seed: of the noise.
        maccormack: whether the fine density is advected by MacCormack's method; otherwise semi-Lagrangian.
        dissipation: of the density, 1/s.
    """

    factor: int
    strength: float = 1.0
    octaves: int | None = None
    seed: int = 0
    maccormack: bool = True
    dissipation: float = 0.0

    @property
    def sizes(self) -> int:
        """The number of octaves."""
        return self.octaves or max(1, int(math.log2(self.factor)))


class WaveletTurbulence:
    """Fine smoke that follows a coarse simulation frame by frame. Taichi must have been started on the device.

    Args:
        grid: the coarse grid.
        start: the first coarse frame: density, velocity, time.
        settings: of the turbulence.
        device: `cpu` or `cuda`.
        emit: `emit(density, start, end)` applies sources and solids to the flat fine density, in place, for a substep
            between two times (s).
        fluid_mask: returns the present fraction of air in each coarse cell, `[x, y(, z)]`; None: all air.

    Raises InputError if the fine grid is too large for 32-bit indices.
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
        self._wraps = sum(1 << axis for axis, is_periodic in enumerate(grid.periodic) if is_periodic)
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
        """Fine cells along a coarse one."""
        return self.settings.factor

    def advance(self, coarse: Frame) -> None:
        """Advance the fine smoke to `coarse.time`. The flow is interpolated linearly from the last frame to this one.

        The result is deterministic, to the last bit. Raises RunError if the density is not finite.
        """
        f, new_velocity = self.factor, self._triples(coarse.torch(self.device))
        seconds = coarse.time - self.time
        fastest = max(float(v.abs().max()) for v in (self._velocity, new_velocity))
        count = max(1, math.ceil(fastest * seconds * f / STRIDE - 1e-6))
        dt, start = seconds / count, self.time
        for step in range(count):
            velocity = torch.lerp(self._velocity, new_velocity, (step + 0.5) / count)
            self._step(velocity, fastest, dt)
            self._emit(self.density, start + step * dt, start + (step + 1) * dt)
        self._velocity, self.time = new_velocity, coarse.time
        if not math.isfinite(float(self.density.sum(dtype=torch.float64))):
            raise RunError(
                f"t = {self.time:.4g} s",
                "the fine density is not finite",
                "lower upscale.strength or time.cfl",
            )

    def _step(self, velocity: Tensor, fastest: float, dt: float) -> None:
        """One substep: advect the texture, compute the eddies, and advect the smoke along flow and eddies."""
        self._carry(velocity, dt / 2)
        displacement = self._displacement.view(*self.cells, 3)
        torn_cells = torn(displacement, self.grid.periodic)
        displacement[torn_cells] = 0.0  # regenerate the texture coordinates there
        torn_cells |= torn(
            displacement, self.grid.periodic
        )  # the texture is discontinuous beside these cells
        amplitude = self.amplitude(velocity).masked_fill_(torn_cells, 0.0)
        self._carry(velocity, dt / 2)

        max_displacement = (fastest * self.factor + 4 * float(amplitude.max())) * dt  # fine cells
        smoke = self._smoke()
        self.torn_share = float((torn_cells & smoke).sum()) / max(1, int(smoke.sum()))
        reach = math.ceil(max_displacement) + 1
        moving = _spread(smoke, -(-reach // self.factor), self.grid.periodic)
        traced = _spread(moving, -(-(reach // 2 + 2) // self.factor), self.grid.periodic)
        self._make_flow(velocity, amplitude, traced)
        self._move(moving, dt, float(reach))

    def amplitude(self, velocity: Tensor) -> Tensor:
        """The root-mean-square speed of the eddies in the first octave beyond the coarse grid, `[x, y, z]`, in fine
        cells per second.

        It is `strength * 2^(-5/6) * sqrt(2 e)`, with the local energy `e = |u_high|^2 / 2` of the finest octave of the
        coarse flow (Kim et al. 2008, eq. 5). `velocity`: flat coarse vectors, cells/s.
        """
        high = high_band(velocity.view(*self.cells, 3).movedim(-1, 0), self.grid.periodic)
        energy = local_mean((high * high).sum(dim=0) / 2, self.grid.periodic)
        speed = (self.settings.strength * PERSISTENCE * self.factor) * (2 * energy.clamp_min_(0)).sqrt()
        fluid_mask = self._fluid_mask()
        return speed if fluid_mask is None else speed * fluid_mask.to(self.device).reshape(self.cells)

    def frame(self, coarse: Frame, fields: Sequence[str] = ("density",)) -> Frame:
        """The fine frame for `coarse`, the frame of the last call of `advance`.

        The velocity (m/s) includes the eddies. Fields other than density and velocity are interpolated linearly. Raises
        ValueError if `coarse` is at another time.
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
        """Return to a `state()`. Raises InputError if it does not fit."""
        for name, array in self._arrays().items():
            if name not in state or state[name].shape != array.shape:
                problem = f"'{name}' is missing or has another size"
                raise InputError("state", problem, "restore it with its own scene")
            array.copy_(state[name])
        self.time = float(state["time"])

    def _arrays(self) -> dict[str, Tensor]:
        return {"density": self.density, "velocity": self._velocity, "displacement": self._displacement}

    def _noise(self) -> tuple[tuple[int, int, int], list[float]]:
        """The shape of the noise tile, which repeats with the domain along periodic axes, and the factor on each
        octave."""
        x, y, z = (
            n if n == 1 or is_periodic else noise.TILE
            for n, is_periodic in zip(self.cells, self.grid.periodic, strict=True)
        )
        shape = (x, y, z)
        tile = noise.tile(shape, self.settings.seed)
        planar = self.grid.dim == 2
        return shape, [
            PERSISTENCE**octave / noise.curl_speed(tile, 2**octave / self.factor, planar)
            for octave in range(self.settings.sizes)
        ]

    def _triples(self, frame: Frame) -> Tensor:
        """The velocity of a frame as flat vectors of three components, in cells per second."""
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
        """Whether each coarse cell contains fine smoke, `[x, y, z]`, bool."""
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
        self._hat.zero_()  # `correct` also reads near the cells that `move_back` has computed
        settings = self.settings
        for region in self._boxes(need):
            arrays = (self.density, _bytes(need), self._flow, self._hat, self._least, self._most)
            sides = (self._wraps, self._opened)
            kernels.move_back(*arrays, *region, *sides, dt, reach)
            decay = math.exp(-settings.dissipation * dt)
            kernels.correct(*arrays, *region, *sides, dt, reach, int(settings.maccormack), decay, NOTHING)

    def _fine_velocity(self) -> Tensor:
        """The present fine velocity of the whole domain, `[d, x, y(, z)]`, m/s."""
        everywhere = torch.ones(self.cells, dtype=torch.bool, device=self.device)
        torn_cells = torn(self._displacement.view(*self.cells, 3), self.grid.periodic)
        self._make_flow(
            self._velocity, self.amplitude(self._velocity).masked_fill_(torn_cells, 0.0), everywhere
        )
        h = self.grid.cell_size / self.factor
        velocity = self._flow.view(*self._fine, 3).movedim(-1, 0)[: self.grid.dim] * h
        return velocity.reshape(self.grid.dim, *self._fine[: self.grid.dim])

    def _boxes(self, need: Tensor) -> Iterator[tuple[int, ...]]:
        """The size arguments of the kernels and the box of fine cells that contains `need`; nothing if it is empty."""
        mask = need.cpu().numpy()
        box = bounding_box(mask, Box((0, 0, 0), mask.shape))
        if box is not None:
            times = (self.factor, self.factor, self.fz)
            edges = ((lo * t, hi * t) for lo, hi, t in zip(box.lo, box.hi, times, strict=True))
            yield (*self.cells, self.factor, self.fz, *(edge for pair in edges for edge in pair))


def _bytes(mask: Tensor) -> Tensor:
    return mask.to(torch.uint8).reshape(-1)


def _spread(mask: Tensor, by: int, periodic: Sequence[bool]) -> Tensor:
    """Whether a cell of `mask [x, y, z]` is true in the cube of `by` cells around each cell."""
    wide = mask.to(torch.float32)
    for axis, is_periodic in enumerate(periodic):
        n = wide.shape[axis]
        if n == 1:
            continue
        reach = min(by, n - 1)
        line = wide.movedim(axis, -1)
        flat = line.reshape(1, -1, n)
        padded = F.pad(flat, (reach, reach), mode="circular") if is_periodic else F.pad(flat, (reach, reach))
        wide = F.max_pool1d(padded, 2 * reach + 1, 1).reshape(line.shape).movedim(-1, axis)
    return wide.bool().contiguous()
