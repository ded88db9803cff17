"""`fluidsr convert`: a cache of volumes in another format, another precision, under other names."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from fluidsr import volumes
from fluidsr.errors import InputError
from fluidsr.frame import Frame
from fluidsr.frame_grid import FrameGrid, around
from fluidsr.pipeline import frame_reading
from fluidsr.pipeline.frame_jobs import make_frames
from fluidsr.pipeline.frame_reading import naming
from fluidsr.pipeline.frame_sequence import FrameRef, FrameSequence
from fluidsr.pipeline.progress import Progress
from fluidsr.pipeline.read_options import ReadOptions
from fluidsr.pipeline.run_folder import RunFolder
from fluidsr.pipeline.series_files import write_series_files
from fluidsr.pipeline.written_style import WrittenStyle
from fluidsr.volumes import memory, npz, sequence, uni
from fluidsr.volumes.grid_names import stored_names
from fluidsr.volumes.staggered import FACES, written_fields

_SERIES = "vtkhdf"  # the format that has all frames in one file


@dataclass(frozen=True)
class ConvertSettings:
    """The options of a conversion. Plain values, so that they can be sent to workers."""

    formats: tuple[str, ...]
    intake: ReadOptions = field(default_factory=ReadOptions)
    fields: tuple[str, ...] = ()  # to write besides density; empty: all
    precision: str | None = None  # None: as in an input VDB, else half
    naming: str | None = None  # None: as in an input VDB, else houdini
    threshold: float = 0.0
    skip_damaged: bool = False


def convert(
    inputs: Sequence[str],
    output: Path | None,
    settings: ConvertSettings,
    *,
    frames_wanted: str | None = None,
    scheduler: str | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> Path:
    """Write the frames of `inputs` in other formats. Returns the folder of the results.

    The same call again resumes an interrupted run.

    Args:
        inputs: files, folders or patterns.
        output: the folder; `runs/NAME_converted` by default.
        settings: options of the conversion.
        frames_wanted: which frames, as text (see `frame_numbers`); None: all.
        scheduler: address of a dask scheduler whose workers convert the frames; None: this process does. The files are
            the same.
        overwrite: replace an earlier run in the folder.
        quiet: show no progress.

    On return the frames are in `output/frames/`, velocity in m/s. For the format `vti`, `output/NAME.pvd` lists them
    with their times; for `vdb`, the USD layer `output/NAME.usda` does. `vtkhdf` is a single file, `output/NAME.vtkhdf`,
    of all frames in the box around all of them. Raises InputError for inputs that do not exist or lack a field, and for
    frames that a format cannot hold.
    """
    cache = FrameSequence.of(inputs, frames_wanted, skip_damaged=settings.skip_damaged)
    root = output or Path("runs") / f"{sequence.series_name(cache.items[0].source)}_converted"
    configuration = {**asdict(settings), "inputs": cache.sources}
    folder = RunFolder.open(
        root,
        "convert",
        configuration,
        overwrite=overwrite,
        notes={"frames": frames_wanted or "all"},
        frames=[item.number for item in cache.items],
        needed=("time", "shape", "cell_size", "origin", "fields"),
    )
    single = [suffix for suffix in settings.formats if suffix != _SERIES]
    todo = [i for i in cache.items if not folder.is_complete(i.number, i.targets(root, single))]
    with (
        folder,
        Progress(
            len(cache.items), stage="convert", quiet=quiet, done=len(cache.items) - len(todo)
        ) as progress,
    ):
        for note in (*folder.notes, *cache.notes()):
            progress.note(note)
        make_frames(
            partial(_convert_one, root=root.resolve(), settings=settings, formats=single),
            todo,
            folder,
            progress,
            files=lambda item, record: _files(item, root, single, record["fields"]),
            scheduler=scheduler,
            skip_damaged=settings.skip_damaged,
        )
        folder.refresh()
        for note in _lacking(cache.items, folder) if single else ():  # `_write_series` reports its own fields
            progress.note(note)
    if _SERIES in settings.formats:
        items = [item for item in cache.items if item.number in folder.complete]
        _write_series(root, items, folder, settings, progress)
    write_series_files(root, cache.all_frames, folder.complete, single)
    return root


def _lacking(items: Sequence[FrameRef], folder: RunFolder) -> Iterator[str]:
    """Yield a note for the user about each field that only some frames have. Empty frames do not count."""
    filled = [
        (item, record)
        for item in items
        if (record := folder.complete.get(item.number)) is not None and not record.get("empty")
    ]
    for name in dict.fromkeys(name for _, record in filled for name in record["fields"]):
        without = [item for item, record in filled if name not in record["fields"]]
        if without:
            yield f"{without[0].source}: has no {name!r}; {len(without)} of {len(filled)} frames lack it"


def _files(item: FrameRef, root: Path, formats: Sequence[str], fields: Sequence[str]) -> list[Path]:
    """All files of a frame. A .uni file holds one field, so other fields are in files beside it."""
    files = item.targets(root, formats)
    siblings = [
        beside for file in files if file.suffix == ".uni" for beside in uni.siblings_of(file, fields).values()
    ]
    return list(dict.fromkeys([*files, *(file for file in siblings if file.exists())]))


def _convert_one(
    item: FrameRef, root: Path, settings: ConvertSettings, formats: Sequence[str]
) -> dict[str, Any]:
    """Write one frame. Returns its record for the log."""
    started = time.perf_counter()
    names = ["density", *settings.fields] if settings.fields else None
    by_windows = _by_windows(item, root, settings, formats, names)
    if by_windows is not None:
        return {**by_windows, "seconds": time.perf_counter() - started}
    taken, _ = frame_reading.take(item, settings.intake, names)
    frame = frame_reading.in_its_place(taken, item, settings.intake)
    # The result states the rate.
    sentences = [*taken.notes, *frame_reading.assumed_rate(taken, settings.intake)]
    fields = tuple(name for name in frame.fields())
    written = WrittenStyle.of(taken, settings.intake, settings.precision, settings.naming)
    for target in item.targets(root, formats):
        with naming(item.source, fields):
            volumes.write(
                target,
                frame,
                fields=written_fields(fields, target.suffix),
                threshold=settings.threshold,
                **written.options,
            )
        sentences += _renamed(fields, target.suffix)
    fields = tuple(name for name in fields if name != FACES)
    return {
        "source": str(item.source),
        "time": frame.time,
        "shape": list(frame.shape),
        "cell_size": frame.cell_size,
        "origin": list(frame.origin),
        "fields": list(fields),
        "vectors": list(frame.vectors),
        "whole": sorted(written.style.whole) if written.style else [],
        "empty": taken.empty,
        "precision": written.precision,
        "up": written.up,
        "grids": written.grids(fields),
        "seconds": time.perf_counter() - started,
        "notes": list(dict.fromkeys(sentences)),
    }


def _by_windows(
    item: FrameRef, root: Path, settings: ConvertSettings, formats: Sequence[str], names: Sequence[str] | None
) -> dict[str, Any] | None:
    """Convert a mostly empty VDB to a VDB, block by block. Returns its record without seconds, None for others."""
    read_options = settings.intake
    if list(formats) != ["vdb"]:
        return None
    with frame_reading.windows(item, read_options, [names]) as source:
        if source is None or not frame_reading.is_sparse(source, frame_reading.BLOCK, 0):
            return None
        blocks = source.blocks(frame_reading.BLOCK, 0)
        first = frame_reading.timed(source.take(*blocks[0]), item, read_options)
        begin = frame_reading.in_its_place(first, item, read_options)
        fields = written_fields(first.frame.fields(), ".vdb")
        written = WrittenStyle.of(first, read_options, settings.precision, settings.naming)
        (target,) = item.targets(root, formats)
        target.parent.mkdir(parents=True, exist_ok=True)
        place = source.place
        with volumes.stream(
            target,
            shape=place.shape,
            cell_size=place.cell_size,
            origin=place.origin,
            time=begin.time,
            dt=begin.dt,
            fields=fields,
            vectors=first.frame.vectors,
            threshold=settings.threshold,
            **written.options,
        ) as out:
            for low, high in blocks:
                present = frame_reading.in_its_place(source.take(low, high), item, read_options).fields()
                with naming(item.source, fields):
                    for name in fields:
                        out.put(name, low, present[name])
        return {
            "source": str(item.source),
            "time": begin.time,
            "shape": list(place.shape),
            "cell_size": place.cell_size,
            "origin": list(place.origin),
            "fields": ["velocity" if name == FACES else name for name in fields],
            "empty": False,
            "precision": written.precision,
            "up": written.up,
            "grids": written.grids(fields),
            "notes": [*first.notes, *frame_reading.assumed_rate(first, read_options)],
        }


def _renamed(fields: Sequence[str], suffix: str) -> list[str]:
    """Notes about fields whose names a format does not allow."""
    taken = npz.PLACE if suffix == ".npz" else ()
    new = stored_names([name for name in fields if name != FACES], suffix, taken)
    return [f"{name!r} is written as {word!r}" for name, word in new.items() if name != word]


def _write_series(
    root: Path, items: Sequence[FrameRef], folder: RunFolder, settings: ConvertSettings, progress: Progress
) -> None:
    """Write all frames into one .vtkhdf file, with the fields that all of them have.

    Raises InputError if their times do not increase, or the memory does not suffice for a frame.
    """
    from fluidsr.volumes import vtkhdf

    records = [folder.complete[item.number] for item in items]
    times = [float(record["time"]) for record in records]
    if any(b <= a for a, b in pairwise(times)):
        raise InputError(
            str(items[0].source),
            "the times of the frames do not increase",
            "give `frame_rate`, or one sequence at a time",
        )
    filled = [record for record in records if not record.get("empty")] or records
    place = around(
        FrameGrid(tuple(record["shape"]), record["cell_size"], tuple(record["origin"])) for record in filled
    )
    common = [name for name in filled[0]["fields"] if all(name in record["fields"] for record in filled)]

    vectors = {"velocity", *(name for record in filled for name in record.get("vectors") or ())}
    whole = {name for record in filled for name in record.get("whole") or ()}
    target = root / f"{root.name}.{_SERIES}"
    for name in dict.fromkeys(name for record in filled for name in record["fields"]):
        if name not in common:
            progress.note(f"{target}: {name!r} is left out: not all frames have it")
    components = sum(3 if name in vectors else 1 for name in common)
    memory.check(str(target), 4 * components * math.prod(place.shape), None)

    def load(step: int) -> Frame:
        if records[step] in filled:
            return frame_reading.read(items[step], settings.intake)[0]
        nothing = np.zeros(place.shape, np.float32)
        fields = {
            name: np.zeros((len(place.shape), *place.shape), np.float32) if name in vectors else nothing
            for name in common
        }
        return Frame(nothing, cell_size=place.cell_size, origin=place.origin).with_fields(fields)

    vtkhdf.write_series(
        target,
        times,
        load,
        place,
        common,
        half=records[0].get("precision", "half") == "half",
        threshold=settings.threshold,
        whole=whole,
    )
