# SPDX-License-Identifier: Apache-2.0
"""A web server of files in memory that understands ranges and counts what it is asked."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


@dataclass
class File:
    """What is at a path."""

    body: bytes
    status: int = 200
    ranges: bool = True
    headers: dict[str, str] = field(default_factory=dict)


class FileServer:
    """
    Serves files from a thread.

    :ivar files: by path
    :ivar asked: path and Range header of each request
    """

    def __init__(self) -> None:
        self.files: dict[str, File] = {}
        self.asked: list[tuple[str, str | None]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.asked.append((self.path, self.headers.get("Range")))
                file = outer.files.get(self.path.partition("?")[0]) or File(b"not here", 404)
                status, body, headers = file.status, file.body, dict(file.headers)
                wanted = _RANGE.fullmatch(self.headers.get("Range") or "")
                if wanted and file.ranges and status == 200:
                    first, last = int(wanted[1]), min(int(wanted[2]), len(body) - 1)
                    status = 206 if body else 416
                    headers["Content-Range"] = f"bytes {first}-{last}/{len(body)}" if body else "bytes */0"
                    body = body[first : last + 1]
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                try:
                    self.wfile.write(body)
                except ConnectionError:
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def add(self, path: str, body: bytes, status: int = 200, *, ranges: bool = True, **headers: str) -> str:
        """Put a file at a path, and return its address."""
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        self.files[path] = File(body, status, ranges, told)
        return self.link(path)

    def link(self, path: str) -> str:
        """Return the address of a path."""
        return f"http://127.0.0.1:{self._server.server_port}{path}"
