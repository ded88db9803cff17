"""`fluidsr restcoords`: adds rest coordinates to the frames of a cache, for noise that moves with the smoke."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fluidsr import volumes
from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.pipeline import frame_reading
from fluidsr.pipeline.checkpoint import Checkpoint, state_of
from fluidsr.pipeline.frame_reading import naming
from fluidsr.pipeline.frame_sequence import FrameRef, FrameSequence
from fluidsr.pipeline.progress import Progress
from fluidsr.pipeline.read_options import ReadOptions
from fluidsr.pipeline.run_folder import RunFolder
from fluidsr.pipeline.series_files import write_series_files
from fluidsr.pipeline.written_style import WrittenStyle
from fluidsr.upscaling.rest_coordinates import PERIOD, REST_FIELDS, RestCoordinates
from fluidsr.volumes import sequence
from fluidsr.volumes.staggered import FACES, written_fields


@dataclass(frozen=True)
class RestSettings:
    """The options of `restcoords`."""

    period: int = PERIOD  # frames between two resets of one set of coordinates
    intake: ReadOptions = field(default_factory=ReadOptions)
    formats: tuple[str, ...] = ()  # empty: the format of the input if it can be written, else vdb
    fields: tuple[str, ...] = ()  # to write besides density and the coordinates; empty: all
    precision: str | None = None  # None: as in an input VDB, else half; coordinates are always float
    threshold: float = 0.0


def restcoords(
    inputs: Sequence[str],
    output: Path | None,
    settings: RestSettings,
    *,
    frames_wanted: str | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> Path:
    """Write the frames of `inputs` with the fields `rest`, `rest2` and `rest_ratio`. Returns the folder of the results.

    The coordinates are advected from the first frame of the sequence on, even if the selection begins later. The same
    call again resumes an interrupted run from a state that is saved every few seconds; the files are the same.

    Args:
        inputs: files, folders or patterns of one sequence.
        output: the folder; `runs/NAME_rest` by default.
        settings: options of the command.
        frames_wanted: which frames to write, as text (see `frame_numbers`); None: all.
        overwrite: replace an earlier run in the folder.
        quiet: show no progress.

    On return the frames are in `output/frames/`. For the format `vti`, `output/NAME.pvd` lists them with their times;
    for `vdb`, the USD layer `output/NAME.usda` does. Raises InputError for missing frames, and for frames with smoke
    but without velocity.
    """
    cache = FrameSequence.of(inputs, frames_wanted)
    if cache.gaps:
        source_folder = str(cache.items[0].source.parent)
        raise InputError(source_folder, cache.missing(), "give all frames: the flow is followed through them")
    formats = settings.formats or (cache.own_format,)
    root = output or Path("runs") / f"{sequence.series_name(cache.items[0].source)}_rest"
    folder = RunFolder.open(
        root,
        "restcoords",
        {**asdict(settings), "formats": formats, "inputs": cache.sources},
        overwrite=overwrite,
        notes={"frames": frames_wanted or "all"},
        frames=[item.number for item in cache.items],
        needed=("time",),
    )
    todo = {i for i in cache.items if not folder.is_complete(i.number, i.targets(root, formats))}
    done = len(cache.items) - len(todo)
    with folder, Progress(len(cache.items), stage="restcoords", quiet=quiet, done=done) as progress:
        for note in folder.notes:
            progress.note(note)
        saved = Checkpoint(
            root / f".state_{cache.items[0].number}-{cache.items[-1].number}.safetensors", progress.note
        )
        if todo:
            _write_frames(cache, todo, root, settings, formats, folder, saved, progress)
        saved.remove()
    folder.refresh()
    write_series_files(root, cache.all_frames, folder.complete, formats)
    return root


def _write_frames(
    cache: FrameSequence,
    todo: set[FrameRef],
    root: Path,
    settings: RestSettings,
    formats: Sequence[str],
    folder: RunFolder,
    saved: Checkpoint,
    progress: Progress,
) -> None:
    """Write the frames in `todo`, and read all frames before them for their velocity."""
    frames = cache.all_frames
    places = [place for place, item in enumerate(frames, start=1) if item in todo]
    _, start_frame = _read(frames[0], settings, [])
    with naming(frames[0].source, {"velocity"}):
        rest = RestCoordinates(start_frame, settings.period)
    first = saved.restore({"rest": rest}, before=places[0])
    shown: set[str] = set()
    for place, item in enumerate(frames[: places[-1]], start=1):
        if place <= first:
            continue
        started = time.perf_counter()
        extra = [*settings.fields] if item in todo else []
        taken, frame = _read(item, settings, extra if settings.fields or item not in todo else None)
        if place > 1:
            with naming(item.source):
                rest.advance(frame)
        if item not in todo:
            continue
        for note in (*taken.notes, *frame_reading.assumed_rate(taken, settings.intake)):
            if note not in shown:
                shown.add(note)
                progress.note(f"{item.source}: {note}")
        with naming(item.source, {*frame.fields(), *REST_FIELDS}):
            record = _write_one(item, taken, frame, rest, root, settings, formats)
        seconds = time.perf_counter() - started
        folder.record(item.number, {**record, "seconds": seconds}, item.targets(root, formats))
        if saved.is_due():
            saved.save(place, state_of({"rest": rest}))
        progress.advance(item.name)


def _read(
    item: FrameRef, settings: RestSettings, fields: Sequence[str] | None
) -> tuple[volumes.Taken, Frame]:
    """A frame as its file has it, and the same frame in m/s: density, velocity if there is any, and `fields`.

    `fields` None reads all. Raises NotFiniteError for a NaN or an infinity.
    """
    field_lists = [None] if fields is None else frame_reading.with_any(["velocity"], fields)
    taken, _ = frame_reading.take(item, settings.intake, *field_lists)
    frame = frame_reading.in_its_place(taken, item, settings.intake)
    frame_reading.check_finite(item, frame)
    return taken, frame


def _write_one(
    item: FrameRef,
    taken: volumes.Taken,
    frame: Frame,
    rest: RestCoordinates,
    root: Path,
    settings: RestSettings,
    formats: Sequence[str],
) -> dict[str, Any]:
    """Write a frame with its coordinates. Returns its record for the log."""
    frame = frame.replace(others={**frame.others, **rest.fields()}).numpy()
    names = {"density", *settings.fields, *REST_FIELDS}
    names |= {FACES} if "velocity" in names else set()
    fields = [name for name in frame.fields() if not settings.fields or name in names]
    written = WrittenStyle.of(taken, settings.intake, settings.precision)
    for target in item.targets(root, formats):
        target.parent.mkdir(parents=True, exist_ok=True)
        volumes.write(
            target,
            frame,
            fields=written_fields(fields, target.suffix),
            threshold=settings.threshold,
            **written.options,
        )
    return {
        "source": str(item.source),
        "time": frame.time,
        "up": written.up,
        "grids": written.grids(fields),
    }
