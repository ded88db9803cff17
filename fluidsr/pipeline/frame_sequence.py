"""Sequences of volumes as the commands see them: which files and frames, how they are read, what is said about them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fluidsr import volumes
from fluidsr.errors import InputError, MissingFieldError
from fluidsr.frame import Frame
from fluidsr.volumes import sequence
from fluidsr.volumes.places import Place, padded

Fields = TypeVar("Fields", bound="Sequence[str] | None")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Intake:
    """How the grids of a cache are understood; see `volumes.read`."""

    density_grid: str | None = None
    velocity_grid: str | None = None
    velocity_unit: str = "auto"
    frame_rate: float | None = None


@dataclass(frozen=True)
class Item:
    """One frame of a cache: its number, its file (and the step in it), and its time (s) where the series tells."""

    number: int
    source: Path
    step: int = 0
    time: float | None = None
    one_of_many: bool = False

    @property
    def name(self) -> str:
        """What its results are called: as its file, or with its number where the file holds many frames."""
        return f"{self.source.stem}_{self.number:04d}" if self.one_of_many else self.source.stem

    def targets(self, root: Path, formats: Sequence[str]) -> list[Path]:
        """The files that a run in `root` makes of it."""
        return [root / "frames" / f"{self.name}.{suffix}" for suffix in formats]


@dataclass(frozen=True)
class Cache:
    """A whole sequence, and those of its frames that are wanted."""

    everything: tuple[Item, ...]
    items: tuple[Item, ...]
    gaps: tuple[int, ...]

    @classmethod
    def of(cls, inputs: Sequence[str], frames_wanted: str | None = None) -> Cache:
        """What `inputs` (files, folders, patterns, series) name; `frames_wanted` picks from it.

        A frame's number is the one in its file's name; where a name has none, all are numbered by their
        places. Raises InputError where nothing is found, or nothing is left.
        """
        files = sequence.expand(inputs)
        named = all(file.number is not None for file in files)
        many = len({file.path for file in files}) < len(files)
        everything = tuple(
            Item(file.number or 0 if named else place, file.path, file.step, file.time, many)
            for place, file in enumerate(files, start=1)
        )
        return cls(everything, choose(everything, frames_wanted), files.gaps)

    def notes(self) -> Iterator[str]:
        """Sentences for the user about the sequence as a whole."""
        if self.gaps:
            what = f"{len(self.gaps)} frames are missing, the first is {self.gaps[0]}"
            yield f"{self.items[0].source.parent}: {what}"


def read(
    item: Item, intake: Intake, fields: Sequence[str] | None = None, margin: int = 0
) -> tuple[Frame, tuple[str, ...]]:
    """The frame, its velocity in m/s, and sentences for the user. A frame without velocity is read, too.

    Where its file says nothing of time, it is that of its series, or its number times `dt`. A frame whose box
    is merely that of its active voxels gets `margin` empty cells around it: what is drawn beyond the edge of
    the smoke would otherwise be cut off.
    """
    taken, _ = take(item, intake, fields, ("density",))
    frame = taken.in_metres_per_second(intake.velocity_unit, intake.frame_rate)
    if frame.time == 0.0:
        frame = frame.replace(time=item.number * frame.dt if item.time is None else item.time)
    return padded(frame, margin) if taken.tight and margin else frame, taken.notes


def take(item: Item, intake: Intake, *wanted: Fields) -> tuple[volumes.Taken, Fields]:
    """The frame as its file has it, with the first of the lists of fields `wanted` that the file can give; and
    which one that is."""

    def read(fields: Fields) -> tuple[volumes.Taken, Fields]:
        density, velocity = intake.density_grid, intake.velocity_grid
        taken = volumes.take(
            item.source, density_grid=density, velocity_grid=velocity, fields=fields, step=item.step
        )
        return taken, fields

    return _first(read, wanted)


def box(item: Item, intake: Intake, *wanted: Sequence[str]) -> Place | None:
    """The box that `take` would find in a VDB, without its values; None for one without active voxels."""
    from fluidsr.volumes import vdb

    def read(fields: Sequence[str]) -> Place | None:
        density, velocity = intake.density_grid, intake.velocity_grid
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


def choose(items: Sequence[Item], frames_wanted: str | None) -> tuple[Item, ...]:
    """Those of `items` that `--frames` asks for: a count of them, or a range of their numbers. Raises InputError
    where it asks for none."""
    if frames_wanted is None:
        return tuple(items)
    if "-" in frames_wanted:
        wanted = parse(frames_wanted, len(items))
        chosen = tuple(item for item in items if item.number in wanted)
    else:
        chosen = tuple(items)[: len(parse(frames_wanted, len(items)))]
    if not chosen:
        numbers = f"{items[0].number}-{items[-1].number}"
        raise InputError(
            "--frames", f"no input lies in {frames_wanted}", f"the inputs are numbered {numbers}"
        )
    return chosen


def parse(text: str | int | None, total: int) -> range:
    """Frame numbers, from 1, that `text` asks for: None is all `total`, `48` is 1 to 48, `10-20` is 10 to 20.

    Raises InputError for anything else and for an empty or backward range.
    """
    if text is None:
        return range(1, total + 1)
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", str(text).strip())
    if match is None:
        raise InputError("--frames", f"'{text}' is neither a count nor a range", "give 48 or 1-100")
    first, last = (1, int(match[1])) if match[2] is None else (int(match[1]), int(match[2]))
    if first < 1 or last < first or last > 999_999:
        raise InputError("--frames", f"'{text}' holds no frames", "frames count from 1: give 48 or 1-100")
    return range(first, last + 1)
