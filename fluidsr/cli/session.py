"""One call of the command line: how its progress, its log and its errors are shown."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import click

from fluidsr import __version__
from fluidsr.errors import InputError, escaped, printable
from fluidsr.pipeline import progress
from fluidsr.pipeline.events import Event, error_event

_LOG = logging.getLogger("fluidsr")


class Session:
    """What the options of every command set; click hands it to their callbacks. On exit loggers are as they were."""

    def __init__(self, arguments: Sequence[str] = ()) -> None:
        self.arguments = arguments
        self.debug = False
        self.sends_events = False
        self.context: click.Context | None = None  # of the command, which knows where its options come from
        self._stack = ExitStack()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @staticmethod
    def set_debug(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        """Callback of --debug."""
        _of(context).debug |= value

    @staticmethod
    def show_progress(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
        """Callback of --progress."""
        session = _of(context)
        session.sends_events = value == "json"
        displays: dict[str, Callable[[progress.Progress], progress.Display]] = {
            "bar": progress.Bar,
            "plain": progress.Lines,
            "json": lambda _: progress.Events(send),
        }
        if value is not None:
            session._stack.enter_context(progress.shown_by(displays[value]))

    @staticmethod
    def show_log(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        """Callback of --verbose. Notes and progress are on stderr without it."""
        if value:
            handler = _ToStderr(_of(context))
            handler.addFilter(lambda record: record.name != progress.LOG.name)
            _of(context)._log_to(handler)

    @staticmethod
    def write_log(context: click.Context, parameter: click.Parameter, value: Path | None) -> None:
        """Callback of --log-file."""
        if value is None:
            return
        try:
            handler = logging.FileHandler(value, encoding="utf-8")
        except OSError as error:
            raise InputError(
                "--log-file", f"{value} cannot be written ({error.strerror})", "give another file"
            ) from None
        handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        session = _of(context)
        session._log_to(handler)
        _LOG.info("fluidsr %s: %s", __version__, shlex.join(session.arguments))

    def _log_to(self, handler: logging.Handler) -> None:
        before = _LOG.level

        def remove() -> None:
            _LOG.removeHandler(handler)
            _LOG.setLevel(before)
            handler.close()

        _LOG.addHandler(handler)
        _LOG.setLevel(logging.DEBUG)
        self._stack.callback(remove)

    def fail(self, error: BaseException, message: str, exit_code: int) -> None:
        """End the process with one line on stderr, or one event."""
        line = printable(message)
        _LOG.error("%s", line, exc_info=error)
        if self.sends_events:
            send(error_event(error, message, exit_code))
        else:
            click.echo(f"Error: {line}", err=True)
        sys.exit(exit_code)


def _of(context: click.Context) -> Session:
    session = context.ensure_object(Session)
    session.context = context
    return session


def send(event: Event) -> None:
    """Write an event to stderr."""
    from fluidsr.json_values import to_json

    click.echo(to_json(event), err=True)


class _OneLine(logging.Formatter):
    """Messages may hold text from files: no control characters, and one line each, except for tracebacks."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = escaped(record.message)
        return super().formatMessage(record)

    def formatException(self, error: Any) -> str:
        return "\n".join(map(escaped, super().formatException(error).split("\n")))


class _ToStderr(logging.Handler):
    """Records on stderr, as events where the session sends events."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session

    def emit(self, record: logging.LogRecord) -> None:
        message = escaped(record.getMessage())
        if record.name == _LOG.name:
            return  # the command line knows itself, and its last line
        if self._session.sends_events:
            send({"event": "log", "logger": record.name, "level": record.levelname, "message": message})
        else:
            click.echo(f"{record.name}: {message}", err=True)
