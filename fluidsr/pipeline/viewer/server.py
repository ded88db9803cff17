"""The HTTP side of `fluidsr view`: a page, an index and volumes, for who knows the token."""

from __future__ import annotations

import hmac
import json
import logging
import re
import secrets
import threading
import webbrowser
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from socketserver import TCPServer

from fluidsr.errors import FluidsrError, InputError
from fluidsr.json_values import plain
from fluidsr.pipeline.events import failure
from fluidsr.pipeline.read_options import ReadOptions
from fluidsr.pipeline.viewer.sequences import Sequences
from fluidsr.pipeline.viewer.volume_cache import VolumeCache

LOG = logging.getLogger(__name__)
HOST = "127.0.0.1"
_PAGE = {"": "view.html"} | {name: name for name in ("view.js", "volume.js", "plane.js", "view.css")}
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
}
_VOLUME = re.compile(r"volumes/([0-9])/(-?[0-9]{1,30})")
_HEADERS = {
    # Scripts of ours alone, whatever a file calls itself; the token does not leave the page.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def view(
    folder: Path,
    *,
    on_address: Callable[[str], None],
    edge: int = 128,
    frames_wanted: str | None = None,
    up: str | None = None,
    density_grid: str | None = None,
    port: int = 0,
    browser: bool = True,
) -> None:
    """Serve the frames of `folder` to browsers on this machine until a signal comes.

    `on_address` is called with the address. Raises InputError for a folder without frames and for a port that is taken.
    """
    read_options = ReadOptions(density_grid=density_grid)
    cache = VolumeCache(edge, read_options)
    with Viewer(Sequences(folder, frames_wanted, read_options, up), cache, port) as viewer:
        on_address(viewer.url)
        if browser:  # beside the server: a browser of the terminal does not return before its end
            threading.Thread(target=webbrowser.open, args=(viewer.url,), daemon=True).start()
        viewer.serve_forever()


class Viewer(ThreadingHTTPServer):
    """A server on 127.0.0.1 that answers below `/TOKEN/` alone. Raises InputError for a port that is taken."""

    daemon_threads = True
    block_on_close = False  # a browser keeps its connections open
    allow_reuse_port = False  # else a second server would share the port of the first

    def __init__(self, sequences: Sequences, cache: VolumeCache, port: int = 0) -> None:
        self.sequences, self.cache = sequences, cache
        self.token = secrets.token_urlsafe(24)
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            problem = getattr(error, "strerror", None) or error
            raise InputError(
                "port", f"{port} cannot be used ({problem})", "give another, or 0 for any"
            ) from None

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.server_port}/{self.token}/"

    def handle_error(self, request: object, client_address: object) -> None:
        """Into the log: a browser that goes in the middle of a request is no news for a terminal."""
        LOG.debug("a connection ended", exc_info=True)

    def server_bind(self) -> None:
        """Bind without HTTPServer's search for the name of the machine, which may take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]


class _Handler(BaseHTTPRequestHandler):
    """Answers one browser."""

    server: Viewer
    server_version, sys_version = "fluidsr", ""
    protocol_version = "HTTP/1.1"
    timeout = 60.0  # seconds without a request

    def do_GET(self) -> None:
        """The page, `index.json`, or `volumes/SIDE/NUMBER`: SIDE as its place in the index.

        The bytes of a volume are its cells; what they mean is in the header `Volume`, as JSON.
        """
        path = self._path_below_token()
        volume = None if path is None else _VOLUME.fullmatch(path)
        if path in _PAGE:
            file = _PAGE[path]
            content = (resources.files(__package__) / "page" / file).read_bytes()
            self._answer(content, _TYPES[Path(file).suffix])
        elif path == "index.json":
            self._answer_or_explain(self._index)
        elif volume is not None:
            self._answer_or_explain(lambda: self._volume(int(volume[1]), int(volume[2])))
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "There is no such page.")

    do_HEAD = do_GET

    def _path_below_token(self) -> str | None:
        """The path that was asked for; None without the token, or for another host: a name that leads here would make
        another site's scripts ours."""
        hosts = (f"{HOST}:{self.server.server_port}", f"localhost:{self.server.server_port}")
        _, token, path = (*self.path.split("/", 2), "", "")[:3]
        known = hmac.compare_digest(token.encode(), self.server.token.encode())
        return path if known and self.path.count("/") > 1 and self.headers.get("Host") in hosts else None

    def _index(self) -> None:
        document = json.dumps(plain(self.server.sequences.index()), allow_nan=False)
        self._answer(document.encode(), "application/json")

    def _volume(self, side: int, number: int) -> None:
        item = self.server.sequences.find(side, number)
        if item is None:
            self._refuse(HTTPStatus.NOT_FOUND, "There is no such frame.")
            return
        volume = self.server.cache.get(item)
        header = json.dumps(plain(volume.header()), allow_nan=False)
        self._answer(volume.cells.tobytes(), "application/octet-stream", {"Volume": header})

    def _answer_or_explain(self, answer: Callable[[], None]) -> None:
        try:
            answer()
        except (
            Exception
        ) as error:  # whatever it is, the browser learns of it, and the next request is answered
            message, _ = failure(error)
            expected = isinstance(error, FluidsrError)
            LOG.info("%s", message, exc_info=None if expected else error)
            status = HTTPStatus.UNPROCESSABLE_ENTITY if expected else HTTPStatus.INTERNAL_SERVER_ERROR
            self._refuse(status, message)

    def _refuse(self, status: HTTPStatus, text: str) -> None:
        self._answer(text.encode("utf-8", "replace"), "text/plain; charset=utf-8", status=status)

    def _answer(
        self,
        content: bytes,
        kind: str,
        headers: dict[str, str] | None = None,
        status: HTTPStatus = HTTPStatus.OK,
    ) -> None:
        try:
            self.send_response(status)
            sizes = {"Content-Type": kind, "Content-Length": str(len(content))}
            for name, value in {**_HEADERS, **sizes, **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)
        except OSError:  # the browser does not wait for it any more
            self.close_connection = True

    def log_message(self, format: str, *values: object) -> None:
        """Into the log, without the token."""
        LOG.debug("%s", (format % values).replace(self.server.token, "TOKEN"))
