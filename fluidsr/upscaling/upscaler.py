"""The way of a frame through a generator: checked, cut into tiles, raised, put together."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fluidsr import device as devices
from fluidsr import models
from fluidsr.errors import InputError, ModelError, RunError
from fluidsr.frame import Frame
from fluidsr.models.blocks import Cut
from fluidsr.upscaling.background import Emptiness
from fluidsr.upscaling.companions import Carried, interpolated, way_of
from fluidsr.upscaling.memory import Footprint, is_exhaustion
from fluidsr.upscaling.network_input import Seen, VelocityScale, check_finite, see
from fluidsr.upscaling.statistics import Cost, Statistics
from fluidsr.upscaling.tile_cover import bounding_box, cover, needed
from fluidsr.upscaling.tiles import Box, Piece, Tile, plan, remainder, tile_of

PRECISIONS = ("float32", "bfloat16", "float16")


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """The context in which convolutions compute in `precision`, one of PRECISIONS; sums stay in float32.

    What surrounds the convolutions (interpolation, gates, the result) stays in float32 in any case.
    """
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, getattr(torch, precision))


# Bytes the generator may hold when the caller sets no bound. Constants, not what happens to be free: the
# tiles, and with them the last bits of the result, must be the same when a run is resumed.
MEMORY_CPU = 2 * 1024**3
MEMORY_SHARE_CUDA = 0.5  # of the memory that the device was built with

# Starting a tile costs as much as computing about so many cells: some thirty kernel launches on a GPU that
# computes a cell in tens of nanoseconds, some milliseconds on a CPU that takes six microseconds for one.
START_CELLS = {"cpu": 1000, "cuda": 10_000}

SHRUNK = (
    "the device ran out of memory: tiles are smaller from here on (--max-memory sets their size beforehand)"
)

_LINEAR_BYTES = (
    12  # per fine value: interpolating along the last axis holds what it reads, what it makes, and both
)

# The tiles among which the one that needs most memory is looked for: of nearly equal size, cut at other sides.
_CANDIDATES = 16

# Beyond this many tiles at once even a large GPU gains nothing more.
LARGEST_BATCH = 64


def load(
    name_or_path: str,
    device: str = "auto",
    tile: int | str = "auto",
    max_memory: int | None = None,
    precision: str = "float32",
) -> Upscaler:
    """The generator `name_or_path` (a shipped name or a file), ready to raise frames on `device`.

    `device` is auto, cpu, cuda or cuda:N; the others as for `Upscaler`. Raises ModelError for a
    model that is missing or damaged and InputError for a device that is not there.
    """
    where = devices.resolve(device)
    model = models.load(name_or_path, where)
    return Upscaler(model, tile=tile, max_memory=max_memory, device=where, precision=precision)


class Upscaler:
    """Raises frames of any size through one generator, in tiles.

    `tile` is the largest edge of a tile in coarse cells, its halo not counted, or `auto`: tiles laid around
    the smoke of each frame so that the fewest cells are computed. `max_memory` bounds the bytes that the
    generator holds at once (the fine fields come on top); unset, it is 2 GiB on a CPU and half of a CUDA
    device. `batch` is how many tiles of equal shape are computed at once; unset, one on a CPU, and on CUDA as
    many as fit. `device` moves the generator; unset, it stays where it is. The result depends on none of
    these, up to rounding (1e-5 between tiles and batches). `precision` is that of the convolutions: `float32`, or
    `bfloat16` or `float16`, which are faster where the machine has instructions for them and whose rounding shows
    in the result (docs/performance.md). Where the device runs out of memory, tiles become smaller. `statistics`
    tells about the last frame.
    """

    def __init__(
        self,
        model: models.Model,
        tile: int | str = "auto",
        max_memory: int | None = None,
        batch: int | None = None,
        device: str | None = None,
        precision: str = "float32",
    ) -> None:
        here = next(model.generator.parameters()).device
        self.device = here if device is None else torch.device(devices.resolve(device))
        self.tile = _tile_edge(tile)
        if batch is not None and batch < 1:
            raise InputError("batch", f"{batch} tiles at once make no progress", "give 1 or more")
        if max_memory is not None and max_memory < 1:
            raise InputError("--max-memory", f"{max_memory} bytes hold nothing", "give a positive size")
        if precision not in PRECISIONS:
            raise InputError("--precision", f"'{precision}' is not known", f"use {', '.join(PRECISIONS)}")
        if precision == "float16" and self.device.type == "cpu":
            raise InputError(
                "--precision float16",
                "takes hundreds of times longer on a CPU",
                "use bfloat16 there, or --device cuda",
            )
        self.precision = precision
        self.card = model.card
        self.generator: Any = model.generator.to(self.device).eval()
        self.statistics = Statistics()
        self._footprint = Footprint(self.generator)
        self._max_memory = max_memory or _default_memory(self.device)
        self._emptiness = Emptiness(self._generate, self.generator.dim, self.halo, self.factor, self.device)
        self._batch = batch or (LARGEST_BATCH if self.device.type == "cuda" else 1)
        if self.device.type == "cpu":
            devices.keep_freed_memory()

    @property
    def factor(self) -> int:
        """Fine voxels along the edge of a coarse cell."""
        return int(self.generator.factor)

    @property
    def halo(self) -> int:
        """Coarse cells that a tile reads beyond those it answers for."""
        return int(self.generator.receptive_radius)

    @property
    def reads_velocity(self) -> bool:
        """Whether the generator reads more than density."""
        return str(self.generator.inputs) != "density"

    def upsample(
        self, frame: Frame, *, velocity_scale: VelocityScale = 1.0, fields: Sequence[str] | None = None
    ) -> Frame:
        """`frame` at `factor` times its resolution: same place, time, dt and kind of arrays, smaller cells.

        Density comes from the generator, which sees the velocity times `velocity_scale`: a number, or an array
        `[*S]` with one for each coarse cell, which makes more of the detail in some regions than in others
        (docs/upscaling.md). Of the other fields those named in `fields` (default: all) come along: what rides with
        the smoke sharpened as the density is (`companions`), velocity interpolated and in m/s as it was. Arrays of
        NumPy or torch, on any device, come back as what they were, where they were; they are copied only where the
        generator is elsewhere, or they are not contiguous float32.
        Raises InputError where a field is missing or not finite, or a scale is negative or of another shape,
        ModelError where the model is of another dimension, RunError where the generator's answer is not finite.
        """
        wanted = tuple(frame.fields()) if fields is None else fields
        pieces = self.pieces(frame, velocity_scale=velocity_scale, fields=wanted)
        is_torch = isinstance(frame.density, Tensor)
        place = frame.density.device if is_torch else torch.device("cpu")
        shape = self.fine_shape(frame.shape)
        with _memory_told(f"the fine density of {shape} voxels"):
            found = {"density": torch.zeros(shape, device=place)}
        for name, box, values in pieces:
            if name not in found:
                found[name] = torch.empty((*values.shape[: -frame.dim], *shape), device=place)
            box.of(found[name]).copy_(values)
        fine = frame.with_fields(found, cell_size=frame.cell_size / self.factor)
        return fine if is_torch else fine.numpy()

    def pieces(
        self, frame: Frame, *, velocity_scale: VelocityScale = 1.0, fields: Sequence[str] = ("density",)
    ) -> Iterator[Piece]:
        """The fine frame as it is made, box by box, so that it need never be whole in memory.

        The pieces of a field are disjoint, in any order. Where none of density lies, it is zero; where the
        generator gives emptiness an answer that is not zero, they cover everything. So do those of the other
        fields, which are raised as by `upsample`. `statistics` is of this frame once the iterator is
        exhausted. Raises as `upsample` does, the InputErrors before the first piece.
        """
        started = time.perf_counter()
        self._check_dim(frame.dim)
        others = _others(frame, fields)
        if others is not None:
            check_finite(others)
        seen = see(frame, velocity_scale, self.device, self.reads_velocity)
        jobs = self._plan(seen.coarse)
        return self._run(frame, seen, jobs, others, started)

    def cost(self, shape: Sequence[int]) -> Cost:
        """What a frame of `shape` coarse cells takes when it is full of smoke; computes nothing.

        Raises ModelError where the model is of another dimension.
        """
        self._check_dim(len(shape))
        tiles = self._plan(torch.ones(1 + len(shape), *shape)).tiles
        cells, largest = (f(tile.computed_cells for tile in tiles) for f in (sum, max))
        return Cost(
            fine_shape=self.fine_shape(shape),
            tiles=len(tiles),
            computed_cells=cells,
            multiply_adds=self._multiply_adds(cells),
            memory=max(self._bytes(tile) for tile in sorted(tiles, key=_cells)[-_CANDIDATES:]),
            result=4 * math.prod(self.fine_shape(shape)),
            largest_result=4 * largest * self.factor ** len(shape),
        )

    def _plan(self, coarse: Tensor) -> _Jobs:
        """The tiles that `coarse [1 + d, *S]` needs, and the boxes where the answer to emptiness is due."""
        support = self.generator.support_radius
        if support is not None:
            mask = needed(coarse[0], int(support))
        else:
            read = coarse if self.reads_velocity else coarse[:1]
            mask = needed(read.abs().amax(0), self.halo)
        shape = mask.shape
        boxes, skipped = self._cover(mask)
        tiles = [self._tile_of(box, shape) for box in boxes]
        rest = remainder(shape, boxes, self._max_memory // self._fine_bytes) if support is None else []
        if rest and self._emptiness.is_zero(shape):
            rest = []
        return _Jobs(tiles, skipped, rest)

    def _cover(self, mask: np.ndarray) -> tuple[list[Box], int]:
        """Disjoint boxes of coarse cells that hold every true cell of `mask`; how many of a plan hold none."""
        if self.tile is None:
            start = START_CELLS[self.device.type]
            paid = int(self.generator.paid_radius)
            boxes = cover(
                mask,
                self.halo,
                start_cells=start,
                needs=lambda box: self._bytes_or_more(self._tile_of(box, mask.shape)),
                most=self._max_memory,
                paid=paid,
            )
            return boxes, 0
        whole = plan(mask.shape, self.tile, self.halo, 1)
        boxes = [box for tile in whole if (box := bounding_box(mask, tile.write)) is not None]
        largest = max((self._bytes_or_more(self._tile_of(box, mask.shape)) for box in boxes), default=0)
        if largest > self._max_memory:
            raise InputError(
                "--tile",
                f"tiles of {self.tile} cells and their halo need {_mib(largest)},"
                f" {_mib(self._max_memory)} are allowed",
                "give a smaller --tile, auto, or more --max-memory",
            )
        return boxes, len(whole) - len(boxes)

    def _run(
        self, frame: Frame, seen: Seen, jobs: _Jobs, others: Frame | None, started: float
    ) -> Iterator[Piece]:
        spent, cells, tiles, shrunk = (
            0.0,
            0,
            0,
            False,
        )  # time that the caller spends between pieces is not ours
        ways = {} if others is None else _ways(others)
        carried = {
            name: Carried(others.fields()[name], others.density, self.factor)
            for name, way in ways.items()
            if others is not None and way == "carried"
        }
        todo = deque(self._batches(jobs.tiles))
        while todo:
            batch = todo.popleft()
            answer = self._answer(batch, seen, frame)
            if answer is None:
                todo.extendleft(reversed(self._smaller(batch, frame.shape)))
                shrunk = True
                continue
            cells += sum(tile.computed_cells for tile in batch)
            tiles += len(batch)
            for tile, density in zip(batch, answer[:, 0], strict=True):
                made = tile.crop.of(density)
                spent += time.perf_counter() - started
                yield Piece("density", tile.write, made)
                started = time.perf_counter()
                for name, field in carried.items():
                    values = field.of(tile.write.divided(self.factor), made)
                    spent += time.perf_counter() - started
                    yield Piece(name, tile.write, values)
                    started = time.perf_counter()
            del answer, density  # or the next batch would be computed on top of this one
        for piece in self._rest(frame, jobs, others, ways, carried):
            spent += time.perf_counter() - started
            yield piece
            started = time.perf_counter()
        self.statistics = Statistics(
            tiles_run=tiles,
            tiles_skipped=jobs.skipped,
            frame_cells=math.prod(frame.shape),
            computed_cells=cells,
            multiply_adds=self._multiply_adds(cells),
            seconds=spent + time.perf_counter() - started,
            clamped_cells=seen.clamped_cells,
            max_density=seen.max_density,
            max_speed=seen.max_speed,
            notes=(*seen.notes(self.card), *((SHRUNK,) if shrunk else ())),
        )

    def _rest(
        self,
        frame: Frame,
        jobs: _Jobs,
        others: Frame | None,
        ways: Mapping[str, str],
        carried: Mapping[str, Carried],
    ) -> Iterator[Piece]:
        """What no tile of the generator makes: the answer to emptiness, and the fields that are interpolated."""
        for box in jobs.empty:
            yield Piece("density", box.scaled(self.factor), self._emptiness.of(box, frame.shape))
        if others is None:
            return
        made = [tile.write.divided(self.factor) for tile in jobs.tiles]
        for name, way in ways.items():
            values = self.factor**frame.dim * (frame.dim if name == "velocity" else 1)
            most = self._max_memory // (_LINEAR_BYTES * values)
            for box in remainder(frame.shape, made if way == "carried" else [], most):
                if way == "carried":
                    fine = carried[name].of(box, None)
                else:
                    fine = interpolated(others.fields()[name], box, self.factor, way)
                yield Piece(name, box.scaled(self.factor), fine)

    def _answer(self, batch: list[Tile], seen: Seen, frame: Frame) -> Tensor | None:
        """The generator's answer to tiles of equal shape, `[B, 1, *fine]`; None where memory does not suffice
        and smaller tiles may.
        """
        try:
            answer = self._generate(torch.stack([tile.read.of(seen.coarse) for tile in batch]), batch[0].cut)
        except RuntimeError as error:
            if not is_exhaustion(error):
                raise
            if len(batch) == 1 and batch[0].write.cells == self.factor**frame.dim:
                what = f"a tile of {batch[0].read.shape} cells"
                raise RunError(
                    what, "there is not enough memory for it", "free some, or use --device cpu"
                ) from error
            answer = None
        if answer is None:  # not in the except block, where the error still holds what was allocated
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            return None
        if not all(bool(bound.isfinite()) for bound in torch.aminmax(answer)):
            raise RunError(
                f"frame at {frame.time:g} s",
                "the generator's answer is not finite",
                "check the velocity's unit (m/s) and frame rate, or the model with `fluidsr evaluate`",
            )
        return answer

    def _smaller(self, batch: list[Tile], shape: Sequence[int]) -> list[list[Tile]]:
        """The same voxels in about half the memory; from here on no batch is as large as this one was."""
        half = sum(self._bytes(tile) for tile in batch) // 2
        least = self._footprint.at_most([min(2 * self.halo + 1, n) for n in shape])  # any cell, alone
        self._max_memory = min(self._max_memory, max(half, least))
        if len(batch) > 1:
            return [batch[: len(batch) // 2], batch[len(batch) // 2 :]]
        box = batch[0].write.divided(self.factor)
        return [[self._tile_of(half, shape)] for half in box.halves()]

    @torch.inference_mode()
    def _generate(self, coarse: Tensor, cut: Cut | None = None) -> Tensor:
        with autocast(self.device, self.precision):
            answer: Tensor = self.generator(coarse) if cut is None else self.generator.inside(coarse, cut)
        return answer

    def _batches(self, tiles: list[Tile]) -> Iterator[list[Tile]]:
        """Tiles of equal shape, cut at the same sides, together, as many as the batch and the memory allow."""
        for _, group in groupby(sorted(tiles, key=_kind), key=_kind):
            same = list(group)
            size = max(1, min(self._batch, self._max_memory // self._footprint.at_most(same[0].read.shape)))
            for first in range(0, len(same), size):
                yield same[first : first + size]

    def _tile_of(self, box: Box, shape: Sequence[int]) -> Tile:
        return tile_of(box, shape, self.halo, self.factor)

    def _bytes(self, tile: Tile) -> int:
        """What the generator holds for it at its peak."""
        return self._footprint.of(tile.read.shape, tile.cut)

    def _bytes_or_more(self, tile: Tile) -> int:
        """The same, or more where that is allowed, too, and known without looking closely."""
        roughly = self._footprint.at_most(tile.read.shape)
        return roughly if roughly <= self._max_memory else self._bytes(tile)

    @property
    def _fine_bytes(self) -> int:
        """Of the answer to a coarse cell, while it is put together."""
        return 2 * 4 * self.factor**self.generator.dim

    def _multiply_adds(self, cells: int) -> float:
        return float(self.generator.multiply_adds * cells * self.factor**self.generator.dim)

    def fine_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Voxels along each axis of what a frame of `shape` coarse cells becomes."""
        return tuple(int(n) * self.factor for n in shape)

    def _check_dim(self, dim: int) -> None:
        if dim != self.generator.dim:
            raise ModelError(
                self.card.name,
                f"it is a {self.generator.dim}-D model and the frame is {dim}-D",
                f"choose a {dim}-D model (`fluidsr models list`)",
            )


@dataclass(frozen=True)
class _Jobs:
    """Tiles to compute, how many were not needed, and coarse boxes to fill with the answer to emptiness."""

    tiles: list[Tile]
    skipped: int
    empty: Sequence[Box] = ()


def _ways(others: Frame) -> dict[str, str]:
    """How each field but density becomes finer."""
    return {name: way_of(name, values) for name, values in others.fields().items() if name != "density"}


def _others(frame: Frame, fields: Sequence[str]) -> Frame | None:
    """The frame with density and those of `fields` alone, as torch tensors; None where that is density."""
    present = frame.fields()
    for name in fields:
        if name not in present:
            raise InputError(
                f"fields: {name}", "the frame has no such field", f"choose from {', '.join(present)}"
            )
    wanted = dict.fromkeys(("density", *fields))
    if len(wanted) == 1:
        return None
    where = str(frame.density.device) if isinstance(frame.density, Tensor) else "cpu"
    return frame.with_fields({name: present[name] for name in wanted}).torch(where)


@contextmanager
def _memory_told(what: str) -> Iterator[None]:
    """Turn torch's running out of memory over `what` into a RunError."""
    try:
        yield
    except RuntimeError as error:
        if not is_exhaustion(error):
            raise
        raise RunError(
            what, "there is not enough memory for it", "write it with `fluidsr upsample`, which streams"
        ) from error


def _cells(tile: Tile) -> int:
    return tile.computed_cells


def _kind(tile: Tile) -> tuple[tuple[int, ...], tuple[tuple[bool, bool], ...]]:
    return tile.read.shape, tile.cut


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
