# SPDX-License-Identifier: Apache-2.0
"""A server below HTTP: it reads a request, then sends exactly the bytes of a script, plain or over TLS."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import Self

ACCEPTED = json.dumps({"code": 0, "msg": "Success", "data": {"img_uuid": "job-1"}}).encode()

#: What to do with a connection whose request was read.
Script = Callable[[socket.socket], None]


def says(*parts: bytes) -> Script:
    """Send this and close the connection."""

    def script(connection: socket.socket) -> None:
        connection.sendall(b"".join(parts))

    return script


def says_and_keeps_open(*parts: bytes) -> Script:
    """Send this, and wait until the client closes the connection."""

    def script(connection: socket.socket) -> None:
        connection.sendall(b"".join(parts))
        connection.recv(1)

    return script


def dribbles(*parts: bytes, drop: bytes) -> Script:
    """Send this, then one drop after another until the client closes the connection."""

    def script(connection: socket.socket) -> None:
        connection.sendall(b"".join(parts))
        closed = threading.Event()
        while not closed.wait(0.05):
            connection.sendall(drop)

    return script


def resets(connection: socket.socket) -> None:
    """End the connection with a TCP reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def reply(body: bytes, *headers: bytes, status: bytes = b"200 OK", length: int | None = None) -> bytes:
    """Return a response with its length."""
    size = b"Content-Length: %d" % (len(body) if length is None else length)
    return b"\r\n".join([b"HTTP/1.1 " + status, *headers, size, b"", body])


def in_chunks(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """Return a chunked response."""
    framed = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + framed + end


class RawServer:
    """
    Reads one request per connection and plays a script.

    :param script: what to do then
    :param tls: speak TLS with this context
    :param deaf: end the connection before the request is read
    """

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None, *, deaf: bool = False) -> None:
        self._script, self._tls, self._deaf = script, tls, deaf
        self.requests: list[bytes] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self._open.append(connection)
                thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            if self._tls is None:
                self._answer(connection)
                return
            with self._tls.wrap_socket(connection, server_side=True) as secure:
                self._answer(secure)

    def _answer(self, connection: socket.socket) -> None:
        if not self._deaf:
            self.requests.append(read_request(connection))
        self._script(connection)


def read_request(connection: socket.socket) -> bytes:
    """Read one request, its body included."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += receive(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    length = int(lengths[0].partition(b":")[2]) if lengths else 0
    while len(body) < length:
        body += receive(connection)
    return head + b"\r\n\r\n" + body


def receive(connection: socket.socket) -> bytes:
    """Receive some bytes; the end of the connection is an error."""
    data = connection.recv(65536)
    if not data:
        raise ConnectionError("the client closed the connection")
    return data


def forwards_and_dies(to: RawServer, *, tunnel: bool) -> Script:
    """
    Stand between client and server as a proxy, and die as soon as the server has read the request.

    :param tunnel: whether the request that was read is a CONNECT; otherwise it is the request itself
    """

    def script(connection: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", to.port)) as upstream:
            if tunnel:
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=_pump, args=(upstream, connection, to), daemon=True)
                back.start()
                _pump(connection, upstream, to)
                return
            upstream.sendall(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
            receive(upstream)

    return script


def _pump(source: socket.socket, target: socket.socket, to: RawServer) -> None:
    source.settimeout(0.01)
    with contextlib.suppress(OSError):
        while not to.requests:
            with contextlib.suppress(TimeoutError):
                target.sendall(receive(source))
