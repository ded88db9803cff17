"""Progress for programs while a command runs: events, each one line of JSON.

The same events go to stderr with `--progress json`, and to the clients of `fluidsr serve`. docs/worker.md lists them.
"""

from __future__ import annotations

import errno
from typing import Any, TypeAlias

from fluidsr.errors import FluidsrError, printable

Event: TypeAlias = dict[str, Any]


def progress_event(
    stage: str, unit: str, done: int, total: int, seconds_left: float | None, message: str
) -> Event:
    """`done` pieces of work of `total` (`unit` says of what) are complete; `seconds_left` is None while unknown."""
    left = None if seconds_left is None else round(seconds_left, 1)
    return {
        "event": "progress",
        "stage": stage,
        "frame": done,
        "of": total,
        "unit": unit,
        "seconds_left": left,
        "message": message,
    }


def note_event(line: str) -> Event:
    """A sentence for the user."""
    return {"event": "note", "message": line}


def error_event(error: BaseException, message: str, exit_code: int) -> Event:
    """A command failed; `where`, `what` and `remedy` are there for the errors of the library."""
    event = {
        "event": "error",
        "kind": type(error).__name__,
        "message": printable(message),
        "exit_code": exit_code,
    }
    if isinstance(error, FluidsrError):
        event |= {"where": error.where, "what": error.what, "remedy": error.remedy}
    return event


def failure(error: Exception) -> tuple[str, int]:
    """The line that an exception ends a command with, and the exit code."""
    if isinstance(error, FluidsrError):
        return str(error), error.exit_code
    if isinstance(error, OSError):
        label = error.filename or "the system"
        if error.errno == errno.ENAMETOOLONG:
            return f"{label}: the name is too long; give a shorter one", 2
        return f"{label}: {error.strerror or error}; see the output above, or add --debug", 1
    kind = type(error).__name__
    if kind in ("MemoryError", "OutOfMemoryError"):  # the latter is torch's, of a GPU
        return "not enough memory for this run; use a smaller domain or --tile, or set --max-memory", 1
    return f"internal error ({kind}: {error}); rerun with --debug and report the traceback", 1
