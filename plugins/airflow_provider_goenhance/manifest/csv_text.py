# SPDX-License-Identifier: Apache-2.0
"""Open a CSV file as text that can be read ahead, and refuse what is not text."""

from __future__ import annotations

import io
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from ..exceptions import ManifestError
from .bad_bytes import bad_byte_message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .source import Source


class NulByteError(Exception):
    """The text contains a NUL character, which CSV parsers handle inconsistently."""


class ManifestText(io.TextIOBase):
    """Text that rejects NUL characters and lets its reader put a line back."""

    def __init__(self, inner: IO[str]) -> None:
        self._inner = inner
        self._ahead = ""
        #: Set when the header row is read: the lines up to its end, its row, and the character between two values.
        self.header_lines = 0
        self.header_row = 1
        self.delimiter = ","

    def put_back(self, line: str) -> None:
        """Return ``line`` from the next read, before the rest."""
        self._ahead = line + self._ahead

    def readable(self) -> bool:
        """Return ``True``; pandas checks it."""
        return True

    def read(self, size: int | None = -1, /) -> str:
        """
        Read up to ``size`` characters; a line that was put back is returned alone, whatever its length.

        :raises QuotesError: if there is a double quote among them
        """
        if self._ahead:
            ahead, self._ahead = self._ahead, ""
            return ahead
        text = self._sound(self._inner.read(-1 if size is None else size))
        if '"' in text:
            raise QuotesError
        return text

    def readline(self, size: int = -1, /) -> str:  # type: ignore[override]
        """Read one line; a line that was put back is returned as it is."""
        if self._ahead:
            ahead, self._ahead = self._ahead, ""
            return ahead
        return self._sound(self._inner.readline(size))

    @staticmethod
    def _sound(text: str) -> str:
        if "\0" in text:
            raise NulByteError
        return text


class QuotesError(Exception):
    """The text contains a double quote: its rows must be split by :class:`.csv_records.Records`, which checks them."""


@contextmanager
def open_text(source: Source) -> Iterator[ManifestText]:
    """
    Open a manifest as UTF-8 text, with or without a byte order mark.

    :raises ManifestError: where the bytes are not UTF-8 text, naming row, column and byte
    """
    try:
        with source.open() as stream, io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text:
            yield ManifestText(text)
    except (UnicodeDecodeError, NulByteError):
        raise ManifestError(bad_byte_message(source)) from None
