"""One bar on a terminal or in a notebook, plain lines elsewhere, nothing when asked to be quiet."""

from __future__ import annotations

import html
import sys
import time
from types import TracebackType
from typing import Any

from fluidsr.errors import escaped


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return type(shell).__name__ == "ZMQInteractiveShell"


class NotebookBar:
    """A bar below a notebook's cell, by HTML alone: no widgets are needed."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, done: int, total: int, text: str) -> None:
        """Draw the bar, in place of the one before."""
        from IPython.display import HTML, display

        bar = f'<progress value="{done}" max="{total}"></progress> {done}/{total} {html.escape(text)}'
        if self._handle is None:
            self._handle = display(HTML(bar), display_id=True)
        else:
            self._handle.update(HTML(bar))


class Progress:
    """Count `total` pieces of work of a named kind; shows how many, how fast, and the time left.

    On a terminal and in a notebook it is one live bar; elsewhere, a plain line at most every `interval` seconds and one
    for the last piece. Usable as a context manager; `note` prints a line that stays.
    """

    def __init__(
        self, total: int, unit: str = "frames", *, quiet: bool = False, done: int = 0, interval: float = 5.0
    ) -> None:
        self.total, self.unit, self.quiet, self.interval = total, unit, quiet, interval
        self.done, self._resumed = done, done
        self._started = self._printed = time.monotonic()
        self._bar = None
        self._notebook = NotebookBar() if not quiet and in_notebook() else None
        if not quiet and self._notebook is None and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn(f"{unit}  {{task.fields[rate]}}  {{task.description}}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task("", total=total, completed=done, rate="")

    def __enter__(self) -> Progress:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def start_at(self, done: int) -> None:
        """Say that `done` pieces were there before; the rate counts from now."""
        self.done = self._resumed = done
        self._started = time.monotonic()

    def advance(self, message: str = "", count: int = 1) -> None:
        """Say that `count` more pieces are done, with a short remark about the last one."""
        self.done += count
        now = time.monotonic()
        rate = (self.done - self._resumed) / max(now - self._started, 1e-9)
        speed = f"{rate:.2f}/s" if rate >= 1 else f"{1 / rate:.1f} s each" if rate > 0 else "-"
        message = escaped(message)
        if self._bar:
            self._bar.update(self._task, completed=self.done, description=message, rate=speed)
            return
        if self._notebook:
            self._notebook.show(self.done, self.total, f"{self.unit}  {speed}  {message}")
            return
        if self.quiet or (now - self._printed < self.interval and self.done < self.total):
            return
        self._printed = now
        remaining = f"  {(self.total - self.done) / rate:.0f} s left" if rate > 0 else ""
        remark = f"  {message}" if message else ""
        print(f"{self.unit} {self.done}/{self.total}  {speed}{remaining}{remark}", flush=True)

    def note(self, line: str) -> None:
        """Print one line that stays on the screen; nothing when quiet."""
        if self.quiet:
            return
        line = escaped(line)
        if self._bar:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, flush=True)
