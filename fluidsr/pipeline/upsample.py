"""`fluidsr upsample`: any cache of volumes through a generator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from fluidsr import device as devices
from fluidsr import volumes
from fluidsr.errors import InputError
from fluidsr.pipeline import frame_sequence
from fluidsr.pipeline.frame_sequence import Cache, Intake, Item
from fluidsr.pipeline.frame_writer import FrameWriter as FrameFiles
from fluidsr.pipeline.inference_settings import InferenceSettings as Tiling
from fluidsr.pipeline.progress import Progress
from fluidsr.pipeline.run_folder import RunFolder
from fluidsr.pipeline.velocity_scale import VelocityScaleField as Shaping
from fluidsr.volumes import sequence
from fluidsr.volumes.places import Place

_MOST_MARGIN = 4  # coarse cells


@dataclass(frozen=True)
class Settings:
    """What is done to every frame; plain values, so that it travels to any worker."""

    model: str
    device: str = "auto"
    shaping: Shaping = field(default_factory=Shaping)
    tiling: Tiling = field(default_factory=Tiling)
    passes: int = 1
    intake: Intake = field(default_factory=Intake)
    zero_velocity: bool = False
    formats: tuple[str, ...] = ("vdb", "vti")
    precision: str = "half"  # of the files; `tiling` has that of the generator
    naming: str = "houdini"
    threshold: float = 0.0


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
    card = models.read_card(settings.model)
    settings.shaping.check(card.dim)
    cache = Cache.of(inputs, frames_wanted)
    everything, items = cache.everything, cache.items
    root = output or Path("runs") / f"{sequence.series_name(items[0].source)}_fine"
    sources = list(dict.fromkeys(str(item.source.resolve()) for item in everything))
    configuration = {
        **asdict(replace(settings, shaping=Shaping())),
        "shaping": settings.shaping.identity(),
        "inputs": sources,
        "model_sha256": card.sha256,
    }
    folder = RunFolder.open(
        root,
        "upsample",
        configuration,
        overwrite=overwrite,
        notes={"frames": frames_wanted or "all"},
        frames=[item.number for item in items],
        needed=("time",),
    )
    todo = [
        item for item in items if not folder.is_complete(item.number, item.targets(root, settings.formats))
    ]
    with folder, Progress(len(items), quiet=quiet, done=len(items) - len(todo)) as progress:
        notes: set[str] = set()
        for note in (*folder.notes, *cache.notes()):
            progress.note(note)
        for item, record in _results(todo, root.resolve(), settings, scheduler):
            for note in record.pop("notes"):
                if note not in notes:
                    notes.add(note)
                    progress.note(f"{item.source}: {note}")
            folder.record(item.number, record, item.targets(root, settings.formats))
            progress.advance(item.name)
    folder.refresh()
    if "vti" in settings.formats:
        entries = [
            (float(folder.complete[item.number]["time"]), file)
            for item in everything
            if item.number in folder.complete and (file := item.targets(root, ["vti"])[0]).exists()
        ]
        volumes.write_pvd(root / f"{root.name}.pvd", entries)
    return root


def upsample_file(item: Item, root: Path, settings: Settings) -> dict[str, Any]:
    """Raise one file and write its results under their final names; returns its record."""
    import time

    started = time.perf_counter()
    upscaler = _upscaler(settings)
    frame, notes = frame_sequence.read(item, settings.intake, ["density", "velocity"], _margin(upscaler.card))
    if frame.velocity is None and settings.zero_velocity:
        import numpy as np

        frame = frame.replace(velocity=np.zeros((frame.dim, *frame.shape), np.float32))
    elif frame.velocity is None and upscaler.reads_velocity:
        raise InputError(
            str(item.source),
            "has no velocity: without it the detail does not move with the smoke, and flickers",
            "name its grid with --velocity-grid, or accept that with --zero-velocity",
        )
    for done in range(settings.passes):
        # A second pass draws its detail along the same flow on finer cells. Those are crossed `factor` times as
        # fast, beyond all training, and would come out with ripples: it sees the speed that the first one saw.
        slower = upscaler.factor**done if upscaler.reads_velocity else 1
        scale = settings.shaping.of(frame, item.number) / slower
        if done < settings.passes - 1:
            frame = upscaler.upsample(frame, velocity_scale=scale, fields=list(frame.fields()))
    place = Place(upscaler.fine_shape(frame.shape), frame.cell_size / upscaler.factor, frame.origin)
    files = FrameFiles(
        item.targets(root, settings.formats),
        place,
        time=frame.time,
        dt=frame.dt,
        fields=["density"],
        precision=settings.precision,
        naming=settings.naming,
        threshold=settings.threshold,
    )
    try:
        for name, box, values in upscaler.pieces(frame, velocity_scale=scale):
            files.put(name, box.lo, values)
        for written in files.close():
            written.result()
    except BaseException as error:
        files.abandon()
        if isinstance(error, InputError) and error.where in frame.fields():
            raise InputError(f"{item.source}: {error.where}", error.what, error.remedy) from None
        raise
    return {
        "source": str(item.source),
        "time": frame.time,
        "shape": list(place.shape),
        "cell_size": place.cell_size,
        "seconds": time.perf_counter() - started,
        "notes": [*notes, *upscaler.statistics.notes],
    }


def _margin(card: Any) -> int:
    """Coarse cells beyond the smoke that the generator may put smoke into."""
    return min(card.support_radius or _MOST_MARGIN, _MOST_MARGIN)


def _results(
    items: Sequence[Item], root: Path, settings: Settings, scheduler: str | None
) -> Iterator[tuple[Item, dict[str, Any]]]:
    if scheduler is None:
        for item in items:
            yield item, upsample_file(item, root, settings)
        return
    from fluidsr.pipeline.cluster import connect

    with connect(scheduler) as client:
        absolute = [replace(item, source=item.source.resolve()) for item in items]
        futures = client.map(upsample_file, absolute, root=root, settings=settings, pure=False)
        for item, future in zip(items, futures, strict=True):
            yield item, future.result()


_loaded: dict[tuple[Any, ...], Any] = {}


def _upscaler(settings: Settings) -> Any:
    """The generator, loaded once per process."""
    key = (settings.model, settings.device, settings.tiling)
    if key not in _loaded:
        _loaded.clear()
        _loaded[key] = settings.tiling.load(settings.model, settings.device)
    return _loaded[key]
