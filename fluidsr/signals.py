"""Signals that ask a command to stop: Ctrl-C, a scheduler's SIGTERM, the SIGHUP of a terminal that is closed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

STOPPING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
)


class Stopped(KeyboardInterrupt):
    """The signal `number` asked to stop; `exit_code` is 130 after Ctrl-C and 143 after the others."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__()
        self.number = number
        self.exit_code = 130 if number == signal.SIGINT else 143


def install() -> None:
    """Let every stopping signal raise Stopped; one that the parent process set to be ignored (`nohup`) stays
    ignored."""
    for number in STOPPING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _raise)


def _raise(number: int, frame: FrameType | None) -> None:
    raise Stopped(number)


class StopRequest:
    """Within, the first signal sets `requested`, which `raise_if_requested` raises; the second interrupts at once.

    A training cannot be resumed from the middle of a step, with one network updated and the other not. While
    `uninterrupted` no signal interrupts at all. Outside the main thread, where Python delivers no signals, nothing
    changes.
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._held = False
        self._before: dict[int, Any] = {}

    @property
    def requested(self) -> bool:
        return self._number is not None

    def raise_if_requested(self) -> None:
        """Raise Stopped, a KeyboardInterrupt, if it was asked for."""
        if self._number is not None:
            raise Stopped(self._number)

    @contextmanager
    def uninterrupted(self) -> Iterator[None]:
        """Within, signals wait: what is saved here is saved whole, however often the user asks to stop."""
        before, self._held = self._held, True
        try:
            yield
        finally:
            self._held = before

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._request)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        interrupt = self.requested and not self._held
        self._number = number
        if interrupt:
            raise Stopped(number)
