# SPDX-License-Identifier: Apache-2.0
"""Read text in UTF-16, which spreadsheets call Unicode text, as if it were UTF-8."""

from __future__ import annotations

import codecs
import io
from typing import IO

from ..exceptions import ManifestError

_BLOCK = 1 << 16
_BYTE_ORDER_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def is_utf16(start: bytes) -> bool:
    """Return whether a file with these first bytes is text in UTF-16."""
    return start.startswith(_BYTE_ORDER_MARKS) and not start.startswith(codecs.BOM_UTF32_LE)


def as_utf8(stream: IO[bytes], location: str) -> IO[bytes]:
    """
    Return a stream of the text in UTF-8, which closes ``stream``.

    :raises ManifestError: while it is read, where the text is damaged
    """
    return io.BufferedReader(_Utf8(stream, location), _BLOCK)


class _Utf8(io.RawIOBase):
    def __init__(self, stream: IO[bytes], location: str) -> None:
        self._stream = stream
        self._location = location
        self._decoder = codecs.getincrementaldecoder("utf-16")()
        self._ready = b""
        self._ended = False
        self._read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        while not self._ready and not self._ended:
            block = self._stream.read(_BLOCK)
            self._ended = not block
            try:
                self._ready = self._decoder.decode(block, final=self._ended).encode()
            except UnicodeDecodeError as error:
                raise ManifestError(
                    f"manifest {self._location} is damaged UTF-16 text (near byte {self._read + error.start}: "
                    f"{error.reason}): save it as UTF-8"
                ) from None
            self._read += len(block)
        data, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._stream.close()
