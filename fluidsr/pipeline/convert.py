"""`fluidsr convert`: a cache of volumes in another format, another precision, under other names."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from fluidsr import volumes
from fluidsr.errors import InputError
from fluidsr.pipeline import frame_sequence
from fluidsr.pipeline.frame_sequence import Cache, Intake, Item
from fluidsr.pipeline.progress import Progress
from fluidsr.pipeline.run_folder import RunFolder
from fluidsr.volumes import sequence, uni
from fluidsr.volumes.places import Place, around

FORMATS = ("vdb", "vti", "npz", "uni", "vtkhdf")
_SERIES = "vtkhdf"  # the format that has all frames in one file


@dataclass(frozen=True)
class Settings:
    """What is done to every frame. `fields` are written with the density; none named: all that a frame has."""

    formats: tuple[str, ...]
    intake: Intake = field(default_factory=Intake)
    fields: tuple[str, ...] = ()
    precision: str = "half"
    naming: str = "houdini"
    threshold: float = 0.0


def convert(
    inputs: Sequence[str],
    output: Path | None,
    settings: Settings,
    *,
    frames_wanted: str | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> Path:
    """Write every frame of `inputs` into `output/frames/` in each of the formats. Returns the folder.

    With `vti` a series `output/NAME.pvd` names them with their times; `vtkhdf` is one file, `output/NAME.vtkhdf`,
    of all frames in the box that holds them all. The same call again goes on where it stopped. Raises InputError
    for inputs that are not there or lack a field, and for frames that the format cannot hold.
    """
    cache = Cache.of(inputs, frames_wanted)
    root = output or Path("runs") / f"{sequence.series_name(cache.items[0].source)}_converted"
    sources = list(dict.fromkeys(str(item.source.resolve()) for item in cache.everything))
    configuration = {**asdict(settings), "inputs": sources}
    with RunFolder.open(
        root,
        "convert",
        configuration,
        overwrite=overwrite,
        notes={"frames": frames_wanted or "all"},
        frames=[item.number for item in cache.items],
        needed=("time", "shape", "cell_size", "origin", "fields"),
    ) as folder:
        single = [suffix for suffix in settings.formats if suffix != _SERIES]
        todo = [i for i in cache.items if not folder.is_complete(i.number, i.targets(root, single))]
        with Progress(len(cache.items), quiet=quiet, done=len(cache.items) - len(todo)) as progress:
            said: set[str] = set()
            for note in (*folder.notes, *cache.notes()):
                progress.note(note)
            for item in todo:
                record, notes = _convert_one(item, root, settings, single)
                for note in notes:
                    if note not in said:
                        said.add(note)
                        progress.note(f"{item.source}: {note}")
                folder.record(item.number, record, _files(item, root, single, record["fields"]))
                progress.advance(item.name)
        folder.refresh()
        if "vti" in single:
            _write_pvd(root, cache, folder)
        if _SERIES in settings.formats:
            _write_series(root, cache.items, folder, settings)
    return root


def _convert_one(
    item: Item, root: Path, settings: Settings, formats: Sequence[str]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    started = time.perf_counter()
    frame, notes = frame_sequence.read(item, settings.intake)
    fields = tuple(dict.fromkeys(("density", *settings.fields))) if settings.fields else tuple(frame.fields())
    for target in item.targets(root, formats):
        volumes.write(
            target,
            frame,
            precision=settings.precision,
            naming=settings.naming,
            fields=fields,
            threshold=settings.threshold,
        )
    record = {
        "source": str(item.source),
        "time": frame.time,
        "shape": list(frame.shape),
        "cell_size": frame.cell_size,
        "origin": list(frame.origin),
        "fields": list(fields),
        "seconds": time.perf_counter() - started,
    }
    return record, notes


def _files(item: Item, root: Path, formats: Sequence[str], fields: Sequence[str]) -> list[Path]:
    """All that was written of a frame: a .uni file holds one field, and has siblings."""
    files = item.targets(root, formats)
    siblings = [uni.sibling(file, name) for file in files if file.suffix == ".uni" for name in fields]
    return list(dict.fromkeys([*files, *(Path(file) for file in siblings if Path(file).exists())]))


def _write_pvd(root: Path, cache: Cache, folder: RunFolder) -> None:
    entries = [
        (float(folder.complete[item.number]["time"]), file)
        for item in cache.everything
        if item.number in folder.complete and (file := item.targets(root, ["vti"])[0]).exists()
    ]
    volumes.write_pvd(root / f"{root.name}.pvd", entries)


def _write_series(root: Path, items: Sequence[Item], folder: RunFolder, settings: Settings) -> None:
    from fluidsr.volumes import vtkhdf

    records = [folder.complete[item.number] for item in items]
    times = [float(record["time"]) for record in records]
    if any(b <= a for a, b in pairwise(times)):
        raise InputError(
            str(items[0].source),
            "the frames' times do not ascend",
            "give --frame-rate, or one sequence at a time",
        )
    place = around(
        Place(tuple(record["shape"]), record["cell_size"], tuple(record["origin"])) for record in records
    )
    common = [name for name in records[0]["fields"] if all(name in record["fields"] for record in records)]
    vtkhdf.write_series(
        root / f"{root.name}.vtkhdf",
        times,
        lambda step: frame_sequence.read(items[step], settings.intake)[0],
        place,
        common,
        half=settings.precision == "half",
        threshold=settings.threshold,
    )
