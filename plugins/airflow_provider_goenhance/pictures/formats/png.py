# SPDX-License-Identifier: Apache-2.0
"""The chunks of a PNG file: is it whole, where is its XMP, does it carry a C2PA manifest."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, NamedTuple

from . import BrokenContainerError

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
XMP_KEYWORD = b"XML:com.adobe.xmp\x00"

# A packed packet that unpacks to more than this is an attack, not metadata.
_MAX_UNPACKED = 4 * 1024 * 1024


class Chunk(NamedTuple):
    """One chunk: its four-letter type, where the whole of it lies, and its content."""

    type: bytes
    start: int
    end: int
    content: bytes


def chunks(data: bytes) -> Iterator[Chunk]:
    """
    Return all chunks up to and including IEND, their check sums checked.

    :raises BrokenContainerError: the file ends early or a chunk is damaged
    """
    if not data.startswith(SIGNATURE):
        raise BrokenContainerError("it does not begin as a PNG")
    position = len(SIGNATURE)
    kind = b""
    while kind != b"IEND":
        length = int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        end = position + 12 + length
        if len(kind) < 4 or end > len(data):
            raise BrokenContainerError("it ends before its IEND chunk")
        content = data[position + 8 : end - 4]
        if zlib.crc32(kind + content) != int.from_bytes(data[end - 4 : end], "big"):
            raise BrokenContainerError(f"the check sum of its chunk at byte {position} is wrong")
        yield Chunk(kind, position, end, content)
        position = end


def check_complete(data: bytes) -> None:
    """Walk all chunks; raises :class:`BrokenContainerError` where the file is cut or damaged."""
    kinds = [chunk.type for chunk in chunks(data)]
    if kinds[0] != b"IHDR" or b"IDAT" not in kinds:
        raise BrokenContainerError("it has no picture data")


def read_xmp(data: bytes) -> bytes | None:
    """Return the XMP packet, unpacked if it was packed."""
    for chunk in chunks(data):
        if _is_xmp(chunk):
            return _text_of(chunk.content)
    return None


def write_xmp(data: bytes, packet: bytes) -> bytes:
    """Return the file with this XMP packet in place of its own, or right behind the header chunk."""
    # keyword, no compression (flag and method 0), no language tag, no translated keyword
    content = XMP_KEYWORD + b"\x00\x00" + b"\x00" + b"\x00" + packet
    chunk = (
        len(content).to_bytes(4, "big") + b"iTXt" + content + zlib.crc32(b"iTXt" + content).to_bytes(4, "big")
    )
    start, end = _place_for_xmp(data)
    return data[:start] + chunk + data[end:]


def has_claim(data: bytes) -> bool:
    """Return whether a C2PA manifest (chunk ``caBX``) is embedded."""
    return any(chunk.type == b"caBX" for chunk in chunks(data))


def _is_xmp(chunk: Chunk) -> bool:
    return chunk.type == b"iTXt" and chunk.content.startswith(XMP_KEYWORD)


def _place_for_xmp(data: bytes) -> tuple[int, int]:
    place = 0
    for chunk in chunks(data):
        if _is_xmp(chunk):
            return chunk.start, chunk.end
        if chunk.type == b"IHDR":
            place = chunk.end
    return place, place


def _text_of(content: bytes) -> bytes | None:
    """Return the text of an iTXt chunk, or nothing where it cannot be unpacked."""
    packed = content[len(XMP_KEYWORD) : len(XMP_KEYWORD) + 1] == b"\x01"
    _language, _, rest = content[len(XMP_KEYWORD) + 2 :].partition(b"\x00")
    _translated, _, text = rest.partition(b"\x00")
    if not packed:
        return text
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(text, _MAX_UNPACKED)
    except zlib.error:
        return None
    return unpacked if unpacker.eof else None
