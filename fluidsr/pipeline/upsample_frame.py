"""Upsampling one frame of a cache with the generator of each pass."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fluidsr import memory
from fluidsr.errors import InputError
from fluidsr.frame import CONFIDENCE, Frame
from fluidsr.frame_grid import FrameGrid
from fluidsr.pipeline import frame_reading, memory_need
from fluidsr.pipeline.frame_reading import naming
from fluidsr.pipeline.frame_sequence import FrameRef
from fluidsr.pipeline.upsample_io import (
    assumptions,
    is_wanted,
    margin,
    open_files,
    read_frame,
    velocity_or_zero,
)
from fluidsr.pipeline.upsample_settings import UpsampleSettings
from fluidsr.pipeline.upsample_windows import upsample_by_windows

if TYPE_CHECKING:
    from fluidsr.upscaling import LastFrameStore

_recent: dict[tuple[Any, ...], Frame] = {}  # cache of the last history, which the next frame mostly shares


def upsample_file(
    item: FrameRef,
    earlier: Sequence[FrameRef],
    root: Path,
    settings: UpsampleSettings,
    last: LastFrameStore | None = None,
    write: bool = True,
) -> dict[str, Any]:
    """Upsample one frame and write its files. Returns its record for the log.

    Args:
        item: the frame.
        earlier: the frames before it, in order, that serve as history.
        root: folder of the run.
        settings: options of the upsampling.
        last: for a model that reads its own last fine frame: holds that frame, and the new fine frame on return.
        write: False: only compute the density for `last`, write nothing, and return an empty record.

    On return the files have their final names. Raises InputError for a frame that cannot be read, lacks velocity, is
    not finite, or needs more memory than is free.
    """
    from fluidsr.upscaling.carried_fields import described, method_of

    started = time.perf_counter()
    upscalers = [settings.tiling.load(model, settings.device) for model in settings.models]
    first, upscaler = upscalers[0], upscalers[-1]
    by_windows = upsample_by_windows(item, root, settings, first)
    if by_windows is not None:
        return {**by_windows, "seconds": time.perf_counter() - started}
    taken = read_frame(item, settings)
    frame = frame_reading.in_its_place(taken, item, settings.intake, margin(first.card), first.card.dim)
    frame = velocity_or_zero(frame, item, settings, any(upscaler.reads_velocity for upscaler in upscalers))
    history = _history(frame, earlier, settings, margin(first.card))
    _check_memory(item, frame, upscalers, settings.device)
    finer = 1
    for earlier_pass in upscalers[:-1]:
        shaping = _pass_options(settings, earlier_pass, frame, item.number, finer)
        frame = earlier_pass.upsample(
            frame, **shaping, fields=list(frame.fields()), history=history, cut_at_solids=False
        )
        history = []  # later passes have none: its frames are on the coarser cells
        finer *= earlier_pass.factor
    shaping = _pass_options(settings, upscaler, frame, item.number, finer)
    selected = ("density", *settings.fields) if settings.fields else tuple(taken.frame.fields())
    fields = [name for name in frame.fields() if is_wanted(name, selected)]
    others = {name: frame.fields()[name] for name in fields if name != "density"}
    fields += [CONFIDENCE] if CONFIDENCE in settings.fields else []
    notes = [*taken.notes, *assumptions(taken, frame, settings, upscalers)]
    pieces = partial(upscaler.pieces, frame, **shaping, history=history)
    if last is not None:
        previous = last.before(frame, upscaler.factor)
        if previous is None and not last.is_empty:
            notes.append("does not follow the frame before it: its detail starts again")
        pieces = partial(last.keeping, frame, upscaler.factor, partial(pieces, previous=previous))
    if not write:
        deque(pieces(fields=["density"]), maxlen=0)
        return {}
    on_fields = described({name: method_of(name, values) for name, values in others.items()})
    place = FrameGrid(upscaler.fine_shape(frame.shape), frame.cell_size / upscaler.factor, frame.origin)
    files, record = open_files(item, root, settings, taken, frame, place, fields, settings.written)
    with naming(item.source, frame.fields()), files:
        for name, box, values in pieces(fields=fields):
            files.put(name, box.lo, values)
    notes += [*upscaler.statistics.notes, *([on_fields] if on_fields else [])]
    return {**record, "seconds": time.perf_counter() - started, "notes": notes}


def input_bytes(frame: Frame, shape: Sequence[int]) -> int:
    """The size in bytes of the fields of `frame`, as float32, on a grid of `shape` cells."""
    numbers = sum(math.prod(values.shape[: -frame.dim]) for values in frame.fields().values())
    return 4 * numbers * math.prod(shape)


def _pass_options(
    settings: UpsampleSettings, upscaler: Any, frame: Frame, number: int, finer: int
) -> dict[str, Any]:
    """The detail, velocity and style of a pass whose cells are `finer` times smaller than in the first pass.

    The same flow crosses smaller cells `finer` times as fast. This exceeds all speeds in the training data and causes
    ripples, so the velocity is divided by `finer`: a later pass reads the same speed, in cells, as the first.
    """
    shaping = settings.shaping.of(frame, number, upscaler.card)
    if upscaler.reads_velocity:
        shaping["velocity_scale"] /= finer
    return shaping


def _check_memory(item: FrameRef, frame: Frame, upscalers: Sequence[Any], device: str) -> None:
    """Raise InputError if the input of a later pass, which is held in memory as a whole, exceeds the free memory."""
    free = memory.free(device)
    for number, finer in enumerate(np.cumprod([upscaler.factor for upscaler in upscalers[:-1]]), start=2):
        needed = input_bytes(frame, [n * int(finer) for n in frame.shape])
        if free is not None and needed > free.size:
            size, available = map(memory_need.gigabytes, (needed, free.size))
            problem = f"the input of pass {number} needs {size} of memory, but only {available} are free {free.bound}"
            raise InputError(str(item.source), problem, "leave that pass out, or crop the volume with `crop`")


def _history(
    frame: Frame, earlier: Sequence[FrameRef], settings: UpsampleSettings, margin: int
) -> list[Frame]:
    """The frames before `frame`, in order, as far back as they can be read. A missing velocity is zero."""
    from fluidsr.upscaling.network_input import check_finite

    global _recent
    frames: list[Frame] = []
    recent, kept = _recent, {}  # a local reference: another thread may replace the cache
    tries = frame_reading.with_any(["velocity", *(["solid"] if "solid" in frame.others else [])])
    for item in reversed(earlier):
        try:
            key = (item, settings.intake, margin, len(tries), item.source.stat().st_mtime_ns)
            past = recent.get(key)
            if past is None:
                taken = frame_reading.take(item, settings.intake, *tries)[0]
                past = frame_reading.in_its_place(taken, item, settings.intake, margin, frame.dim)
                if past.velocity is None:
                    past = past.replace(velocity=np.zeros((past.dim, *past.shape), np.float32))
                check_finite(past.torch())
        except (OSError, InputError):
            break  # the error is reported when this frame itself is upsampled
        kept[key] = past
        frames.insert(0, past)
    _recent = kept
    return frames
