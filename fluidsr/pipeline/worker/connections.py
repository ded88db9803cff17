"""The connections of clients to a service: lines of JSON over pipes, or over a local socket with a token."""

from __future__ import annotations

import hmac
import json
import os
import secrets
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import BinaryIO, NoReturn

from pydantic import ValidationError

from fluidsr import __version__
from fluidsr.errors import FluidsrError, InputError
from fluidsr.json_values import to_json
from fluidsr.pipeline.events import Event, error_event, failure
from fluidsr.pipeline.worker import requests
from fluidsr.pipeline.worker.requests import Request
from fluidsr.pipeline.worker.service import Service

MAX_LINE = 1 << 20  # bytes
_MAX_FIRST_LINE = 1 << 12  # bytes; the client has not shown the token yet
_SECONDS_FOR_TOKEN = 10.0
_MOST_CONNECTIONS = 16


class Connection:
    """The connection of one client to a service: requests come from `reader`, events go to `writer`."""

    def __init__(self, reader: BinaryIO, writer: BinaryIO, service: Service) -> None:
        self._reader, self._writer, self._service = reader, writer, service
        self._lock = threading.Lock()

    def send(self, event: Event) -> None:
        """Write one event. Does nothing if the client has disconnected. Safe for threads."""
        with self._lock, suppress(OSError, ValueError):
            self._writer.write(to_json(event).encode() + b"\n")
            self._writer.flush()

    def serve(self) -> None:
        """Accept requests until the client disconnects; then its requests are cancelled."""
        try:
            for line in _lines(self._reader, MAX_LINE):
                self._take(line)
        finally:
            self._service.forget(self)

    def knows(self, token: str) -> bool:
        """Read the first request. Returns whether it is `hello` with the right token; if so, it is answered."""
        try:
            request = _parse(next(_lines(self._reader, _MAX_FIRST_LINE), b""))
            arguments = requests.parse(request)
        except FluidsrError:
            return False
        if request.request != "hello" or not hmac.compare_digest(arguments["token"].encode(), token.encode()):
            return False
        self._submit(request)
        return True

    def _take(self, line: bytes | None) -> None:
        try:
            request = _parse(line)
        except FluidsrError as error:
            self.send({"id": None, **error_event(error, *failure(error))})
            return
        self._submit(request)

    def _submit(self, request: Request) -> None:
        def send(event: Event) -> None:
            self.send({"id": request.id, **event})

        try:
            self._service.submit(self, request, send)
        except FluidsrError as error:
            send(error_event(error, *failure(error)))


def _lines(reader: BinaryIO, limit: int) -> Iterator[bytes | None]:
    """Yield lines of at most `limit` bytes, and None in place of each longer line."""
    while line := _line(reader, limit + 1):
        if len(line) <= limit:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = _line(reader, limit)
        yield None


def _line(reader: BinaryIO, size: int) -> bytes:
    """A line, or its first `size` bytes; empty at the end."""
    try:
        return reader.readline(size)
    except (OSError, ValueError):  # the client has disconnected
        return b""


def _parse(line: bytes | None) -> Request:
    """The request in a line. Raises InputError for a line that is too long (None) or is not a request."""
    if line is None:
        raise InputError("request", "the line is too long", f"send at most {MAX_LINE} bytes")
    try:
        request = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise InputError("request", "is not a line of JSON", "send one object a line, in UTF-8") from None
    try:
        return Request.model_validate(request)
    except ValidationError as error:
        raise requests.problem_of(error, request) from None


def _refuse(constant: str) -> NoReturn:
    """Reject NaN and Infinity, which Python's JSON parser would accept."""
    raise ValueError(constant)


def serve(port: int | None) -> None:
    """Serve the parent process over stdin and stdout and, with `port`, other clients on this machine.

    Port 0 selects a free port; the `ready` event names it and the token. Returns when stdin ends, so that a worker ends
    with its parent. Raises InputError for a port that is in use.
    """
    # Redirect stdout to stderr, so that output of libraries does not come between the events.
    sys.stdout.flush()
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    service = Service()
    parent = Connection(sys.stdin.buffer, output, service)
    ready: Event = {
        "event": "ready",
        "protocol": requests.PROTOCOL,
        "version": __version__,
        "pid": os.getpid(),
    }
    if port is not None:
        listener = _listen(port)
        token = secrets.token_hex(16)
        ready |= {"port": listener.getsockname()[1], "token": token}
        threading.Thread(target=_accept, args=(listener, token, service), daemon=True).start()

    def until_the_parent_ends() -> None:
        parent.serve()
        service.end()

    threading.Thread(target=until_the_parent_ends, daemon=True).start()
    parent.send(ready)
    service.run()


def _listen(port: int) -> socket.socket:
    """A socket that listens on `port`, on this machine only. Raises InputError for a port that cannot be used."""
    try:
        return socket.create_server(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        problem = getattr(error, "strerror", None) or error
        raise InputError("port", f"{port} cannot be used ({problem})", "give another, or 0 for any") from None


def _accept(listener: socket.socket, token: str, service: Service) -> None:
    """Serve each client in a thread. Clients beyond _MOST_CONNECTIONS are disconnected."""
    places = threading.Semaphore(_MOST_CONNECTIONS)
    while True:
        client, _ = listener.accept()
        if places.acquire(blocking=False):
            threading.Thread(target=_serve_socket, args=(client, token, service, places), daemon=True).start()
        else:
            client.close()


def _serve_socket(client: socket.socket, token: str, service: Service, places: threading.Semaphore) -> None:
    """Serve a client that sends the token in time; disconnect any other."""

    def hang_up() -> None:
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)

    patience = threading.Timer(_SECONDS_FOR_TOKEN, hang_up)
    patience.daemon = True
    patience.start()
    try:
        with closing(client), client.makefile("rb") as reader, client.makefile("wb") as writer:
            connection = Connection(reader, writer, service)
            knows = connection.knows(token)
            patience.cancel()
            if knows:
                connection.serve()
    except OSError:
        pass  # the client has disconnected
    finally:
        patience.cancel()
        places.release()
