"""`fluidsr upsample`: upsamples a cache of volumes with one generator, or with several in successive passes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluidsr import device as devices
from fluidsr import memory
from fluidsr.errors import InputError
from fluidsr.frame import CONFIDENCE
from fluidsr.pipeline import frame_reading, recurrent_order
from fluidsr.pipeline.frame_jobs import make_frames, offering_to_skip, record_frames, unless_damaged
from fluidsr.pipeline.frame_sequence import FrameRef, FrameSequence
from fluidsr.pipeline.progress import Progress
from fluidsr.pipeline.run_folder import RunFolder
from fluidsr.pipeline.series_files import write_series_files
from fluidsr.pipeline.shaping import Shaping
from fluidsr.pipeline.upsample_frame import input_bytes, upsample_file
from fluidsr.pipeline.upsample_io import margin, read_frame, velocity_or_zero
from fluidsr.pipeline.upsample_settings import UpsampleSettings
from fluidsr.pipeline.upsample_windows import sparse_windows
from fluidsr.volumes import sequence

if TYPE_CHECKING:
    from fluidsr.upscaling import LastFrameStore


@dataclass(frozen=True)
class _Job:
    """A frame to upsample, and the earlier frames that serve as its history."""

    item: FrameRef
    earlier: tuple[FrameRef, ...]

    @property
    def number(self) -> int:
        return self.item.number

    @property
    def name(self) -> str:
        return self.item.name

    @property
    def source(self) -> Path:
        return self.item.source

    def absolute(self) -> _Job:
        return _Job(self.item.absolute(), tuple(frame.absolute() for frame in self.earlier))


def upsample(
    inputs: Sequence[str],
    output: Path | None,
    settings: UpsampleSettings,
    *,
    frames_wanted: str | None = None,
    scheduler: str | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> Path:
    """Upsample the frames of a cache of volumes. Returns the folder of the results.

    Frames are independent, so every way to distribute them (`frames_wanted`, `scheduler`) gives the same bytes. Only a
    model that reads its own last fine frame needs all frames in order, from the first one on.

    Args:
        inputs: files, folders or patterns.
        output: the folder; `runs/NAME_fine` by default.
        settings: options of the upsampling.
        frames_wanted: which frames, as text (see `frame_numbers`); None: all.
        scheduler: address of a dask scheduler whose workers upsample the frames; None: this process does.
        overwrite: replace an earlier run in the folder.
        quiet: show no progress.

    On return the frames are in `output/frames/`. For the format `vti`, `output/NAME.pvd` lists them with their times;
    for `vdb`, the USD layer `output/NAME.usda` does. Raises InputError for inputs that do not exist or do not fit the
    model.
    """
    settings = _resolved(settings)
    cards = _cards(settings)
    cache = FrameSequence.of(inputs, frames_wanted, skip_damaged=settings.skip_damaged)
    recurrent_order.check_order(cards[0], cache, scheduler)
    everything, items = cache.all_frames, cache.items
    root = output or Path("runs") / f"{sequence.series_name(items[0].source)}_fine"
    folder = RunFolder.open(
        root,
        "upsample",
        _configuration(settings, cache, cards),
        overwrite=overwrite,
        notes={"frames": frames_wanted or "all"},
        frames=[item.number for item in items],
        needed=("time",),
    )
    todo = [
        item
        for item in items
        # A frame written in windows has only a .vdb; other files are checked by their names in the log.
        if not folder.is_complete(item.number, item.targets(root, settings.formats or ("vdb",)))
    ]
    with folder, Progress(len(items), stage="upsample", quiet=quiet, done=len(items) - len(todo)) as progress:
        for note in (*folder.notes, *cache.notes()):
            progress.note(note)

        def files(job: _Job, record: dict[str, Any]) -> Sequence[Path]:
            return job.item.targets(root, record.get("formats", settings.written))

        if cards[0].reads_previous:
            jobs = _with_earlier(items, everything, cards[0].past)
            made = _in_order(jobs, [item in todo for item in items], root.resolve(), settings, progress.note)
            with offering_to_skip(folder, settings.skip_damaged):
                record_frames(made, len(todo), folder, progress, files)
        else:
            make_frames(
                partial(_upsample_job, root=root.resolve(), settings=_anywhere(settings)),
                _with_earlier(todo, everything, cards[0].past),
                folder,
                progress,
                files=files,
                scheduler=scheduler,
                skip_damaged=settings.skip_damaged,
            )
    folder.refresh()
    write_series_files(root, everything, folder.complete, settings.written)
    return root


def _configuration(settings: UpsampleSettings, cache: FrameSequence, cards: Sequence[Any]) -> dict[str, Any]:
    """Everything that the results depend on; a run is resumed only if it is the same."""
    return {
        **asdict(replace(settings, shaping=Shaping(), formats=settings.written)),
        "shaping": settings.shaping.identity(),
        "inputs": cache.sources,
        "models_sha256": [card.sha256 for card in cards],
    }


def describe(
    inputs: Sequence[str], settings: UpsampleSettings, *, frames_wanted: str | None = None
) -> dict[str, Any]:
    """The run that `upsample` would make, and the cost of a frame of the first frame's size that is full of smoke.

    Reads the first frame, writes nothing. Raises as `upsample` does.
    """
    settings = _resolved(settings)
    cards = _cards(settings)
    cache = FrameSequence.of(inputs, frames_wanted, skip_damaged=settings.skip_damaged)
    recurrent_order.check_order(cards[0], cache)
    upscalers = [settings.tiling.load(model, settings.device) for model in settings.models]
    card = upscalers[0].card
    with sparse_windows(cache.items[0], settings, upscalers[0]) as source:
        if source is None:
            taken = read_frame(cache.items[0], settings)
            frame = frame_reading.in_its_place(taken, cache.items[0], settings.intake, margin(card), card.dim)
            velocity_or_zero(
                frame, cache.items[0], settings, any(upscaler.reads_velocity for upscaler in upscalers)
            )
            shape = coarse = frame.shape
        else:
            shape = coarse = source.place.shape
            windows = len(source.blocks(frame_reading.BLOCK, card.support_radius or 0))
    passes = []
    for upscaler in upscalers:
        if source is None:
            cost, input_size = upscaler.cost(shape), input_bytes(frame, shape)
        else:  # the frame is upsampled window by window, each with its halo
            edge = frame_reading.BLOCK + 2 * upscaler.halo
            cost, input_size = upscaler.cost((edge,) * 3), 4 * source.components * edge**3
            fine_shape = upscaler.fine_shape(shape)
            cost = replace(cost, multiply_adds=windows * cost.multiply_adds, fine_shape=fine_shape)
        passes.append(
            {
                "model": upscaler.card.name,
                "fine_shape": list(cost.fine_shape),
                "multiply_adds_at_most": int(cost.multiply_adds),
                "memory_bytes": {"input": input_size, "generator": cost.memory},
            }
        )
        shape = cost.fine_shape
    free = memory.free(settings.device)
    return {
        "frames": len(cache.items),
        "device": settings.device,
        "detail": settings.shaping.detail.scale,
        "velocity_scale": settings.shaping.velocity_scale.scale,
        **settings.shaping.style.identity(),
        "coarse_shape": list(coarse),
        "factor": math.prod(upscaler.factor for upscaler in upscalers),
        "passes": passes,
        "memory_free_bytes": None if free is None else free.size,
    }


def _resolved(settings: UpsampleSettings) -> UpsampleSettings:
    """The same settings with `auto` device and precision resolved, and the style resolved for the models."""
    device = devices.resolve(settings.device)
    return replace(
        settings,
        device=device,
        tiling=settings.tiling.on(device),
        shaping=settings.shaping.for_models(settings.models),
    )


def _cards(settings: UpsampleSettings) -> list[Any]:
    """The card of each pass. Raises InputError for models that do not fit each other, the fields or the controls."""
    from fluidsr import models

    cards = [models.read_card(model) for model in settings.models]
    for card in cards[1:]:
        if card.dim != cards[0].dim:
            problem = f"'{cards[0].name}' is {cards[0].dim}-D and '{card.name}' {card.dim}-D"
            raise InputError("model", problem, "give models of the same dimension")
    recurrent_order.check_passes(cards)
    if CONFIDENCE in settings.fields:
        cards[-1].require_mask("fields")
    settings.shaping.check(cards[0].dim)
    return cards


def _anywhere(settings: UpsampleSettings) -> UpsampleSettings:
    """The same settings for processes with another working directory."""
    from fluidsr import models

    return replace(settings, models=tuple(models.portable_name(model) for model in settings.models))


def _upsample_job(job: _Job, root: Path, settings: UpsampleSettings) -> dict[str, Any]:
    return upsample_file(job.item, job.earlier, root, settings)


def _with_earlier(todo: Sequence[FrameRef], all_frames: Sequence[FrameRef], count: int) -> list[_Job]:
    """A job for each frame in `todo`, with up to `count` frames that precede it in the sequence."""
    places = {item: place for place, item in enumerate(all_frames)}
    return [_Job(item, tuple(all_frames[max(0, places[item] - count) : places[item]])) for item in todo]


def _in_order(
    jobs: Sequence[_Job],
    wanted: Sequence[bool],
    root: Path,
    settings: UpsampleSettings,
    note: Callable[[str], None],
) -> Iterator[tuple[_Job, dict[str, Any] | InputError]]:
    """The records of the `wanted` jobs, for a model that reads its own last fine frame."""

    def make(job: _Job, last: LastFrameStore, write: bool) -> dict[str, Any] | InputError:
        work = partial(upsample_file, root=root, settings=settings, last=last, write=write)
        return unless_damaged(lambda todo: work(todo.item, todo.earlier), settings.skip_damaged, job)

    yield from recurrent_order.in_order(jobs, wanted, make, root, note)
