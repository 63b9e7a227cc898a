# SPDX-License-Identifier: Apache-2.0
"""Unpack a downloaded body if it really is packed: the Content-Encoding header may be false."""

from __future__ import annotations

import importlib
import importlib.util
import zlib
from collections.abc import Callable

from .kinds import HEAD, kind_of_bytes

_GZIP = b"\x1f\x8b"
# Negative: raw deflate, without header and check sum. 32 more: gzip or zlib, by the header.
_RAW, _WITH_HEADER = -zlib.MAX_WBITS, zlib.MAX_WBITS + 32
#: A body is packed at most this many times.
_LAYERS = 2


def unpack(data: bytes, encoding: str, max_bytes: int) -> bytes | None:
    """
    Return the content of a body; the body itself if it is not packed or cannot be unpacked.

    :param data: the body
    :param encoding: the Content-Encoding header, needed only for packings that have no signature
    :param max_bytes: maximum size of the content
    :return: ``None`` if the content is larger
    """
    for _ in range(_LAYERS):
        if kind_of_bytes(data[:HEAD]) is not None:
            return data
        unpacked = _unpacked(data, encoding.lower(), max_bytes)
        if unpacked is None:
            return data
        if len(unpacked) > max_bytes:
            return None
        data = unpacked
    return data


def _unpacked(data: bytes, encoding: str, max_bytes: int) -> bytes | None:
    # By the content first. Packings without a signature must yield a picture, or anything would do.
    if data.startswith(_GZIP) or _has_zlib_header(data):
        return _inflate(data, _WITH_HEADER, max_bytes)
    guesses: list[Callable[[], bytes | None]] = []
    if "deflate" in encoding:
        guesses.append(lambda: _inflate(data, _RAW, max_bytes))
    if "br" in encoding:
        guesses.append(lambda: _unpack_brotli(data, max_bytes))
    for guess in guesses:
        content = guess()
        if content is not None and kind_of_bytes(content[:HEAD]) is not None:
            return content
    return None


def _has_zlib_header(data: bytes) -> bool:
    return (
        len(data) > 2
        and data[0] & 0x0F == 8
        and data[0] >> 4 <= 7
        and int.from_bytes(data[:2], "big") % 31 == 0
    )


def _inflate(data: bytes, window: int, max_bytes: int) -> bytes | None:
    """Return the content as far as it can be unpacked: what is missing at its end, the decoder will notice."""
    unpacker = zlib.decompressobj(window)
    content = bytearray()
    try:
        while data and not unpacker.eof and len(content) <= max_bytes:
            content += unpacker.decompress(data, 1 << 20)
            data = unpacker.unconsumed_tail
        content += b"" if len(content) > max_bytes else unpacker.flush()
    except zlib.error:
        pass
    return bytes(content) or None


def _unpack_brotli(data: bytes, max_bytes: int) -> bytes | None:
    """Unpack with the brotli library of aiohttp's extra ``speedups``, if it is installed."""
    name = next((name for name in ("brotli", "brotlicffi") if importlib.util.find_spec(name)), None)
    if name is None:
        return None
    library = importlib.import_module(name)
    unpacker = library.Decompressor()
    content = bytearray()
    try:
        for start in range(0, len(data), 1 << 14):
            content += unpacker.process(data[start : start + (1 << 14)])
            if len(content) > max_bytes:
                break
    except library.error:
        return None
    return bytes(content) or None
