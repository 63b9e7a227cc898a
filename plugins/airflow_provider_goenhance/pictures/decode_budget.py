# SPDX-License-Identifier: Apache-2.0
"""Bound the memory that the pictures decoded at the same time take in this process."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .kinds import PictureKind

#: Bytes of decoded pictures at the same time. A larger picture is decoded alone.
MOST_BYTES = 192 * 2**20

# Pillow keeps 4 bytes for a pixel of RGB; some decoders keep whole canvases of their own beside it.
_BYTES_OF_A_PIXEL = 4
_CANVASES: dict[PictureKind, int] = {"webp": 3, "avif": 2, "gif": 2, "jp2": 2}


class DecodeBudget:
    """Lets threads decode pictures as long as all of them together stay below a number of bytes."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._free = most_bytes
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def of(self, size: int) -> Iterator[None]:
        """Hold this many bytes of the budget, all of it for a picture that needs more; wait until they are free."""
        share = min(size, self._most)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= share)
            self._free -= share
        try:
            yield
        finally:
            with self._changed:
                self._free += share
                self._changed.notify_all()


def bytes_to_decode(
    kind: PictureKind, width: int, height: int, *, scale: int = 1, progressive: bool = False
) -> int:
    """
    Return about how many bytes decoding a picture takes.

    :param scale: divisor at which a JPEG is decoded
    :param progressive: whether a JPEG is: all its coefficients are then held at full size
    """
    pixels = width * height
    held = pixels * _BYTES_OF_A_PIXEL * _CANVASES.get(kind, 1) // scale**2
    return held + pixels * 3 * 2 if progressive else held


#: The budget of this process.
BUDGET = DecodeBudget()
