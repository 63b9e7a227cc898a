# SPDX-License-Identifier: Apache-2.0
"""A web server, or a proxy, on 127.0.0.1 that answers each path with the bytes of a script."""

from __future__ import annotations

import pickle
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from airflow_provider_goenhance.exceptions import ManifestError, ManifestUnavailableError
from airflow_provider_goenhance.manifest.read import read_manifest
from airflow_provider_goenhance.retry_policy import is_final

GOOD = "source_img,reference_img,pair_id\nhttps://a.example/1.jpg,https://a.example/2.jpg,p1\n"
SECRET = "s3cret"  # in the page that no reader of a message may see, and in the query of the address


def response(body: str | bytes = b"", status: int = 200, **headers: str) -> bytes:
    """Return a whole HTTP response; ``content_type`` becomes ``Content-Type``."""
    content = body.encode() if isinstance(body, str) else body
    named = {"Content-Length": str(len(content)), "Connection": "close"}
    named |= {name.replace("_", "-").title(): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status} Status\r\n{head}\r\n".encode("latin-1") + content


class WebServer(socketserver.ThreadingTCPServer):
    """Answers with ``script[target]``, or with 404; keeps the request lines and heads."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script: dict[str, bytes] = {}
        self.targets: list[str] = []
        self.heads: list[str] = []
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(socketserver.StreamRequestHandler):
    server: WebServer

    def handle(self) -> None:
        head = b""
        while line := self.rfile.readline():
            head += line
            if line == b"\r\n":
                break
        words = head.decode("latin-1").split()
        if len(words) < 2:
            return
        self.server.targets.append(words[1])
        self.server.heads.append(head.decode("latin-1"))
        answer = self.server.script.get(words[1], response("gone", 404))
        if answer == SILENCE:
            self.server.released.wait(30)
            return
        self.wfile.write(answer)


#: An answer that never comes.
SILENCE = b"silence"


@contextmanager
def web_server() -> Iterator[WebServer]:
    """Run a web server."""
    with WebServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join()


def fault(location: str) -> ManifestError:
    """Return the error for a manifest, which has no secret in it and survives a pickle."""
    with pytest.raises(ManifestError) as caught:
        read_manifest(location)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert isinstance(caught.value, ManifestUnavailableError) is not is_final(caught.value)
    return caught.value
