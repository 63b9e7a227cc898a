# SPDX-License-Identifier: Apache-2.0
"""The chunks of a PNG file: where they are, where the XMP is, whether a C2PA manifest is embedded."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, NamedTuple

from . import BrokenContainerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
XMP_KEYWORD = b"XML:com.adobe.xmp\x00"

# A packed packet that unpacks to more than this is an attack, not metadata.
_MAX_UNPACKED = 4 * 1024 * 1024
#: Bytes of unpacked rows up to which :func:`repacked` packs a picture again.
_MAX_ROWS = 128 * 1024 * 1024
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# The passes of an interlaced picture: first column and row, step to the next.
_ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)  # fmt: skip


class Chunk(NamedTuple):
    """
    One chunk of a file.

    :param type: four letters
    :param start: where it begins
    :param end: where it ends, beyond the end of a file that is cut
    :param content: its content, as far as the file has it
    :param intact: whether it is complete and its check sum is correct
    """

    type: bytes
    start: int
    end: int
    content: bytes
    intact: bool


def chunks(data: bytes) -> Iterator[Chunk]:
    """
    Return all chunks up to and including IEND; the last one may be cut.

    :raises BrokenContainerError: it does not begin as a PNG
    """
    if not data.startswith(SIGNATURE):
        raise BrokenContainerError("it does not begin as a PNG")
    position = len(SIGNATURE)
    kind = b""
    while kind != b"IEND" and position + 8 < len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        end = position + 12 + length
        content = data[position + 8 : end - 4]
        intact = end <= len(data) and _check_sum(kind + content) == data[end - 4 : end]
        yield Chunk(kind, position, end, content, intact)
        position = end


def bare(data: bytes) -> bytes:
    """
    Return the picture alone: header, palette and data, with correct check sums and an end.

    Ancillary chunks, damaged or not, do not change a decoded pixel.

    :raises BrokenContainerError: no picture data, or data that its check sums prove to be damaged
    """
    found = [chunk for chunk in chunks(data) if chunk.type in {b"IHDR", b"PLTE", b"IDAT"}]
    pixels = [chunk for chunk in found if chunk.type == b"IDAT"]
    if not pixels or found[0].type != b"IHDR":
        raise BrokenContainerError("it has no picture data")
    if not all(chunk.intact for chunk in pixels[:-1]) or not (
        pixels[-1].intact or pixels[-1].end > len(data)
    ):
        _check_stream(chunk.content for chunk in pixels)
    parts = [encoded_chunk(chunk.type, _without_padding(chunk, data)) for chunk in found]
    return b"".join([SIGNATURE, *parts, encoded_chunk(b"IEND", b"")])


def repacked(data: bytes) -> bytes:
    """
    Return the picture alone, its data packed again.

    Some encoders write a wrong check sum behind the data; Apple's (chunk ``CgBI``) write none, nor the two bytes in
    front. Every row is there, and the programs that such files are made for show it.

    :raises BrokenContainerError: rows are missing, or it is too large to be packed again
    """
    found = list(chunks(bare(data)))
    expected = _bytes_of_rows(found[0].content)
    if not 0 < expected <= _MAX_ROWS:
        raise BrokenContainerError("it does not decode to its end")
    packed = b"".join(chunk.content for chunk in found if chunk.type == b"IDAT")
    headless = any(chunk.type == b"CgBI" for chunk in chunks(data))
    try:
        rows = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed[0 if headless else 2 :], expected)
    except zlib.error:
        rows = b""
    if len(rows) < expected:
        raise BrokenContainerError("it ends within its picture data")
    parts = [encoded_chunk(chunk.type, chunk.content) for chunk in found if chunk.type in {b"IHDR", b"PLTE"}]
    pixels = encoded_chunk(b"IDAT", zlib.compress(rows, 1))
    return b"".join([SIGNATURE, *parts, pixels, encoded_chunk(b"IEND", b"")])


def _bytes_of_rows(header: bytes) -> int:
    """Return the length of all unpacked rows, each with its filter byte; 0 for a header that is not valid."""
    if len(header) < 13:
        return 0
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    bits = header[8] * _CHANNELS.get(header[9], 0)
    if not bits:
        return 0
    total = 0
    for left, top, across, down in _ADAM7 if header[12] else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + -(-columns * bits // 8))
    return total


def _without_padding(chunk: Chunk, data: bytes) -> bytes:
    """Return the content, without the zeros that replaced the end of a file that is cut: they would be read as data."""
    if chunk.end <= len(data):
        return chunk.content
    return chunk.content[: len(chunk.content.rstrip(b"\x00")) + 4]


def encoded_chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk as it stands in a file."""
    return len(content).to_bytes(4, "big") + kind + content + _check_sum(kind + content)


def _check_sum(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(4, "big")


def _check_stream(contents: Iterable[bytes]) -> None:
    """Check the data by its own check sum, because that of its chunk is wrong."""
    unpacker = zlib.decompressobj()
    try:
        for content in contents:
            rest = content
            while rest and not unpacker.eof:
                unpacker.decompress(rest, _MAX_UNPACKED)
                rest = unpacker.unconsumed_tail
    except zlib.error:
        raise BrokenContainerError("the check sum of its data is wrong") from None
    if not unpacker.eof:
        raise BrokenContainerError("the check sum of its data is wrong")


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
    chunk = encoded_chunk(b"iTXt", content)
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
    if not 0 < place < len(data):
        raise BrokenContainerError("it ends within its header")
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
