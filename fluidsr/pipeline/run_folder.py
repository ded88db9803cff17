"""A run's folder: its configuration (`run.yaml`), its log of finished frames (`run.jsonl`), and how it is resumed.

A frame is complete when all its files have their final names *and* `run.jsonl` has its line, with the sizes and
checksums of the files. Files get their final names by renaming, so a half-written file is never taken for complete. A
folder from elsewhere is not trusted: a line that is not a valid record is ignored, and its frame is computed again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from fluidsr.atomic import check_regular, is_unfinished, remove_unfinished, replacing, write_error
from fluidsr.choices import Axis
from fluidsr.errors import InputError, RunError
from fluidsr.ownership import Ownership, exclusively, is_lock
from fluidsr.pipeline import coarse_exchange, crash, provenance
from fluidsr.pipeline.provenance import to_yaml

_SPEC = "run.yaml"
_LOG = "run.jsonl"
_SIDES = ("frames", "coarse")
_PICTURES = ".preview"
_FRAME = re.compile(r".+_\d+\.(vdb|vti|npz|uni)")
_PICTURE = re.compile(r"\d{4,}_(coarse|fine)\.png")
_MOST_SPEC, _MOST_LINE = 16 << 20, 1 << 20  # bytes
_MOST_DEPTH = 32
_MOST_FRAME = 10**18  # pre-roll frames are negative, and some names have a date as their number
_FREE = ("skip_damaged",)  # keys of a configuration that select frames, and have no effect on their contents
_MOST_SHOWN = 60  # characters of a value in a message

_Finite = Annotated[float, Field(ge=-1e15, le=1e15)]


class _File(BaseModel):
    """Size and checksum of a file when it was finished."""

    model_config = ConfigDict(frozen=True, strict=True)

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class _Record(BaseModel):
    """A line of `run.jsonl`. Further keys are allowed and kept."""

    model_config = ConfigDict(strict=True, extra="allow")

    frame: int = Field(ge=-_MOST_FRAME, le=_MOST_FRAME)
    time: _Finite | None = None
    shape: (
        Annotated[list[Annotated[int, Field(ge=1, le=2**31)]], Field(min_length=2, max_length=3)] | None
    ) = None
    cell_size: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    origin: Annotated[list[_Finite], Field(min_length=2, max_length=3)] | None = None
    fields: Annotated[list[str], Field(min_length=1)] | None = None
    vectors: list[str] | None = None
    whole: list[str] | None = None
    empty: bool | None = None
    up: Axis | None = None
    grids: dict[str, str] | None = None
    files: dict[str, _File] | None = None

    @model_validator(mode="after")
    def _has_one_dimension(self) -> _Record:
        if self.shape and self.origin and len(self.shape) != len(self.origin):
            raise ValueError("shape and origin differ in length")
        return self


class RunFolder:
    """The folder `path` of one run. It is owned until `close`; as a context manager it closes at the end.

    `notes` are sentences for the user about the state of the folder.
    """

    def __init__(self, path: Path, ownership: Ownership, needed: Sequence[str]) -> None:
        self.path, self.notes = path, list(ownership.notes)
        self._ownership, self._needed = ownership, tuple(needed)
        self._records: dict[int, dict[str, Any]] = {}

    @classmethod
    def open(
        cls,
        path: Path,
        command: str,
        configuration: Mapping[str, Any],
        *,
        overwrite: bool,
        notes: Mapping[str, Any],
        frames: Iterable[int] | None = None,
        needed: Sequence[str] = (),
    ) -> RunFolder:
        """Create the folder, or resume the run that it holds, and take ownership of `frames`.

        A run is resumed if its command and configuration are the same; keys that have no effect on the frames may
        differ. A run of another configuration that has no frames yet is replaced.

        Args:
            path: the folder; created if necessary.
            command: name of the command, as `run.yaml` records it.
            configuration: all options that determine the contents of the frames.
            overwrite: remove the run that is in the folder first, but no other files.
            notes: further entries of `run.yaml`, which may differ when the run is resumed; e.g. the requested frames.
            frames: numbers of the frames that this process makes; None: all.
            needed: keys that a record must have; a line of the log without them does not count.

        On return `run.yaml` describes the run, `frames/` exists, and unfinished files are removed unless other
        processes work in the folder. Raises InputError if the folder cannot be written, holds files that are not a
        run's, or, without `overwrite`, holds frames of another configuration. Raises RunError if another process works
        on one of the frames, or on any frame of a run that would be removed.
        """
        requested = _plain(configuration)
        _make_folder(path)
        _check_log(path / _LOG)
        pieces = None if frames is None else frozenset(frames)
        differs = _differs(path, command, requested)
        if differs is not None and not overwrite and _holds_frames(path):
            raise differs
        # A run must be owned as a whole before it is removed.
        removes = (path / _SPEC).exists() and (overwrite or differs is not None)
        document = {
            "command": command,
            "configuration": requested,
            **_plain(notes),
            "environment": provenance.environment(),
        }
        ownership = Ownership.take(path, f"'{command}'", None if removes else pieces)
        try:
            with exclusively(path):
                if removes:
                    _remove_run(path)
                elif late := _differs(path, command, requested):
                    raise late  # another process created a run since the check above
                _drop_cut_line(path / _LOG)
                if ownership.alone:  # otherwise another machine may still be writing these files
                    for part in (path, *(path / side for side in (*_SIDES, _PICTURES))):
                        remove_unfinished(part)
                with replacing(path / _SPEC) as temporary:
                    temporary.write_text(to_yaml(document), encoding="utf-8")
                (path / "frames").mkdir(exist_ok=True)
            if removes:
                ownership.narrow(pieces)
        except OSError as error:
            ownership.release()
            raise write_error(path, error) from error
        except BaseException:
            ownership.release()
            raise
        folder = cls(path, ownership, needed)
        folder.refresh()
        return folder

    def close(self) -> None:
        """Release the ownership of the folder. A second call does nothing."""
        self._ownership.release()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def refresh(self) -> None:
        """Read the log again. Machines that share the folder may have finished more frames."""
        self._records = {
            number: record
            for number, record in _read_log(self.path / _LOG)
            if all(record.get(key) is not None for key in self._needed)
        }

    @property
    def complete(self) -> Mapping[int, dict[str, Any]]:
        """The records of finished frames by number, as of the last `refresh` or `record`."""
        return self._records

    def is_complete(self, number: int, files: Iterable[Path]) -> bool:
        """Whether frame `number` is recorded, and all its `files` exist with the recorded sizes and checksums.

        Other volumes in the record are checked, too. A damaged file adds a note. A record of an earlier version has no
        checksums; its files only need to be non-empty.
        """
        if number not in self._records:
            return False
        stored = self._records[number].get("files") or {}
        # A frame may have more volumes than the caller names: a .uni file holds one field, so others lie beside it.
        volumes = (self.path / name for name in stored if re.fullmatch(r"(frames|coarse)/[^/\\]+", name))
        for file in dict.fromkeys((*files, *volumes)):
            problem = _damage(file, stored.get(self._name(file)))
            if problem:
                self.notes.append(f"{file}: {problem}; frame {number} is computed again")
                return False
        return True

    def record(self, number: int, record: Mapping[str, Any], files: Iterable[Path] = ()) -> None:
        """Append the `record` of frame `number` to `run.jsonl`, with the sizes and checksums of its `files`.

        On return the line is on the disk (fsync). Raises RunError for a file that does not exist, and RunError or
        InputError if the log cannot be written.
        """
        try:
            sums = {self._name(file): _describe(file) for file in files}
            line = _plain({"frame": number, **record, **({"files": sums} if sums else {})})
            with exclusively(self.path):
                _drop_cut_line(self.path / _LOG)
                with (self.path / _LOG).open("ab") as log:
                    log.write(json.dumps(line).encode() + b"\n")
                    log.flush()
                    os.fsync(log.fileno())
        except FileNotFoundError as error:
            problem = "a worker has written it, but it is not there"
            remedy = "give a folder as `output` that this machine and all workers can access"
            raise RunError(str(error.filename), problem, remedy) from error
        except OSError as error:
            raise write_error(self.path / _LOG, error) from error
        self._records[number] = line

    def _name(self, file: Path) -> str:
        """The name of a file in the log, such as `frames/smoke_0001.vdb`."""
        return f"{file.parent.name}/{file.name}"


def _describe(file: Path) -> dict[str, Any]:
    """Size (bytes) and SHA-256 of a file, as a record stores them."""
    size, sha = 0, hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(1 << 20):
            size += len(block)
            sha.update(block)
    return {"bytes": size, "sha256": sha.hexdigest()}


def _damage(file: Path, stored: Mapping[str, Any] | None) -> str:
    """What is wrong with a file of a finished frame; empty if nothing is. `stored`: its entry in the record."""
    try:
        size = file.stat().st_size
        if stored is None:
            return "" if size else "is empty"
        if size != stored["bytes"]:
            return f"has {size} bytes instead of {stored['bytes']}"
        return "" if _describe(file)["sha256"] == stored["sha256"] else "its checksum does not match"
    except FileNotFoundError:
        return "is gone"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def _differs(path: Path, command: str, requested: dict[str, Any]) -> InputError | None:
    """The error to raise if the run at `path` has another command or configuration.

    None if both are the same, and if there is no run.
    """
    if not (path / _SPEC).exists():
        return None
    try:
        stored = read_spec(path)
    except InputError as error:
        return error
    if stored.get("command") != command:
        problem = f"holds a run of {_shortened(stored.get('command'))}"
        return InputError(str(path), problem, "use `overwrite`, or another `output`")
    before = stored.get("configuration")
    if isinstance(before, dict):
        before, requested = (
            {k: v for k, v in side.items() if k not in _FREE} for side in (before, requested)
        )
    difference = first_difference(before, requested)
    if difference:
        problem = f"holds a run of another configuration: {difference}"
        return InputError(str(path), problem, "use `overwrite`, or another `output`")
    return None


def first_difference(old: Any, new: Any, key: str = "") -> str:
    """The first key whose value differs, as `key is OLD there and NEW here`; empty if no value differs.

    `key` is the dotted path of `old` and `new` in the whole document.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(name for name in new if name not in old)]:
            difference = first_difference(old.get(name), new.get(name), f"{key}.{name}" if key else str(name))
            if difference:
                return difference
        return ""
    if old == new:
        return ""
    return f"{key or 'all of it'} is {_shortened(old)} there and {_shortened(new)} here"


def _shortened(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _is_unborn(path: Path) -> bool:
    """Whether the folder holds nothing but what a run leaves when it is stopped before it writes `run.yaml`."""
    for entry in path.iterdir():
        if entry.name == "frames" and entry.is_dir():
            if any(entry.iterdir()):
                return False
        elif not (is_lock(entry.name) or (is_unfinished(entry.name) and "run" in entry.name)):
            return False
    return True


def _holds_frames(path: Path) -> bool:
    """Whether the folder holds results worth keeping: a finished frame or a line in the log."""
    log = path / _LOG
    if log.exists() and log.stat().st_size:
        return True
    return any(not is_unfinished(file.name) for side in (*_SIDES, _PICTURES) for file in _within(path / side))


def _within(folder: Path) -> Iterator[Path]:
    """Yield the files in a subfolder of a run, sorted; nothing for a symbolic link, whose files lie outside the run."""
    if folder.is_dir() and not folder.is_symlink():
        yield from sorted(folder.iterdir())


def _remove_run(path: Path) -> None:
    """Remove the files of a run. Files that the user has put into the folder or its subfolders are kept."""
    logged = {name for _, record in _read_log(path / _LOG) for name in record.get("files") or ()}
    for side in (*_SIDES, _PICTURES):
        for file in _within(path / side):
            pattern = _PICTURE if side == _PICTURES else _FRAME
            is_of_run = f"{side}/{file.name}" in logged or pattern.fullmatch(file.name)
            if is_of_run or is_unfinished(file.name):
                file.unlink(missing_ok=True)
        with suppress(OSError):
            (path / side).rmdir()
    crash.remove(path)
    coarse_exchange.remove_all(path)
    for name in (_LOG, "preview.png", "preview.mp4", ".state_*.safetensors", _SPEC):
        for file in path.glob(name):
            file.unlink()


class _RunLoader(yaml.SafeLoader):
    """PyYAML's safe loader with bounded depth and without aliases.

    `run.yaml` never has aliases; in a hostile file they expand to gigabytes.
    """

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError("has aliases")
        self.depth += 1
        if self.depth > _MOST_DEPTH:
            raise yaml.YAMLError("is nested too deeply")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def is_run(folder: Path) -> bool:
    """Whether `folder` holds a run that has a log."""
    return (folder / _SPEC).is_file() and (folder / _LOG).is_file()


def read_spec(folder: Path) -> dict[str, Any]:
    """The contents of a run's `run.yaml`. Raises InputError if it is missing, too large or not a run's record."""
    spec = folder / _SPEC
    document = None
    with suppress(OSError, ValueError, OverflowError, RecursionError, yaml.YAMLError):
        if spec.is_file():
            with spec.open("rb") as file:
                raw = file.read(_MOST_SPEC + 1)
            if len(raw) <= _MOST_SPEC:
                document = yaml.load(raw.decode("utf-8"), Loader=_RunLoader)  # noqa: S506 - a SafeLoader
    if not isinstance(document, dict) or not isinstance(document.get("command"), str):
        raise InputError(
            str(spec),
            "cannot be read as a run's record",
            "make the run again with `overwrite`, or in another `output`",
        )
    return document


def _check_log(log: Path) -> None:
    """Raise InputError for a log that is a pipe or a device: opening it may block forever."""
    try:
        check_regular(log)
    except FileNotFoundError:
        pass
    except OSError as error:
        remedy = "remove it, or give another `output`"
        raise InputError(str(log), f"cannot be read ({error.strerror})", remedy) from error


def _drop_cut_line(log: Path) -> None:
    """Truncate the log after its last whole line; otherwise the next record would continue a line that was cut off."""
    if not log.is_file():
        return
    with log.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - _MOST_LINE)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < file.seek(0, os.SEEK_END):
            file.truncate(end)


def _read_log(log: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Frame numbers and records in the order of the log. Lines that are not valid records are skipped.

    Such lines were cut off when a run was stopped, or come from elsewhere.
    """
    if not log.is_file():
        return
    with log.open("rb") as file:
        while line := file.readline(_MOST_LINE):
            whole = line.endswith(b"\n")
            if whole:
                with suppress(ValueError, RecursionError):
                    number, record = _Record.model_validate_json(line).frame, json.loads(line)
                    yield number, record
            while not whole and (more := file.readline(_MOST_LINE)):
                whole = more.endswith(b"\n")


def _make_folder(path: Path) -> None:
    """Create the folder of a run. Raises InputError if it cannot be written or holds files that are not a run's."""
    try:
        if path.exists() and not path.is_dir():
            raise InputError(str(path), "is a file", "give a folder as `output`")
        if path.exists() and not (path / _SPEC).exists() and not _is_unborn(path):
            remedy = "give a new or an empty folder as `output`"
            raise InputError(str(path), "is not empty and holds no run", remedy)
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"cannot be written ({error.strerror})"
        raise InputError(str(path), problem, "give a writable folder as `output`") from None


def _plain(value: Any) -> Any:
    """`value` after a round trip through JSON, so that it compares equal to stored values (tuples become lists)."""
    return json.loads(json.dumps(value, default=str))
