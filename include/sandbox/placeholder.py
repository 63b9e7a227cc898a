# SPDX-License-Identifier: Apache-2.0
"""The picture that load mode serves: a tiny PNG or a given JPEG, whose metadata states that no face was swapped."""

from __future__ import annotations

import struct
import zlib
from functools import cache
from pathlib import Path

MEDIA_TYPE = "image/png"
EXTENSION = "png"
_SIDE = 8


JPEG_MEDIA_TYPE = "image/jpeg"
JPEG_EXTENSION = "jpg"
_START_OF_IMAGE = b"\xff\xd8"
_COMMENT = b"\xff\xfe"


def is_jpeg(path: Path) -> bool:
    """Return whether a file begins like a JPEG."""
    with path.open("rb") as file:
        return file.read(2) == _START_OF_IMAGE


def load_picture(path: Path, img_uuid: str, note: str) -> bytes:
    """Return a JPEG with a comment that contains the job's id, so that every result has different bytes."""
    text = f"GoEnhance {note}; job {img_uuid}".encode("latin-1")
    comment = _COMMENT + struct.pack(">H", len(text) + 2) + text
    return b"".join((_START_OF_IMAGE, comment, _rest(path)))


@cache
def _rest(path: Path) -> bytes:
    return path.read_bytes()[len(_START_OF_IMAGE) :]


def placeholder_picture(img_uuid: str, note: str) -> bytes:
    """Return a grey square that contains the job's id, so that every result has different bytes."""
    header = struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 0, 0, 0, 0)
    pixels = zlib.compress((b"\x00" + b"\x80" * _SIDE) * _SIDE)
    text = f"Comment\x00GoEnhance {note}; job {img_uuid}".encode("latin-1")
    chunks = ((b"IHDR", header), (b"tEXt", text), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
