"""FrameSequence: the frames of a cache, in order, and those of them that a command processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

from fluidsr.choices import Format
from fluidsr.errors import InputError
from fluidsr.pipeline.frame_numbers import count_or_ranges, lies_in
from fluidsr.volumes import sequence
from fluidsr.volumes.spacing import spacing_of

_BEGIN = 3  # frames whose own times show how long one lasts


@dataclass(frozen=True)
class FrameRef:
    """One frame of a cache: its number, its file (and the step in it), and its time (s) if the series gives it.

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
        """The name of its results: that of its file, with its number if others would have the same name."""
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
        """The frames of `inputs` (files, folders, patterns, series); `frames_wanted` selects from them.

        A frame's number is the one in its file's name; where a name has none, or frames lie between whole ones, all
        are numbered by their places. No two have the same name for their results. Raises InputError where nothing is
        found, or nothing is left, and for files that do not exist or are empty, unless they are to be left out:
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
            problem = f"{faults[first]}; {len(faults)} of {len(items)} frames cannot be used"
            option = "" if skip_damaged is None else ", or leave it out with `skip_damaged`"
            raise InputError(str(first.source), problem, f"write it again{option}")
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


def _resolved(path: Path) -> Path:
    """The absolute path without links; with them where they form a circle, which is reported when the file is read."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path.absolute()


def _fault_of(path: Path) -> str | None:
    """Why a file cannot be used, found without opening it: it does not exist, or is empty."""
    try:
        return "is empty (0 bytes)" if path.stat().st_size == 0 else None
    except (OSError, ValueError) as error:
        return f"cannot be read ({getattr(error, 'strerror', None) or error})"


def choose(items: Sequence[FrameRef], frames_wanted: str | None) -> tuple[FrameRef, ...]:
    """Those of `items` that are wanted: a count of them, or some of their numbers; a range takes what lies between its
    frames, too. Raises InputError where it asks for none."""
    if frames_wanted is None:
        return tuple(items)
    count, ranges = count_or_ranges(frames_wanted)
    if count is not None:
        chosen = tuple(items)[:count]
    else:
        chosen = tuple(item for item in items if any(lies_in(item.frame, numbers) for numbers in ranges))
    if not chosen:
        numbers = f"{items[0].frame:g}-{items[-1].frame:g}"
        raise InputError(
            "frames", f"{frames_wanted} selects none of the inputs", f"they are numbered {numbers}"
        )
    return chosen
