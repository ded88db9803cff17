"""Upscaler: runs frames of any size through one generator, in tiles."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from fluidsr import device as devices
from fluidsr import models
from fluidsr.arguments import checked
from fluidsr.choices import NetworkPrecision
from fluidsr.errors import InputError, ModelError, RunError
from fluidsr.frame import CONFIDENCE, Frame
from fluidsr.models.generator import CUBIC_RADIUS
from fluidsr.models.history import HISTORY_REACH
from fluidsr.models.recurrence import LastFrame
from fluidsr.upscaling.background import BackgroundResponse
from fluidsr.upscaling.carried_fields import CUBIC_REACH, Carried, WholeFrame, interpolated, method_of
from fluidsr.upscaling.earlier_frames import furthest_distance, history_of
from fluidsr.upscaling.frame_layout import FrameLayout
from fluidsr.upscaling.frame_style import frame_style
from fluidsr.upscaling.last_frame import last_frame_of
from fluidsr.upscaling.memory import MemoryModel, is_exhaustion
from fluidsr.upscaling.network_input import (
    Detail,
    NetworkInput,
    VelocityScale,
    check_finite,
    checked_factor,
    density_unit,
    prepare_input,
    typical_density,
)
from fluidsr.upscaling.solids import FineSolid, FrameSolids, continued, on_its_device
from fluidsr.upscaling.statistics import Cost, Statistics
from fluidsr.upscaling.tile_cover import dilate_mask
from fluidsr.upscaling.tile_planner import TilePlan, TilePlanner
from fluidsr.upscaling.tile_runner import TileInput, TileRunner
from fluidsr.upscaling.tiles import Box, FieldBlock, uncovered_boxes

PRECISIONS: tuple[str, ...] = get_args(NetworkPrecision)


# Bytes the generator may hold when the caller sets no bound. Constants, not the memory that is free: the
# tiles, and with them the last bits of the result, must be the same when a run is resumed.
MEMORY_CPU = 2 * 1024**3
MEMORY_SHARE_CUDA = 0.5  # of the memory that the device was built with

# Launching a tile costs as much as computing about this many cells: some thirty kernel launches on a GPU that
# computes a cell in tens of nanoseconds, some milliseconds on a CPU that takes six microseconds for one.
TILE_LAUNCH_COST = {"cpu": 1000, "cuda": 10_000}

_MOST_PLANNED = 2**21  # coarse cells; the cost of larger frames is extrapolated

SHRUNK = (
    "the device ran out of memory; tiles are smaller from here on (a memory bound sets their size in advance)"
)

# Coarse cells read beyond the path of the smoke by interpolating a flow and the fields it carries.
_CARRIED_REACH = 2

# Per fine value: interpolating along the last axis holds its input, its output, and both together.
_LINEAR_BYTES = 12

# Larger batches gain nothing, even on a large GPU.
LARGEST_BATCH = 64


@checked
def load(
    name_or_path: str | Path,
    device: str = "auto",
    tile: int | str = "auto",
    max_memory: int | None = None,
    precision: str = "float32",
    periodic: Sequence[bool] = (),
) -> Upscaler:
    """The generator `name_or_path` (a shipped name or a file) as an Upscaler on `device`.

    `device` is auto, cpu, cuda or cuda:N; the others as for `Upscaler`. Raises ModelError for a
    model that is missing or damaged and InputError for a device that does not exist.
    """
    resolved = devices.resolve(device)
    model = models.load(name_or_path, resolved)
    return Upscaler(
        model, tile=tile, max_memory=max_memory, device=resolved, precision=precision, periodic=periodic
    )


class Upscaler:
    """Upsamples frames of any size through one generator, in tiles.

    `tile` is the largest edge of a tile in coarse cells, its halo not counted, or `auto`: tiles laid around
    the smoke of each frame so that the fewest cells are computed. `max_memory` bounds the bytes that the
    generator holds at once (the fine fields are extra); unset, it is 2 GiB on a CPU and half of a CUDA
    device. `batch` is how many tiles of equal shape are computed at once; unset, one on a CPU, and on CUDA as
    many as fit. `device` moves the generator; unset, it stays where it is. The result depends on none of
    these, up to rounding (1e-5 between tiles and batches). `precision` is that of the convolutions: `float32`, or
    `bfloat16` or `float16`, which are faster where the machine has instructions for them and whose rounding shows in
    the result (docs/performance.md), or `auto`: bfloat16 where there are, else float32. `periodic` says of each axis
    whether its ends are joined (unset, none is): beyond an end the generator then reads what lies at the other. Where
    the device runs out of memory, tiles become smaller. `statistics` describes the last frame.
    """

    @checked
    def __init__(
        self,
        model: models.Model,
        tile: int | str = "auto",
        max_memory: int | None = None,
        batch: int | None = None,
        device: str | None = None,
        precision: str = "float32",
        periodic: Sequence[bool] = (),
    ) -> None:
        current = next(model.generator.parameters(), torch.empty(0)).device
        self.device = current if device is None else torch.device(devices.resolve(device))
        self.tile = _tile_edge(tile)
        if batch is not None and batch < 1:
            raise InputError("batch", f"{batch} is not a number of tiles", "give 1 or more")
        if max_memory is not None and max_memory < 1:
            raise InputError(
                "max_memory", f"{max_memory} bytes is too little", "give a positive size in bytes"
            )
        if precision not in PRECISIONS:
            raise InputError("precision", f"'{precision}' is unknown", f"use {', '.join(PRECISIONS)}")
        if precision == "float16" and self.device.type == "cpu":
            raise InputError(
                "precision",
                "float16 is hundreds of times slower than float32 on a CPU",
                "use bfloat16, or a CUDA device",
            )
        self.precision = devices.resolve_precision(precision, str(self.device))
        self.periodic = tuple(periodic) or (False,) * model.generator.dim
        self.card = model.card
        self.generator = model.generator.to(self.device).eval()
        self.statistics = Statistics()
        self._planner = TilePlanner(
            MemoryModel(self.generator),
            halo=self.halo,
            effective_halo=self.generator.effective_halo,
            factor=self.factor,
            tile=self.tile,
            launch_cost=TILE_LAUNCH_COST[self.device.type],
            max_memory=max_memory or _default_memory(self.device),
        )
        self._runner = TileRunner(self.generator, self.device, self.precision)
        self._background = BackgroundResponse(self._runner.generate, self.generator.dim, self.device)
        self._batch = batch or (LARGEST_BATCH if self.device.type == "cuda" else 1)

    @property
    def factor(self) -> int:
        """Fine voxels along the edge of a coarse cell."""
        return self.generator.factor

    @property
    def halo(self) -> int:
        """Coarse cells that a tile reads beyond those it writes: the generator's receptive radius."""
        return self.generator.receptive_radius

    @property
    def memory_bound(self) -> int:
        """Bytes that the generator may hold at present: running out of memory lowers it."""
        return self._planner.max_memory

    @property
    def reads_velocity(self) -> bool:
        """Whether the generator reads more than density."""
        return self.generator.inputs != "density"

    @property
    def past(self) -> int:
        """Frames before each frame that the generator reads where it is given them; 0: none."""
        return max(self.generator.ages, default=0)

    @property
    def reads_previous(self) -> bool:
        """Whether the generator reads its own last fine frame where it is given one."""
        return self.generator.reads_previous

    @checked
    def upsample(
        self,
        frame: Frame,
        *,
        detail: Detail = 1.0,
        velocity_scale: VelocityScale = 1.0,
        fields: Sequence[str] | None = None,
        history: Sequence[Frame] = (),
        previous: Frame | None = None,
        style_seed: int | None = None,
        style_shift: Sequence[float] | None = None,
        fine_solid: FineSolid | None = None,
        cut_at_solids: bool = True,
    ) -> Frame:
        """`frame` at `factor` times its resolution: same place, time, dt and kind of arrays, smaller cells.

        Density comes from the generator. `detail` is how much is added of what it makes beyond cubic upsampling: 0
        none, 1 what it makes, 2 twice as much; a number, or an array `[*S]` with one for each coarse cell, linear in
        between. `velocity_scale`, likewise, is a factor on the flow that the generator is shown (docs/control.md).
        `history` holds the frames before this one, the last one last, of any extent on the same cells; the generator
        reads up to `past` of them, as far back as one follows the other. `previous` is the fine frame that this
        upscaler made of the frame before, of any extent on the same voxels, for a generator that `reads_previous`;
        without one, as at the beginning of a sequence, detail starts again. Of the other fields those named in `fields`
        (default: all) are upsampled, too: scalars carried with the smoke gain detail as the density does
        (`carried_fields`), velocity is interpolated and stays in m/s. `confidence` among them, of a generator with a
        mask, is the share of its correction that it has added, 0 to 1, and 0 in air. `style_seed` chooses among the
        ways in which a generator with a latent code makes the same frame (unset: 0), and `style_shift` is added to
        the content of the seed, as many numbers as it has (docs/style.md). Where the frame has a field `solid`, smoke
        ends at the solids' surface; `fine_solid` gives their share of each voxel of a Box of the fine grid where more
        is known of it than that field. Without `cut_at_solids` smoke continues into them, as a further pass needs it.
        Arrays of NumPy or torch, on any device, come back as the same kind on the same
        device; they are copied only where the generator is elsewhere, or they are not contiguous float32. Raises
        InputError where a field is missing or not finite, a factor is negative or of another shape, `previous` does not
        fit, `confidence` is asked of a generator without a mask, or a style of one without a latent code, ModelError
        where the model is of another dimension, RunError where the generator's output is not finite.
        """
        names = tuple(frame.fields()) if fields is None else fields
        pieces = self.pieces(
            frame,
            detail=detail,
            velocity_scale=velocity_scale,
            fields=names,
            history=history,
            previous=previous,
            style_seed=style_seed,
            style_shift=style_shift,
            fine_solid=fine_solid,
            cut_at_solids=cut_at_solids,
        )
        is_torch = isinstance(frame.density, Tensor)
        target = frame.density.device if is_torch else torch.device("cpu")
        shape = self.fine_shape(frame.shape)
        with _oom_as_run_error(f"the fine density of {shape} voxels"):
            sparse = ("density", *((CONFIDENCE,) if CONFIDENCE in names else ()))
            fine_fields = {name: torch.zeros(shape, device=target) for name in sparse}
        for name, box, values in pieces:
            if name not in fine_fields:
                fine_fields[name] = torch.empty((*values.shape[: -frame.dim], *shape), device=target)
            box.of(fine_fields[name]).copy_(values)
        fine = frame.with_fields(fine_fields, cell_size=frame.cell_size / self.factor)
        return fine if is_torch else fine.numpy()

    @checked
    def pieces(
        self,
        frame: Frame,
        *,
        detail: Detail = 1.0,
        velocity_scale: VelocityScale = 1.0,
        fields: Sequence[str] = ("density",),
        whole: WholeFrame | None = None,
        history: Sequence[Frame] = (),
        previous: Frame | None = None,
        style_seed: int | None = None,
        style_shift: Sequence[float] | None = None,
        fine_solid: FineSolid | None = None,
        cut_at_solids: bool = True,
    ) -> Iterator[FieldBlock]:
        """The fine frame as it is made, block by block, so that it need never be whole in memory.

        The blocks of a field are disjoint, in any order. Density, and `confidence` of a generator with a mask, are zero
        where no block of them lies; where the generator's output for empty air is not zero, blocks of density cover
        everything. So do those of the other fields, which are upsampled as by `upsample`. With `whole` the frame is a
        window of a larger one. `statistics` is of this frame once the iterator is exhausted. Raises as `upsample` does,
        the InputErrors before the first block.
        """
        started = time.perf_counter()
        self._check_dim(frame.dim)
        unit = self._density_unit(frame, whole)
        solids = FrameSolids.of(frame, self.factor, self.periodic, fine_solid)
        frame = continued(frame, self.periodic)
        with_mask = CONFIDENCE in fields and self._gives_confidence(frame)
        others = _other_fields(frame, [name for name in fields if not (with_mask and name == CONFIDENCE)])
        if others is not None:
            check_finite(others)
        scaled = self._checked_detail(detail, frame.shape)
        network_input = prepare_input(frame, velocity_scale, self.device, self.reads_velocity, unit)
        history = history[-self.past :] if self.past else ()
        reach = max(self.halo, CUBIC_REACH)
        if history and any(self.periodic):  # the distance that smoke can have moved
            reach += HISTORY_REACH + furthest_distance((frame, *history), self.device, unit)
        elif previous is not None and any(self.periodic):
            reach += _CARRIED_REACH + furthest_distance((frame,), self.device, unit)
        layout = FrameLayout.of(network_input.density, self.periodic, reach)
        network_input = replace(network_input, coarse=layout.opened(network_input.coarse))
        scaled = layout.opened(scaled) if isinstance(scaled, Tensor) else scaled
        arrays = {} if others is None else {k: layout.opened(v) for k, v in others.fields().items()}
        past = (continued(each, self.periodic) for each in history)
        present, *earlier = (layout.opened_frame(each) for each in (frame, *past))
        carried = history_of(present, earlier, self.generator.ages, self.device, unit)
        last = self._last_frame(frame, previous, layout, unit)
        tile_plan = self._plan(network_input.coarse, layout.interior, scaled=scaled is not None)
        style = frame_style(self.generator.latent, self.card, frame, layout, style_seed, style_shift)
        tile_input = TileInput(network_input.coarse, carried, last, scaled, with_mask, style)
        methods = {name: method_of(name, values) for name, values in arrays.items() if name != "density"}
        methods |= {} if whole is None else {name: whole.methods[name] for name in methods}
        blocks = self._blocks(
            frame.time, network_input, tile_input, layout.interior, tile_plan, arrays, methods, whole, started
        )
        placed = (part for block in blocks for part in layout.placed(block, self.factor))
        if solids is None:
            return placed
        return (solids.applied(part, methods if cut_at_solids else None) for part in placed)

    def cost(self, shape: Sequence[int]) -> Cost:
        """The cost of a frame of `shape` coarse cells that is full of smoke; computes nothing.

        Of a frame of more than two million cells no tiles are laid: bounds for it, from a smaller one of its
        proportions. Raises ModelError where the model is of another dimension.
        """
        self._check_dim(len(shape))
        if math.prod(shape) > _MOST_PLANNED:
            return self._extrapolated_cost(shape)
        full = torch.ones(1 + len(shape), *shape)
        layout = FrameLayout.of(full[0], self.periodic, self.halo)
        tiles = self._plan(layout.opened(full), layout.interior).tiles
        cells, largest = (f(tile.computed_cells for tile in tiles) for f in (sum, max))
        return Cost(
            fine_shape=self.fine_shape(shape),
            tiles=len(tiles),
            computed_cells=cells,
            multiply_adds=self._multiply_adds(cells),
            memory=self._planner.peak_bytes(tiles),
            result=4 * math.prod(self.fine_shape(shape)),
            largest_result=4 * largest * self.factor ** len(shape),
        )

    def _extrapolated_cost(self, shape: Sequence[int]) -> Cost:
        scale = (_MOST_PLANNED / math.prod(shape)) ** (1 / len(shape))
        small = [max(1, int(n * scale)) for n in shape]
        cost, ratio = self.cost(small), math.prod(shape) / math.prod(small)
        fine_shape = self.fine_shape(shape)
        result = 4 * math.prod(fine_shape)
        return replace(
            cost,
            fine_shape=fine_shape,
            tiles=math.ceil(cost.tiles * ratio),
            computed_cells=math.ceil(cost.computed_cells * ratio),
            multiply_adds=cost.multiply_adds * ratio,
            memory=min(self._planner.max_memory, math.ceil(cost.memory * ratio)),
            result=result,
            largest_result=min(result, math.ceil(cost.largest_result * ratio)),
        )

    def fine_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Voxels along each axis of the fine frame of `shape` coarse cells."""
        return tuple(int(n) * self.factor for n in shape)

    def _density_unit(self, frame: Frame, whole: WholeFrame | None) -> float:
        """What the density is divided by for the network."""
        if self.card.typical_density is None:
            return 1.0
        typical = typical_density(frame.density) if whole is None else whole.typical_density
        return density_unit(typical, self.card.typical_density)

    def _last_frame(
        self, frame: Frame, previous: Frame | None, layout: FrameLayout, unit: float
    ) -> LastFrame | None:
        """The last fine frame beside `frame`. Raises InputError where it does not fit."""
        if previous is None:
            return None
        if not self.reads_previous:
            problem = f"'{self.card.name}' does not read its last frame"
            raise InputError("previous", problem, "leave it out, or choose a model with generator.previous")
        return last_frame_of(frame, previous, self.factor, layout, self.device, unit)

    def _gives_confidence(self, frame: Frame) -> bool:
        """Whether the generator makes the field; otherwise the frame has it. Raises InputError where neither does."""
        if not self.generator.has_mask and CONFIDENCE not in frame.fields():
            self.card.require_mask(f"fields: {CONFIDENCE}")
        return bool(self.generator.has_mask)

    def _checked_detail(self, detail: Detail, shape: tuple[int, ...]) -> float | Tensor | None:
        """The factor on the detail: None where it is 1, a number where it is the same everywhere, else `[*S]`."""
        factor = checked_factor("detail", detail, shape, self.device)
        if isinstance(factor, Tensor) and bool((factor == factor.flatten()[0]).all()):
            factor = float(factor.flatten()[0])
        if isinstance(factor, float) and factor == 1.0:
            return None
        if not self.generator.scales_detail:
            problem = f"the architecture of '{self.card.name}' does not support it"
            raise InputError("detail", problem, "leave it at 1, or choose another model")
        return factor

    def _plan(self, coarse: Tensor, domain: Box, scaled: bool = False) -> TilePlan:
        """The tiles that the cells `domain` of `coarse [1 + d, *S]` need, and the boxes to fill with the background
        response. Of `scaled` detail that response is not kept: then everything is in tiles."""
        support = self.generator.support_radius
        if support is not None:
            support = max(support, CUBIC_RADIUS) if scaled else support
            occupied = _within(domain, dilate_mask(coarse[0], support))
            return self._planner.plan(occupied, domain, background=False)
        if scaled:
            occupied = _within(domain, np.ones(coarse.shape[1:], bool))
            return self._planner.plan(occupied, domain, background=False)
        read = coarse if self.reads_velocity else coarse[:1]
        occupied = _within(domain, dilate_mask(read.abs().amax(0), self.halo))
        tile_plan = self._planner.plan(occupied, domain, background=True)
        if tile_plan.background and self._background.is_zero:
            return replace(tile_plan, background=())
        return tile_plan

    def _blocks(
        self,
        time_of_frame: float,
        network_input: NetworkInput,
        tile_input: TileInput,
        domain: Box,
        tile_plan: TilePlan,
        arrays: Mapping[str, Tensor],
        methods: Mapping[str, str],
        whole: WholeFrame | None,
        started: float,
    ) -> Iterator[FieldBlock]:
        """Run the plan for the cells `domain` of what `network_input` and `arrays` hold. The caller's time between two
        blocks is not counted."""
        spent, cells, tiles, shrunk = 0.0, 0, 0, False
        shape = tuple(network_input.density.shape)
        ranges = {} if whole is None else whole.ranges
        most = ranges["density"][1][0] if "density" in ranges else None
        carried = {
            name: Carried(arrays[name], arrays["density"], self.factor, ranges.get(name), most)
            for name, method in methods.items()
            if method == "carried"
        }
        pending = deque(self._planner.batches(tile_plan.tiles, self._batch))
        while pending:
            batch = pending.popleft()
            output = self._runner.run(batch, tile_input, time_of_frame, self.memory_bound)
            if output is None:
                pending.extendleft(reversed(self._planner.exhausted(batch, shape)))
                shrunk = True
                continue
            cells += sum(tile.computed_cells for tile in batch)
            tiles += len(batch)
            for tile, (density, *masks) in zip(batch, output, strict=True):
                spent += time.perf_counter() - started
                fine = tile.crop.of(density) * network_input.unit
                yield FieldBlock("density", tile.write, fine)
                for mask in masks:
                    yield FieldBlock(CONFIDENCE, tile.write, tile.crop.of(mask))
                started = time.perf_counter()
                for name, field in carried.items():
                    values = field.of(tile.write.divided(self.factor), fine)
                    spent += time.perf_counter() - started
                    yield FieldBlock(name, tile.write, values)
                    started = time.perf_counter()
                del fine
            del output, density, masks  # free them before the next batch is computed
        for block in self._other_blocks(domain, tile_plan, network_input.unit, arrays, methods, carried):
            spent += time.perf_counter() - started
            yield block
            started = time.perf_counter()
        self.statistics = Statistics(
            tiles_run=tiles,
            tiles_skipped=tile_plan.skipped,
            frame_cells=domain.cells,
            computed_cells=cells,
            multiply_adds=self._multiply_adds(cells),
            seconds=spent + time.perf_counter() - started,
            clamped_cells=network_input.clamped_cells,
            max_density=network_input.max_density,
            max_speed=network_input.max_speed,
            notes=(*network_input.notes(self.card), *((SHRUNK,) if shrunk else ())),
        )

    def _other_blocks(
        self,
        domain: Box,
        tile_plan: TilePlan,
        unit: float,
        arrays: Mapping[str, Tensor],
        methods: Mapping[str, str],
        carried: Mapping[str, Carried],
    ) -> Iterator[FieldBlock]:
        """The blocks that no tile makes: the background response, the interpolated fields, and carried ones outside of
        the tiles."""
        for box in tile_plan.background:
            yield FieldBlock("density", box.scaled(self.factor), self._background.of(box) * unit)
        tiles = [tile.write.divided(self.factor) for tile in tile_plan.tiles]
        for name, method in methods.items():
            dim = self.generator.dim
            numbers = self.factor**dim * math.prod(arrays[name].shape[:-dim])
            max_cells = self._planner.max_memory // (_LINEAR_BYTES * numbers)
            for box in uncovered_boxes(domain, tiles if method == "carried" else [], max_cells):
                if method == "carried":
                    values = carried[name].of(box, None)
                else:
                    values = interpolated(arrays[name], box, self.factor, method)
                yield FieldBlock(name, box.scaled(self.factor), values)

    def _multiply_adds(self, cells: int) -> float:
        return self.generator.macs_per_voxel * cells * self.factor**self.generator.dim

    def _check_dim(self, dim: int) -> None:
        if dim != self.generator.dim:
            raise ModelError(
                self.card.name,
                f"it is a {self.generator.dim}-D model and the frame is {dim}-D",
                f"choose a {dim}-D model (see 'fluidsr models list')",
            )
        if len(self.periodic) != dim:
            raise InputError(
                "periodic",
                f"{len(self.periodic)} axes, and the frame is {dim}-D",
                "give true or false for each axis",
            )


def _within(domain: Box, mask: np.ndarray) -> np.ndarray:
    """`mask [*S]` in `domain`, and false elsewhere."""
    inside = np.zeros_like(mask)
    domain.of(inside)[...] = domain.of(mask)
    return inside


def _other_fields(frame: Frame, fields: Sequence[str]) -> Frame | None:
    """The frame with density and those of `fields` alone, as torch tensors; None where that is only density."""
    present = frame.fields()
    for name in fields:
        if name not in present:
            raise InputError(
                f"fields: {name}", "the frame has no such field", f"choose from {', '.join(present)}"
            )
    selected = dict.fromkeys(("density", *fields))
    if len(selected) == 1:
        return None
    return on_its_device(frame.with_fields({name: present[name] for name in selected}))


@contextmanager
def _oom_as_run_error(label: str) -> Iterator[None]:
    """Turn torch's running out of memory over `label` into a RunError."""
    try:
        yield
    except RuntimeError as error:
        if not is_exhaustion(error):
            raise
        raise RunError(
            label, "there is not enough memory for it", "use 'fluidsr upsample', which streams to disk"
        ) from error


def _tile_edge(tile: int | str) -> int | None:
    """None for `auto`."""
    if tile == "auto":
        return None
    if isinstance(tile, str) or tile < 1:
        raise InputError("tile", f"'{tile}' is not a number of cells", "give 1 or more, or auto")
    return int(tile)


def _default_memory(device: torch.device) -> int:
    if device.type == "cpu":
        return MEMORY_CPU
    return int(MEMORY_SHARE_CUDA * torch.cuda.get_device_properties(device).total_memory)
