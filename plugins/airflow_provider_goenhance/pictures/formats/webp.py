# SPDX-License-Identifier: Apache-2.0
"""The chunks of a WebP file: where they end, where the XMP is, whether a C2PA manifest is embedded."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from . import BrokenContainerError, NoRoomError

if TYPE_CHECKING:
    from collections.abc import Iterator

_XMP_FLAG, _ALPHA_FLAG = 0x04, 0x10
_PICTURES = frozenset({b"VP8 ", b"VP8L", b"ANMF"})
_KNOWN = _PICTURES | {b"VP8X", b"ALPH", b"ANIM", b"ICCP", b"EXIF", b"XMP ", b"C2PA"}


class Chunk(NamedTuple):
    """One RIFF chunk: its four-letter name and its content without the padding byte."""

    name: bytes
    content: bytes

    def encode(self) -> bytes:
        """Return the chunk as it stands in the file."""
        return (
            self.name
            + len(self.content).to_bytes(4, "little")
            + self.content
            + b"\x00" * (len(self.content) % 2)
        )


def chunks(data: bytes) -> Iterator[Chunk]:
    """
    Return all chunks of the RIFF container, whatever size it announces.

    :raises BrokenContainerError: the file ends within a chunk of the picture
    """
    position = 12
    stop = end_of_file(data)
    while position + 8 <= stop:
        end = _chunk_end(data, position)
        yield Chunk(data[position : position + 4], data[position + 8 : end])
        position = end + (end - position) % 2


def end_of_file(data: bytes) -> int:
    """
    Return where the last chunk ends: as announced, or else behind the last chunk that is complete.

    :raises BrokenContainerError: the file ends within a chunk of the picture
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        raise BrokenContainerError("it does not begin as a WebP")
    announced = 8 + int.from_bytes(data[4:8], "little")
    position, pictures = 12, 0
    while position + 8 <= len(data) and position != announced:
        name = data[position : position + 4]
        if name not in _KNOWN and pictures and position > announced:
            break
        end = _chunk_end(data, position)
        if end > len(data):
            if name in _PICTURES or not pictures:
                raise BrokenContainerError("it ends within a chunk")
            break
        pictures += name in _PICTURES
        position = end + (end - position) % 2
    if not pictures:
        raise BrokenContainerError("it has no picture data")
    return min(position, len(data))


def resized(data: bytes) -> bytes:
    """Return the file with the size that it has in place of the one that it announces."""
    end = end_of_file(data)
    return data[:4] + (end - 8).to_bytes(4, "little") + data[8:end]


def _chunk_end(data: bytes, position: int) -> int:
    """Return where the content of a chunk ends, without the padding byte."""
    return position + 8 + int.from_bytes(data[position + 4 : position + 8], "little")


def read_xmp(data: bytes) -> bytes | None:
    """Return the XMP packet."""
    return next((chunk.content for chunk in chunks(data) if chunk.name == b"XMP "), None)


def write_xmp(data: bytes, packet: bytes) -> bytes:
    """
    Return the file with this XMP packet in place of its own, or at its end where the format wants it.

    :raises NoRoomError: the file is of no shape that can be extended
    """
    parts = list(chunks(data))
    xmp = Chunk(b"XMP ", packet)
    if parts[0].name != b"VP8X":
        parts.insert(0, _extended_header(parts[0]))
    header = parts[0].content
    parts[0] = Chunk(b"VP8X", bytes([header[0] | _XMP_FLAG]) + header[1:])
    place = next((i for i, chunk in enumerate(parts) if chunk.name == b"XMP "), None)
    if place is None:
        parts.append(xmp)
    else:
        parts[place] = xmp
    body = b"WEBP" + b"".join(chunk.encode() for chunk in parts)
    behind = data[end_of_file(data) :]
    return b"RIFF" + len(body).to_bytes(4, "little") + body + behind


def has_claim(data: bytes) -> bool:
    """Return whether a C2PA manifest (chunk ``C2PA``) is embedded."""
    return any(chunk.name == b"C2PA" for chunk in chunks(data))


def _extended_header(picture: Chunk) -> Chunk:
    """Make the VP8X chunk that a simple file lacks and metadata needs."""
    flags = 0
    if picture.name == b"VP8 ":
        # three bytes of frame tag, the start code 9d 01 2a, then 14 bits each, two bits of scaling above them
        width = int.from_bytes(picture.content[6:8], "little") & 0x3FFF
        height = int.from_bytes(picture.content[8:10], "little") & 0x3FFF
    elif picture.name == b"VP8L":
        # one signature byte, then 14 bits width - 1, 14 bits height - 1, one bit alpha
        bits = int.from_bytes(picture.content[1:5], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        flags = _ALPHA_FLAG if bits >> 28 & 1 else 0
    else:
        raise NoRoomError(f"it begins with an unexpected chunk {picture.name!r}")
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return Chunk(b"VP8X", bytes([flags, 0, 0, 0]) + size)
