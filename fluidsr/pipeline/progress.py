"""Progress of a command: one bar on a terminal or in a notebook, plain lines elsewhere, events for programs, nothing
when quiet."""

from __future__ import annotations

import html
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Protocol

from fluidsr.errors import escaped
from fluidsr.pipeline.events import Event, note_event, progress_event

LOG = logging.getLogger(__name__)
_EVENT_INTERVAL = 0.1  # s


class Display(Protocol):
    """Shows one Progress to somebody."""

    def open(self) -> None:
        """The work begins."""

    def show(self, progress: Progress, message: str) -> None:
        """Show how far it is, with a remark about the last piece."""

    def note(self, line: str) -> None:
        """Show a line that stays."""

    def close(self) -> None:
        """The work has ended."""


def automatic(progress: Progress) -> Display:
    """A bar in a notebook and where stderr is a terminal, else plain lines."""
    if in_notebook():
        return NotebookBar()
    return Bar(progress) if sys.stderr.isatty() else Lines(progress)


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return type(shell).__name__ == "ZMQInteractiveShell"


_new_display: ContextVar[Callable[[Progress], Display]] = ContextVar("_new_display", default=automatic)


@contextmanager
def shown_by(new_display: Callable[[Progress], Display]) -> Iterator[None]:
    """Within, every Progress is shown by what `new_display` makes for it."""
    token = _new_display.set(new_display)
    try:
        yield
    finally:
        _new_display.reset(token)


class Progress:
    """Counts pieces of work, and shows the count, the speed and the time left on stderr. A context manager.

    `note` shows a line that stays. Without a terminal or a notebook there are plain lines. All goes to the log, too.

    Args:
        total: number of pieces.
        unit: name of the pieces, plural.
        stage: the command that does the work.
        quiet: show nothing.
        done: number of pieces that are done already, when a run is resumed.
        interval: shortest time between plain lines, s; the last piece always has a line.
    """

    def __init__(
        self,
        total: int,
        unit: str = "frames",
        *,
        stage: str = "",
        quiet: bool = False,
        done: int = 0,
        interval: float = 5.0,
    ) -> None:
        self.total, self.unit, self.stage, self.interval = total, unit, stage, interval
        self.done, self._resumed = done, done
        self._started = time.monotonic()
        self._display = None if quiet else _new_display.get()(self)

    def __enter__(self) -> Progress:
        if self._display:
            self._display.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._display:
            self._display.close()

    @property
    def rate(self) -> float:
        """Pieces per second, of those that this process made."""
        return (self.done - self._resumed) / max(time.monotonic() - self._started, 1e-9)

    @property
    def speed(self) -> str:
        """The rate as people read it; `-` while there is none."""
        rate = self.rate
        return f"{rate:.2f}/s" if rate >= 1 else f"{1 / rate:.1f} s each" if rate > 0 else "-"

    @property
    def seconds_left(self) -> float | None:
        """None while nothing is known of the rate."""
        rate = self.rate
        return (self.total - self.done) / rate if rate > 0 else None

    def start_at(self, done: int) -> None:
        """Say that `done` pieces were there before; the rate counts from now."""
        self.done = self._resumed = done
        self._started = time.monotonic()

    def advance(self, message: str = "", count: int = 1) -> None:
        """Say that `count` more pieces are done, with a short remark about the last one."""
        self.done += count
        message = escaped(message)
        LOG.debug("%s %s %d/%d  %s", self.stage, self.unit, self.done, self.total, message)
        if self._display:
            self._display.show(self, message)

    def note(self, line: str) -> None:
        """Show one line that stays on the screen; nothing when quiet."""
        line = escaped(line)
        LOG.info("%s", line)
        if self._display:
            self._display.note(line)


class Bar:
    """One live bar on stderr."""

    def __init__(self, progress: Progress) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._bar = RichProgress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(f"{progress.unit}  {{task.fields[rate]}}  {{task.description}}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task("", total=progress.total, completed=progress.done, rate="")

    def open(self) -> None:
        self._bar.start()

    def show(self, progress: Progress, message: str) -> None:
        self._bar.update(self._task, completed=progress.done, description=message, rate=progress.speed)

    def note(self, line: str) -> None:
        self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        self._bar.stop()


class NotebookBar:
    """A bar below a notebook's cell, by HTML alone: no widgets are needed."""

    def __init__(self) -> None:
        self._handle: Any = None

    def open(self) -> None:
        """The bar comes with the first piece."""

    def show(self, progress: Progress, message: str) -> None:
        from IPython.display import HTML, display

        done, total = progress.done, progress.total
        text = html.escape(f"{progress.unit}  {progress.speed}  {message}")
        bar = f'<progress value="{done}" max="{total}"></progress> {done}/{total} {text}'
        if self._handle is None:
            self._handle = display(HTML(bar), display_id=True)
        else:
            self._handle.update(HTML(bar))

    def note(self, line: str) -> None:
        print(line)

    def close(self) -> None:
        """The bar stays."""


class Lines:
    """Plain lines on stderr."""

    def __init__(self, progress: Progress) -> None:
        self._printed = time.monotonic()
        self._last = ""

    def open(self) -> None:
        """The first line comes with the first piece."""

    def show(self, progress: Progress, message: str) -> None:
        now = time.monotonic()
        if now - self._printed < progress.interval and progress.done < progress.total:
            return
        self._printed = now
        left = progress.seconds_left
        remaining = "" if left is None else f"  {left:.0f} s left"
        remark = f"  {message}" if message else ""
        line = f"{progress.unit} {progress.done}/{progress.total}  {progress.speed}{remaining}{remark}"
        if line != self._last:  # substeps of a warm-up repeat theirs for minutes
            print(line, file=sys.stderr, flush=True)
        self._last = line

    def note(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Lines stay."""


class Events:
    """Events for a program, at most ten a second and one for the last piece."""

    def __init__(self, send: Callable[[Event], None]) -> None:
        self._send = send
        self._sent = float("-inf")

    def open(self) -> None:
        """The first event comes with the first piece."""

    def show(self, progress: Progress, message: str) -> None:
        now = time.monotonic()
        if now - self._sent < _EVENT_INTERVAL and progress.done < progress.total:
            return
        self._sent = now
        self._send(
            progress_event(
                progress.stage, progress.unit, progress.done, progress.total, progress.seconds_left, message
            )
        )

    def note(self, line: str) -> None:
        self._send(note_event(line))

    def close(self) -> None:
        """The command's end is an event of its own."""
