"""A run's folder: what was asked (`run.yaml`), what happened (`run.jsonl`), and how it is resumed.

A frame is complete when all its files have their final names *and* its line, with their sizes and checksums, stands in
`run.jsonl`; files get their final names by renaming, so nothing half-written is ever taken for complete. A folder
that comes from elsewhere is not trusted: a line that is no record is dropped, and its frame is made again.
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
_FREE = ("skip_damaged",)  # keys of a configuration that say which frames are made, and not what is in them
_MOST_SHOWN = 60  # characters of a value in a message

_Finite = Annotated[float, Field(ge=-1e15, le=1e15)]


class _File(BaseModel):
    """Size and time of a file when it was finished."""

    model_config = ConfigDict(frozen=True, strict=True)

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class _Record(BaseModel):
    """A line of `run.jsonl`; more is allowed and kept."""

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
    """The folder of one run, owned until `close`; `complete` maps the numbers of finished frames to their records.

    `notes`: sentences for the user about what was found there. A context manager, which closes at its end.
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
        """Create the folder, or resume in it if it holds a run of the same `configuration` (but for what has no effect
        on the frames), and own its `frames` (None: all of them).

        `notes` are recorded and may differ between resumptions (how many frames were asked for). A line of the log
        without the keys `needed` is none. Raises InputError where the folder cannot be written, holds another
        configuration and a frame of it, or holds files that are not a run's, and `overwrite` is off; with `overwrite`
        the old run is removed first, and no file beside it. Raises RunError where another process is at work on any
        of the frames, or on any at all and the run would be removed.
        """
        requested = _plain(configuration)
        _make_folder(path)
        _check_log(path / _LOG)
        pieces = None if frames is None else frozenset(frames)
        differs = _differs(path, command, requested)
        if differs is not None and not overwrite and _holds_frames(path):
            raise differs
        # Whoever removes a run owns all of it first.
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
                    raise late  # another command was faster
                _drop_cut_line(path / _LOG)
                if ownership.alone:  # or it may be what another machine is writing
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
        """Let others work here; a second call does nothing."""
        self._ownership.release()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def refresh(self) -> None:
        """Read the log again: machines that share the folder may have finished frames meanwhile."""
        self._records = {
            number: record
            for number, record in _read_log(self.path / _LOG)
            if all(record.get(key) is not None for key in self._needed)
        }

    @property
    def complete(self) -> Mapping[int, dict[str, Any]]:
        return self._records

    def is_complete(self, number: int, files: Iterable[Path]) -> bool:
        """Whether frame `number` was recorded, and all its `files` are there and what they were then.

        A note is added where one is damaged. A record of an earlier version has no checksums: there a file counts
        unless it is empty.
        """
        if number not in self._records:
            return False
        stored = self._records[number].get("files") or {}
        # A frame may have more volumes than the caller names: a .uni file holds one field, and has siblings.
        volumes = (self.path / name for name in stored if re.fullmatch(r"(frames|coarse)/[^/\\]+", name))
        for file in dict.fromkeys((*files, *volumes)):
            problem = _damage(file, stored.get(self._name(file)))
            if problem:
                self.notes.append(f"{file}: {problem}; frame {number} is computed again")
                return False
        return True

    def record(self, number: int, record: Mapping[str, Any], files: Iterable[Path] = ()) -> None:
        """Append one frame's line to `run.jsonl`, with the sizes and checksums of its `files`. On return it is on the
        disk. Raises RunError for a file that does not exist.
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
        """A file's name in the log."""
        return f"{file.parent.name}/{file.name}"


def _describe(file: Path) -> dict[str, Any]:
    size, sha = 0, hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(1 << 20):
            size += len(block)
            sha.update(block)
    return {"bytes": size, "sha256": sha.hexdigest()}


def _damage(file: Path, stored: Mapping[str, Any] | None) -> str:
    """The problem of a finished frame's file; empty if there is none."""
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
    """The error to raise where the run at `path` is not of this command and configuration; None where it is, or where
    there is no run.
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
    """The first key whose value differs, as `key is OLD there and NEW here`; empty if there is none."""
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
    """Whether the folder is empty except for what a run leaves if it is stopped before it writes `run.yaml`."""
    for entry in path.iterdir():
        if entry.name == "frames" and entry.is_dir():
            if any(entry.iterdir()):
                return False
        elif not (is_lock(entry.name) or (is_unfinished(entry.name) and "run" in entry.name)):
            return False
    return True


def _holds_frames(path: Path) -> bool:
    """Whether the folder has anything that somebody may miss: a finished frame, or a line about one."""
    log = path / _LOG
    if log.exists() and log.stat().st_size:
        return True
    return any(not is_unfinished(file.name) for side in (*_SIDES, _PICTURES) for file in _within(path / side))


def _within(folder: Path) -> Iterator[Path]:
    """The files in a run's subfolder; none where it is a link to somewhere else."""
    if folder.is_dir() and not folder.is_symlink():
        yield from sorted(folder.iterdir())


def _remove_run(path: Path) -> None:
    """Remove what a run leaves: a user's own file in the folder, or in those below it, stays."""
    logged = {name for _, record in _read_log(path / _LOG) for name in record.get("files") or ()}
    for side in (*_SIDES, _PICTURES):
        for file in _within(path / side):
            known = _PICTURE if side == _PICTURES else _FRAME
            ours = f"{side}/{file.name}" in logged or known.fullmatch(file.name)
            if ours or is_unfinished(file.name):
                file.unlink(missing_ok=True)
        with suppress(OSError):
            (path / side).rmdir()
    crash.remove(path)
    coarse_exchange.remove_all(path)
    for pattern in (_LOG, "preview.png", "preview.mp4", ".state_*.safetensors", _SPEC):
        for file in path.glob(pattern):
            file.unlink()


class _RunLoader(yaml.SafeLoader):
    """PyYAML's safe loader without aliases, which `run.yaml` never has, and with bounded depth."""

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
    """Whether a run has written into `folder`."""
    return (folder / _SPEC).is_file() and (folder / _LOG).is_file()


def read_spec(folder: Path) -> dict[str, Any]:
    """The contents of a run's `run.yaml`. Raises InputError where it cannot be read."""
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
    """Raise InputError for a log that is a pipe or a device: whoever opens one may wait for ever."""
    try:
        check_regular(log)
    except FileNotFoundError:
        pass
    except OSError as error:
        remedy = "remove it, or give another `output`"
        raise InputError(str(log), f"cannot be read ({error.strerror})", remedy) from error


def _drop_cut_line(log: Path) -> None:
    """Shorten the log to its last whole line: the next record would be appended to a truncated line."""
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
    """The records in the order of the log; what is none (cut off by a stop, or from elsewhere) is left out."""
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
    """Make the folder of a run. Raises InputError where it cannot be written, or holds other files."""
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
    """Through JSON and back, so that what is compared is what was stored (tuples become lists)."""
    return json.loads(json.dumps(value, default=str))
