"""A web server for one folder that serves ranges and counts what it is asked for."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_RANGE = re.compile(r"bytes=(\d*)-(\d*)$")


@dataclass
class Traffic:
    """What was asked for since the last `clear`: `requests` (method, path, range), content bytes `sent`."""

    address: str
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    sent: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def clear(self) -> None:
        """Count from zero."""
        with self.lock:
            self.requests, self.sent = [], 0

    def add(self, method: str, path: str, asked: str, sent: int) -> None:
        """Count a request."""
        with self.lock:
            self.requests.append((method, path, asked))
            self.sent += sent


@contextmanager
def serve(folder: Path, *, ranges: bool = True) -> Iterator[Traffic]:
    """Serve the files of a folder on this machine; gives the address and the counters.

    Parameters
    ----------
    ranges : False: always the whole file, as simple servers do
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(folder, ranges))
    server.traffic = Traffic(f"http://127.0.0.1:{server.server_port}")  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.traffic  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()


def _handler(folder: Path, ranges: bool) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # connections stay open, as on real servers

        def do_GET(self) -> None:
            self._answer(with_content=True)

        def do_HEAD(self) -> None:
            self._answer(with_content=False)

        def _answer(self, *, with_content: bool) -> None:
            asked = self.headers.get("Range", "")
            path = folder / self.path.lstrip("/")
            content = path.read_bytes() if path.is_file() else None
            status, start, stop = HTTPStatus.NOT_FOUND, 0, 0
            if content is not None:
                status, start, stop = _part(asked if ranges else "", len(content))
            body = (content or b"")[start:stop]
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if content is not None and ranges:
                self.send_header("Accept-Ranges", "bytes")
            if status is HTTPStatus.PARTIAL_CONTENT:
                self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content or b'')}")
            body = body if with_content else b""
            # Counted before it is sent: who asked may look at the counters as soon as it is there.
            self.server.traffic.add(self.command, self.path, asked, len(body))  # type: ignore[attr-defined]
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


def _part(asked: str, size: int) -> tuple[HTTPStatus, int, int]:
    """Status, start and stop of a range's text; the whole file without one."""
    found = _RANGE.match(asked)
    if not found or not any(found.groups()):
        return HTTPStatus.OK, 0, size
    first, last = found.groups()
    if not first:
        return HTTPStatus.PARTIAL_CONTENT, max(0, size - int(last)), size
    if int(first) >= size:
        return HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, 0, 0
    return HTTPStatus.PARTIAL_CONTENT, int(first), min(size, int(last) + 1) if last else size
