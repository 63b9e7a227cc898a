# SPDX-License-Identifier: Apache-2.0
"""
A server that says of every job that it is done, and serves one picture for all of them.

It writes prepared bytes, so that it takes little of the processors that it shares with the code under test.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import sys
from pathlib import Path

from PIL import Image

PHOTO = Path(__file__).resolve().parents[2] / "include/images/crew.jpg"


def picture(size: int, width: int) -> bytes:
    """Return a JPEG of a width, of at most about a number of bytes."""
    with Image.open(PHOTO) as photo:
        image = photo.convert("RGB").resize((width, width * photo.height // photo.width))
    for quality in range(98, 10, -1):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        if buffer.tell() <= size:
            return buffer.getvalue()
    raise SystemExit(f"No JPEG {width} pixels wide is as small as {size} bytes; pass another --width.")


class Server(asyncio.Protocol):
    """One connection."""

    latency = 0.0
    image = b""
    port = 0

    def __init__(self) -> None:
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            answer = self._answer(head.split(b" ", 2)[1].decode())
            if self.latency:
                asyncio.get_running_loop().call_later(self.latency, self._send, answer)
            else:
                self._send(answer)

    def _send(self, answer: tuple[bytes, bytes]) -> None:
        if not self._transport.is_closing():
            self._transport.writelines(answer)

    def _answer(self, path: str) -> tuple[bytes, bytes]:
        kind, body = "image/jpeg", self.image
        if path.startswith("/api/"):
            img_uuid = path.rpartition("img_uuid=")[2]
            link = f"http://127.0.0.1:{self.port}/pictures/{img_uuid}.jpg?signature=0123456789"
            data = {
                "img_uuid": img_uuid,
                "status": "success",
                "end_time": "2026-01-01T00:00:00.000Z",
                "json": [{"type": "image", "value": link}],
            }
            kind, body = "application/json", json.dumps({"code": 0, "msg": "Success", "data": data}).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode(), body


async def serve(latency: float, image: bytes) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Server, "127.0.0.1", 0)
    Server.latency, Server.image = latency, image
    Server.port = server.sockets[0].getsockname()[1]
    print(json.dumps({"port": Server.port, "bytes": len(image)}), flush=True)
    # Until the benchmark, which holds the other end of standard input, has ended.
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, required=True)
    parser.add_argument("--bytes", type=int, required=True)
    parser.add_argument("--width", type=int, required=True)
    options = parser.parse_args()
    asyncio.run(serve(options.latency, picture(options.bytes, options.width)))
