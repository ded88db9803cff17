"""FrameSequence: the frames of a cache in order, and the ones that a command processes."""

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
from fluidsr.volumes.sequence import spacing_of

_BEGIN = 3  # frames whose stored times are compared to find how long a frame lasts


@dataclass(frozen=True)
class FrameRef:
    """One frame of a cache.

    Attributes:
        number: of the frame; unique in the cache.
        source: the file.
        step: index of the frame in a file of several frames.
        time: s, if the series lists times.
        one_of_many: whether other frames have files with the same stem.
        frame_number: the number in the file's name, with a fraction for a subframe; None if any file has no number.
        parts: further files of the same frame.
        spacing: even distance of the times in the series, s; None if they are uneven or not listed.
        stride: even distance of the frame numbers of subframes, below 1; otherwise 1.
        begin: files of the first frames of the cache, whose stored times show the spacing if the series has none.
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
        """The number in the file's name, with a fraction for a subframe; `number` if the name has none."""
        return self.number if self.frame_number is None else self.frame_number

    @property
    def name(self) -> str:
        """The stem of the result's files: the stem of `source`, with `number` if other frames have the same stem."""
        return f"{self.source.stem}_{self.number:04d}" if self.one_of_many else self.source.stem

    def targets(self, root: Path, formats: Sequence[str]) -> list[Path]:
        """The files of the result in a run in the folder `root`, one for each format."""
        return [root / "frames" / f"{self.name}.{suffix}" for suffix in formats]

    def absolute(self) -> FrameRef:
        """The same frame with absolute paths, for processes with another working directory."""
        parts = tuple(_resolved(file) for file in self.parts)
        begin = tuple(_resolved(file) for file in self.begin)
        return replace(self, source=_resolved(self.source), parts=parts, begin=begin)


@dataclass(frozen=True)
class FrameSequence:
    """The frames of a cache, and the ones that are selected.

    Attributes:
        all_frames: every frame, in order.
        items: the selected frames that can be used.
        gaps: frame numbers that are missing between the first and the last; empty if the numbers are evenly spaced.
        damaged: the selected frames that are left out, each with the reason.
    """

    all_frames: tuple[FrameRef, ...]
    items: tuple[FrameRef, ...]
    gaps: tuple[int, ...]
    damaged: Mapping[FrameRef, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, inputs: Sequence[str], frames_wanted: str | None = None, *, skip_damaged: bool | None = None
    ) -> FrameSequence:
        """The frames of `inputs`; `frames_wanted` selects some of them.

        A frame has the number in its file's name. If a name has none, or there are subframes, all frames are numbered
        by position, from 1.

        Args:
            inputs: files, folders, patterns or series.
            frames_wanted: which frames, as text (see `choose`); None: all.
            skip_damaged: leave out files that do not exist or are empty. None: do not, and do not mention the option
                in errors, because the command does not have it.

        On return no two frames have the same `name`, and `items` is not empty. Raises InputError if no frame is found
        or none can be used, and for a damaged file unless it is skipped.
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
        usable = tuple(item for item in items if item not in faults)
        if first is not None and not usable:
            also = ", like all others" if len(items) > 1 else ""
            raise InputError(str(first.source), f"{faults[first]}{also}", "check the path, or write it again")
        if first is not None and not skip_damaged:
            problem = f"{faults[first]}; {len(faults)} of {len(items)} frames cannot be used"
            option = "" if skip_damaged is None else ", or leave it out with `skip_damaged`"
            raise InputError(str(first.source), problem, f"write it again{option}")
        return cls(all_frames, usable, files.gaps, faults)

    def notes(self) -> Iterator[str]:
        """Sentences for the user about the sequence as a whole."""
        if self.gaps:
            yield f"{self.items[0].source.parent}: {self.missing()}"
        for item, fault in self.damaged.items():
            yield f"{item.source}: {fault}, and left out"

    def missing(self) -> str:
        """A phrase about the gaps: `frame 3 is missing` or `2 frames are missing, the first is 3`."""
        if len(self.gaps) == 1:
            return f"frame {self.gaps[0]} is missing"
        return f"{len(self.gaps)} frames are missing, the first is {self.gaps[0]}"

    @property
    def sources(self) -> list[str]:
        """The absolute paths of all files of the sequence, without duplicates."""
        files = [file for item in self.all_frames for file in (item.source, *item.parts)]
        return list(dict.fromkeys(str(_resolved(file)) for file in files))

    @property
    def own_format(self) -> str:
        """The format of the first selected file if fluidsr can write it, else vdb."""
        suffix = self.items[0].source.suffix.lower().lstrip(".")
        return suffix if suffix in get_args(Format) else "vdb"


def _stride_of(files: sequence.FrameFiles) -> float:
    """The even distance of the frame numbers of a sequence with subframes; 1 for any other sequence."""
    if not any(file.subframe for file in files) or any(file.number is None for file in files):
        return 1.0
    spacing = spacing_of([(file.number or 0) + file.subframe for file in files])
    return spacing if spacing is not None and spacing < 1.0 else 1.0


def _resolved(path: Path) -> Path:
    """The absolute path with links resolved. Links that form a circle are kept; reading the file reports them."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path.absolute()


def _fault_of(path: Path) -> str | None:
    """Why a file cannot be used, as far as its size tells: it does not exist or is empty. None if it may be usable."""
    try:
        return "is empty (0 bytes)" if path.stat().st_size == 0 else None
    except (OSError, ValueError) as error:
        return f"cannot be read ({getattr(error, 'strerror', None) or error})"


def choose(items: Sequence[FrameRef], frames_wanted: str | None) -> tuple[FrameRef, ...]:
    """The frames that `frames_wanted` selects: a count, or numbers as of `frame_numbers`; None: all.

    A range includes the subframes in it. Raises InputError if no frame is selected.
    """
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
