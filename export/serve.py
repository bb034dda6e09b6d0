"""Serves an export as a web page on which a phone makes images by itself.

All content is read, and compared with the model card, before the first request; a file that is exchanged later is not
given out. A client gets a limited time, and all clients together a limited number of connections.
"""

import base64
import contextlib
import functools
import hashlib
import io
import ipaddress
import json
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ganzoo.errors import ExportError
from ganzoo.files.reading import MOST_ARRAYS, guard, read_bytes
from ganzoo.files.writing import atomic_write_bytes

from . import vendor, verify
from .files import AUTO, FILES

PORT = 8300
CONNECTIONS = 64  # at a time
HEAD_SECONDS = 10.0  # until a request's head is whole, or the next request begins
ANSWER_SECONDS = 300.0  # for an answer in all
_AT_ONCE = 1 << 16  # bytes
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_LOOPBACK, _EVERYWHERE = "127.0.0.1", "0.0.0.0"
_BEST_FIRST = (AUTO, "generator_float16.tflite", "generator_int8.tflite", "generator_float32.tflite")
_LABELS = {AUTO: "auto"}
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".tflite": "application/octet-stream",
}
_POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval' 'sha256-{importmap}'; worker-src 'self'; img-src 'self' "
    "blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

log = logging.getLogger("ganzoo")


@dataclass(frozen=True)
class Site:
    """What may be requested, by path, and the content that answers; nothing else is given out."""

    paths: Mapping[str, bytes]

    @functools.cached_property
    def tags(self) -> dict[str, str]:
        """An entity tag for each path: it changes with the content."""
        return {path: f'"{hashlib.sha256(content).hexdigest()[:32]}"' for path, content in self.paths.items()}

    def answer(self, target: str) -> tuple[str, bytes] | None:
        """The type and the content of a request's target; None where there is nothing of that name."""
        path = self.path_of(target)
        return None if path is None else (_TYPES.get(Path(path).suffix, "application/octet-stream"), self.paths[path])

    def path_of(self, target: str) -> str | None:
        """The path that a request's target names; None where there is nothing of that name."""
        try:
            path = unquote(urlsplit(target).path).lstrip("/") or "index.html"
        except ValueError:  # such as brackets that are no address
            return None
        return path if path in self.paths else None

    def write(self, folder: Path) -> None:
        """Write all of it as a folder of static files, for any web server."""
        for path, content in self.paths.items():
            atomic_write_bytes(folder / path, content)


def site(path: str | Path) -> Site:
    """The page for an export's folder, or for one `.tflite` in it.

    Raises:
        ExportError: there is no export, or a file is not the one that its card describes.
    """
    path = Path(path)
    if not path.exists():
        raise ExportError(f"There is no {path}. Give the folder that `ganzoo export` wrote.")
    folder = path if path.is_dir() else path.parent
    card = verify.read_card(folder)
    listed = {file["file"]: file for file in card["files"] if FILES[file["file"]][0] == "tflite"}
    slow = listed.get(AUTO, {}).get("precision") == "dynamic"  # in browsers
    first = _BEST_FIRST[1:] if slow else _BEST_FIRST
    names = [name for name in (*first, *listed) if name in listed] if path.is_dir() else [path.name]
    if not names or any(name not in listed for name in names):
        raise ExportError(f"{path} has no TFLite file that its model card lists. Export again, with --format tflite.")
    names = list(dict.fromkeys(names))
    models = {name: verify.read_checked(folder / name, listed[name], card) for name in names}
    web, runtime = Path(__file__).parent / "web", vendor.vendored()
    shown = [{"file": name, "label": f"{_LABELS.get(name, '')} {listed[name]['precision']}".strip()} for name in names]
    return Site(
        {one.name: _content(one) for one in sorted(web.iterdir()) if one.suffix in _TYPES}
        | {f"vendor/{name}": _content(runtime / name) for name in vendor.files()}
        | {f"model/{name}": content for name, content in models.items()}
        | {"files.json": json.dumps(shown).encode()}
    )


def _content(path: Path) -> bytes:
    with guard(path, ExportError, "Install ganzoo again, or remove ~/.cache/ganzoo/litertjs."):
        return read_bytes(path, MOST_ARRAYS)


def serve(
    path: str | Path,
    port: int = PORT,
    network: bool = False,
    ready: Callable[[str, ThreadingHTTPServer], Any] | None = None,
) -> None:
    """Serve an export's page until it is interrupted.

    Args:
        path: as for `site`.
        port: 0 takes a free one.
        network: for the local network instead of this machine alone.
        ready: called with the address and the server before it answers.

    Only requests whose Host header names this machine (of the loopback, and with `network` its addresses and its name)
    are answered: a web page of somebody else cannot reach the server by a name of its own.

    Raises:
        ExportError: as `site`; the port is taken.
    """
    pages = site(path)
    try:
        server = _Server(pages, (_EVERYWHERE if network else _LOOPBACK, port), _own_names() if network else set())
    except OSError as error:
        raise ExportError(f"Port {port} cannot be used: {error.strerror}. Give another with --port.") from None
    with server:
        address = f"http://{_own_address() if network else _LOOPBACK}:{server.server_port}/"
        if ready:
            ready(address, server)
        server.serve_forever()


def as_qr_code(text: str) -> str:
    """A QR code for a terminal."""
    import segno

    out = io.StringIO()
    segno.make(text, error="m").terminal(out, compact=True)
    return out.getvalue()


def _own_address() -> str:
    """The address by which the local network sees this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # a documentation address: nothing is sent
            return probe.getsockname()[0]
        except OSError:
            return socket.gethostbyname(socket.gethostname())


def _own_names() -> set[str]:
    """The names and addresses by which the local network reaches this machine."""
    name = socket.gethostname().lower()
    found = {name, f"{name}.local", name.removesuffix(".local"), _own_address()}
    with contextlib.suppress(OSError):  # a machine that does not know its own name is reached by its address
        found |= {str(address[4][0]).partition("%")[0] for address in socket.getaddrinfo(name, None)}
    return found


class _Server(ThreadingHTTPServer):
    """A server of at most `CONNECTIONS` clients at a time, each for a limited time."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, pages: Site, address: tuple[str, int], names: set[str]):
        self.pages, self.names = pages, names | {"localhost", "127.0.0.1", "::1"}
        self._open: dict[socket.socket, float] = {}  # when each connection has to be closed
        self._lock = threading.Lock()
        super().__init__(address, _Handler)

    def process_request(self, request: socket.socket, client: Any) -> None:
        """Answer in a thread of its own, or refuse where there are too many."""
        with self._lock:
            full = len(self._open) >= CONNECTIONS
            if not full:
                self._open[request] = time.monotonic() + HEAD_SECONDS
        if full:
            with contextlib.suppress(OSError):
                request.setblocking(False)
                request.send(_BUSY)
            self.shutdown_request(request)
            return
        super().process_request(request, client)

    def shutdown_request(self, request: socket.socket) -> None:
        """Close a connection, which makes room for another."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def allow(self, request: socket.socket, seconds: float) -> None:
        """Close a connection unless what it does now ends within so many seconds."""
        with self._lock:
            if request in self._open:
                self._open[request] = time.monotonic() + seconds

    def service_actions(self) -> None:
        """Close the connections whose time is over; called about twice a second."""
        now = time.monotonic()
        with self._lock:
            late = [request for request, end in self._open.items() if end < now]
        for request in late:
            with contextlib.suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)  # its thread then finds it closed

    def handle_error(self, request: Any, client: Any) -> None:
        """A client that went away is not worth a traceback on the terminal."""
        log.debug("A connection from %s ended with an error.", client, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    """Gives out what a `Site` has, to GET and HEAD."""

    server: _Server
    server_version = "ganzoo"
    sys_version = ""
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        """Wait no longer than `HEAD_SECONDS` for a read or a write."""
        self.timeout = HEAD_SECONDS
        super().setup()

    def handle_one_request(self) -> None:
        """Take one request, whose head has to be whole within `HEAD_SECONDS`."""
        self.server.allow(self.connection, HEAD_SECONDS)
        super().handle_one_request()

    def do_GET(self) -> None:
        """Answer with the content, or a range of it."""
        self._respond(with_body=True)

    def do_HEAD(self) -> None:
        """Answer with the headers alone."""
        self._respond(with_body=False)

    def _respond(self, with_body: bool) -> None:
        self.server.allow(self.connection, ANSWER_SECONDS)
        if self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # a body, which is not read
        hosts = self.headers.get_all("Host") or []
        if len(hosts) != 1:
            self.send_error(HTTPStatus.BAD_REQUEST, "One Host header is needed")
            return
        if not self._is_own(_host(hosts[0])):
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, "This server has another name")
            return
        path = self.server.pages.path_of(self.path)
        if path is None:
            self.send_error(HTTPStatus.NOT_FOUND, "There is nothing of that name here")
            return
        kind, content = self.server.pages.answer(self.path)
        tag = self.server.pages.tags[path]
        if tag in self.headers.get("If-None-Match", ""):
            self._head(HTTPStatus.NOT_MODIFIED, kind, tag, None)
            return
        found = self._range(tag, len(content)) if with_body else None
        if found is None:
            self._head(HTTPStatus.OK, kind, tag, len(content))
        elif not found:
            self._head(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, kind, tag, 0, f"bytes */{len(content)}")
            return
        else:
            where = f"bytes {found.start}-{found.stop - 1}/{len(content)}"
            self._head(HTTPStatus.PARTIAL_CONTENT, kind, tag, len(found), where)
            content = memoryview(content)[found.start : found.stop]
        for start in range(0, len(content) if with_body else 0, _AT_ONCE):
            self.wfile.write(content[start : start + _AT_ONCE])  # each piece within the socket's timeout

    def _head(self, status: HTTPStatus, kind: str, tag: str, size: int | None, where: str | None = None) -> None:
        self.send_response(status)
        heads = {
            "Content-Type": kind,
            "Content-Length": size,
            "Content-Range": where,
            "Accept-Ranges": "bytes",
            "ETag": tag,
            "Cache-Control": "no-cache",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Content-Security-Policy": _policy() if kind.startswith("text/html") else None,
        }
        for name, value in heads.items():
            if value is not None:
                self.send_header(name, str(value))
        self.end_headers()

    def _range(self, tag: str, size: int) -> range | None:
        """The bytes that are asked for: all (None), none that exist (empty), or one range of them."""
        if self.headers.get("If-Range", tag) != tag:  # a part of another version, or a date, which is not known here
            return None
        asked = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", self.headers.get("Range", "").strip())
        if not asked or asked.groups() == ("", ""):
            return None  # no range, several of them, or another unit: the whole is a valid answer
        first, last = asked.groups()
        if first == "":
            return range(max(size - int(last), 0), size)
        if last and int(last) < int(first):
            return None
        return range(int(first), min(int(last) + 1 if last else size, size))

    def _is_own(self, host: str) -> bool:
        """Whether a host is this server: one of its names, and for the network any address.

        A page of another site reaches this server by a name of its own alone (DNS rebinding), never by an address, and
        behind a router or in a container the address is not one that this machine knows.
        """
        if host in self.server.names:
            return True
        if self.server.server_address[0] == _LOOPBACK:
            return False
        with contextlib.suppress(ValueError):
            return bool(ipaddress.ip_address(host))
        return False

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged, but for debugging."""
        log.debug(format, *args)


def _host(header: str) -> str:
    """The name in a Host header, without its port."""
    try:
        return (urlsplit(f"//{header.strip()}").hostname or "").rstrip(".")
    except ValueError:
        return ""


@functools.cache
def _policy() -> str:
    """The page's content security policy: scripts from here alone, and the one import map in it by its hash."""
    page = (Path(__file__).parent / "web" / "index.html").read_text(encoding="utf-8")
    inline = re.search(r'<script type="importmap">(.*?)</script>', page, re.DOTALL).group(1)
    return _POLICY.format(importmap=base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode())
