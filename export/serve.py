"""Serves an export as a web page on which a phone makes images by itself."""

import base64
import functools
import hashlib
import io
import json
import logging
import re
import shutil
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ganzoo.errors import ExportError

from . import vendor, verify
from .files import AUTO, FILES

PORT = 8300
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
    """What may be asked for, by path, and the file or the content that answers; nothing else is given out."""

    paths: Mapping[str, Path | bytes]

    def answer(self, target: str) -> tuple[str, Path | bytes] | None:
        """The type and the content of a request's target; None where there is nothing of that name."""
        path = unquote(urlsplit(target).path).lstrip("/") or "index.html"
        found = self.paths.get(path)
        return None if found is None else (_TYPES.get(Path(path).suffix, "application/octet-stream"), found)

    def write(self, folder: Path) -> None:
        """Write all of it as a folder of static files, for any web server."""
        for path, content in self.paths.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.copyfile(content, target)
            else:
                target.write_bytes(content)


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
    for name in names:
        verify.check_identity(folder / name, listed[name], card)
    web, runtime = Path(__file__).parent / "web", vendor.vendored()
    told = [{"file": name, "label": f"{_LABELS.get(name, '')} {listed[name]['precision']}".strip()} for name in names]
    return Site(
        {one.name: one for one in sorted(web.iterdir()) if one.suffix in _TYPES}
        | {f"vendor/{name}": runtime / name for name in vendor.files()}
        | {f"model/{name}": folder / name for name in names}
        | {"files.json": json.dumps(told).encode()}
    )


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

    Raises:
        ExportError: as `site`; the port is taken.
    """
    handler = functools.partial(_Handler, site(path))
    try:
        server = ThreadingHTTPServer((_EVERYWHERE if network else _LOOPBACK, port), handler)
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


class _Handler(BaseHTTPRequestHandler):
    """Gives out what a `Site` has, to GET and HEAD."""

    server_version = "ganzoo"
    sys_version = ""
    protocol_version = "HTTP/1.1"

    def __init__(self, pages: Site, *args: Any, **kwargs: Any):
        self._pages = pages
        super().__init__(*args, **kwargs)

    def do_GET(self) -> None:
        """Answer with the file."""
        self._respond(with_body=True)

    def do_HEAD(self) -> None:
        """Answer with its head alone."""
        self._respond(with_body=False)

    def _respond(self, with_body: bool) -> None:
        found = self._pages.answer(self.path)
        if found is None:
            self.send_error(HTTPStatus.NOT_FOUND, "There is nothing of that name here")
            return
        kind, content = found
        try:
            body = content.read_bytes() if isinstance(content, Path) else content
        except OSError:
            self.send_error(HTTPStatus.GONE, "The file is no longer there")
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        if kind.startswith("text/html"):
            self.send_header("Content-Security-Policy", _policy())
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are no news."""
        log.debug(format, *args)


@functools.cache
def _policy() -> str:
    """The page's content security policy: scripts from here alone, and the one import map in it by its hash."""
    page = (Path(__file__).parent / "web" / "index.html").read_text(encoding="utf-8")
    inline = re.search(r'<script type="importmap">(.*?)</script>', page, re.DOTALL).group(1)
    return _POLICY.format(importmap=base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode())
