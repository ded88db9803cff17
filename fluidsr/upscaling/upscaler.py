"""Upscaler: upsamples frames of any size by one generator, in tiles."""

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


# Default limits for the memory of the generator. They do not depend on the free memory, because the tiles, and with
# them the last bits of the result, must be the same when a run is resumed.
MEMORY_CPU = 2 * 1024**3
MEMORY_SHARE_CUDA = 0.5  # of the total memory of the device

# Launching a tile costs as much as computing about this many cells: on a GPU about thirty kernel launches, with tens of
# nanoseconds per cell; on a CPU some milliseconds, with six microseconds per cell.
TILE_LAUNCH_COST = {"cpu": 1000, "cuda": 10_000}

_MOST_PLANNED = 2**21  # coarse cells; the cost of larger frames is extrapolated

SHRUNK = (
    "the device ran out of memory; tiles are smaller from here on (a memory bound sets their size in advance)"
)

# Coarse cells beyond the path of the smoke that are read to interpolate the flow and the fields that it advects.
_CARRIED_REACH = 2

# Memory per fine value of interpolation along the last axis: input, output, and both while they are assembled.
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
    """Load a generator as an Upscaler.

    Args:
        name_or_path: the name of a shipped model, or a file.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        tile, max_memory, precision, periodic: see `Upscaler`.

    Raises ModelError for a model that is missing or damaged, and InputError for a device that does not exist.
    """
    resolved = devices.resolve(device)
    model = models.load(name_or_path, resolved)
    return Upscaler(
        model, tile=tile, max_memory=max_memory, device=resolved, precision=precision, periodic=periodic
    )


class Upscaler:
    """Upsamples frames of any size by one generator, in tiles.

    Args:
        model: the generator and its card.
        tile: the largest edge of a tile in coarse cells without the halo, or `auto` for tiles that cover the smoke of
            each frame at the lowest cost.
        max_memory: limit for the memory of the generator in bytes, without the fine fields. The default is 2 GiB on a
            CPU, and half of the memory of a CUDA device.
        batch: number of tiles of equal shape that are computed at once. The default is one on a CPU, and on a CUDA
            device as many as fit.
        device: to which the generator is moved; by default it stays where it is.
        precision: of the convolutions. `bfloat16` and `float16` are faster than `float32` on machines with instructions
            for them, and change the result by rounding (docs/performance.md). `auto` is bfloat16 on such machines and
            float32 on others.
        periodic: whether each axis is periodic; none by default. Beyond an end of a periodic axis the generator reads
            the cells of the other end.

    The result does not depend on `tile`, `max_memory`, `batch` and `device`, up to rounding (1e-5 between tiles and
    batches). If the device runs out of memory, tiles become smaller. `statistics` are those of the last frame.

    Raises InputError for invalid arguments.
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
        """Fine cells along a coarse one."""
        return self.generator.factor

    @property
    def halo(self) -> int:
        """The coarse cells that a tile reads beyond those that it writes: the receptive radius of the generator."""
        return self.generator.receptive_radius

    @property
    def memory_bound(self) -> int:
        """The present limit for the memory of the generator, in bytes. It is lowered if memory runs out."""
        return self._planner.max_memory

    @property
    def reads_velocity(self) -> bool:
        """Whether the generator reads velocity in addition to density."""
        return self.generator.inputs != "density"

    @property
    def past(self) -> int:
        """The number of earlier frames that the generator can read."""
        return max(self.generator.ages, default=0)

    @property
    def reads_previous(self) -> bool:
        """Whether the generator can read its own last fine frame."""
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
        """Upsample a frame to `factor` times its resolution.

        Args:
            frame: the coarse frame. Fields may be NumPy or torch arrays on any device.
            detail: factor on the difference between the generator's output and cubic upsampling of the density, a
                number or one for each coarse cell, `[*S]`, which is interpolated linearly. 0 gives cubic upsampling.
            velocity_scale: factor on the velocity that the generator reads, a number or one for each coarse cell
                (docs/control.md).
            fields: names of the fields to upsample besides the density; all by default. Scalars that are advected with
                the smoke get the detail of the density (`carried_fields`), velocity is interpolated and remains in m/s.
                If the generator has a mask, `confidence` is the share of its correction that is added, 0 to 1, and 0
                in air.
            history: the frames before this one, the last one last. They may have other boxes on the same lattice of
                cells. The generator reads up to `past` of them, back to the first gap in time.
            previous: the fine frame of the frame before this one, for a generator that `reads_previous`. It may have
                another box on the same lattice of voxels. Without it detail starts anew, as in the first frame of a
                sequence.
            style_seed: selects the style if the generator has a latent code; 0 by default (docs/style.md).
            style_shift: is added to the content of the style, one number for each of its numbers.
            fine_solid: returns the share of each voxel in a Box of the fine grid that is solid, if it is known more
                precisely than by the field `solid`.
            cut_at_solids: whether smoke ends at the surface of the solids in the field `solid`. Otherwise it continues
                into them, as a further pass needs.

        Returns the fine frame, with the same position, time and dt, and with arrays of the same kind on the same
        device. Input arrays are copied only if they are on another device than the generator, or not contiguous
        float32.

        Raises InputError if a field is missing or not finite, a factor is negative or has another shape, `previous`
        does not fit, or the generator lacks the mask or latent code that an argument requires; ModelError if the model
        has another dimension; and RunError if the output of the generator is not finite.
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
        """Iterate over the blocks of the fine frame while it is computed, so that it need not fit into memory.

        The blocks of a field are disjoint and in no particular order. Density, and `confidence` of a generator with a
        mask, are zero outside of their blocks. The blocks of all other fields cover the whole frame, as do those of the
        density if the output of the generator for empty air is not zero. `statistics` are updated when the iterator is
        exhausted.

        Args:
            whole: properties of the whole frame if `frame` is a window of it.

        See `upsample` for the other arguments and for errors. InputErrors are raised before the first block.
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
        past = (continued(earlier_frame, self.periodic) for earlier_frame in history)
        present, *earlier = (layout.opened_frame(opened) for opened in (frame, *past))
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
        """The cost of a frame of `shape` coarse cells that is full of smoke, without running the generator.

        For frames of more than two million cells it is extrapolated from a smaller frame of the same proportions.
        Raises ModelError if the model has another dimension.
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
        """The number of voxels along each axis of the fine frame for `shape` coarse cells."""
        return tuple(int(n) * self.factor for n in shape)

    def _density_unit(self, frame: Frame, whole: WholeFrame | None) -> float:
        """The number by which density is divided before it is passed to the network."""
        if self.card.typical_density is None:
            return 1.0
        typical = typical_density(frame.density) if whole is None else whole.typical_density
        return density_unit(typical, self.card.typical_density)

    def _last_frame(
        self, frame: Frame, previous: Frame | None, layout: FrameLayout, unit: float
    ) -> LastFrame | None:
        """Prepare the fine frame `previous` as input for `frame`. Raises InputError if it does not fit."""
        if previous is None:
            return None
        if not self.reads_previous:
            problem = f"'{self.card.name}' does not read its last frame"
            raise InputError("previous", problem, "leave it out, or choose a model with generator.previous")
        return last_frame_of(frame, previous, self.factor, layout, self.device, unit)

    def _gives_confidence(self, frame: Frame) -> bool:
        """Whether the generator outputs `confidence`. Otherwise it is a field of the frame; raises InputError if it is
        neither."""
        if not self.generator.has_mask and CONFIDENCE not in frame.fields():
            self.card.require_mask(f"fields: {CONFIDENCE}")
        return bool(self.generator.has_mask)

    def _checked_detail(self, detail: Detail, shape: tuple[int, ...]) -> float | Tensor | None:
        """The factor on the detail: None if it is 1, a number if it is constant, else `[*S]`. Raises InputError if it
        is invalid, or if the generator does not support it."""
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
        """Plan the tiles for the cells `domain` of `coarse [1 + d, *S]`, and the boxes to fill with the background.

        `scaled`: whether the detail is scaled. The background is then not constant, so tiles cover all of it.
        """
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
        """Run the plan and iterate over the blocks of all fields.

        The seconds in `statistics` do not include the time of the caller between two blocks.

        Args:
            time_of_frame: s, for errors.
            network_input: the prepared frame.
            tile_input: the inputs from which those of tiles are cut.
            domain: the coarse cells to compute.
            tile_plan: the tiles, and the boxes of the background.
            arrays: the coarse values of all fields to upsample, by name, and of the density if there are any.
            methods: the method of each field besides the density, see `method_of`.
            whole: see `pieces`.
            started: the time at which the work on this frame began.
        """
        spent, cells, tiles, shrunk = 0.0, 0, 0, False
        shape = tuple(network_input.density.shape)
        ranges = {} if whole is None else whole.ranges
        max_density = ranges["density"][1][0] if "density" in ranges else None
        carried = {
            name: Carried(arrays[name], arrays["density"], self.factor, ranges.get(name), max_density)
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
        """The blocks that no tile computes: background, interpolated fields, and carried fields outside of tiles."""
        for box in tile_plan.background:
            yield FieldBlock("density", box.scaled(self.factor), self._background.of(box) * unit)
        tiles = [tile.write.divided(self.factor) for tile in tile_plan.tiles]
        for name, method in methods.items():
            dim = self.generator.dim
            values_per_cell = self.factor**dim * math.prod(arrays[name].shape[:-dim])
            max_cells = self._planner.max_memory // (_LINEAR_BYTES * values_per_cell)
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
    """A copy of `mask [*S]` that is false outside of `domain`."""
    inside = np.zeros_like(mask)
    domain.of(inside)[...] = domain.of(mask)
    return inside


def _other_fields(frame: Frame, fields: Sequence[str]) -> Frame | None:
    """The frame with only the density and `fields`, as torch tensors; None if that is only the density. Raises
    InputError if a field is missing."""
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
    """Inside the context, raise RunError if torch runs out of memory. `label`: what the memory is for."""
    try:
        yield
    except RuntimeError as error:
        if not is_exhaustion(error):
            raise
        raise RunError(
            label, "there is not enough memory for it", "use 'fluidsr upsample', which streams to disk"
        ) from error


def _tile_edge(tile: int | str) -> int | None:
    """The largest edge of a tile; None for `auto`. Raises InputError."""
    if tile == "auto":
        return None
    if isinstance(tile, str) or tile < 1:
        raise InputError("tile", f"'{tile}' is not a number of cells", "give 1 or more, or auto")
    return int(tile)


def _default_memory(device: torch.device) -> int:
    if device.type == "cpu":
        return MEMORY_CPU
    return int(MEMORY_SHARE_CUDA * torch.cuda.get_device_properties(device).total_memory)
