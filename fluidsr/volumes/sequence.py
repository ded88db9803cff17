"""Sequences of frames on disk: from the user's input to files in numeric order, and the spacing of their times."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from fluidsr.errors import InputError
from fluidsr.volumes import numbering, siblings, uni
from fluidsr.volumes.io import time_of
from fluidsr.volumes.numbering import frame_number
from fluidsr.volumes.pvd import Entry, read_entries

# In order of preference, if a folder holds one sequence in several formats.
SUFFIXES = (".vdb", ".npz", ".pvti", ".vtm", ".vti", ".uni", ".vtkhdf", ".vtk", ".vtr", ".npy")

# The frame number in a pattern: `####`, `%04d`, `$F4` (Houdini), `@@@@`.
_PLACEHOLDER = re.compile(r"#+|@+|%0?\d*d|\$F\d*")

_SHORTEST, _LONGEST = 1e-6, 1e3  # s; other spacings are not those of frames of smoke
_EVEN = 1e-3  # of the spacing; in addition to the rounding of a float32 or of five printed digits
_DIGITS = 1e-5  # of a time; that rounding


@dataclass(frozen=True)
class FrameFile:
    """One frame of a sequence: a file, or step `step` of a `.vtkhdf` series (frame number `step` + 1).

    `number` is None if the file's name has none. `subframe` is the fraction beyond it for frames between whole
    numbers (`s.1001.25`). `time` (s) is known for `.pvd` and `.vtkhdf` series and for names that hold times. `parts`
    are further files of the same frame, each with a part of its box.
    """

    path: Path
    number: int | None
    time: float | None = None
    step: int = 0
    subframe: float = 0.0
    parts: tuple[Path, ...] = ()


@dataclass(frozen=True)
class FrameFiles:
    """The files of a sequence, in order of their numbers."""

    files: tuple[FrameFile, ...]

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[FrameFile]:
        return iter(self.files)

    @property
    def paths(self) -> list[Path]:
        """The paths of the files."""
        return [file.path for file in self.files]

    @property
    def gaps(self) -> tuple[int, ...]:
        """Missing frame numbers between the first and the last, ascending; empty if the numbers are evenly spaced."""
        numbers = sorted({file.number for file in self.files if file.number is not None})
        if not numbers or numbers[-1] - numbers[0] > 1_000_000:  # these numbers do not count frames
            return ()
        # Evenly spaced, for example every tenth step.
        if len(numbers) > 2 and len({b - a for a, b in pairwise(numbers)}) == 1:
            return ()
        present = set(numbers)
        return tuple(n for n in range(numbers[0], numbers[-1]) if n not in present)


def expand(inputs: Iterable[str | os.PathLike[str]]) -> FrameFiles:
    """The files that `inputs` name together, in order of their frame numbers.

    An input is a file; a pattern with the frame number as `####`, `%04d` or `$F4`; a pattern with `*`, `?` or
    `[...]`; a folder with one sequence; a run folder of this package; or a `.pvd`, `.series` or `.vtkhdf` series. If
    each field has its own file, the files of the density stand for their frames. Files without a number keep the
    given order; the files of a series are sorted by time. Raises InputError if nothing matches, or if the inputs mix
    two sequences.
    """
    files: list[FrameFile] = []
    alone: list[Path] = []  # named one by one, for example by a shell that has expanded a pattern
    for given in inputs:
        try:
            path = Path(os.fspath(given))
            if path.is_file() and path.suffix.lower() not in (".pvd", ".series", ".vtkhdf"):
                alone.append(path)
            else:
                files += _expand_one(os.fspath(given))
        except OSError as error:
            raise InputError(
                os.fspath(given), f"cannot be found ({error.strerror})", "check the path"
            ) from error
    files += (
        _of_density(_numbered(alone)) if len(alone) > 1 else [FrameFile(f, frame_number(f)) for f in alone]
    )
    if not files:
        raise InputError(
            "input", "no file is named", "name files, a folder, or a pattern such as smoke_####.vdb"
        )
    unique = list({(file.path, file.step, file.time): file for file in files}.values())
    _one_file_per_number(unique)
    if all(file.number is not None for file in unique):
        unique.sort(key=lambda file: (file.number or 0, file.subframe))
    return FrameFiles(tuple(unique))


def series_name(path: str | os.PathLike[str]) -> str:
    """The common part of the names of a sequence's frames: `smoke` for `smoke_0001.vdb`; `volumes` if there is none."""
    return Path(path).stem.rstrip("0123456789").rstrip("_.-") or "volumes"


def _expand_one(text: str) -> list[FrameFile]:
    path = Path(text)
    if path.is_dir():
        run = (path / "run.yaml").is_file()
        return _folder(path / "frames" if run else path, whole=not run)
    if path.suffix.lower() in (".pvd", ".series"):
        return _series(path)
    if path.is_file():
        return _steps(path)
    signs = list(_PLACEHOLDER.finditer(path.name))
    frames: list[FrameFile] = []
    for sign in reversed(signs):  # other placeholders may be part of the name: shot#3_####
        frames = frames or _of_density(_matching(path, sign))
    if not frames and any(sign in path.name for sign in "*?["):
        folder = path.parent
        names = fnmatch.filter((file.name for file in _files_in(folder)), path.name)
        if not names:  # brackets may be part of the name: smoke[v2]_*
            literal = path.name.replace("[", "[[]")
            names = fnmatch.filter((file.name for file in _files_in(folder)), literal)
        # As in a shell, a pattern must begin with a dot to match hidden files (`._smoke_0001.vdb` of macOS).
        names = [name for name in names if path.name.startswith(".") or not name.startswith(".")]
        frames = _of_density(_numbered([folder / name for name in names]))
    elif not signs:
        ending = ", which ends in white space (a line end of Windows?)" if text != text.rstrip() else ""
        raise InputError(text, "there is no such file", f"check the path{ending}")
    if not frames:
        raise InputError(text, "no file matches", "check the folder and the pattern")
    return frames


def _matching(pattern: Path, placeholder: re.Match[str]) -> list[FrameFile]:
    head, tail = pattern.name[: placeholder.start()], pattern.name[placeholder.end() :]
    name = re.compile(re.escape(head) + r"(-?\d+)(\.\d{1,3})?" + re.escape(tail))
    matches = [(file, name.fullmatch(file.name)) for file in _files_in(pattern.parent)]
    return [
        FrameFile(file, int(match[1]), subframe=float(f"0{match[2]}") if match[2] else 0.0)
        for file, match in matches
        if match
    ]


def _numbered(files: Sequence[Path]) -> list[FrameFile]:
    """`files` with the frame numbers in their names. Raises InputError if these contradict each other."""
    numbered = numbering.numbered(files)
    numbering.check_order(numbered)
    return [_frame_file(entry) for entry in numbered]


def _frame_file(numbered: numbering.Numbered) -> FrameFile:
    return FrameFile(numbered.file, numbered.number, numbered.time, subframe=numbered.subframe)


def _series(path: Path) -> list[FrameFile]:
    """The frames of a .pvd or .series, sorted by time. Numbers in the names are used if they ascend."""
    entries = read_entries(path)
    if not entries:
        raise InputError(str(path), "it names no files", "write it again, or give a folder or a pattern")
    frames: list[list[Entry]] = []
    parts: set[str] = set()  # of the last frame
    for entry in entries:
        same = entry.timed and frames and frames[-1][0].time == entry.time
        if same and entry.part not in parts:
            frames[-1].append(entry)
        else:
            frames.append([entry])
            parts = set()
        parts.add(entry.part)
    numbers = [frame_number(frame[0].file) for frame in frames]
    known = [number for number in numbers if number is not None]
    ascending = len(known) == len(numbers) and all(a < b for a, b in pairwise(known))
    return [
        FrameFile(
            frame[0].file,
            number if ascending else place,
            frame[0].time if frame[0].timed else None,
            parts=tuple(entry.file for entry in frame[1:]),
        )
        for place, (frame, number) in enumerate(zip(frames, numbers, strict=True), start=1)
    ]


def _folder(folder: Path, whole: bool = True) -> list[FrameFile]:
    """The frames of the one sequence in `folder`, in the first of SUFFIXES that it exists in.

    Raises InputError if there are several sequences or none, and, if `whole`, if some frames exist in another format
    only.
    """
    entries = [file for file in _files_in(folder) if not file.name.startswith(".")]
    of_suffix: dict[str, list[Path]] = {}
    for file in entries:
        of_suffix.setdefault(file.suffix.lower(), []).append(file)
    for at, suffix in enumerate(SUFFIXES):
        named = numbering.numbered(of_suffix.get(suffix, []))
        frames = _of_density([_frame_file(entry) for entry in named])
        if not frames:
            continue
        if suffix == ".vtkhdf" and len(frames) == 1:
            return _steps(frames[0].path)
        kept = {file.path for file in frames}
        kinds = sorted({entry.kind for entry in named if entry.file in kept})
        heads = {re.sub("#+", "#", kind) for kind in kinds}
        in_order = sorted(frames, key=lambda file: file.number or 0)
        if len(heads) > 1 and not numbering.rise_together([file.path.stem for file in in_order]):
            shown = ", ".join(kinds[:5])
            raise InputError(str(folder), f"holds {len(heads)} sequences: {shown}", "name one of them")
        stems = {file.path.stem for file in frames}
        for other in SUFFIXES[at + 1 :] if whole else ():
            more = [
                entry
                for entry in numbering.numbered(of_suffix.get(other, []))
                if entry.file.stem not in stems
            ]
            same = [entry for entry in more if _head(entry.kind) in {_head(kind) for kind in kinds}]
            if same:
                problem = f"{same[0].file.name} is not a {suffix} file, but the other frames are"
                remedy = f"name one of {folder / ('*' + suffix)}, {folder / ('*' + other)}"
                raise InputError(str(folder), problem, remedy)
        return frames
    series = [file for file in entries if file.suffix.lower() in (".pvd", ".series")]
    if len(series) == 1:
        return _series(series[0])
    inside = [place.name for place in sorted(folder.iterdir()) if _has_volumes(place)]
    remedy = f"give a folder with {', '.join(SUFFIXES)} files"
    if inside:
        shown = ", ".join(inside[:5]) + (", ..." if len(inside) > 5 else "")
        remedy = f"give a folder in it: {shown}"
    raise InputError(str(folder), "holds no volumes", remedy)


def _head(kind: str) -> str:
    """The common part of the names of a sequence, without suffix and without the width of the number."""
    return re.sub("#+", "#", kind.rpartition(".")[0])


def _has_volumes(place: Path) -> bool:
    """Whether `place` is a run folder or a folder with volumes. Blender's config files do not count."""
    with suppress(OSError):
        return (place / "run.yaml").is_file() or any(
            file.suffix.lower() in SUFFIXES and not file.name.startswith(("config_", "."))
            for file in place.iterdir()
        )
    return False


def _files_in(folder: Path) -> list[Path]:
    """The files in `folder`, sorted by name. Broken links are included; they are reported when they are read."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        files = [
            (folder / entry.name, entry.is_symlink(), entry.is_dir(follow_symlinks=False))
            for entry in entries
        ]
    return sorted(
        path for path, is_link, is_folder in files if not (is_folder or (is_link and path.is_dir()))
    )


def _of_density(files: list[FrameFile]) -> list[FrameFile]:
    """`files` without those that hold other fields of the same frames."""
    densities = [file for file in files if file.path.suffix.lower() == ".uni" and uni.is_density(file.path)]
    if densities:
        return [file for file in files if file.path.suffix.lower() != ".uni" or file in densities]
    kept = siblings.leaders(file.path for file in files)
    kept -= uni.sides(kept)
    return [file for file in files if file.path in kept]


def _steps(path: Path) -> list[FrameFile]:
    from fluidsr.volumes import vtkhdf

    times = vtkhdf.times(path)
    if len(times) < 2:
        return [FrameFile(path, frame_number(path), times[0] if times else None)]
    return [FrameFile(path, step + 1, time, step) for step, time in enumerate(times)]


def _one_file_per_number(files: Sequence[FrameFile]) -> None:
    seen: dict[float, FrameFile] = {}
    for file in files:
        if file.number is None:
            continue
        other = seen.setdefault(file.number + file.subframe, file)
        if other is not file:
            problem = f"frame {file.number + file.subframe:g} is also {other.path}"
            raise InputError(str(file.path), problem, "name one sequence at a time")


def spacing_of(times: Sequence[float | None]) -> float | None:
    """The even spacing (s) of ascending `times`.

    None if they are not evenly spaced, fewer than two, or all whole numbers, which usually count steps.
    """
    known = [time for time in times if time is not None]
    if len(known) < 2 or len(known) < len(times) or all(time == int(time) for time in known):
        return None
    steps = [b - a for a, b in pairwise(known)]
    mean = (known[-1] - known[0]) / len(steps)
    uneven = max(steps) - min(steps)
    if not _SHORTEST <= mean <= _LONGEST or uneven > _EVEN * mean + _DIGITS * max(map(abs, known)):
        return None
    return float(f"{mean:.7g}")


def stated_spacing(files: Sequence[Path]) -> float | None:
    """`spacing_of` the times that `files` state; None if one cannot be read."""
    try:
        return spacing_of(_stated_times(tuple((file, file.stat().st_mtime_ns) for file in files)))
    except (OSError, InputError):
        return None  # a damaged frame is reported when it is read


@lru_cache(maxsize=16)
def _stated_times(files: tuple[tuple[Path, int], ...]) -> list[float | None]:
    """The time of each file. The second value, the time of its last change, keeps the cache valid."""
    return [time_of(file) for file, _ in files]
