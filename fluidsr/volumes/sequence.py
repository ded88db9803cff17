"""Sequences of frames on disk: from what a user types to files in numeric order."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fluidsr.errors import InputError
from fluidsr.volumes.pvd import read_pvd
from fluidsr.volumes.uni import is_density as uni_is_density

# In order of preference where a folder holds one sequence in several formats.
SUFFIXES = (".vdb", ".npz", ".vti", ".uni", ".vtkhdf", ".vtk")

# The frame number in a pattern: `####`, `%04d`, `$F4` (Houdini), `@@@@`.
_PLACEHOLDER = re.compile(r"#+|@+|%0?\d*d|\$F\d*")
_LAST_NUMBER = re.compile(r"(\d+)(?=\D*$)")


@dataclass(frozen=True)
class FrameFile:
    """One frame of a sequence: a file, or step `step` of a `.vtkhdf` series (frame number `step` + 1).

    `number` is None where a file's name has none; `time` (s) is known from a `.pvd` or `.vtkhdf` series only.
    """

    path: Path
    number: int | None
    time: float | None = None
    step: int = 0


@dataclass(frozen=True)
class FrameFiles:
    """Files in order of their numbers; `gaps` are the numbers missing between the first and the last."""

    files: tuple[FrameFile, ...]

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[FrameFile]:
        return iter(self.files)

    @property
    def paths(self) -> list[Path]:
        """The files alone."""
        return [file.path for file in self.files]

    @property
    def gaps(self) -> tuple[int, ...]:
        """Missing frame numbers, ascending."""
        numbers = {file.number for file in self.files if file.number is not None}
        if not numbers or max(numbers) - min(numbers) > 1_000_000:  # numbers that count no frames
            return ()
        return tuple(n for n in range(min(numbers), max(numbers)) if n not in numbers)


def expand(inputs: Iterable[str | os.PathLike[str]]) -> FrameFiles:
    """The files that `inputs` name together, in order of their frame numbers.

    An input is a file, a pattern with the frame number as `####`, `%04d` or `$F4`, a pattern with `*`, `?`
    or `[...]`, a folder of one sequence, or a `.pvd` or `.vtkhdf` series. Of .uni files, which hold a grid
    each, those of the density stand for their frames. Files without a number stay in the order
    given. Raises InputError where nothing is found, or where two different sequences are mixed.
    """
    files: list[FrameFile] = []
    for given in inputs:
        files += _expand_one(os.fspath(given))
    if not files:
        raise InputError(
            "input", "no file is named", "name files, a folder, or a pattern such as smoke_####.vdb"
        )
    unique = list({(file.path, file.step): file for file in files}.values())
    _one_file_per_number(unique)
    if all(file.number is not None for file in unique):
        unique.sort(key=lambda file: file.number or 0)
    return FrameFiles(tuple(unique))


def frame_number(path: str | os.PathLike[str]) -> int | None:
    """The last number in a file's name (without its suffix), or None: `smoke.v2_0012.vdb` is 12."""
    found = _LAST_NUMBER.search(Path(path).stem)
    return int(found[1]) if found else None


def series_name(path: str | os.PathLike[str]) -> str:
    """What the frames of one sequence share of their names: `smoke` for `smoke_0001.vdb`; `volumes` for
    none."""
    return Path(path).stem.rstrip("0123456789").rstrip("_.-") or "volumes"


def _expand_one(text: str) -> list[FrameFile]:
    path = Path(text)
    if path.is_dir():
        return _folder(path)
    if path.suffix.lower() == ".pvd":
        return [FrameFile(file, frame_number(file), time) for time, file in read_pvd(path)]
    if path.is_file():
        return _steps(path) if path.suffix.lower() == ".vtkhdf" else [FrameFile(path, frame_number(path))]
    placeholder = _PLACEHOLDER.search(path.name)
    if placeholder:
        found = _of_density(_numbered(path, placeholder))
    elif any(sign in path.name for sign in "*?["):
        found = _of_density([FrameFile(f, frame_number(f)) for f in sorted(path.parent.glob(path.name))])
    else:
        raise InputError(text, "there is no such file", "check the path")
    if not found:
        raise InputError(text, "no file matches", "check the folder and the pattern")
    return found


def _numbered(pattern: Path, placeholder: re.Match[str]) -> list[FrameFile]:
    head, tail = pattern.name[: placeholder.start()], pattern.name[placeholder.end() :]
    name = re.compile(re.escape(head) + r"(-?\d+)" + re.escape(tail))
    folder = pattern.parent
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    matches = [(file, name.fullmatch(file.name)) for file in entries]
    return [FrameFile(file, int(match[1])) for file, match in matches if match]


def _folder(folder: Path) -> list[FrameFile]:
    for suffix in SUFFIXES:
        files = sorted(
            f for f in folder.iterdir() if f.suffix.lower() == suffix and not f.name.startswith(".")
        )
        files = [file.path for file in _of_density([FrameFile(file, None) for file in files])]
        if not files:
            continue
        if suffix == ".vtkhdf" and len(files) == 1:
            return _steps(files[0])
        kinds = sorted({_LAST_NUMBER.sub(lambda found: "#" * len(found[1]), f.stem) + suffix for f in files})
        heads = {re.sub("#+", "#", kind) for kind in kinds}
        if len(heads) > 1:
            shown = ", ".join(kinds[:5])
            raise InputError(str(folder), f"holds {len(heads)} sequences: {shown}", "name one of them")
        return [FrameFile(file, frame_number(file)) for file in files]
    raise InputError(str(folder), "holds no volumes", f"give a folder with {', '.join(SUFFIXES)} files")


def _of_density(files: list[FrameFile]) -> list[FrameFile]:
    """`files` without the .uni files that hold other grids of the same frames."""
    densities = [file for file in files if file.path.suffix.lower() == ".uni" and uni_is_density(file.path)]
    if not densities:
        return files
    return [file for file in files if file.path.suffix.lower() != ".uni" or file in densities]


def _steps(path: Path) -> list[FrameFile]:
    from fluidsr.volumes import vtkhdf

    times = vtkhdf.times(path)
    if len(times) < 2:
        return [FrameFile(path, frame_number(path), times[0] if times else None)]
    return [FrameFile(path, step + 1, time, step) for step, time in enumerate(times)]


def _one_file_per_number(files: Sequence[FrameFile]) -> None:
    seen: dict[int, FrameFile] = {}
    for file in files:
        if file.number is None:
            continue
        other = seen.setdefault(file.number, file)
        if other is not file:
            what = f"frame {file.number} is also {other.path}"
            raise InputError(str(file.path), what, "name one sequence at a time")
