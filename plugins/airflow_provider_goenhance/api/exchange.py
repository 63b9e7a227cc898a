# SPDX-License-Identifier: Apache-2.0
"""
What is known of one HTTP call, whatever error it ends in.

Two facts decide what an error means. Before there is a connection nothing can have been sent; after that the request
may have been carried out, whichever error follows. And an answer that arrived counts, even if the connection broke
behind it: it may hold the ``img_uuid`` of a paid job.
"""

from __future__ import annotations

import http.client
import io
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field

#: GoEnhance responses are far smaller; a longer one is not read to its end.
MAX_ANSWER_BYTES = 1024 * 1024

Headers = Mapping[str, str] | http.client.HTTPMessage

_INFORMATIONAL = re.compile(rb"HTTP/1\.\d 1\d\d\b[^\n]*\n(?:[^\r\n][^\n]*\n)*\r?\n")
_END_OF_HEADERS = re.compile(rb"\r?\n\r?\n")
_STATUS = re.compile(rb"HTTP/\d(?:\.\d)? (\d{3})\b")
# The closing quote, or what follows a number, shows that the id is complete.
_IMG_UUID = re.compile(r"""\\?"img_uuid\\?"\s*:\s*(?:\\?"([^"\\]{1,200})\\?"|(\d{1,128})(?=\s*[,}\]]))""")
_PIECE = 256
#: How many objects of a response are looked at.
_MOST_OBJECTS = 100
# Not strict: a line break inside a `msg` must not cost the id beside it.
_DECODER = json.JSONDecoder(strict=False)


@dataclass(slots=True)
class Exchange:
    """
    One call, as far as it went.

    :param sent_once: whether the request must not be repeated, not even by aiohttp, which repeats a GET by itself
    :param connected: whether there was a connection: from then on the request may have been sent
    :param received: the response as it arrived, headers included; recorded for a POST only
    :param status: HTTP status, once the headers were read
    :param headers: the headers, once they were read
    :param body: the body, as far as it was read
    """

    sent_once: bool = False
    connected: bool = False
    received: bytearray = field(default_factory=bytearray)
    status: int | None = None
    headers: Headers = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)

    def recover_answer(self) -> bool:
        """
        Look for an answer in what arrived before the call failed, and keep it.

        :return: whether there is one: an object with ``code`` or ``data``; in the response to a POST, an ``img_uuid``
            that is complete is enough
        """
        for look in (_answer_in, _img_uuid_in) if self.received else (_answer_in,):
            for status, headers, body in self._readings():
                if (found := look(unpacked(body))) is not None:
                    self.status, self.headers, self.body = status, headers, bytearray(found)
                    return True
        return False

    def normalize_answer(self) -> None:
        """
        Reduce the response to a POST, which was read without an error, to the answer in it.

        It may go on behind a ``Content-Length`` that is too short, stand inside other text, or not be in UTF-8.
        """
        if self.received and not _is_answer(self.body):
            self.recover_answer()

    def begin_of_answer(self) -> bytes:
        """Return the body as far as it arrived, for a message."""
        return unpacked(self.body) or b"".join(_split(self.received)[1:])

    def _readings(self) -> Iterator[tuple[int, Headers, bytes]]:
        """Return what arrived as the HTTP client read it, as a lenient reader does, and without any framing."""
        status, headers = self.status, self.headers
        if status is not None:
            yield status, headers, bytes(self.body)
        if not self.received:
            return
        if lenient := _read_leniently(bytes(self.received)):
            yield lenient
            status, headers = lenient[:2]
        head, body = _split(self.received)
        named = _STATUS.search(head)
        yield status or (int(named[1]) if named else 200), headers, body


#: The call that the running asyncio task makes.
current_exchange: ContextVar[Exchange | None] = ContextVar("current_exchange", default=None)


def unpacked(body: bytes | bytearray) -> bytes:
    """
    Return a body without its compression, as far as it can be unpacked.

    Only the bytes decide: a ``Content-Encoding`` may be wrong.
    """
    packed = body[:2] == b"\x1f\x8b" or (body[:1] == b"\x78" and int.from_bytes(body[:2], "big") % 31 == 0)
    if not packed:
        return bytes(body)
    unpacker, text = zlib.decompressobj(wbits=47), bytearray()
    try:
        # In pieces, because an error in one of them must not cost what was unpacked before it.
        for start in range(0, len(body), _PIECE):
            text += unpacker.decompress(body[start : start + _PIECE], MAX_ANSWER_BYTES)
            if len(text) > MAX_ANSWER_BYTES:
                break
    except zlib.error:
        pass
    return bytes(text)


def _split(received: bytes | bytearray) -> tuple[bytes, bytes]:
    """Return the headers and what follows them, without informational responses before them."""
    data = bytes(received)
    while informational := _INFORMATIONAL.match(data):
        data = data[informational.end() :]
    if not data.startswith(b"HTTP/"):
        return b"", data
    head, *rest = _END_OF_HEADERS.split(data, maxsplit=1)
    return head, rest[0] if rest else b""


class _Received:
    """What ``http.client`` takes for a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: object, **__: object) -> io.BytesIO:
        return io.BytesIO(self._data)


def _read_leniently(received: bytes) -> tuple[int, Headers, bytes] | None:
    head, body = _split(received)
    response = http.client.HTTPResponse(_Received(head + b"\r\n\r\n" + body), method="POST")  # type: ignore[arg-type]
    try:
        response.begin()
        body = response.read()
    except http.client.IncompleteRead as error:
        body = error.partial
    except (http.client.HTTPException, ValueError, OSError):
        return None
    return response.status, response.headers, body


def _is_answer(body: bytes | bytearray) -> bool:
    """Return whether a body is an answer and nothing else, as it nearly always is."""
    if body[:1] != b"{":
        return False
    try:
        found = json.loads(body.decode())
    except (ValueError, RecursionError):
        return False
    return "code" in found or "data" in found


def _answer_in(body: bytes) -> bytes | None:
    """Return the first object with ``code`` or ``data`` in a body, whatever stands around it."""
    text = _text_of(body)
    start = text.find("{")
    for _ in range(_MOST_OBJECTS):
        if start < 0:
            return None
        try:
            found, end = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            end = start + 1
        else:
            if isinstance(found, dict) and ("code" in found or "data" in found):
                return json.dumps(found).encode()
        start = text.find("{", end)
    return None


def _img_uuid_in(body: bytes) -> bytes | None:
    """Return an answer with the ``img_uuid`` that stands in a body which is cut off behind it."""
    if not (named := _IMG_UUID.search(_text_of(body))):
        return None
    return json.dumps({"code": 0, "data": {"img_uuid": named[1] or named[2]}}).encode()


def _text_of(body: bytes) -> str:
    return body.decode(json.detect_encoding(body), errors="replace")
