# SPDX-License-Identifier: Apache-2.0
"""Locate the byte that makes a file unreadable as UTF-8 text, and recognise files that are no text at all."""

from __future__ import annotations

import codecs
import csv
import io
from typing import IO, TYPE_CHECKING

from .columns import has_required
from .csv_header import HEADER_LIMIT, SEP_LINE, delimiter_of
from .csv_records import Records

if TYPE_CHECKING:
    from .source import Source

_BLOCK = 1 << 18
_SAVE_AS_UTF8 = 'save it as UTF-8 (in Excel: "CSV UTF-8") and run again'
_OTHER_KINDS = {
    b"\xd0\xcf\x11\xe0": "an old Excel workbook (.xls), not a CSV file: save it as .xlsx or CSV",
    b"%PDF": "a PDF document, not a CSV file: export the table as CSV",
    b"BZh": "compressed with bzip2: unpack it",
    b"\xfd7zXZ": "compressed with xz: unpack it",
}


def bad_byte_message(source: Source) -> str:
    """Return the error message for a file that is not UTF-8 text: where its first wrong byte is, or what it is."""
    with source.open() as stream:
        offset, byte, kind = _find_bad_byte(stream)
    if kind:
        return f"manifest {source.location} is {kind}"
    with source.open() as stream:
        first = stream.readline(HEADER_LIMIT).decode("utf-8-sig", "replace")
    named = SEP_LINE.fullmatch(first)
    with source.open() as stream:
        row, column = _place_of(stream, offset, named[1] if named else delimiter_of(first, None, ""))
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
