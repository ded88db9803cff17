"""`fluidsr upsample`: any cache of volumes through a generator, or several one after the other."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fluidsr import device as devices
from fluidsr import memory, volumes
from fluidsr.errors import InputError
from fluidsr.frame import CONFIDENCE, Frame
from fluidsr.frame_grid import FrameGrid
from fluidsr.pipeline import frame_sequence, memory_need, recurrent_order, usd
from fluidsr.pipeline.frame_jobs import make_frames, offering_to_skip, record_frames, unless_damaged
from fluidsr.pipeline.frame_sequence import FrameRef, FrameSequence, ReadOptions, naming
from fluidsr.pipeline.frame_writer import FrameWriter
from fluidsr.pipeline.inference_settings import InferenceSettings
from fluidsr.pipeline.progress import Progress
from fluidsr.pipeline.run_folder import RunFolder
from fluidsr.pipeline.series_files import write_series_files
from fluidsr.pipeline.shaping import Shaping
from fluidsr.volumes import sequence
from fluidsr.volumes.staggered import FACES

if TYPE_CHECKING:
    from fluidsr.upscaling import LastFrameStore
    from fluidsr.volumes import vdb

_BLOCK = 64  # coarse cells along the edge of what is upsampled at once of a frame that is mostly empty
_MOST_MARGIN = 4  # coarse cells
MOST_PASSES = 3


@dataclass(frozen=True)
class UpsampleSettings:
    """What is done to every frame; plain values, so that it travels to any worker. `models`: that of each pass."""

    models: tuple[str, ...]
    device: str = "auto"
    shaping: Shaping = field(default_factory=Shaping)
    tiling: InferenceSettings = field(default_factory=InferenceSettings)
    intake: ReadOptions = field(default_factory=ReadOptions)
    zero_velocity: bool = False
    formats: tuple[str, ...] = ()  # none: vdb, and vti but of a frame that is too large and empty for it
    fields: tuple[str, ...] = ()  # with the density; none: all that a frame has
    precision: str | None = (
        None  # of the files, None: as a VDB's own, else half; `tiling` has the generator's
    )
    naming: str | None = None  # None: as in a VDB's own, else houdini
    threshold: float = 0.0
    skip_damaged: bool = False

    @property
    def written(self) -> tuple[str, ...]:
        """The formats of the files, but for those that a frame may lack."""
        return self.formats or ("vdb", "vti")


@dataclass(frozen=True)
class _Job:
    """A frame, and those before it."""

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
        return _Job(self.item.absolute(), tuple(each.absolute() for each in self.earlier))


def models_of(model: str | Sequence[str], passes: int = 1) -> tuple[str, ...]:
    """The model of each pass: several, or one for so many `passes`. Raises InputError for both, and for too many."""
    several = (model,) if isinstance(model, str) else tuple(model)
    if passes > 1 and len(several) > 1:
        raise InputError(
            "passes", "several models are given, one for each pass", "leave it out, or give one `model`"
        )
    if not 1 <= len(several) * passes <= MOST_PASSES:
        raise InputError("model", f"makes {len(several) * passes} passes", f"give 1 to {MOST_PASSES}")
    return several * passes


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
    """Upsample every frame of `inputs` into `output/frames/`, here or on a dask cluster. Returns the folder.

    Frames are independent: any split of them, by `frames_wanted` or by `scheduler`, leaves the same bytes. Those of a
    model that reads its own last fine frame are not: they are made in order, from the first one on.
    With `vti` a series `output/NAME.pvd` names them with their times, with `vdb` a USD layer `output/NAME.usda`.
    Raises InputError for inputs that are not there or do not fit the model.
    """
    settings = _resolved(settings)
    cards = _cards(settings)
    cache = FrameSequence.of(inputs, frames_wanted, skip_damaged=settings.skip_damaged)
    recurrent_order.check_order(cards[0], cache, scheduler)
    everything, items = cache.all_frames, cache.items
    root = output or Path("runs") / f"{sequence.series_name(items[0].source)}_fine"
    configuration = {
        **asdict(replace(settings, shaping=Shaping(), formats=settings.written)),
        "shaping": settings.shaping.identity(),
        "inputs": cache.sources,
        "models_sha256": [card.sha256 for card in cards],
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
        item
        for item in items
        # The log names the other files.
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


def upsample_file(
    item: FrameRef,
    earlier: Sequence[FrameRef],
    root: Path,
    settings: UpsampleSettings,
    last: LastFrameStore | None = None,
    write: bool = True,
) -> dict[str, Any]:
    """Upsample one file, which comes after the `earlier` ones, and write its results under their final names; returns
    its record. `last` has the fine frame before it, for a model that reads that, and is given its own; without `write`
    that is all."""
    import time

    from fluidsr.upscaling.companions import described, way_of

    started = time.perf_counter()
    upscalers = [settings.tiling.load(model, settings.device) for model in settings.models]
    first, upscaler = upscalers[0], upscalers[-1]
    by_windows = _by_windows(item, root, settings, first)
    if by_windows is not None:
        return {**by_windows, "seconds": time.perf_counter() - started}
    taken = _taken(item, settings)
    frame = frame_sequence.in_its_place(taken, item, settings.intake, _margin(first.card), first.card.dim)
    frame = _with_velocity(frame, item, settings, any(each.reads_velocity for each in upscalers))
    history = _history(frame, earlier, settings, _margin(first.card))
    _check_memory(item, frame, upscalers, settings.device)
    finer = 1
    for each in upscalers[:-1]:
        shaping = _shaping(settings, each, frame, item.number, finer)
        frame = each.upsample(frame, **shaping, fields=list(frame.fields()), history=history)
        history = []  # on coarser cells
        finer *= each.factor
    shaping = _shaping(settings, upscaler, frame, item.number, finer)
    wanted = ("density", *settings.fields) if settings.fields else tuple(taken.frame.fields())
    fields = [name for name in frame.fields() if _is_wanted(name, wanted)]
    others = {name: frame.fields()[name] for name in fields if name != "density"}
    fields += [CONFIDENCE] if CONFIDENCE in settings.fields else []
    notes = [*taken.notes, *_assumptions(taken, frame, settings, upscalers)]
    pieces = partial(upscaler.pieces, frame, **shaping, history=history)
    if last is not None:
        previous = last.before(frame, upscaler.factor)
        if previous is None and not last.is_empty:
            notes.append("does not follow the frame before it: its detail begins anew")
        pieces = partial(last.keeping, frame, upscaler.factor, partial(pieces, previous=previous))
    if not write:
        deque(pieces(fields=["density"]), maxlen=0)
        return {}
    told = described({name: way_of(name, values) for name, values in others.items()})
    place = FrameGrid(upscaler.fine_shape(frame.shape), frame.cell_size / upscaler.factor, frame.origin)
    files, record = _opened(item, root, settings, taken, frame, place, fields, settings.written)
    with naming(item.source, frame.fields()), files:
        for name, box, values in pieces(fields=fields):
            files.put(name, box.lo, values)
    notes += [*upscaler.statistics.notes, *([told] if told else [])]
    return {**record, "seconds": time.perf_counter() - started, "notes": notes}


def _opened(
    item: FrameRef,
    root: Path,
    settings: UpsampleSettings,
    taken: volumes.Taken,
    frame: Frame,
    place: FrameGrid,
    fields: Sequence[str],
    formats: Sequence[str],
) -> tuple[FrameWriter, dict[str, Any]]:
    """The files of the fine frame of `frame`, which is at `place` and was `taken` from a file, and its record but for
    seconds and notes."""
    style, how = frame_sequence.style_of(taken, settings.intake, settings.precision, settings.naming)
    up = settings.intake.up(taken)
    record = {
        "source": str(item.source),
        "time": frame.time,
        "shape": list(place.shape),
        "cell_size": place.cell_size,
        "up": up,
        "grids": usd.grids_of(fields, style, how["naming"]),
    }
    files = FrameWriter(
        item.targets(root, formats),
        place,
        time=frame.time,
        dt=frame.dt,
        fields=fields,
        vectors=frame.vectors,
        threshold=settings.threshold,
        style=style,
        up=up,
        **how,
    )
    return files, record


def _assumptions(
    taken: volumes.Taken, frame: Frame, settings: UpsampleSettings, upscalers: Sequence[Any]
) -> Iterator[str]:
    """Sentences for the user about what was assumed of the frame that was `taken` and is upsampled as `frame`."""
    if taken.frame.dim < frame.dim:
        name = upscalers[0].card.name
        yield f"is a 2-D frame, of which the 3-D model '{name}' makes several layers (for 2-D: --model smoke2d-x4)"
    if any(each.reads_velocity for each in upscalers):
        yield from frame_sequence.assumed_rate(taken, settings.intake)


def _with_velocity(frame: Frame, item: FrameRef, settings: UpsampleSettings, needed: bool) -> Frame:
    """The frame, with a velocity of zero where it has none and may do without. Raises InputError where it may not."""
    still = not bool(np.asarray(frame.density).any())  # before the smoke there need be no velocity
    if frame.velocity is None and (settings.zero_velocity or still):
        return frame.replace(velocity=np.zeros((frame.dim, *frame.shape), np.float32))
    if frame.velocity is None and needed:
        vectors = ", ".join(map(repr, frame.vectors))
        named = (
            f"name its grid with `velocity_grid` ({vectors})"
            if vectors
            else "name its grid with `velocity_grid`"
        )
        raise InputError(
            str(item.source),
            "has no velocity: without it the detail does not move with the smoke, and flickers",
            f"{named}, or accept that with `zero_velocity`",
        )
    return frame


def describe(
    inputs: Sequence[str], settings: UpsampleSettings, *, frames_wanted: str | None = None
) -> dict[str, Any]:
    """What would be done, and the cost of a frame that is full of smoke, by the first one; computes and writes nothing.
    Raises as `upsample` does."""
    settings = _resolved(settings)
    cards = _cards(settings)
    cache = FrameSequence.of(inputs, frames_wanted, skip_damaged=settings.skip_damaged)
    recurrent_order.check_order(cards[0], cache)
    upscalers = [settings.tiling.load(model, settings.device) for model in settings.models]
    card = upscalers[0].card
    with _sparse(cache.items[0], settings, upscalers[0]) as source:
        if source is None:
            taken = _taken(cache.items[0], settings)
            frame = frame_sequence.in_its_place(
                taken, cache.items[0], settings.intake, _margin(card), card.dim
            )
            _with_velocity(frame, cache.items[0], settings, any(each.reads_velocity for each in upscalers))
            shape = coarse = frame.shape
        else:
            shape = coarse = source.place.shape
            windows = len(source.blocks(_BLOCK, card.support_radius or 0))
    passes = []
    for upscaler in upscalers:
        if source is None:
            cost, held = upscaler.cost(shape), _bytes(frame, shape)
        else:  # window by window, each with its halo
            edge = _BLOCK + 2 * upscaler.halo
            cost, held = upscaler.cost((edge,) * 3), 4 * source.components * edge**3
            fine_shape = upscaler.fine_shape(shape)
            cost = replace(cost, multiply_adds=windows * cost.multiply_adds, fine_shape=fine_shape)
        passes.append(
            {
                "model": upscaler.card.name,
                "fine_shape": list(cost.fine_shape),
                "multiply_adds_at_most": int(cost.multiply_adds),
                "memory_bytes": {"input": held, "generator": cost.memory},
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
    """With the device and the precision that `auto` is here, and the numbers of the style."""
    device = devices.resolve(settings.device)
    return replace(
        settings,
        device=device,
        tiling=settings.tiling.on(device),
        shaping=settings.shaping.for_models(settings.models),
    )


def _cards(settings: UpsampleSettings) -> list[Any]:
    """The card of each pass. Raises InputError where models, or what else is asked for, do not go together."""
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


def _shaping(
    settings: UpsampleSettings, upscaler: Any, frame: Frame, number: int, finer: int
) -> dict[str, Any]:
    """What a pass is told of detail, velocity and style; its cells are `finer` times smaller than those of the first.

    A second pass draws its detail along the same flow on finer cells. Those are crossed that many times as fast, beyond
    all training, and would come out with ripples: it is shown the speed that the first one was shown.
    """
    shaping = settings.shaping.of(frame, number, upscaler.card)
    if upscaler.reads_velocity:
        shaping["velocity_scale"] /= finer
    return shaping


def _bytes(frame: Frame, shape: Sequence[int]) -> int:
    """Of the fields of `frame` on a grid of `shape`."""
    numbers = sum(math.prod(values.shape[: -frame.dim]) for values in frame.fields().values())
    return 4 * numbers * math.prod(shape)


def _check_memory(item: FrameRef, frame: Frame, upscalers: Sequence[Any], device: str) -> None:
    """Raise InputError where the input of a pass, which is whole in memory, is larger than what is free."""
    free = memory.free(device)
    for number, finer in enumerate(np.cumprod([each.factor for each in upscalers[:-1]]), start=2):
        needed = _bytes(frame, [n * int(finer) for n in frame.shape])
        if free is not None and needed > free.size:
            size, have = map(memory_need.gigabytes, (needed, free.size))
            problem = f"pass {number} would hold {size} as its input, and {have} are free {free.bound}"
            raise InputError(str(item.source), problem, "leave that pass out, or give `crop`")


@contextmanager
def _sparse(item: FrameRef, settings: UpsampleSettings, upscaler: Any) -> Iterator[vdb.Windows | None]:
    """A VDB whose box is large and mostly empty, to be upsampled window by window; None for any other frame."""
    support = upscaler.card.support_radius
    if len(settings.models) > 1 or upscaler.reads_previous or support is None or upscaler.card.dim != 3:
        yield None
        return
    named = [name for name in settings.fields if name != CONFIDENCE]
    asked = [("density", "velocity", *named), ("density", *named)] if settings.fields else [None]
    with frame_sequence.windows(item, settings.intake, asked, _margin(upscaler.card)) as source:
        yield source if source is not None and frame_sequence.is_sparse(source, _BLOCK, support) else None


def _by_windows(
    item: FrameRef, root: Path, settings: UpsampleSettings, upscaler: Any
) -> dict[str, Any] | None:
    """The record of a frame that is upsampled window by window: a VDB whose box is large and mostly empty; None for any
    other frame. The result is that of the whole frame without history, up to rounding and to what the generator makes
    of the border of its box."""
    from fluidsr.upscaling.companions import Whole, described, way_of

    with _sparse(item, settings, upscaler) as source:
        if source is None:
            return None
        if set(settings.formats or ("vdb",)) != {"vdb"}:
            what = f"its box of {source.place.shape} cells is mostly empty, and too large for other formats than vdb"
            raise InputError(str(item.source), what, "give `formats` vdb, or `crop`")
        blocks = source.blocks(_BLOCK, upscaler.card.support_radius)
        first = frame_sequence.timed(source.take(*blocks[0]), item, settings.intake)
        fields = list(first.frame.fields())
        if "velocity" not in fields and not settings.zero_velocity and upscaler.reads_velocity:
            return None  # which says so
        wanted = ("density", *settings.fields) if settings.fields else tuple(fields)
        fields = [name for name in fields if _is_wanted(name, wanted)]
        names = [name for name in fields if name != "density"]
        fields += [CONFIDENCE] if CONFIDENCE in settings.fields else []
        ways = {name: way_of(name, np.full(1, 0 if source.is_whole(name) else 0.5)) for name in names}
        whole = Whole(ways, source.ranges())
        begin, coarse = frame_sequence.in_its_place(first, item, settings.intake), source.place
        place = FrameGrid(
            upscaler.fine_shape(coarse.shape), coarse.cell_size / upscaler.factor, coarse.origin
        )
        files, record = _opened(item, root, settings, first, begin, place, fields, ("vdb",))
        notes = [*first.notes, *_assumptions(first, first.frame, settings, [upscaler])]
        if not settings.formats:
            notes.append("its box is large and mostly empty: it is written as vdb alone")
        with naming(item.source, fields), files:
            for low, high in blocks:
                for block in _window(source, low, high, item, settings, upscaler, fields, whole):
                    files.put(*block)
                notes += [*upscaler.statistics.notes]
        told = described(ways)
        return {
            **record,
            "formats": ["vdb"],
            "notes": list(dict.fromkeys([*notes, *([told] if told else [])])),
        }


def _window(
    source: Any,
    low: tuple[int, ...],
    high: tuple[int, ...],
    item: FrameRef,
    settings: UpsampleSettings,
    upscaler: Any,
    fields: Sequence[str],
    whole: Any,
) -> Iterator[tuple[str, tuple[int, ...], Any]]:
    """The fine blocks of the coarse cells from `low` to `high`, made from these and a halo around them: field, first
    voxel, values."""
    from fluidsr.upscaling import Box

    halo, factor = upscaler.halo, upscaler.factor
    a = tuple(max(n - halo, 0) for n in low)
    b = tuple(min(n + halo, most) for n, most in zip(high, source.place.shape, strict=True))
    window = frame_sequence.in_its_place(source.take(a, b), item, settings.intake)
    if window.velocity is None:
        window = window.replace(velocity=np.zeros((3, *window.shape), np.float32))
    shaping = settings.shaping.of(window, item.number, upscaler.card)
    inner = Box(low, high).relative_to(Box(a, b)).scaled(factor)
    for name, box, values in upscaler.pieces(window, **shaping, fields=fields, whole=whole):
        both = box.within(inner)
        if both is not None:
            at = tuple(x + factor * n for x, n in zip(both.lo, a, strict=True))
            yield name, at, both.relative_to(box).of(values)


def _taken(item: FrameRef, settings: UpsampleSettings) -> volumes.Taken:
    """The frame with the fields that are wanted, and velocity where there is one."""
    if not settings.fields:
        return frame_sequence.take(item, settings.intake, None)[0]
    fields = [name for name in settings.fields if name not in ("velocity", CONFIDENCE)]
    with_velocity, without = frame_sequence.with_velocity_if_any(fields)
    if "velocity" in settings.fields:
        return frame_sequence.take(item, settings.intake, with_velocity)[0]
    return frame_sequence.take(item, settings.intake, with_velocity, without)[0]


def _anywhere(settings: UpsampleSettings) -> UpsampleSettings:
    """The same for processes that work in another folder."""
    from fluidsr import models

    return replace(settings, models=tuple(models.portable_name(model) for model in settings.models))


def _upsample_job(job: _Job, root: Path, settings: UpsampleSettings) -> dict[str, Any]:
    return upsample_file(job.item, job.earlier, root, settings)


def _with_earlier(todo: Sequence[FrameRef], all_frames: Sequence[FrameRef], count: int) -> list[_Job]:
    """Each frame with up to `count` frames of the sequence before it."""
    places = {item: place for place, item in enumerate(all_frames)}
    return [_Job(item, tuple(all_frames[max(0, places[item] - count) : places[item]])) for item in todo]


def _history(
    frame: Frame, earlier: Sequence[FrameRef], settings: UpsampleSettings, margin: int
) -> list[Frame]:
    """The frames before `frame`, the last one last, as far back as they can be read; still ones move nowhere."""
    from fluidsr.upscaling.network_input import check_finite

    global _recent
    frames: list[Frame] = []
    recent, kept = _recent, {}  # another thread may take its turn
    for item in reversed(earlier):
        try:
            key = (item, settings.intake, margin, item.source.stat().st_mtime_ns)
            past = recent.get(key)
            if past is None:
                taken = frame_sequence.take(item, settings.intake, ["density", "velocity"], ["density"])[0]
                past = frame_sequence.in_its_place(taken, item, settings.intake, margin, frame.dim)
                if past.velocity is None:
                    past = past.replace(velocity=np.zeros((past.dim, *past.shape), np.float32))
                check_finite(past.torch())
        except (OSError, InputError):
            break  # its own turn comes, and says what is wrong
        kept[key] = past
        frames.insert(0, past)
    _recent = kept
    return frames


def _is_wanted(name: str, wanted: Sequence[str]) -> bool:
    """Whether the field is asked for; a velocity on faces where velocity is."""
    return name in wanted or (name == FACES and "velocity" in wanted)


def _margin(card: Any) -> int:
    """Coarse cells beyond the smoke that the generator may put smoke into."""
    return min(card.support_radius or _MOST_MARGIN, _MOST_MARGIN)


def _in_order(
    jobs: Sequence[_Job],
    wanted: Sequence[bool],
    root: Path,
    settings: UpsampleSettings,
    note: Callable[[str], None],
) -> Iterator[tuple[_Job, dict[str, Any] | InputError]]:
    """The records of the `wanted` jobs of a model that reads its own last fine frame."""

    def make(job: _Job, last: LastFrameStore, write: bool) -> dict[str, Any] | InputError:
        work = partial(upsample_file, root=root, settings=settings, last=last, write=write)
        return unless_damaged(lambda each: work(each.item, each.earlier), settings.skip_damaged, job)

    yield from recurrent_order.in_order(jobs, wanted, make, root, note)


_recent: dict[tuple[Any, ...], Frame] = {}  # what was read as history last
