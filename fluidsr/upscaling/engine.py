"""The way of a frame through a generator: checked, cut into tiles, raised, put together."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fluidsr import device as devices
from fluidsr import models
from fluidsr.errors import InputError, ModelError, RunError
from fluidsr.frame import Frame
from fluidsr.models.resample import upsample as resample
from fluidsr.upscaling.cost import cover
from fluidsr.upscaling.memory import bytes_per_cell
from fluidsr.upscaling.occupancy import bounding_box, needed
from fluidsr.upscaling.statistics import Cost, Statistics
from fluidsr.upscaling.tiles import Box, Tile, plan, tile_of

# Density below this is no smoke. Tails of advection (1e-30 and less) would otherwise make the whole domain
# look busy; what is dropped changes the result by less than 1e-5.
THRESHOLD = 1e-6

# Bytes the generator may hold when the caller sets no bound. Constants, not what happens to be free: the
# tiles, and with them the last bits of the result, must be the same when a run is resumed.
MEMORY_CPU = 2 * 1024**3
MEMORY_SHARE_CUDA = 0.5  # of the memory that the device was built with

# Starting a tile costs as much as computing about so many cells: some thirty kernel launches on a GPU that
# computes a cell in tens of nanoseconds, a millisecond or two on a CPU that takes microseconds.
START_CELLS = {"cpu": 500, "cuda": 10_000}

# Beyond this many tiles at once even a large GPU gains nothing more.
LARGEST_BATCH = 64


def load(
    name_or_path: str, device: str = "auto", tile: int | str = "auto", max_memory: int | None = None
) -> Upscaler:
    """The generator `name_or_path` (a shipped name or a file), ready to raise frames on `device`.

    `device` is auto, cpu, cuda or cuda:N; `tile` and `max_memory` as for `Upscaler`. Raises ModelError for a
    model that is missing or damaged and InputError for a device that is not there.
    """
    where = devices.resolve(device)
    return Upscaler(models.load(name_or_path, where), tile=tile, max_memory=max_memory, device=where)


class Upscaler:
    """Raises frames of any size through one generator, in tiles.

    `tile` is the largest edge of a tile in coarse cells, its halo not counted, or `auto`: tiles laid around
    the smoke of each frame so that the fewest cells are computed. `max_memory` bounds the bytes that the
    generator holds at once (the fine fields come on top); unset, it is 2 GiB on a CPU and half of a CUDA
    device. `batch` is how many tiles of equal shape are computed at once; unset, one on a CPU, and on CUDA as
    many as fit. `device` moves the generator; unset, it stays where it is. The result depends on none of
    these, up to rounding (1e-5 between tiles and batches). `statistics` tells about the last frame.
    """

    def __init__(
        self,
        model: models.Model,
        tile: int | str = "auto",
        max_memory: int | None = None,
        batch: int | None = None,
        device: str | None = None,
    ) -> None:
        here = next(model.generator.parameters()).device
        self.device = here if device is None else torch.device(devices.resolve(device))
        self.tile = _tile_edge(tile)
        if batch is not None and batch < 1:
            raise InputError("batch", f"{batch} tiles at once make no progress", "give 1 or more")
        if max_memory is not None and max_memory < 1:
            raise InputError("--max-memory", f"{max_memory} bytes hold nothing", "give a positive size")
        self.card = model.card
        self.generator: Any = model.generator.to(self.device).eval()
        self.statistics = Statistics()
        self._bytes_per_cell = bytes_per_cell(self.generator, self.generator.dim)
        self._max_memory = max_memory or _default_memory(self.device)
        self._most_cells = self._max_memory // self._bytes_per_cell
        self._batch = batch or (LARGEST_BATCH if self.device.type == "cuda" else 1)

    @property
    def factor(self) -> int:
        """Fine voxels along the edge of a coarse cell."""
        return int(self.generator.factor)

    @property
    def halo(self) -> int:
        """Coarse cells that a tile reads beyond those it answers for."""
        return int(self.generator.receptive_radius)

    def upsample(
        self, frame: Frame, *, velocity_scale: float = 1.0, fields: Sequence[str] = ("density",)
    ) -> Frame:
        """`frame` at `factor` times its resolution: same place, time, dt and kind of arrays, smaller cells.

        Density comes from the generator, which sees the velocity times `velocity_scale`. Of the other fields
        those named in `fields` are raised by linear interpolation, velocity in m/s as it was. Raises
        InputError where a field is missing or not finite, ModelError where the model is of another dimension,
        RunError where the generator's answer is not finite.
        """
        extra = [name for name in fields if name != "density"]
        missing = [name for name in extra if name not in frame.fields()]
        if missing:
            raise InputError(
                f"fields: {missing[0]}",
                "the frame has no such field",
                f"choose from {', '.join(frame.fields())}",
            )
        for name in extra:
            _check_finite(name, torch.as_tensor(frame.fields()[name]))
        home = frame.density.device if isinstance(frame.density, Tensor) else None
        fine = self._blank(frame, home or torch.device("cpu"))
        for box, density in self.tiles_of(frame, velocity_scale=velocity_scale):
            box.of(fine).copy_(density)
        started = time.perf_counter()
        raised: dict[str, Any] = {"density": fine}
        raised |= {name: self._raise(frame.fields()[name], fine.device) for name in extra}
        if home is None:
            raised = {name: array.numpy() for name, array in raised.items()}
        self.statistics = replace(
            self.statistics, seconds=self.statistics.seconds + time.perf_counter() - started
        )
        return frame.with_fields(raised, cell_size=frame.cell_size / self.factor)

    def tiles_of(self, frame: Frame, *, velocity_scale: float = 1.0) -> Iterator[tuple[Box, Tensor]]:
        """Finished tiles as (box in fine voxels, fine density on this upscaler's device), in no certain
        order.

        The boxes are disjoint; outside of them the fine density is zero. `statistics` is of this frame once
        the iterator is exhausted. Raises as `upsample` does, before the first tile.
        """
        started = time.perf_counter()
        coarse, clamped = self._see(frame, velocity_scale)
        jobs = self._plan(coarse[0])
        tally = self._tally(frame, coarse, jobs, clamped)
        return self._run(frame, coarse, jobs.tiles, tally, started)

    def cost(self, shape: Sequence[int]) -> Cost:
        """What a frame of `shape` coarse cells takes when it is full of smoke; computes nothing.

        Raises ModelError where the model is of another dimension.
        """
        self._check_dim(len(shape))
        tiles = self._plan(torch.ones(tuple(shape))).tiles
        cells = sum(tile.computed_cells for tile in tiles)
        voxels = self.factor ** len(shape)
        return Cost(
            fine_shape=tuple(int(n) * self.factor for n in shape),
            tiles=len(tiles),
            computed_cells=cells,
            multiply_adds=self._multiply_adds(cells),
            memory=self._bytes_per_cell * max(tile.computed_cells for tile in tiles),
            result=4 * int(np.prod(shape)) * voxels,
        )

    def _see(self, frame: Frame, velocity_scale: float) -> tuple[Tensor, int]:
        """What the generator sees, `[1 + d, *S]` on its device, and the count of negative densities."""
        self._check_dim(frame.dim)
        if not (np.isfinite(velocity_scale) and velocity_scale >= 0):
            raise InputError("--velocity-scale", f"{velocity_scale} is not a scale", "give 0 or more")
        if frame.velocity is None:
            raise InputError(
                "velocity",
                "the frame has none, and the generator draws its detail along the flow",
                "give a velocity grid, or zeros of its shape for a softer result that flickers more",
            )
        needs = frame.with_fields({"density": frame.density, "velocity": frame.velocity})
        here = needs.torch(str(self.device))
        for name, array in here.fields().items():
            _check_finite(name, array)
        clamped = int((here.density < 0).sum())
        density = torch.where(here.density > THRESHOLD, here.density, 0.0)
        velocity = here.velocity_in_cells() * velocity_scale
        return torch.cat([density[None], velocity]), clamped

    def _plan(self, density: Tensor) -> _Jobs:
        mask = needed(density, int(self.generator.support_radius))
        shape = mask.shape
        if self.tile is None:
            boxes = cover(
                mask, self.halo, start_cells=START_CELLS[self.device.type], most_cells=self._most_cells
            )
            return _Jobs([tile_of(box, shape, self.halo, self.factor) for box in boxes], 0)
        tiles, skipped = [], 0
        for tile in plan(shape, self.tile, self.halo, 1):
            box = bounding_box(mask, tile.write)
            if box is None:
                skipped += 1
            else:
                tiles.append(tile_of(box, shape, self.halo, self.factor))
        largest = max((tile.computed_cells for tile in tiles), default=0)
        if largest > self._most_cells:
            raise InputError(
                "--tile",
                f"tiles of {self.tile} cells and their halo need {_mib(largest * self._bytes_per_cell)},"
                f" {_mib(self._max_memory)} are allowed",
                "give a smaller --tile, auto, or more --max-memory",
            )
        return _Jobs(tiles, skipped)

    def _run(
        self, frame: Frame, coarse: Tensor, tiles: list[Tile], tally: Statistics, started: float
    ) -> Iterator[tuple[Box, Tensor]]:
        waited = 0.0  # time that the caller spent between tiles is not ours
        for batch in self._batches(tiles):
            with torch.inference_mode():
                answer = self.generator(torch.stack([tile.read.of(coarse) for tile in batch]))
                low, high = (float(x) for x in torch.aminmax(answer))
            if not (np.isfinite(low) and np.isfinite(high)):
                raise RunError(
                    f"frame at {frame.time:g} s",
                    "the generator's answer is not finite",
                    "check the velocity's unit (m/s) and frame rate, or the model with `fluidsr evaluate`",
                )
            for tile, density in zip(batch, answer[:, 0], strict=True):
                paused = time.perf_counter()
                yield tile.write, tile.crop.of(density)
                waited += time.perf_counter() - paused
            del answer, density  # or the next batch would be computed on top of this one
        self.statistics = replace(tally, seconds=time.perf_counter() - started - waited)

    def _batches(self, tiles: list[Tile]) -> Iterator[list[Tile]]:
        """Tiles of equal shape together, as many as the batch and the memory allow."""
        for shape, group in groupby(sorted(tiles, key=_shape_read), key=_shape_read):
            same = list(group)
            size = max(1, min(self._batch, self._most_cells // int(np.prod(shape))))
            for first in range(0, len(same), size):
                yield same[first : first + size]

    def _tally(self, frame: Frame, coarse: Tensor, jobs: _Jobs, clamped: int) -> Statistics:
        smoke = coarse[0] > 0
        speed = float((coarse[1:].abs().amax(0) * smoke).max())
        density = float(coarse[0].max())
        cells = sum(tile.computed_cells for tile in jobs.tiles)
        return Statistics(
            tiles_run=len(jobs.tiles),
            tiles_skipped=jobs.skipped,
            frame_cells=int(np.prod(frame.shape)),
            computed_cells=cells,
            multiply_adds=self._multiply_adds(cells),
            clamped_cells=clamped,
            max_density=density,
            max_speed=speed,
            notes=tuple(self._notes(clamped, density, speed)),
        )

    def _notes(self, clamped: int, density: float, speed: float) -> Iterator[str]:
        name = self.card.name
        if clamped:
            yield "density is negative in places; it was taken as zero there"
        most = self.card.density_range[1]
        if density > most:
            yield f"density exceeds {most:g}, the most that {name} was trained on; the detail may look wrong"
        most = max(abs(value) for value in self.card.velocity_range)
        if speed > most:
            yield (
                f"smoke moves faster than {most:g} coarse cells per frame, the most {name} was trained on;"
                " a lower --velocity-scale or more frames per second may help"
            )

    def _multiply_adds(self, cells: int) -> float:
        return float(self.generator.multiply_adds * cells * self.factor**self.generator.dim)

    def _blank(self, frame: Frame, home: torch.device) -> Tensor:
        return torch.zeros(tuple(n * self.factor for n in frame.shape), device=home)

    def _raise(self, array: Any, home: torch.device) -> Tensor:
        """A scalar `[*S]` or vector `[d, *S]` field by linear interpolation; values and unit stay."""
        x = torch.as_tensor(array, dtype=torch.float32, device=home)
        scalar = x.ndim == self.generator.dim
        x = x[None, None] if scalar else x[:, None]
        fine = resample(x, self.factor, "linear")
        return fine[0, 0] if scalar else fine[:, 0]

    def _check_dim(self, dim: int) -> None:
        if dim != self.generator.dim:
            raise ModelError(
                self.card.name,
                f"it is a {self.generator.dim}-D model and the frame is {dim}-D",
                f"choose a {dim}-D model (`fluidsr models list`)",
            )


@dataclass(frozen=True)
class _Jobs:
    tiles: list[Tile]
    skipped: int


def _check_finite(name: str, array: Tensor) -> None:
    if not torch.isfinite(array).all():
        raise InputError(name, "it holds a NaN or an infinity", "repair the field, or leave this frame out")


def _shape_read(tile: Tile) -> tuple[int, ...]:
    return tile.read.shape


def _tile_edge(tile: int | str) -> int | None:
    """None for `auto`."""
    if tile == "auto":
        return None
    if isinstance(tile, str) or tile < 1:
        raise InputError("--tile", f"'{tile}' is not a size", "give 1 or more coarse cells, or auto")
    return int(tile)


def _default_memory(device: torch.device) -> int:
    if device.type == "cpu":
        return MEMORY_CPU
    return int(MEMORY_SHARE_CUDA * torch.cuda.get_device_properties(device).total_memory)


def _mib(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"
