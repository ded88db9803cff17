"""Service: a queue of requests, which are executed one after the other in the main thread."""

from __future__ import annotations

import logging
import queue
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

from fluidsr.errors import FluidsrError, InputError, RunError
from fluidsr.pipeline import progress
from fluidsr.pipeline.events import Event, error_event, failure
from fluidsr.pipeline.worker import requests
from fluidsr.pipeline.worker.requests import Request
from fluidsr.signals import Stopped

LOG = logging.getLogger(__name__)
_MOST_WAITING = 64
# The signal that interrupts a request. Not SIGINT where possible, so that Ctrl-C still ends the process.
_CANCEL = getattr(signal, "SIGUSR1", signal.SIGINT)


@dataclass(eq=False)
class QueuedRequest:
    """A request that is waiting or running. `client` identifies the sender; `send` takes the events."""

    client: object
    request: Request
    arguments: dict[str, Any]
    send: Callable[[Event], None]
    cancelled: bool = False


class Service:
    """Accepts requests from any thread, and executes them in `run`.

    It must be created in the main thread, which also calls `run`, because it installs a signal handler.
    """

    def __init__(self) -> None:
        self._queue: queue.Queue[QueuedRequest | None] = queue.Queue()
        self._jobs: list[QueuedRequest] = []
        self._running: QueuedRequest | None = None
        self._lock = threading.Lock()
        self._ends = False
        signal.signal(_CANCEL, self._interrupt)

    def submit(self, client: object, request: Request, send: Callable[[Event], None]) -> None:
        """Queue a request; `cancel`, `hello` and `shutdown` are answered at once. Its events go to `send`.

        Raises InputError for a wrong request or an id that is in use, RunError if too many requests are waiting.
        """
        arguments = requests.parse(request)
        if request.request == "cancel":
            send(result_event({"cancelled": self._cancel(client, arguments["id"])}))
        elif request.request == "shutdown":
            send(result_event({}))
            self.end()
        elif request.request == "hello":
            _check_protocol(arguments["protocol"])
            send(result_event({"protocol": requests.PROTOCOL}))
        else:
            self._put(QueuedRequest(client, request, arguments, send))

    def _put(self, job: QueuedRequest) -> None:
        with self._lock:
            if any((job.client, job.request.id) == (other.client, other.request.id) for other in self._jobs):
                raise InputError(
                    "id",
                    f"{job.request.id!r} is the id of a request that is waiting or running",
                    "give another id",
                )
            if len(self._jobs) >= _MOST_WAITING:
                raise RunError("worker", f"{_MOST_WAITING} requests are waiting", "wait for them, or cancel")
            self._jobs.append(job)
        self._queue.put(job)

    def forget(self, client: object) -> None:
        """Cancel the requests of a client that has disconnected."""
        with self._lock:
            ids = [job.request.id for job in self._jobs if job.client is client]
        for number in ids:
            self._cancel(client, number)

    def end(self) -> None:
        """Make `run` return. All requests are cancelled, and the running one is interrupted."""
        self._ends = True
        with self._lock:
            clients = {id(job.client): job.client for job in self._jobs}
        for client in clients.values():
            self.forget(client)
        self._queue.put(None)

    def _cancel(self, client: object, number: str | int) -> bool:
        """Cancel the requests of `client` with this id. Returns whether there are any."""
        with self._lock:
            jobs = [job for job in self._jobs if job.client is client and job.request.id == number]
            interrupted = [job for job in jobs if not job.cancelled]
            for job in interrupted:
                job.cancelled = True
        if self._running in interrupted:  # only the first time, so that its clean-up is not interrupted
            _signal_main_thread()
        return bool(jobs)

    def run(self) -> None:
        """Execute requests until `end` is called. Raises Stopped if a signal ends the process."""
        while not self._ends:
            job = self._queue.get()
            if job is not None:
                self._do(job)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        """The signal handler. A signal that arrives after its request has finished does nothing."""
        if self._running is not None and self._running.cancelled:
            raise Stopped

    def _do(self, job: QueuedRequest) -> None:
        """Execute a request and send its last event: `result`, `error` or `cancelled`."""
        event: Event = {"event": "cancelled"}
        LOG.info("%s %s", job.request.request, job.request.arguments)
        try:
            try:
                self._running = job  # set before `cancelled` is read: a later cancel sends the signal
                if not job.cancelled:
                    event = result_event(self._call(job))
            finally:
                self._running = None
        except KeyboardInterrupt:
            if not job.cancelled:
                raise
        except Exception as error:
            message, code = failure(error)
            expected = isinstance(error, FluidsrError)
            LOG.error("%s", message, exc_info=None if expected else error)
            event = error_event(error, message, code)
        with self._lock:
            self._jobs.remove(job)
        job.send(event)

    def _call(self, job: QueuedRequest) -> dict[str, Any]:
        """Call the function of a request; its progress goes to the client as events."""
        with progress.shown_by(lambda _: progress.Events(job.send)):
            return requests.function_of(job.request.request)(**job.arguments)


def _signal_main_thread() -> None:
    """Send `_CANCEL` to the main thread."""
    if sys.platform == "win32":
        signal.raise_signal(_CANCEL)  # Python's handlers run in the main thread, wherever the signal arrives
    else:
        signal.pthread_kill(threading.main_thread().ident or 0, _CANCEL)


def result_event(result: dict[str, Any]) -> Event:
    """The last event of a request that has succeeded."""
    return {"event": "result", "result": result}


def _check_protocol(number: int) -> None:
    """Raise InputError for another version of the protocol."""
    if number != requests.PROTOCOL:
        raise InputError(
            "protocol",
            f"the worker uses protocol {requests.PROTOCOL}, not {number}",
            "install the same version of fluidsr on both sides",
        )
