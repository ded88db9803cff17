"""`fluidsr upsample`: any cache of volumes through a generator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fluidsr import device as devices
from fluidsr import volumes
from fluidsr.errors import InputError
from fluidsr.pipeline import frames
from fluidsr.pipeline.progress import Progress
from fluidsr.pipeline.run_folder import RunFolder
from fluidsr.volumes import sequence


@dataclass(frozen=True)
class Settings:
    """What is done to every frame; plain values, so that it travels to any worker."""

    model: str
    device: str = "auto"
    velocity_scale: float = 1.0
    tile: int | str = "auto"
    max_memory: int | None = None
    density_grid: str | None = None
    velocity_grid: str | None = None
    frame_rate: float | None = None
    zero_velocity: bool = False
    formats: tuple[str, ...] = ("vdb", "vti")
    precision: str = "half"
    naming: str = "houdini"


@dataclass(frozen=True)
class Item:
    """One input file and its place in the sequence."""

    number: int
    source: Path

    def targets(self, root: Path, formats: Sequence[str]) -> list[Path]:
        return [root / "frames" / f"{self.source.stem}.{suffix}" for suffix in formats]


def upsample(
    inputs: Sequence[str],
    output: Path | None,
    settings: Settings,
    *,
    frames_wanted: str | None = None,
    scheduler: str | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> Path:
    """Raise every frame of `inputs` into `output/frames/`, here or on a dask cluster. Returns the folder.

    Frames are independent: any split of them, by `frames_wanted` or by `scheduler`, leaves the same bytes.
    Raises InputError for inputs that are not there or do not fit the model.
    """
    from fluidsr import models

    settings = replace(settings, device=devices.resolve(settings.device))
    files = sequence.expand(inputs)
    everything = _numbered(files)
    items = _choose(everything, frames_wanted)
    root = output or Path("runs") / f"{sequence.series_name(items[0].source)}_fine"
    sources = [str(item.source.resolve()) for item in everything]
    configuration = {
        **asdict(settings),
        "inputs": sources,
        "model_sha256": models.read_card(settings.model).sha256,
    }
    folder = RunFolder.open(
        root, "upsample", configuration, overwrite=overwrite, notes={"frames": frames_wanted or "all"}
    )
    todo = [
        item for item in items if not folder.is_complete(item.number, item.targets(root, settings.formats))
    ]
    with Progress(len(items), quiet=quiet, done=len(items) - len(todo)) as progress:
        notes: set[str] = set()
        if files.gaps:
            what = f"{len(files.gaps)} frames are missing, the first is {files.gaps[0]}"
            progress.note(f"{items[0].source.parent}: {what}")
        for item, record in _results(todo, root.resolve(), settings, scheduler):
            for note in record.pop("notes"):
                if note not in notes:
                    notes.add(note)
                    progress.note(f"{item.source}: {note}")
            folder.record(item.number, record)
            progress.advance(item.source.name)
    folder.refresh()
    if "vti" in settings.formats:
        entries = [
            (float(folder.complete[item.number]["time"]), file)
            for item in everything
            if item.number in folder.complete
            and (file := root / "frames" / f"{item.source.stem}.vti").exists()
        ]
        volumes.write_pvd(root / f"{root.name}.pvd", entries)
    return root


def select(inputs: Sequence[str], frames_wanted: str | None) -> list[Item]:
    """The files that `inputs` (files, folders, patterns) name, numbered; `frames_wanted` picks from them.

    A file's number is the one in its name; where a name has none, all are numbered by their places.
    """
    return _choose(_numbered(sequence.expand(inputs)), frames_wanted)


def _numbered(files: sequence.FrameFiles) -> list[Item]:
    named = all(file.number is not None for file in files)
    return [
        Item(file.number or 0 if named else place, file.path) for place, file in enumerate(files, start=1)
    ]


def _choose(items: list[Item], frames_wanted: str | None) -> list[Item]:
    if frames_wanted is None:
        return items
    if "-" in frames_wanted:
        wanted = frames.parse(frames_wanted, len(items))
        chosen = [item for item in items if item.number in wanted]
    else:
        chosen = items[: len(frames.parse(frames_wanted, len(items)))]
    if not chosen:
        numbers = f"{items[0].number}-{items[-1].number}"
        raise InputError(
            "--frames", f"no input lies in {frames_wanted}", f"the inputs are numbered {numbers}"
        )
    return chosen


def upsample_file(item: Item, root: Path, settings: Settings) -> dict[str, Any]:
    """Raise one file and write its results under their final names; returns its record."""
    import time

    started = time.perf_counter()
    upscaler = _upscaler(settings.model, settings.device, settings.tile, settings.max_memory)
    frame = volumes.read(
        item.source, density_grid=settings.density_grid, velocity_grid=settings.velocity_grid
    )
    if settings.frame_rate is not None:
        frame = frame.replace(dt=1.0 / settings.frame_rate)
    if frame.velocity is None and settings.zero_velocity:
        import numpy as np

        frame = frame.replace(velocity=np.zeros((frame.dim, *frame.shape), np.float32))
    elif frame.velocity is None and upscaler.reads_velocity:
        raise InputError(
            str(item.source),
            "has no velocity, which the generator needs to place its detail",
            "name the grid with --velocity-grid, or accept duller smoke with --zero-velocity",
        )
    fine = upscaler.upsample(frame, velocity_scale=settings.velocity_scale).numpy()
    for target in item.targets(root, settings.formats):
        volumes.write(target, fine, precision=settings.precision, naming=settings.naming)
    return {
        "source": str(item.source),
        "time": frame.time,
        "shape": list(fine.shape),
        "cell_size": fine.cell_size,
        "seconds": time.perf_counter() - started,
        "notes": list(upscaler.statistics.notes),
    }


def _results(
    items: list[Item], root: Path, settings: Settings, scheduler: str | None
) -> Iterator[tuple[Item, dict[str, Any]]]:
    if scheduler is None:
        for item in items:
            yield item, upsample_file(item, root, settings)
        return
    from fluidsr.pipeline.cluster import connect

    with connect(scheduler) as client:
        absolute = [Item(item.number, item.source.resolve()) for item in items]
        futures = client.map(upsample_file, absolute, root=root, settings=settings, pure=False)
        for item, future in zip(items, futures, strict=True):
            yield item, future.result()


_loaded: dict[tuple[Any, ...], Any] = {}


def _upscaler(model: str, device: str, tile: int | str, max_memory: int | None) -> Any:
    """The generator, loaded once per process."""
    from fluidsr import upscaling

    key = (model, device, tile, max_memory)
    if key not in _loaded:
        _loaded.clear()
        _loaded[key] = upscaling.load(model, device=device, tile=tile, max_memory=max_memory)
    return _loaded[key]
