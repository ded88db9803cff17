"""Files that appear complete under their final name, or not at all."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fluidsr.errors import FluidsrError, InputError, RunError

_UNFINISHED = re.compile(r"(\..*\.)[0-9a-f]{8}\.part(\.\w+)?")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_BAD_PATH = {
    errno.ENOENT: ("the folder does not exist", "create it, or name another one"),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "name another folder"),
    errno.EISDIR: ("it is a folder", "name a file"),
    errno.EACCES: ("permission denied", "choose a folder that you may write to"),
    errno.EPERM: ("permission denied", "choose a folder that you may write to"),
    errno.EROFS: ("the file system is read-only", "choose a folder that you may write to"),
    errno.ENAMETOOLONG: ("the name is too long", "give a shorter one"),
}


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path`, on any failure it is removed.

    The temporary name is hidden and keeps the suffix (some writers choose their format by it). Whatever was
    under `path` stays untouched until the replacement, which is atomic. Contents are on the disk before the name is,
    so that a power failure leaves no empty file under it. Raises InputError for a path that cannot be written to,
    RunError for a full disk or a failing device.
    """
    final = Path(path)
    temporary = final.with_name(f"{_prefix(final)}{secrets.token_hex(4)}.part{final.suffix}")
    try:
        if final.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(final))
        yield temporary
        _flush(temporary)
        temporary.replace(final)
        _flush_folder(final.parent)
    except OSError as error:
        raise write_error(final, error) from error
    finally:
        # After a success the name is gone already; KeyboardInterrupt and the like end here too.
        with suppress(OSError):
            temporary.unlink()


def is_unfinished(name: str) -> bool:
    """Whether a file of this name is one that `replacing` makes, or left behind when its process was killed."""
    return _UNFINISHED.fullmatch(name) is not None


def remove_unfinished(folder: Path, of: Iterable[Path] | None = None) -> None:
    """Remove what processes that were killed left in `folder` (`of`: only what they left of these files in it); for
    its owner, when no other one is alive."""
    targets = None if of is None else {(_prefix(path), path.suffix) for path in of}
    if folder.is_dir() and not folder.is_symlink():
        for file in folder.iterdir():
            name = _UNFINISHED.fullmatch(file.name)
            if name and (targets is None or (name[1], name[2] or "") in targets):
                file.unlink(missing_ok=True)


def _prefix(final: Path) -> str:
    return f".{final.stem[:80]}."


def _flush(path: Path) -> None:
    """Have the contents of a file on the disk; a full disk may show only here."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(path: Path) -> None:
    """Have the names in a folder on the disk, where the system can do that (Windows cannot)."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class _CallerError:
    """Remembers the OSError raised within it."""

    error: OSError | None = None

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            self.error = error


@contextmanager
def passing_callers_errors() -> Iterator[_CallerError]:
    """Around `replacing`, where a caller makes the contents: an OSError within `with caller:` is not about this file,
    and passes unchanged instead of as an error of `replacing`.
    """
    caller = _CallerError()
    try:
        yield caller
    except FluidsrError:
        if caller.error is not None:
            raise caller.error from None
        raise


def write_error(path: str | os.PathLike[str], error: OSError) -> FluidsrError:
    """The error to raise where writing `path` met `error`: InputError for a bad path, RunError for the
    rest.
    """
    label = os.fspath(path)
    if error.errno in _FULL:
        return RunError(label, "the disk is full", "free some space, or write to another disk")
    if error.errno in _BAD_PATH:
        return InputError(label, *_BAD_PATH[error.errno])
    return RunError(label, f"cannot be written ({error.strerror or error})", "check the disk")


def check_regular(path: str | os.PathLike[str]) -> None:
    """Raise OSError where there is no file, or one that is neither a file nor a folder: to open a named pipe is to wait
    for its other end, and a device may never end."""
    mode = Path(path).stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "it is not a regular file")
