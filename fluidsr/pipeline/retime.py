"""`fluidsr retime`: a cache of volumes at another frame rate or speed, with new frames interpolated along the flow."""

from __future__ import annotations

import math
import shutil
import time
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fluidsr import device as devices
from fluidsr import memory, volumes
from fluidsr.atomic import replacing
from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.pipeline import frame_numbers, frame_reading
from fluidsr.pipeline.frame_jobs import make_frames
from fluidsr.pipeline.frame_reading import naming
from fluidsr.pipeline.frame_sequence import FrameRef, FrameSequence
from fluidsr.pipeline.progress import Progress
from fluidsr.pipeline.read_options import ReadOptions
from fluidsr.pipeline.run_folder import RunFolder
from fluidsr.pipeline.series_files import write_series_files
from fluidsr.pipeline.written_style import WrittenStyle
from fluidsr.retiming import FLOW, between, check_neighbours, rate_of, step_of
from fluidsr.volumes import sequence, siblings
from fluidsr.volumes.staggered import FACES, written_fields


@dataclass(frozen=True)
class RetimeSettings:
    """The options of `retime`. Plain values, so that they can be sent to workers."""

    frame_rate: float | None = None  # of the result, 1/s; None: the rate of the input
    speed: float = 1.0  # seconds of the simulation per second of the result; below 1: slow motion
    device: str = "auto"
    intake: ReadOptions = field(default_factory=ReadOptions)  # with the frame rate of the input
    formats: tuple[str, ...] = ()  # empty: the format of the input if it can be written, else vdb
    fields: tuple[str, ...] = ()  # to write besides density; empty: all
    precision: str | None = None  # of the files; None: as in an input VDB, else half
    threshold: float = 0.0


@dataclass(frozen=True)
class RetimedFrame:
    """A frame of the result, between the input frames `before` and `after`.

    Attributes:
        number: of the frame in the result.
        name: of its files, without suffix.
        before: the input frame at the time of this frame, or the last one before it.
        after: the next input frame; None if `before` is at the time of this frame.
        share: position between them, from 0 at `before` to 1 at `after`.
        seconds: simulated time from `before` to `after`, s.
    """

    number: int
    name: str
    before: FrameRef
    after: FrameRef | None = None
    share: float = 0.0
    seconds: float = 0.0

    @property
    def frame(self) -> float:
        """The number in the names of the files."""
        return self.number

    @property
    def source(self) -> Path:
        """The file of the input frame `before`, which messages name."""
        return self.before.source

    def targets(self, root: Path, formats: Sequence[str]) -> list[Path]:
        """The files of this frame in a run in the folder `root`, one for each format."""
        return [root / "frames" / f"{self.name}.{suffix}" for suffix in formats]

    def absolute(self) -> RetimedFrame:
        """The same frame with absolute paths, for processes with another working directory."""
        return replace(self, before=self.before.absolute(), after=self.after and self.after.absolute())


@dataclass(frozen=True)
class _Plan:
    """The frames of the result and their rate."""

    frames: tuple[RetimedFrame, ...]  # all
    items: tuple[RetimedFrame, ...]  # the selected ones
    input_rate: float  # 1/s
    rate: float  # of the result, 1/s
    dt: float  # simulated time from one frame of the result to the next, s
    first: tuple[volumes.Taken, Frame]  # the first frame of the input, as `_load` returns it


def retime(
    inputs: Sequence[str],
    output: Path | None,
    settings: RetimeSettings,
    *,
    frames_wanted: str | None = None,
    scheduler: str | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> Path:
    """Write the frames of `inputs` at another frame rate or speed. Returns the folder of the results.

    A frame at the time of an input frame is a byte-for-byte copy of its file if the format is the same, the file holds
    the whole frame with velocity in m/s, and no option changes its contents. Otherwise it has the same values, with the
    time and the time step of the result. Frames between two input frames are made by `retiming.between`. The same call
    again resumes an interrupted run.

    Args:
        inputs: files, folders or patterns of one sequence.
        output: the folder; `runs/NAME_retimed` by default.
        settings: options of the retiming.
        frames_wanted: which frames of the result, as text (see `frame_numbers`); None: all. Frames of the result are
            numbered consecutively from the number of the first input frame.
        scheduler: address of a dask scheduler whose workers make the frames; None: this process does.
        overwrite: replace an earlier run in the folder.
        quiet: show no progress.

    On return the frames are in `output/frames/`. For the format `vti`, `output/NAME.pvd` lists them with their times;
    for `vdb`, the USD layer `output/NAME.usda` does. Raises InputError if input frames or their velocity are missing.
    """
    settings = replace(settings, device=devices.resolve(settings.device))
    cache = FrameSequence.of(inputs)
    plan = _plan(cache, settings, frames_wanted)
    settings = replace(settings, formats=settings.formats or (cache.own_format,))
    root = output or Path("runs") / f"{sequence.series_name(cache.items[0].source)}_retimed"
    rates = {"input_frame_rate": plan.input_rate, "frame_rate": plan.rate}
    configuration = {**asdict(settings), **rates, "inputs": cache.sources}
    folder = RunFolder.open(
        root,
        "retime",
        configuration,
        overwrite=overwrite,
        notes={"frames": frames_wanted or "all"},
        frames=[item.number for item in plan.items],
        needed=("time",),
    )
    todo = [i for i in plan.items if not folder.is_complete(i.number, i.targets(root, settings.formats))]
    done = len(plan.items) - len(todo)
    with folder, Progress(len(plan.items), stage="retime", quiet=quiet, done=done) as progress:
        for note in folder.notes:
            progress.note(note)
        if plan.rate == plan.input_rate and settings.speed == 1:
            progress.note("neither the frame rate nor the speed changes: --frame-rate and --speed set them")
        make_frames(
            partial(retime_frame, root=root.resolve(), settings=settings, dt=plan.dt),
            todo,
            folder,
            progress,
            files=lambda item, record: item.targets(root, settings.formats),
            scheduler=scheduler,
        )
        if not math.isclose(plan.dt * plan.input_rate, 1):
            rate = f"{1 / plan.dt:.10g}"
            note = f"the result has {rate} frames per second of the simulation: pass this rate where velocity matters"
            progress.note(f"{note} (upsample --frame-rate {rate})")
    folder.refresh()
    # Players show the series at the requested rate, whatever the times of the simulation are.
    write_series_files(root, plan.frames, folder.complete, settings.formats, plan.rate)
    return root


def describe(
    inputs: Sequence[str], settings: RetimeSettings, *, frames_wanted: str | None = None
) -> dict[str, Any]:
    """The run that `retime` would make, and its cost. Reads the first frame only. Raises as `retime` does."""
    cache = FrameSequence.of(inputs)
    plan = _plan(cache, settings, frames_wanted)
    frame, device = plan.first[1], devices.resolve(settings.device)
    numbers = sum(math.prod(values.shape) for values in frame.fields().values())
    free = memory.free(device)
    blended = sum(item.after is not None for item in plan.items)
    return {
        "frames": f"{plan.items[0].number}-{plan.items[-1].number}",
        "input_frames": len(cache.all_frames),
        "input_frame_rate": plan.input_rate,
        "frame_rate": plan.rate,
        "speed": settings.speed,
        "formats": list(settings.formats or (cache.own_format,)),
        "device": device,
        "cost": {
            "frames_kept": len(plan.items) - blended,
            "frames_made": blended,
            "cells": math.prod(frame.shape),
            "memory_bytes": 3 * 4 * numbers,  # two input frames and the frame between them, as float32
            "memory_free_bytes": None if free is None else free.size,
        },
    }


def _plan(cache: FrameSequence, settings: RetimeSettings, frames_wanted: str | None) -> _Plan:
    """The frames of the result.

    Raises InputError for a single input frame, for an input frame that is missing between two others, for too many
    frames, and if `frames_wanted` selects none.
    """
    inputs = cache.all_frames
    if len(inputs) < 2:
        raise InputError(str(inputs[0].source), "is a single frame", "give a sequence of two or more")
    places = [Fraction(item.frame).limit_denominator(1000) for item in inputs]
    first = _load(inputs[0], settings)
    rate = rate_of(_input_rate(inputs, first[1], settings), "input_frame_rate")
    output_rate = rate if settings.frame_rate is None else rate_of(settings.frame_rate, "frame_rate")
    step = step_of(rate, output_rate, settings.speed)
    count = math.floor((places[-1] - places[0]) / step) + 1
    if count > frame_numbers.MOST_FRAMES:
        problem = f"its frames {inputs[0].frame:g} to {inputs[-1].frame:g} would become {count}"
        remedy = "give a lower `frame_rate`, a higher `speed`, or files whose numbers count frames"
        raise InputError(str(inputs[0].source.parent), problem, remedy)
    stem, number = sequence.series_name(inputs[0].source), math.ceil(places[0])
    numbers = frame_numbers.parse(frames_wanted, count, number)
    selected = set(numbers)
    frames = []
    for offset in range(count):
        at = places[0] + offset * step
        low = bisect_right(places, at) - 1
        before, result_number = inputs[low], number + offset
        name = f"{stem}_{result_number:04d}"
        if at == places[low]:
            frames.append(RetimedFrame(result_number, name, before))
            continue
        width = places[low + 1] - places[low]
        if width > 1 and result_number in selected:
            missing = f"the frames between {before.frame:g} and {inputs[low + 1].frame:g} are missing"
            raise InputError(
                str(before.source.parent), missing, "give all frames, or leave these out of `frames`"
            )
        share = float((at - places[low]) / width)
        frames.append(RetimedFrame(result_number, name, before, inputs[low + 1], share, float(width / rate)))
    items = tuple(frame for frame in frames if frame.number in selected)
    if not items:
        problem = f"{frames_wanted} selects no frame of the result"
        raise InputError("frames", problem, f"its frames are numbered {number}-{number + count - 1}")
    return _Plan(tuple(frames), items, float(rate), float(output_rate), float(step / rate), first)


def _input_rate(inputs: Sequence[FrameRef], first: Frame, settings: RetimeSettings) -> float:
    """Frames per second of the input: as given in `settings`, else by the times of the series, else by `first.dt`."""
    start, end = inputs[0].time, inputs[-1].time
    if settings.intake.frame_rate is None and start is not None and end is not None and end > start:
        return (inputs[-1].frame - inputs[0].frame) / (end - start)
    return 1.0 / first.dt


def retime_frame(item: RetimedFrame, root: Path, settings: RetimeSettings, dt: float) -> dict[str, Any]:
    """Write one frame of the result into the folder `root`. Returns its record for the log.

    `dt` is the simulated time between frames of the result, s. On return the files have their final names. Raises
    InputError for input frames that cannot be read, are not finite, or have smoke and no velocity.
    """
    started = time.perf_counter()
    taken, frame = _load(item.before, settings)
    written = WrittenStyle.of(taken, settings.intake, settings.precision)
    notes = list(taken.notes)
    # A time of 0 that is not that of a frame 0 is what the first file states.
    begins_at_zero = frame.time == 0 and item.before.frame != 0
    has_times = item.before.time is not None or taken.frame.time != 0 or begins_at_zero
    if item.after is not None:
        after, later = _load(item.after, settings)
        notes += after.notes
        if item.before.time is None:
            notes += frame_reading.assumed_rate(taken, settings.intake, "--input-frame-rate")
        counts = float(frame.time).is_integer() and float(later.time).is_integer()  # steps instead of seconds
        if settings.intake.frame_rate is None and not counts:
            with naming(item.after.source):
                check_neighbours(frame, later, item.seconds)
        outside = {**after.outside, **taken.outside}
        begin, end = _filled(taken, frame, later, outside), _filled(after, later, frame, outside)
        styles = [source.style for source in (taken, after) if source.style]
        whole = frozenset().union(*(style.whole for style in styles))
        with naming(item.before.source):
            made = between(
                begin.torch(settings.device),
                end.torch(settings.device),
                item.share,
                seconds=item.seconds,
                whole=whole,
                outside=outside,
            )
        moment = frame.time + item.share * (later.time - frame.time)
        frame = made.numpy().replace(time=moment)
    frame = frame.replace(time=frame.time if has_times else item.number * dt, dt=dt)
    if written.style is not None:  # number and time in the source's metadata do not apply to this frame
        file = {key: value for key, value in written.style.file.items() if key not in ("frame", "time")}
        written = replace(written, style=replace(written.style, file=file))
    names = _wanted(frame.fields(), settings)
    for target in item.targets(root, settings.formats):
        target.parent.mkdir(parents=True, exist_ok=True)
        if item.after is None and _is_kept(item.before, taken, target, settings):
            with replacing(target) as temporary:
                shutil.copyfile(item.before.source, temporary)
            continue
        with naming(item.before.source, frame.fields()):
            volumes.write(
                target,
                frame,
                fields=written_fields(names, target.suffix),
                threshold=settings.threshold,
                **written.options,
            )
    return {
        "source": str(item.before.source),
        "time": frame.time,
        "seconds": time.perf_counter() - started,
        "up": written.up,
        "grids": written.grids(names),
        "notes": list(dict.fromkeys(notes)),
    }


def _filled(
    taken: volumes.Taken, frame: Frame, other: Frame, outside: Mapping[str, Sequence[float]]
) -> Frame:
    """The frame; if its file holds no voxel, a frame without smoke on the grid of `other`, with the values `outside`
    in its other fields.
    """
    if not taken.empty:
        return frame
    fields = {"density": other.density * 0}
    for name, values in other.fields().items():
        if name in outside and name not in FLOW:
            components = (-1, *(1,) * other.dim) if name in other.vectors else ()
            fields[name] = values * 0 + np.array(outside[name], np.float32).reshape(components)
    return other.with_fields(fields, time=frame.time, dt=frame.dt)


def _wanted(present: Iterable[str], settings: RetimeSettings) -> list[str]:
    """The fields among `present` that are written."""
    names = {"density", *settings.fields}
    if "velocity" in names:
        names.add(FACES)
    return [name for name in present if not settings.fields or name in names]


def _is_kept(item: FrameRef, taken: volumes.Taken, target: Path, settings: RetimeSettings) -> bool:
    """Whether the file of an input frame can be copied to `target` unchanged."""
    read = settings.intake
    changed = settings.fields or settings.precision or settings.threshold or read.crop or read.axes
    several = item.parts or item.step or siblings.beside(item.source)
    in_metres = taken.unit == "m/s" and read.velocity_unit in ("auto", "m/s")
    return item.source.suffix.lower() == target.suffix and in_metres and not (changed or several)


def _load(item: FrameRef, settings: RetimeSettings) -> tuple[volumes.Taken, Frame]:
    """An input frame as its file has it, and the same frame in m/s with its time.

    The last two frames are cached, because consecutive frames of the result read the same ones.
    """
    global _recent
    field_lists = frame_reading.with_any(["velocity"], settings.fields) if settings.fields else [None]
    key = (item, settings.intake, settings.fields, item.source.stat().st_mtime_ns)
    recent = _recent  # a local reference: another thread may replace the cache
    if key not in recent:
        taken, _ = frame_reading.take(item, settings.intake, *field_lists)
        loaded = taken, frame_reading.in_its_place(taken, item, settings.intake)
        frame_reading.check_finite(item, loaded[1])
        recent = dict([*recent.items(), (key, loaded)][-2:])
        _recent = recent
    return recent[key]


_recent: dict[tuple[Any, ...], tuple[volumes.Taken, Frame]] = {}  # the last two frames read by `_load`
