"""Sequences of volumes as the commands see them: which files and frames, how they are read, what is said about them."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, get_args

from fluidsr import volumes
from fluidsr.choices import Axes, Format
from fluidsr.errors import InputError, MissingFieldError
from fluidsr.frame import Frame
from fluidsr.frame_grid import FrameGrid, joined, padded, turned
from fluidsr.volumes import sequence
from fluidsr.volumes.grid_names import grid_name
from fluidsr.volumes.quantize import check_finite as check_values
from fluidsr.volumes.spacing import spacing_of, stated_spacing
from fluidsr.volumes.staggered import FACES
from fluidsr.volumes.units import check_rate

if TYPE_CHECKING:
    from fluidsr.volumes import vdb

Fields = TypeVar("Fields", bound="Sequence[str] | None")
Result = TypeVar("Result")
MOST_FRAMES = 999_999
_BEGIN = 3  # frames whose own times show how long one lasts
_MOST_SHOWN = 60  # characters of a text in a message


@dataclass(frozen=True)
class ReadOptions:
    """How the grids of a cache are understood; see `volumes.read`."""

    density_grid: str | None = None
    velocity_grid: str | None = None
    velocity_unit: str = "auto"
    frame_rate: float | None = None
    crop: str | None = None
    axes: str | None = None

    def __post_init__(self) -> None:
        box_of(self.crop)
        if self.frame_rate is not None:
            check_rate(self.frame_rate)
        if self.axes is not None and self.axes not in get_args(Axes):
            raise InputError("axes", f"'{self.axes}' is not known", f"give {' or '.join(get_args(Axes))}")

    def up(self, taken: volumes.Taken) -> str:
        """The axis that points up in what is made of a frame."""
        return taken.up if self.axes is None else self.axes[0]


def box_of(crop: str | None) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """The corners (m) that `crop` gives as `x0,y0,z0,x1,y1,z1`; None for `auto` and for none. Raises InputError for
    any other text."""
    if crop is None or crop == "auto":
        return None
    try:
        numbers = [float(word) for word in crop.split(",")]
    except ValueError:
        numbers = []
    half = len(numbers) // 2
    if len(numbers) not in (4, 6) or not all(a < b for a, b in zip(numbers, numbers[half:], strict=False)):
        what = f"'{crop}' is not a box"
        raise InputError("crop", what, "give auto, or the corners in meters: x0,y0,z0,x1,y1,z1")
    return tuple(numbers[:half]), tuple(numbers[half:])


@contextmanager
def naming(source: Path, fields: Collection[str] | None = None) -> Iterator[None]:
    """Let an InputError about one of `fields` (None: about anything) name the file of the frame, too."""
    try:
        yield
    except InputError as error:
        if fields is not None and error.where not in fields:
            raise
        raise type(error)(f"{source}: {error.where}", error.what, error.remedy) from None


@dataclass(frozen=True)
class FrameRef:
    """One frame of a cache: its number, its file (and the step in it), and its time (s) where the series tells.

    `number` is its own among those of the cache. `parts` are further files of the same frame. `spacing` (s) is what
    lies between the times of the series, where it is even, `stride` what lies between the numbers of frames that lie
    between whole ones. `begin`: the files of the first frames of the cache, whose own times tell the same.
    """

    number: int
    source: Path
    step: int = 0
    time: float | None = None
    one_of_many: bool = False
    frame_number: float | None = None
    parts: tuple[Path, ...] = ()
    spacing: float | None = None
    stride: float = 1.0
    begin: tuple[Path, ...] = ()

    @property
    def frame(self) -> float:
        """The number in the file's name, where frames lie between whole ones not a whole number."""
        return self.number if self.frame_number is None else self.frame_number

    @property
    def name(self) -> str:
        """What its results are called: as its file, or with its number where others would have the same name."""
        return f"{self.source.stem}_{self.number:04d}" if self.one_of_many else self.source.stem

    def targets(self, root: Path, formats: Sequence[str]) -> list[Path]:
        """The files that a run in `root` makes of it."""
        return [root / "frames" / f"{self.name}.{suffix}" for suffix in formats]

    def absolute(self) -> FrameRef:
        """The same with absolute paths, for processes that work in another folder."""
        parts = tuple(_resolved(file) for file in self.parts)
        begin = tuple(_resolved(file) for file in self.begin)
        return replace(self, source=_resolved(self.source), parts=parts, begin=begin)


@dataclass(frozen=True)
class FrameSequence:
    """A whole sequence, and those of its frames that are wanted; `damaged` are left out, each with the reason."""

    all_frames: tuple[FrameRef, ...]
    items: tuple[FrameRef, ...]
    gaps: tuple[int, ...]
    damaged: Mapping[FrameRef, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, inputs: Sequence[str], frames_wanted: str | None = None, *, skip_damaged: bool | None = None
    ) -> FrameSequence:
        """What `inputs` (files, folders, patterns, series) name; `frames_wanted` picks from it.

        A frame's number is the one in its file's name; where a name has none, or frames lie between whole ones, all
        are numbered by their places. No two have the same name for their results. Raises InputError where nothing is
        found, or nothing is left, and for files that are not there or without a byte, unless they are to be left out:
        `skip_damaged` (None: the caller knows no such option).
        """
        files = sequence.expand(inputs)
        named = all(file.number is not None for file in files)
        whole = named and not any(file.subframe for file in files)
        stems = Counter(file.path.stem for file in files)
        many = any(count > 1 for count in stems.values())
        spacing, stride = spacing_of([file.time for file in files]), _stride_of(files)
        begin = tuple(file.path for file in files.files[:_BEGIN]) if len(files) > 1 else ()
        all_frames = tuple(
            FrameRef(
                file.number or 0 if whole else place,
                file.path,
                file.step,
                file.time,
                many,
                (file.number or 0) + file.subframe if named else None,
                file.parts,
                spacing,
                stride,
                begin,
            )
            for place, file in enumerate(files, start=1)
        )
        items = choose(all_frames, frames_wanted)
        faults = {item: fault for item in items if (fault := _fault_of(item.source)) is not None}
        first = next(iter(faults), None)
        left = tuple(item for item in items if item not in faults)
        if first is not None and not left:
            others = ", like all others" if len(items) > 1 else ""
            raise InputError(
                str(first.source), f"{faults[first]}{others}", "check the path, or write it again"
            )
        if first is not None and not skip_damaged:
            what = f"{faults[first]}; {len(faults)} of {len(items)} frames cannot be used"
            option = "" if skip_damaged is None else ", or leave it out with `skip_damaged`"
            raise InputError(str(first.source), what, f"write it again{option}")
        return cls(all_frames, left, files.gaps, faults)

    def notes(self) -> Iterator[str]:
        """Sentences for the user about the sequence as a whole."""
        if self.gaps:
            yield f"{self.items[0].source.parent}: {self.missing()}"
        for item, fault in self.damaged.items():
            yield f"{item.source}: {fault}, and left out"

    def missing(self) -> str:
        """Which frames the sequence lacks: `frame 3 is missing`, `2 frames are missing, the first is 3`."""
        if len(self.gaps) == 1:
            return f"frame {self.gaps[0]} is missing"
        return f"{len(self.gaps)} frames are missing, the first is {self.gaps[0]}"

    @property
    def sources(self) -> list[str]:
        """All files, each once."""
        files = [file for item in self.all_frames for file in (item.source, *item.parts)]
        return list(dict.fromkeys(str(_resolved(file)) for file in files))

    @property
    def own_format(self) -> str:
        """The format of the files if it is one that can be written, else vdb."""
        suffix = self.items[0].source.suffix.lower().lstrip(".")
        return suffix if suffix in get_args(Format) else "vdb"


def _stride_of(files: sequence.FrameFiles) -> float:
    """What lies between the numbers of frames between whole ones, where that is even; else 1."""
    if not any(file.subframe for file in files) or any(file.number is None for file in files):
        return 1.0
    spacing = spacing_of([(file.number or 0) + file.subframe for file in files])
    return spacing if spacing is not None and spacing < 1.0 else 1.0


def with_velocity_if_any(fields: Sequence[str]) -> list[Sequence[str] | None]:
    """What to ask of a file for density and `fields`: with velocity, and, should it have none, without."""
    others = [name for name in fields if name not in ("density", "velocity")]
    return [["density", "velocity", *others], ["density", *others]]


def _resolved(path: Path) -> Path:
    """The absolute path without links; with them where they go in a circle, which is told when the file is read."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path.absolute()


def _fault_of(path: Path) -> str | None:
    """What makes a file useless, as seen without opening it: there is none behind the name, or no byte in it."""
    try:
        return "is empty (0 bytes)" if path.stat().st_size == 0 else None
    except (OSError, ValueError) as error:
        return f"cannot be read ({getattr(error, 'strerror', None) or error})"


def read(
    item: FrameRef,
    read_options: ReadOptions,
    fields: Sequence[str] | None = None,
    margin: int = 0,
    dim: int | None = None,
) -> tuple[Frame, tuple[str, ...]]:
    """The frame, its velocity in m/s, and sentences for the user. A frame without velocity is read, too.

    Where its file says nothing of time, it is that of its series, or its number times `dt`. A frame whose box
    is merely that of its active voxels gets `margin` empty cells around it: what is drawn beyond the edge of
    the smoke would otherwise be cut off. With `dim` 3 one layer of a 3-D file stays one.
    """
    taken, _ = take(item, read_options, fields, ("density",))
    frame = in_its_place(taken, item, read_options, margin, dim)
    present = frame.fields()
    return frame.with_fields({n: present[n] for n in present if n != FACES}), taken.notes


def in_its_place(
    taken: volumes.Taken, item: FrameRef, read_options: ReadOptions, margin: int = 0, dim: int | None = None
) -> Frame:
    """The frame that was taken, in m/s and with its time; the rest as of `read`."""
    if dim == 3:
        taken = taken.lifted()
    taken = timed(taken, item, read_options)
    frame = taken.in_metres_per_second(read_options.velocity_unit, read_options.frame_rate)
    if read_options.axes is not None and read_options.axes != f"{taken.up}-up":
        # Turned, a lower face may be an upper one: velocity goes on at the centres.
        fields = {name: values for name, values in frame.fields().items() if name != FACES}
        frame = turned(frame.with_fields(fields).numpy(), read_options.axes[0])
    if frame.time == 0.0 and not (item.time is None and _begins_at_zero(item)):
        frame = frame.replace(time=item.frame * frame.dt if item.time is None else item.time)
    if item.stride != 1.0 and not taken.has_rate:  # a rate is one of whole frames
        frame = frame.replace(dt=frame.dt * item.stride)
    return padded(frame, margin) if taken.tight and margin else frame


def timed(taken: volumes.Taken, item: FrameRef, read_options: ReadOptions) -> volumes.Taken:
    """The frame that was taken, with the time step that the times of its sequence give, and a sentence about it, where
    neither its file nor `read_options` state a rate."""
    if taken.has_rate or taken.frame_units is not None or read_options.frame_rate is not None:
        return taken
    spacing = stated_spacing(item.begin) if item.spacing is None else item.spacing
    if spacing is None:
        return taken
    note = f"states no frame rate: by the times of its frames it is {1.0 / spacing:g} per second"
    return replace(taken, frame=taken.frame.replace(dt=spacing), has_rate=True, notes=(*taken.notes, note))


def check_finite(item: FrameRef, frame: Frame) -> None:
    """Raise NotFiniteError, with the file and the field, for a frame that holds a NaN or an infinity."""
    for name, values in frame.fields().items():
        with naming(item.source):
            check_values(name, values, values)


def _begins_at_zero(item: FrameRef) -> bool:
    """Whether the first frame's time of 0 is what its file means: the second frame's file then names a later one."""
    if len(item.begin) < 2 or item.source != item.begin[0]:
        return False
    try:
        return (volumes.time_of(item.begin[1]) or 0.0) > 0.0
    except InputError:
        return False  # a damaged frame is reported when its turn comes


def assumed_rate(taken: volumes.Taken, read_options: ReadOptions) -> Iterator[str]:
    """A sentence for the user where the frame's motion rests on a frame rate that nobody has stated."""
    rate = taken.assumed_rate(read_options.velocity_unit, read_options.frame_rate)
    if rate is not None:
        yield f"states no frame rate: {rate:g} frames per second are assumed (--frame-rate sets it)"


def style_of(
    taken: volumes.Taken, read_options: ReadOptions, precision: str | None, naming: str | None
) -> tuple[volumes.Style | None, dict[str, str]]:
    """How a result is written: as its source was, where that is a VDB, unless `precision` or `naming` say otherwise."""
    style = taken.style
    of_source = "half"
    if style is not None:
        grids = dict(style.grids)
        if "density" in grids:
            of_source = "half" if grids["density"].half else "float"
        if precision is not None:
            smooth = {name: grid for name, grid in grids.items() if not grid.whole}
            grids |= {name: replace(grid, half=precision == "half") for name, grid in smooth.items()}
        if naming is not None and "velocity" in grids:
            grids["velocity"] = replace(grids["velocity"], name=grid_name("velocity", naming))
        style = replace(style, grids=grids)
        if read_options.up(taken) != taken.up:
            style = replace(style, lattice=None, turned_up=read_options.up(taken))
    return style, {"precision": precision or of_source, "naming": naming or "houdini"}


def take(item: FrameRef, read_options: ReadOptions, *wanted: Fields) -> tuple[volumes.Taken, Fields]:
    """The frame as its file has it, with the first of the lists of fields `wanted` that the file can give; and
    which one that is."""

    def read(fields: Fields) -> tuple[volumes.Taken, Fields]:
        found = [
            volumes.take(
                source,
                density_grid=read_options.density_grid,
                velocity_grid=read_options.velocity_grid,
                fields=fields,
                step=item.step,
                crop=box_of(read_options.crop) or read_options.crop,
                faces=True,
            )
            for source in (item.source, *item.parts)
        ]
        whole = replace(found[0], frame=joined([taken.frame for taken in found]))
        return timed(whole, item, read_options), fields

    return _first(read, wanted)


SPARSE_BYTES = 1 << 30  # as arrays; a smaller frame is read as a whole
_SPARSE_SHARE = 0.25  # of its box that the blocks of a sparse frame take at most


@contextmanager
def windows(
    item: FrameRef, read_options: ReadOptions, wanted: Sequence[Sequence[str] | None], margin: int = 0
) -> Iterator[vdb.Windows | None]:
    """A VDB to be read block by block, with the first of the lists of fields that it has; None for other files, for a
    frame of several files, and for one that is cropped or turned."""
    from fluidsr.volumes import vdb

    if read_options.crop or read_options.axes or item.parts or item.source.suffix.lower() != ".vdb":
        yield None
        return
    with ExitStack() as stack:
        source = None
        for number, fields in enumerate(wanted, start=1):
            try:
                source = stack.enter_context(
                    vdb.open_windows(
                        item.source,
                        density_grid=read_options.density_grid,
                        velocity_grid=read_options.velocity_grid,
                        fields=fields,
                        margin=margin,
                    )
                )
                break
            except MissingFieldError:
                if number == len(wanted):
                    raise
        yield source


def is_sparse(source: vdb.Windows, edge: int, reach: int) -> bool:
    """Whether a frame is so large and so empty that it is better read by its blocks of `edge` cells."""
    if source.dense_bytes < SPARSE_BYTES:
        return False
    cells = sum(math.prod(b - a for a, b in zip(*block, strict=True)) for block in source.blocks(edge, reach))
    return cells <= _SPARSE_SHARE * math.prod(source.place.shape)


def box(item: FrameRef, read_options: ReadOptions, *wanted: Sequence[str]) -> FrameGrid | None:
    """The box that `take` would find in a VDB, without its values; None for one without active voxels."""
    from fluidsr.volumes import vdb

    def read(fields: Sequence[str]) -> FrameGrid | None:
        density, velocity = read_options.density_grid, read_options.velocity_grid
        return vdb.read_box(item.source, density_grid=density, velocity_grid=velocity, fields=fields)

    return _first(read, wanted)


def _first(read: Callable[[Fields], Result], wanted: Sequence[Fields]) -> Result:
    """What `read` gives for the first of the lists of fields that the file has whole."""
    for fields in wanted:
        try:
            return read(fields)
        except MissingFieldError as error:
            missing = error
    raise missing


def choose(items: Sequence[FrameRef], frames_wanted: str | None) -> tuple[FrameRef, ...]:
    """Those of `items` that are wanted: a count of them, or some of their numbers; a range takes what lies between its
    frames, too. Raises InputError where it asks for none."""
    if frames_wanted is None:
        return tuple(items)
    count, ranges = _parse(frames_wanted)
    if count is not None:
        chosen = tuple(items)[:count]
    else:
        chosen = tuple(item for item in items if any(_lies_in(item.frame, asked) for asked in ranges))
    if not chosen:
        numbers = f"{items[0].frame:g}-{items[-1].frame:g}"
        raise InputError("frames", f"no input lies in {frames_wanted}", f"the inputs are numbered {numbers}")
    return chosen


def _lies_in(frame: float, asked: range) -> bool:
    if asked.step == 1:
        return asked.start <= frame <= asked.stop - 1
    return frame == int(frame) and int(frame) in asked


def parse(text: str | int | None, total: int, first: int = 1) -> Sequence[int]:
    """Frame numbers, from `first`, that `text` asks for, ascending: None is all `total`, `48` the first 48, `10-20` is
    10 to 20, `1-100x2` every other of them, `1,5,9` these three.

    Raises InputError for anything else, and for frames before the first.
    """
    if text is None:
        return range(first, first + total)
    count, ranges = _parse(str(text))
    if count is not None:
        return range(first, first + count)
    if min(asked.start for asked in ranges) < first:
        what = f"'{text}' asks for frames before the first"
        raise InputError("frames", what, f"frames count from {first}: give 48 or {first}-{first + 99}")
    if len(ranges) == 1:
        return ranges[0]
    return sorted({number for asked in ranges for number in asked})


def _parse(text: str) -> tuple[int | None, list[range]]:
    """A count, or ranges of numbers. Raises InputError for text that is neither."""
    if re.fullmatch(r"\d{1,30}", text.strip()):
        count = int(text)
        if not 1 <= count <= MOST_FRAMES:
            raise InputError(
                "frames", f"a count of {text} is out of range", "use N (the first N), or A-B, e.g. 0-100"
            )
        return count, []
    ranges = []
    for word in text.split(","):
        match = re.fullmatch(r"(-?\d{1,30})(?:-(-?\d{1,30})(?:x(\d{1,30}))?)?", word.strip())
        if match is None:
            shown = text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
            what = f"'{shown}' is neither a count, nor a range, nor a list"
            raise InputError("frames", what, "give 48, 1-100, 1-100x2 or 1,5,9")
        first, last = int(match[1]), int(match[1] if match[2] is None else match[2])
        step = int(match[3] or 1)
        if max(-first, last) > MOST_FRAMES:
            what = f"'{text}' goes beyond frame {MOST_FRAMES}"
            raise InputError("frames", what, "use N or A-B, e.g. 1-100")
        if last < first or step < 1:
            raise InputError("frames", f"'{text}' is an empty range", "use N or A-B with A <= B, e.g. 1-100")
        ranges.append(range(first, last + 1, step))
    return None, ranges
