# SPDX-License-Identifier: Apache-2.0
"""The blocks of a GIF file, to leave out frames without a pixel: browsers skip them, decoders refuse the file."""

from __future__ import annotations

from . import BrokenContainerError

_EXTENSION, _FRAME = 0x21, 0x2C
_HAS_TABLE, _TABLE_SIZE = 0x80, 0x07
_TRAILER = b";"


def without_empty_frames(data: bytes) -> bytes:
    """
    Return the file without the frames whose width or height is 0, up to the last complete block.

    :raises BrokenContainerError: no frame has a pixel
    """
    position = 13 + _table_bytes(data[10:11])
    parts = [data[:position]]
    frames = 0
    while data[position : position + 1] and data[position] in {_EXTENSION, _FRAME}:
        start, empty = position, False
        if data[position] == _FRAME:
            empty = not any(data[position + 5 : position + 7]) or not any(data[position + 7 : position + 9])
            position = _blocks_end(data, position + 11 + _table_bytes(data[position + 9 : position + 10]))
            frames += not empty
        else:
            position = _blocks_end(data, position + 2)
        if not empty:
            parts.append(data[start:position])
    if not frames:
        raise BrokenContainerError("it has no frame with a pixel")
    return b"".join([*parts, _TRAILER])


def _table_bytes(flags: bytes) -> int:
    """Return the length of the color table that these flags announce."""
    return 3 * (2 << (flags[0] & _TABLE_SIZE)) if flags and flags[0] & _HAS_TABLE else 0


def _blocks_end(data: bytes, position: int) -> int:
    while size := int.from_bytes(data[position : position + 1], "big"):
        position += 1 + size
    if position >= len(data):
        raise BrokenContainerError("it ends within a block")
    return position + 1
