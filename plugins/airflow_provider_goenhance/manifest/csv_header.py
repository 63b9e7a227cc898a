# SPDX-License-Identifier: Apache-2.0
"""Read the header row of a CSV file, and find out which character separates its values."""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING

from ..exceptions import ManifestError
from .columns import delimiter_hint, names_found
from .csv_records import Records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .columns import ColumnNames
    from .csv_text import ManifestText

#: Characters; limits what is read of a file that is not a table.
HEADER_LIMIT = 65_536
#: Blank rows above the header that are skipped, as other programs do.
BLANK_ROWS = 9
#: The delimiters that are recognised, in order of preference.
DELIMITERS = (",", ";", "\t", "|")
#: Excel's own first line, which names the delimiter.
SEP_LINE = re.compile(r"\"?sep=([,;|\t])\"?[,;|\t]*\s*", re.IGNORECASE)


def read_header(
    text: ManifestText, location: str, *, columns: ColumnNames | None = None, delimiter: str = ""
) -> list[str]:
    """
    Read the header row and leave ``text`` at the row after it.

    :param columns: what the user says about the columns
    :param delimiter: tried first
    :raises ManifestError: if there is none
    """
    first, before = _first_line(text, location), 0
    while before < BLANK_ROWS and first and _is_blank(first):
        first, before = _first_line(text, location), before + 1
    if named := SEP_LINE.fullmatch(first):
        before, text.delimiter = before + 1, named[1]
    else:
        text.put_back(first)
        text.delimiter = delimiter_of(first, columns, delimiter)
    text.header_row = before + 1
    records = Records(_header_lines(text, location), before=before, number=before, delimiter=text.delimiter)
    header = next(iter(records), None)
    if header is not None and (fault := records.quoting_fault(len(header))) and not delimiter_hint(header):
        raise ManifestError(f"manifest {location}, row {text.header_row}: {fault.reason}")
    text.header_lines = records.lines_read
    if header is None or not any(value.strip() for value in header):
        while line := text.readline():
            if not _is_blank(line):
                row = text.header_row
                raise ManifestError(
                    f"manifest {location}, row {row} is blank: the column names must be in it"
                )
        raise ManifestError(f"manifest {location} is empty: it needs a header row and at least one pair")
    return header


def _is_blank(line: str) -> bool:
    return not line.strip(",;| \t\r\n")


def _first_line(text: ManifestText, location: str) -> str:
    return next(_header_lines(text, location), "")


def delimiter_of(line: str, columns: ColumnNames | None, preferred: str) -> str:
    """Return the delimiter that makes most of a header's line the names of known columns."""

    def found(delimiter: str) -> tuple[int, bool, int]:
        try:
            names = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
        except csv.Error:
            names = []
        return names_found(names, columns), delimiter == preferred, len(names)

    return max(DELIMITERS, key=found)  # the first of several that are equal


def _header_lines(text: ManifestText, location: str) -> Iterator[str]:
    left = HEADER_LIMIT
    while line := text.readline(left):
        left -= len(line)
        if left <= 0:
            raise ManifestError(
                f"manifest {location}, row 1 is longer than {HEADER_LIMIT} characters: this is not a table "
                "with a header row, or a quote in row 1 is never closed"
            )
        yield line
