# SPDX-License-Identifier: Apache-2.0
"""Read a CSV file as text and as records, and locate the byte or quote that makes it invalid."""

from __future__ import annotations

import codecs
import csv
import io
import re
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from ..exceptions import ManifestError
from .columns import delimiter_hint, has_required, names_found
from .quoting import find_fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .columns import ColumnNames
    from .quoting import Fault
    from .source import Source

_HEADER_LIMIT = 65_536  # characters; limits what is read of a file that is not a table
_BLOCK = 1 << 18
_SAVE_AS_UTF8 = 'save it as UTF-8 (in Excel: "CSV UTF-8") and run again'
_OTHER_KINDS = {
    b"\xd0\xcf\x11\xe0": "an old Excel workbook (.xls), not a CSV file: save it as .xlsx or CSV",
    b"%PDF": "a PDF document, not a CSV file: export the table as CSV",
    b"BZh": "compressed with bzip2: unpack it",
    b"\xfd7zXZ": "compressed with xz: unpack it",
}
#: The delimiters that are recognised, in order of preference.
DELIMITERS = (",", ";", "\t", "|")
# Excel's own first line, which names the delimiter.
_SEP_LINE = re.compile(r"\"?sep=([,;|\t])\"?[,;|\t]*\s*", re.IGNORECASE)


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
    """The text contains a double quote, so its rows must be split by :class:`Records`, which checks the quoting."""


class Records:
    """
    The records of a CSV text, numbered as a spreadsheet numbers rows: the header is 1.

    A record may span several lines of the file (a quoted value with line breaks in it) and still counts as one.

    :param text: its lines, with their line ends
    :param before: the lines of the file in front of them
    :param number: the records that those lines are, such as the header
    :param delimiter: the character between two values
    """

    def __init__(
        self, text: Iterable[str], *, before: int = 0, number: int = 0, delimiter: str = ","
    ) -> None:
        self.number = number
        self._delimiter = delimiter
        self.record: list[str] = []
        #: Lines of the file read until now.
        self.lines_read = before
        self._lines: list[str] = []
        self._yielded = False
        self._text = text

    def _feed(self) -> Iterator[str]:
        for line in self._text:
            if self._yielded:
                self._lines.clear()
                self._yielded = False
            self._lines.append(line)
            self.lines_read += 1
            yield line

    def __iter__(self) -> Iterator[list[str]]:
        """Yield each record; a blank line is an empty record."""
        # Many programs write a blank behind each comma; without `skipinitialspace` a quote behind it is not one.
        for record in csv.reader(self._feed(), delimiter=self._delimiter, skipinitialspace=True):
            self.number += 1
            self.record = record
            self._yielded = True
            yield record

    @property
    def line(self) -> int:
        """Line of the file that the current record starts in, counted from 1."""
        return self.lines_read - len(self._lines) + 1

    def quoting_fault(self, width: int) -> Fault | None:
        """
        Return what is wrong with the quotes of the record just read, ``None`` if its values can be trusted.

        :param width: number of columns of the file
        """
        return find_fault("".join(self._lines), self.line, width, self._delimiter)

    def rest(self) -> Iterator[str]:
        """Yield the lines of the file that follow the first line of the current record."""
        yield from self._lines[1:]
        yield from self._text


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
        raise ManifestError(_bad_byte_message(source)) from None


def read_header(
    text: ManifestText, location: str, *, columns: ColumnNames | None = None, delimiter: str = ""
) -> list[str]:
    """
    Read the header row and leave ``text`` at the row after it.

    :param columns: what the user says about the columns
    :param delimiter: tried first
    :raises ManifestError: if there is none
    """
    first = _first_line(text, location)
    before = 0
    if named := _SEP_LINE.fullmatch(first):
        text.header_row, before, text.delimiter = 2, 1, named[1]
    else:
        text.put_back(first)
        text.delimiter = _delimiter_of(first, columns, delimiter)
    records = Records(_header_lines(text, location), before=before, number=before, delimiter=text.delimiter)
    header = next(iter(records), None)
    if header is not None and (fault := records.quoting_fault(len(header))) and not delimiter_hint(header):
        raise ManifestError(f"manifest {location}, row 1: {fault.reason}")
    text.header_lines = records.lines_read
    if header is None or not any(value.strip() for value in header):
        while line := text.readline():
            if line.strip(",;| \t\r\n"):
                raise ManifestError(f"manifest {location}, row 1 is blank: the column names must be in row 1")
        raise ManifestError(f"manifest {location} is empty: it needs a header row and at least one pair")
    return header


def _first_line(text: ManifestText, location: str) -> str:
    return next(_header_lines(text, location), "")


def _delimiter_of(line: str, columns: ColumnNames | None, preferred: str) -> str:
    """Return the delimiter that makes most of a header's line the names of known columns."""

    def found(delimiter: str) -> tuple[int, bool, int]:
        try:
            names = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
        except csv.Error:
            names = []
        return names_found(names, columns), delimiter == preferred, len(names)

    return max(DELIMITERS, key=found)  # the first of several that are equal


def _header_lines(text: ManifestText, location: str) -> Iterator[str]:
    left = _HEADER_LIMIT
    while line := text.readline(left):
        left -= len(line)
        if left <= 0:
            raise ManifestError(
                f"manifest {location}, row 1 is longer than {_HEADER_LIMIT} characters: this is not a table "
                "with a header row, or a quote in row 1 is never closed"
            )
        yield line


def _bad_byte_message(source: Source) -> str:
    with source.open() as stream:
        offset, byte, kind = _find_bad_byte(stream)
    if kind:
        return f"manifest {source.location} is {kind}"
    with source.open() as stream:
        first = stream.readline(_HEADER_LIMIT).decode("utf-8-sig", "replace")
    named = _SEP_LINE.fullmatch(first)
    with source.open() as stream:
        row, column = _place_of(stream, offset, named[1] if named else _delimiter_of(first, None, ""))
    where = f"manifest {source.location}, row {row}" + (f", column {column}" if column else "")
    if byte == 0:
        return (
            f"{where}: a NUL character (byte {offset} of the file). The file is damaged or not plain text: "
            f"{_SAVE_AS_UTF8}"
        )
    return f"{where}: byte 0x{byte:02X} (byte {offset} of the file) is not UTF-8: {_SAVE_AS_UTF8}"


def _find_bad_byte(stream: IO[bytes]) -> tuple[int, int, str]:
    """Return offset and value of the first byte that is NUL or not UTF-8, and the kind of file if recognised."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    start = 0
    kind = ""
    while True:
        block = stream.read(_BLOCK)
        if start == 0:
            kind = next((name for magic, name in _OTHER_KINDS.items() if block.startswith(magic)), "")
        pending = decoder.getstate()[0]
        nul = block.find(0)
        try:
            decoder.decode(block if nul < 0 else block[:nul], final=nul >= 0 or not block)
        except UnicodeDecodeError as error:
            return start - len(pending) + error.start, error.object[error.start], kind
        if nul >= 0:
            return start + nul, 0, kind
        if not block:
            raise OSError("the file changed while it was read")
        start += len(block)


def _place_of(stream: IO[bytes], offset: int, delimiter: str) -> tuple[int, str]:
    """Return the row of a byte, and the name of its column if there is one."""
    text = io.TextIOWrapper(io.BufferedReader(_Beginning(stream, offset)), encoding="utf-8-sig", newline="")
    records = Records(text, delimiter=delimiter)
    header: list[str] = []
    try:
        for record in records:
            header = header or record
    except csv.Error:  # a value beyond the csv module's size limit: the row is known, the column is not
        return records.number + 1, ""
    index = len(records.record) - 1
    names = [name.strip() for name in header]
    # Names of other columns may be the text of a file that is no manifest.
    known = records.number > 1 and index < len(names) and has_required(names)
    return records.number, names[index] if known else ""


class _Beginning(io.RawIOBase):
    """The first bytes of a stream, followed by one letter in place of the next byte."""

    def __init__(self, stream: IO[bytes], length: int) -> None:
        self._stream = stream
        self._left = length
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        data = self._stream.read(min(self._left, len(buffer)))
        self._left -= len(data)
        if not data and not self._ended:
            self._ended = True
            data = b"-"
        buffer[: len(data)] = data
        return len(data)
