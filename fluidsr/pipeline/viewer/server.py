"""The HTTP server of `fluidsr view`. It serves a page, an index and volumes to clients that know the token."""

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
    # Only scripts of this server run, whatever text a file's name holds, and no request to another site has the token.
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
    """Serve the frames of `folder` to browsers on this machine until a signal arrives.

    Args:
        folder: a run, or a folder of one sequence.
        on_address: called with the address of the page.
        edge: largest edge of a volume that is sent, in cells.
        frames_wanted: which frames, as text (see `frame_numbers`); None: all.
        up: the axis that points up; None: as in the first frame.
        density_grid: name of the density grid; None: detected.
        port: of the server; 0: a free one.
        browser: open the page in a browser.

    Raises InputError for a folder without frames, a value out of range, and a port that is in use.
    """
    read_options = ReadOptions(density_grid=density_grid)
    cache = VolumeCache(edge, read_options)
    with Viewer(Sequences(folder, frames_wanted, read_options, up), cache, port) as viewer:
        on_address(viewer.url)
        if browser:  # in a thread, because a text browser in the terminal returns only when it is closed
            threading.Thread(target=webbrowser.open, args=(viewer.url,), daemon=True).start()
        viewer.serve_forever()


class Viewer(ThreadingHTTPServer):
    """A server on 127.0.0.1 that only answers below `/TOKEN/`. Raises InputError for a port that is in use."""

    daemon_threads = True
    block_on_close = False  # waiting for threads would take long: browsers keep connections open
    allow_reuse_port = False  # otherwise a second server would share the port with the first

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
        """The address of the page, with the token."""
        return f"http://{HOST}:{self.server_port}/{self.token}/"

    def handle_error(self, request: object, client_address: object) -> None:
        """Write to the log, not to the terminal: browsers often disconnect in the middle of a request."""
        LOG.debug("a connection ended", exc_info=True)

    def server_bind(self) -> None:
        """Bind without HTTPServer's look-up of the host name, which may take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]


class _Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    server: Viewer
    server_version, sys_version = "fluidsr", ""
    protocol_version = "HTTP/1.1"
    timeout = 60.0  # seconds without a request

    def do_GET(self) -> None:
        """Answer with a file of the page, `index.json`, or `volumes/SIDE/NUMBER`; SIDE is the position in the index.

        The body of a volume is its cells; the header `Volume` describes them in JSON (see `Volume.header`).
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
        """The requested path below the token; None without the right token, or for another host name.

        The host is checked against DNS rebinding: a foreign name that resolves to this server would let scripts of
        another site read the frames.
        """
        hosts = (f"{HOST}:{self.server.server_port}", f"localhost:{self.server.server_port}")
        _, token, path = (*self.path.split("/", 2), "", "")[:3]
        known = hmac.compare_digest(token.encode(), self.server.token.encode())
        return path if known and self.path.count("/") > 1 and self.headers.get("Host") in hosts else None

    def _index(self) -> None:
        """Answer with the index."""
        document = json.dumps(plain(self.server.sequences.index()), allow_nan=False)
        self._answer(document.encode(), "application/json")

    def _volume(self, side: int, number: int) -> None:
        """Answer with the volume of a frame."""
        item = self.server.sequences.find(side, number)
        if item is None:
            self._refuse(HTTPStatus.NOT_FOUND, "There is no such frame.")
            return
        volume = self.server.cache.get(item)
        header = json.dumps(plain(volume.header()), allow_nan=False)
        self._answer(volume.cells.tobytes(), "application/octet-stream", {"Volume": header})

    def _answer_or_explain(self, answer: Callable[[], None]) -> None:
        """Call `answer`; after any error send its message, so that the page shows it and the server goes on."""
        try:
            answer()
        except Exception as error:
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
        except OSError:  # the browser has disconnected
            self.close_connection = True

    def log_message(self, format: str, *values: object) -> None:
        """Write to the log, without the token."""
        LOG.debug("%s", (format % values).replace(self.server.token, "TOKEN"))
