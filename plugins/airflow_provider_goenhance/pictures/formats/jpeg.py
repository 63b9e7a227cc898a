# SPDX-License-Identifier: Apache-2.0
"""The segments of a JPEG file: where it ends, where its XMP is, whether it carries a C2PA manifest."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from . import BrokenContainerError, NoRoomError

if TYPE_CHECKING:
    from collections.abc import Iterator

XMP_HEADER = b"http://ns.adobe.com/xap/1.0/\x00"

_EOI, _SOS, _COM = 0xD9, 0xDA, 0xFE
_PROGRESSIVE = frozenset({0xC2, 0xCA})
_LOSSLESS = frozenset({0xC3, 0xCB})
_FRAMES = _PROGRESSIVE | _LOSSLESS | {0xC0, 0xC1, 0xC9}
_APP0, _APP1, _APP11, _APP14, _APP15 = 0xE0, 0xE1, 0xEB, 0xEE, 0xEF
# The last value of a picture may end in a zero byte, and a stuffed zero may stand in front of it.
_MOST_ZEROS = 2
# Longer than a decoder reads ahead.
_ENDING = 64
_MAX_PAYLOAD = 0xFFFF - 2
# Between the scans every 0xFF of the data is followed by 0x00 or a restart marker; anything else is a segment.
# It begins with a literal byte, which is searched twenty times as fast as a repeated one.
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)


class Segment(NamedTuple):
    """One marker segment: the marker's second byte, and where the whole of it lies in the file."""

    marker: int
    start: int
    end: int

    def payload(self, data: bytes) -> bytes:
        """Return what follows marker and length."""
        return data[self.start + 4 : self.end]


def header_segments(data: bytes) -> Iterator[Segment]:
    """Return the segments in front of the first scan."""
    if data[:2] != b"\xff\xd8":
        raise BrokenContainerError("it does not begin as a JPEG")
    position = 2
    while True:
        position = _next_marker(data, position)
        marker = data[position + 1]
        if marker in {_SOS, _EOI}:
            return
        end = _segment_end(data, position)
        yield Segment(marker, position, end)
        position = end


def end_of_image(data: bytes) -> int | None:
    """
    Return the position of the end-of-image marker, ``None`` if it is missing; what follows it is not looked at.

    :raises BrokenContainerError: the file ends before its first scan, or within a segment
    """
    last = 2
    for segment in header_segments(data):
        last = segment.end
    position = _next_marker(data, last)
    while data[position + 1] != _EOI:
        position = _segment_end(data, position)
        found = _NEXT_MARKER.search(data, position)
        if found is None:
            return None
        position = found.end() - 2
    return position


def size_of_rare_coding(data: bytes) -> tuple[int, int] | None:
    """
    Return the size of a JPEG of a coding that common decoders lack: lossless, or 12 bits a sample.

    :returns: ``None`` for all others
    """
    for segment in header_segments(data):
        if segment.marker in _FRAMES:
            frame = segment.payload(data)
            size = int.from_bytes(frame[3:5], "big"), int.from_bytes(frame[1:3], "big")
            rare = segment.marker in _LOSSLESS or frame[:1] == b"\x0c"
            return size if rare and all(size) else None
    return None


def bare(data: bytes) -> bytes:
    """Return the picture without metadata, which a decoder may fail to read: no APPn but Adobe's, no comments."""
    last, parts = 2, [data[:2]]
    for segment in header_segments(data):
        last = segment.end
        if not (_APP0 <= segment.marker <= _APP15 or segment.marker == _COM) or segment.marker == _APP14:
            parts.append(data[segment.start : segment.end])
    return b"".join([*parts, data[last:]])


def endings(data: bytes) -> tuple[bytes, ...]:
    """
    Return a picture that lacks its end-of-image marker with several endings.

    All of them decode to the same pixels exactly if no bit of the picture's data is missing: a decoder that lacks
    bits reads on into the ending. More than a few zeros at the end are no data but what replaced it.

    :raises BrokenContainerError: scans of a progressive picture are missing
    """
    if not _has_all_scans(data):
        raise BrokenContainerError("it ends before its last scan")
    picture = data[: len(data.rstrip(b"\x00")) + _MOST_ZEROS].removesuffix(b"\xff")
    return tuple(picture + filler * _ENDING + b"\xff\xd9" for filler in (b"\x00", b"\x55", b"\xaa"))


def read_xmp(data: bytes) -> bytes | None:
    """Return the main XMP packet; extended XMP stays where it is."""
    for segment in header_segments(data):
        if segment.marker == _APP1 and data.startswith(XMP_HEADER, segment.start + 4):
            return segment.payload(data)[len(XMP_HEADER) :]
    return None


def write_xmp(data: bytes, packet: bytes) -> bytes:
    """
    Return the file with this XMP packet in place of its own, or behind JFIF and Exif.

    :raises NoRoomError: a JPEG segment holds 64 kB and no more
    """
    payload = XMP_HEADER + packet
    if len(payload) > _MAX_PAYLOAD:
        raise NoRoomError(f"an XMP packet of {len(packet)} bytes does not fit into a JPEG segment")
    segment = b"\xff\xe1" + (len(payload) + 2).to_bytes(2, "big") + payload
    start, end = _place_for_xmp(data)
    return data[:start] + segment + data[end:]


def has_claim(data: bytes) -> bool:
    """Return whether a C2PA manifest (JUMBF boxes in APP11) is embedded."""
    return any(
        segment.marker == _APP11 and segment.payload(data)[:2] == b"JP" and b"c2pa" in segment.payload(data)
        for segment in header_segments(data)
    )


def _place_for_xmp(data: bytes) -> tuple[int, int]:
    place = 2
    for segment in header_segments(data):
        if segment.marker == _APP1 and data.startswith(XMP_HEADER, segment.start + 4):
            return segment.start, segment.end
        if segment.marker == _APP0 or (
            segment.marker == _APP1 and data.startswith(b"Exif\x00", segment.start + 4)
        ):
            place = segment.end
    return place, place


def _has_all_scans(data: bytes) -> bool:
    """Return whether the scans of a progressive picture hold every coefficient to its last bit."""
    last, components = 2, 0
    for segment in header_segments(data):
        last = segment.end
        if segment.marker in _PROGRESSIVE:
            components = segment.payload(data)[5]
    if not components:
        return True
    bits: dict[tuple[int, int], int] = {}
    position: int | None = _next_marker(data, last)
    while position is not None:
        end = _segment_end(data, position)
        if data[position + 1] == _SOS:
            scan = data[position + 4 : end]
            first, final, low = scan[-3], scan[-2], scan[-1] & 0x0F
            for component in scan[1 : 1 + 2 * scan[0] : 2]:
                bits.update({(component, coefficient): low for coefficient in range(first, final + 1)})
        found = _NEXT_MARKER.search(data, end)
        position = found.end() - 2 if found else None
    return len(bits) == components * 64 and not any(bits.values())


def _next_marker(data: bytes, position: int) -> int:
    """Step over what may stand in front of a marker: fill bytes, and junk that decoders skip."""
    position = data.find(b"\xff", position)
    while position >= 0 and data[position + 1 : position + 2] in {b"\xff", b"\x00"}:
        position = data.find(b"\xff", position + 1)
    if position < 0 or position + 1 >= len(data):
        raise BrokenContainerError("it ends within its header")
    return position


def _segment_end(data: bytes, position: int) -> int:
    length = int.from_bytes(data[position + 2 : position + 4], "big")
    end = position + 2 + length
    if length < 2 or end > len(data):
        raise BrokenContainerError("it ends within a segment")
    return end
