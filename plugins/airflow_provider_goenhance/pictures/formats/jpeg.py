# SPDX-License-Identifier: Apache-2.0
"""The segments of a JPEG file: is it whole, where is its XMP, does it carry a C2PA manifest."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from . import BrokenContainerError, NoRoomError

if TYPE_CHECKING:
    from collections.abc import Iterator

XMP_HEADER = b"http://ns.adobe.com/xap/1.0/\x00"

_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_APP0, _APP1, _APP11 = 0xE0, 0xE1, 0xEB
_MAX_PAYLOAD = 0xFFFF - 2
# Between the scans every 0xFF of the data is followed by 0x00 or a restart marker; anything else is a segment.
_NEXT_MARKER = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]", re.DOTALL)


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
        position = _skip_fill(data, position)
        marker = data[position + 1]
        if marker in {_SOS, _EOI}:
            return
        end = _segment_end(data, position)
        yield Segment(marker, position, end)
        position = end


def check_complete(data: bytes) -> None:
    """
    Walk all segments and scans up to the end-of-image marker; what a camera hangs behind it is allowed.

    :raises BrokenContainerError: the file ends before its picture does
    """
    last = 2
    for segment in header_segments(data):
        last = segment.end
    position = _skip_fill(data, last)
    while data[position + 1] != _EOI:
        position = _segment_end(data, position)
        found = _NEXT_MARKER.search(data, position)
        if found is None:
            raise BrokenContainerError("the end-of-image marker is missing")
        position = found.end() - 2


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


def _skip_fill(data: bytes, position: int) -> int:
    """Step over the fill bytes that may stand in front of a marker."""
    if data[position : position + 1] != b"\xff":
        raise BrokenContainerError(f"no marker where one must be, at byte {position}")
    while data[position + 1 : position + 2] == b"\xff":
        position += 1
    if position + 1 >= len(data):
        raise BrokenContainerError("it ends within its header")
    return position


def _segment_end(data: bytes, position: int) -> int:
    length = int.from_bytes(data[position + 2 : position + 4], "big")
    end = position + 2 + length
    if length < 2 or end > len(data):
        raise BrokenContainerError("it ends within a segment")
    return end
