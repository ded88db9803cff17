"""Ownership of a folder: one process at a time writes each part of the work in it.

An owner holds `.owner-TOKEN.lock` through the operating system (`filelock`), which lets go of it when the process
ends, however it ends; `.owner-TOKEN.json` beside it names host, process and work for the messages of others. Owners
of different frames of one run share a folder: that is how a farm splits it. What is done under `exclusively` (looking
for other owners, appending to a log) takes milliseconds, and is done by one process at a time.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from fluidsr.atomic import check_regular, remove_unfinished, write_error
from fluidsr.errors import RunError

_MUTEX = ".lock"
_OWNERS = ".owner-*.lock"
_PATIENCE = 300.0  # s that a folder may be looked through or a log be written by others
_MOST_ATTEMPTS = 20
_MOST_BYTES = 1 << 20  # of an owner's description
_MOST_PIECES = 10**6


def is_lock(name: str) -> bool:
    """Whether a file of this name in a folder is one of this module's."""
    return name == _MUTEX or name.startswith(".owner-")


@contextmanager
def exclusively(folder: Path) -> Iterator[None]:
    """Hold the folder's mutex. Raises RunError where others hold it for five minutes."""
    busy = RunError(str(folder), "is in use by another process that makes no progress", "find it and stop it")
    with _held(folder / _MUTEX, _PATIENCE, busy):
        yield


@contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """Be the only one who writes the file `path`; what one that was killed left unfinished of it is removed. Raises
    RunError where another process is writing it, InputError where its folder cannot be written.
    """
    busy = RunError(str(path), "another process is writing it", "wait for it, or stop it")
    with _held(path.with_name(f".{path.name}.lock"), 0.0, busy):
        try:
            remove_unfinished(path.parent, [path])
        except OSError as error:
            raise write_error(path, error) from error
        yield


@contextmanager
def _held(path: Path, patience: float, busy: RunError) -> Iterator[None]:
    """Hold the lock `path`, which exists only meanwhile. Raises `busy` after `patience` seconds."""
    for attempt in count():
        before = _inode(path)
        lock = FileLock(path, timeout=patience, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            raise busy from None
        except OSError as error:
            raise write_error(path.parent, error) from error
        # Whoever held it removed the file: what was waited for may be a file without a name. Where the system has no
        # locks, `filelock` uses the file's existence, and it is never there before.
        if before == _inode(path) or (before is None and attempt > _MOST_ATTEMPTS):
            break
        lock.release()
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        lock.release()


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None


@dataclass(frozen=True)
class _Owner:
    host: str
    process: int | None
    work: str
    pieces: frozenset[int] | None

    def __str__(self) -> str:
        return f"process {self.process or '?'} on {self.host}"

    def overlaps(self, pieces: frozenset[int] | None) -> bool:
        return self.pieces is None or pieces is None or bool(self.pieces & pieces)


class Ownership:
    """This process writes `pieces` (frame numbers; None: everything) of what is in `folder`, and no other process does.

    `alone`: whether no other process worked in the folder when it was taken; `notes`: sentences for the user about
    owners that ended without letting go. A context manager, which lets go at its end.
    """

    def __init__(
        self, folder: Path, token: str, work: str, lock: Any, alone: bool, notes: tuple[str, ...]
    ) -> None:
        self.folder, self.alone, self.notes = folder, alone, notes
        self._token, self._work, self._lock = token, work, lock

    @classmethod
    def take(cls, folder: Path, work: str, pieces: Iterable[int] | None = None) -> Ownership:
        """Become the owner; `work` says in a few words of what. The folder must exist.

        What owners left that are no longer alive is recovered. Raises RunError where one that is alive has any of
        `pieces`, InputError where the folder cannot be written.
        """
        claimed = None if pieces is None else frozenset(pieces)
        with exclusively(folder):
            living, notes = _look(folder)
            for owner in living:
                if owner.overlaps(claimed):
                    raise RunError(
                        str(folder), f"{owner} is working on it ({owner.work})", "wait for it, or stop it"
                    )
            token = secrets.token_hex(4)
            lock = FileLock(folder / f".owner-{token}.lock", thread_local=False)
            try:
                lock.acquire(timeout=0)
                _describe(folder, token, work, claimed)
            except OSError as error:
                _remove(folder, token, lock)
                raise write_error(folder, error) from error
        return cls(folder, token, work, lock, not living, tuple(notes))

    def narrow(self, pieces: Iterable[int] | None) -> None:
        """Leave all but `pieces` to others."""
        with exclusively(self.folder):
            _describe(self.folder, self._token, self._work, None if pieces is None else frozenset(pieces))

    def release(self) -> None:
        """Let go; a second call does nothing."""
        if self._lock.is_locked:
            _remove(self.folder, self._token, self._lock)

    def __enter__(self) -> Ownership:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _look(folder: Path) -> tuple[list[_Owner], list[str]]:
    """The owners that are alive, and a sentence about each that is not; what the latter left is removed."""
    living, notes = [], []
    for path in sorted(folder.glob(_OWNERS)):
        token = path.name.removeprefix(".owner-").removesuffix(".lock")
        owner = _described(folder / f".owner-{token}.json")
        lock = FileLock(path, thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            living.append(owner)
            continue
        except OSError as error:
            raise write_error(path, error) from error
        _remove(folder, token, lock)
        notes.append(
            f"{folder}: {owner} ended in the middle of its work ({owner.work}); the folder has been recovered"
        )
    for path in folder.glob(".owner-*.json"):
        if not path.with_suffix(".lock").exists():
            path.unlink(missing_ok=True)
    return living, notes


def _remove(folder: Path, token: str, lock: Any) -> None:
    for suffix in ("json", "lock"):
        with suppress(OSError):
            (folder / f".owner-{token}.{suffix}").unlink()
    lock.release()


def _describe(folder: Path, token: str, work: str, pieces: frozenset[int] | None) -> None:
    description = {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "work": work,
        "pieces": None if pieces is None else _ranges(pieces),
    }
    (folder / f".owner-{token}.json").write_text(json.dumps(description), encoding="utf-8")


def _described(path: Path) -> _Owner:
    """The claim of an owner; one with an invalid claim owns everything."""
    try:
        check_regular(path)
        with path.open("rb") as file:
            claim = json.loads(file.read(_MOST_BYTES))
        pieces = claim["pieces"]
        if pieces is not None:
            ranges = [range(int(first), int(last) + 1) for first, last in pieces]
            several = sum(map(len, ranges)) <= _MOST_PIECES
            pieces = frozenset(number for numbers in ranges for number in numbers) if several else None
        return _Owner(str(claim["host"])[:80], int(claim["process"]), str(claim["work"])[:80], pieces)
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return _Owner("an unknown host", None, "unknown", None)


def _ranges(pieces: frozenset[int]) -> list[list[int]]:
    ranges: list[list[int]] = []
    for number in sorted(pieces):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ranges
