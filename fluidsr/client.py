"""Client: asks a fluidsr worker (`fluidsr serve`) for work, from any Python program.

    with Client.start() as client:
        client.call("upsample", inputs=["/cache/smoke_####.vdb"], output="/cache/fine", formats=["vdb"])

This file needs the standard library alone (and NumPy for arrays), so that programs with a Python of their own can carry
it. docs/worker.md lists requests and events.
"""

from __future__ import annotations

import itertools
import json
import queue
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.shared_memory import SharedMemory

PROTOCOL = 1
_PATIENCE = 30.0  # s that a worker has for stopping what it does


class WorkerError(Exception):
    """The worker could not do a request; `str()` is `where: what; remedy`, `kind` the name of the worker's error."""

    def __init__(self, message: str, kind: str = "WorkerError", exit_code: int = 1) -> None:
        super().__init__(message)
        self.kind, self.exit_code = kind, exit_code


class RequestCancelled(Exception):
    """The request was cancelled."""


class Job:
    """A request that was sent."""

    def __init__(self, client: Client, number: int) -> None:
        self._client, self.number = client, number
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()

    def poll(self) -> Iterator[dict[str, Any]]:
        """The events that have come since the last call; does not wait."""
        while True:
            try:
                yield self._events.get_nowait()
            except queue.Empty:
                return

    def wait(self, on_event: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any]:
        """The result. `on_event` gets progress and notes. Raises WorkerError, or RequestCancelled."""
        while True:
            event = self._events.get()
            if is_last(event):
                return result_of(event)
            if on_event is not None:
                on_event(event)

    def cancel(self) -> None:
        """Ask the worker to stop it; its last event then is `cancelled`."""
        self._client.submit("cancel", id=self.number)


def is_last(event: Mapping[str, Any]) -> bool:
    """Whether the event ends its request."""
    return event["event"] in ("result", "error", "cancelled")


def result_of(event: Mapping[str, Any]) -> dict[str, Any]:
    """The result that the last event of a request brings. Raises WorkerError, or RequestCancelled."""
    if event["event"] == "cancelled":
        raise RequestCancelled
    if event["event"] == "error":
        raise WorkerError(event["message"], event["kind"], event["exit_code"])
    result: dict[str, Any] = event["result"]
    return result


class Client:
    """A connection to a worker: one of its own (`start`), or one that listens on this machine (`connect`).

    Requests are done one after the other. Usable as a context manager; a worker of its own ends with it, and with the
    process.
    """

    def __init__(
        self,
        reader: IO[bytes],
        writer: IO[bytes],
        process: subprocess.Popen[bytes] | None = None,
        connection: socket.socket | None = None,
    ) -> None:
        self._reader, self._writer, self._process, self._socket = reader, writer, process, connection
        self._jobs: dict[int, Job] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._factors: dict[str, int] = {}
        self._alive = True
        self.ready: dict[str, Any] = {}  # what a worker of its own has said of itself
        self._heard = threading.Event()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @classmethod
    def start(cls, command: Sequence[str] = ("fluidsr",), **options: Any) -> Client:
        """Start a worker with the program `command`; returns at once. `options` go to `subprocess.Popen`."""
        try:
            process = subprocess.Popen(
                [*command, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options
            )
        except OSError as error:
            raise WorkerError(f"{command[0]}: cannot be started ({error.strerror}); check the path") from None
        assert process.stdin is not None and process.stdout is not None
        return cls(process.stdout, process.stdin, process)

    @classmethod
    def connect(cls, port: int, token: str) -> Client:
        """Connect to a worker that was started with `fluidsr serve --port`. Raises WorkerError."""
        try:
            connection = socket.create_connection(("127.0.0.1", port))
        except OSError as error:
            raise WorkerError(f"port {port}: no worker answers ({error.strerror}); start one") from None
        client = cls(connection.makefile("rb"), connection.makefile("wb"), connection=connection)
        client.call("hello", protocol=PROTOCOL, token=token)
        return client

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        """Whether the worker is there."""
        return self._alive

    def wait_until_ready(self, seconds: float) -> None:
        """Wait for the first word of a worker of its own. Raises WorkerError where there is none in time."""
        self._heard.wait(seconds)
        if not self.alive:
            raise WorkerError(self._ended())
        if not self.ready:
            raise WorkerError(f"fluidsr: no answer within {seconds:g} s; is it the program fluidsr?")

    def submit(self, request: str, **arguments: Any) -> Job:
        """Send a request, and return at once. Raises WorkerError where the worker has ended."""
        job = Job(self, next(self._numbers))
        line = json.dumps({"id": job.number, "request": request, "arguments": arguments}, allow_nan=False)
        with self._lock:
            if not self._alive:
                raise WorkerError(self._ended())
            self._jobs[job.number] = job
            try:
                self._writer.write(line.encode() + b"\n")
                self._writer.flush()
            except (OSError, ValueError):
                raise WorkerError(self._ended()) from None
        return job

    def call(
        self, request: str, on_event: Callable[[dict[str, Any]], None] | None = None, **arguments: Any
    ) -> dict[str, Any]:
        """Send a request and wait for its result; as `Job.wait`."""
        return self.submit(request, **arguments).wait(on_event)

    def upsample_arrays(
        self,
        arrays: Mapping[str, Any],
        *,
        model: str = "smoke3d-x4",
        previous: Any = None,
        **arguments: Any,
    ) -> dict[str, Any]:
        """Upsample the fields of one frame (NumPy arrays by name: `density [x, y, z]`, `velocity [3, x, y, z]` in m/s,
        ...) through shared memory. Returns those fields, `factor` times as long along each axis of the grid.

        `previous` is the fine density of the frame before, for a model that reads its own last one. `arguments` are
        those of the request: `cell_size` (m), `dt` (s), `detail`, `precision`, ... Raises WorkerError.
        """
        import numpy as np

        if "density" not in arrays:
            raise WorkerError("arrays: density is missing; give it with the other fields", "InputError", 2)
        if model not in self._factors:
            self._factors[model] = int(self.call("info", path=model)["factor"])
        factor = self._factors[model]
        dim = np.ndim(arrays["density"])
        shapes = {
            name: (*np.shape(values)[:-dim], *(factor * n for n in np.shape(values)[-dim:]))
            for name, values in arrays.items()
        }
        with _Shared() as shared:
            coarse = {name: shared.add(np.shape(values), values) for name, values in arrays.items()}
            fine = {name: shared.add(shape) for name, shape in shapes.items()}
            if previous is not None:
                arguments["previous"] = shared.add(np.shape(previous), previous)
            self.call("upsample_arrays", arrays=coarse, result=fine, model=model, **arguments)
            return {name: shared.copy(description) for name, description in fine.items()}

    def read(self, path: str, **arguments: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The fields of a volume file as NumPy arrays by name, and what else is known of it (`cell_size` and `origin`
        in m, `time` and `dt` in s). `arguments` are those of the request. Raises WorkerError."""
        about = self.call("read", path=path, **arguments)
        with _Shared() as shared:
            result = {name: shared.add(shape) for name, shape in about["shapes"].items()}
            self.call("read", path=path, **arguments, result=result)
            return {name: shared.copy(description) for name, description in result.items()}, about

    def close(self) -> None:
        """End the connection, and a worker of its own, which cancels what it does."""
        try:
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)
                self._socket.close()
            self._writer.close()
        except OSError:
            pass  # the worker has gone before
        if self._process is not None:
            try:
                self._process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._listener.join(_PATIENCE)
        if not self._listener.is_alive():
            self._reader.close()

    def _listen(self) -> None:
        try:
            for line in self._reader:
                event = json.loads(line)
                if event["event"] == "ready":
                    self.ready = event
                    self._heard.set()
                elif event["id"] is not None:
                    self._hand_on(event)
        except (OSError, ValueError, KeyError, TypeError):
            pass  # the connection has ended, or what is there is no worker
        with self._lock:
            self._alive = False
            waiting = list(self._jobs.values())
        self._heard.set()
        for job in waiting:
            end = {"event": "error", "kind": "WorkerError", "message": self._ended(), "exit_code": 1}
            job._events.put(end)

    def _hand_on(self, event: dict[str, Any]) -> None:
        with self._lock:
            number = event["id"]
            job = self._jobs.pop(number, None) if is_last(event) else self._jobs.get(number)
        if job is not None:
            job._events.put(event)

    def _ended(self) -> str:
        code = None if self._process is None else self._process.poll()
        state = "has ended" if code is None else f"has ended with exit code {code}"
        return f"fluidsr: the worker {state}; see what it has written to stderr, and start another"


class _Shared:
    """Blocks of shared memory for arrays, removed on exit."""

    def __init__(self) -> None:
        self._blocks: dict[str, SharedMemory] = {}

    def __enter__(self) -> _Shared:
        return self

    def __exit__(self, *error: object) -> None:
        with _untracked():
            for block in self._blocks.values():
                block.close()
                block.unlink()

    def add(self, shape: Sequence[int], values: Any = None) -> dict[str, Any]:
        """A float32 array, with `values`; described as the worker wants it."""
        from multiprocessing.shared_memory import (
            SharedMemory,
        )  # once imported, Blender 3.4 crashes when it ends

        size = 4
        for length in shape:
            size *= int(length)
        with _untracked():
            block = SharedMemory(create=True, size=size)
        self._blocks[block.name] = block
        if values is not None:
            self._view(block, shape)[...] = values
        return {"memory": block.name, "shape": [int(length) for length in shape]}

    def copy(self, description: Mapping[str, Any]) -> Any:
        """The values of an array that was added."""
        return self._view(self._blocks[description["memory"]], description["shape"]).copy()

    @staticmethod
    def _view(block: SharedMemory, shape: Sequence[int]) -> Any:
        import numpy as np

        return np.ndarray(shape, np.float32, block.buf)


@contextmanager
def _untracked() -> Iterator[None]:
    """Within, Python does not start its process that removes the shared memory of programs that die: it would be
    `sys.executable`, which in ParaView is no Python."""
    from multiprocessing import resource_tracker

    with _tracking:
        names = ("register", "unregister")
        before = {name: getattr(resource_tracker, name) for name in names}
        for name in names:
            setattr(resource_tracker, name, lambda *_: None)
        try:
            yield
        finally:
            for name, function in before.items():
                setattr(resource_tracker, name, function)


_tracking = threading.Lock()
