# SPDX-License-Identifier: Apache-2.0
"""Read a CSV manifest, in chunks, with every row numbered as a spreadsheet numbers it."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from ..exceptions import ManifestError
from .columns import Columns, find_columns
from .csv_text import QuotesError, Records, open_text, read_header
from .model import Rows

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from .csv_text import ManifestText
    from .quoting import Fault
    from .source import Source


#: Rows held at once while reading: enough to keep pandas fast, about 20 MB with long URLs.
CHUNK_ROWS = 50_000


def read_csv(source: Source, *, chunk_rows: int = CHUNK_ROWS) -> Generator[Rows]:
    """
    Read a CSV manifest chunk by chunk; blank rows are counted and left out.

    pandas' C parser reads. It does not report which row it failed on (too many values), its Python engine silently
    drops rows in such files, and both accept damaged quotes, which swallow rows. So from the chunk with the first
    such row or the first double quote on, the standard library's reader is used, and each record's quotes are
    checked.

    :param chunk_rows: rows in one chunk
    :raises ManifestError: if the file as a whole cannot be used
    """
    from pandas.errors import ParserError

    last_row = 1
    try:
        for number, rows in read_by_pandas(source, chunk_rows):
            yield rows
            last_row = number
    except (ParserError, QuotesError):
        yield from read_by_record(source, chunk_rows, after=last_row)


def read_by_pandas(source: Source, chunk_rows: int) -> Iterator[tuple[int, Rows]]:
    """
    Yield each chunk with the number of its last row, blank rows included.

    :raises ParserError: at a row that pandas cannot parse
    :raises QuotesError: at a double quote
    """
    import pandas as pd

    with open_text(source) as text:
        columns = _columns(text, source)
        # pandas infers the number of columns from the first row and does not validate that row. So a blank row,
        # one value wider than the header, stands in for row 1; what reaches into that last column is overflow.
        text.put_back("," * columns.width + "\n")
        frames = pd.read_csv(
            text,
            engine="c",
            header=None,
            names=range(columns.width + 1),
            index_col=False,
            dtype=object,  # keeps each value the text it is, in every version of pandas
            na_filter=False,  # "NA" and "null" are names too
            skip_blank_lines=False,
            chunksize=chunk_rows,
        )
        with frames:
            for frame in frames:
                numbers = list(range(frame.index[0] + 1, frame.index[-1] + 2))
                values = [frame[position].tolist() for position in range(columns.width + 1)]
                yield numbers[-1], _rows(columns, numbers, values)


def read_by_record(source: Source, chunk_rows: int, *, after: int) -> Iterator[Rows]:
    """Yield the rows after row ``after``, parsed by the standard library's reader."""
    with open_text(source) as text:
        columns = _columns(text, source)
        records = Records(text, before=text.header_lines)
        numbers: list[int] = []
        values: list[list[str]] = []
        try:
            for record in records:
                if records.number <= after:
                    continue
                if fault := records.quoting_fault(columns.width):
                    raise ManifestError(_quoting_message(source.location, columns, records, fault))
                numbers.append(records.number)
                values.append(_fitted(record, columns.width))
                if len(numbers) == chunk_rows:
                    yield _rows(columns, numbers, _transposed(values))
                    numbers, values = [], []
        except csv.Error as error:
            raise ManifestError(
                f"manifest {source.location}, row {records.number + 1} cannot be read ({error}): "
                f"is a quote opened in it (line {records.line}) and never closed?"
            ) from None
        if numbers:
            yield _rows(columns, numbers, _transposed(values))


def _columns(text: ManifestText, source: Source) -> Columns:
    header = read_header(text, source.location)
    return find_columns(header, source.location, quote=not source.from_web)


def _fitted(record: list[str], width: int) -> list[str]:
    """Return a record with the header's width, plus one value that joins all values beyond it."""
    beyond = ",".join(record[width:])
    return [*record[:width], *[""] * (width - len(record)), beyond]


def _transposed(values: list[list[str]]) -> list[list[str]]:
    return [list(column) for column in zip(*values, strict=True)]


def _rows(columns: Columns, numbers: list[int], values: list[list[str]]) -> Rows:
    """Return the manifest's columns, trimmed and without blank rows."""
    absent = [""] * len(numbers)

    def column(name: str) -> list[str]:
        position = columns.position.get(name)
        return absent if position is None else [value.strip() for value in values[position]]

    texts = [column(name) for name in ("source_img", "reference_img", "pair_id", "consent_ref")]
    texts.append([value.strip(", \t\r\n") for value in values[columns.width]])
    texts += [column(name) for name in ("source_key", "reference_key")]
    blank = {
        index
        for index, cells in enumerate(zip(*texts, strict=True))
        if not any(cells) and not any(column[index].strip() for column in values[: columns.width])
    }
    if blank:
        kept = [index for index in range(len(numbers)) if index not in blank]
        numbers = [numbers[index] for index in kept]
        texts = [[text[index] for index in kept] for text in texts]
    return Rows(numbers, *texts)


def _quoting_message(location: str, columns: Columns, records: Records, fault: Fault) -> str:
    where = f"manifest {location}, row {records.number}"
    if fault.column < columns.width and columns.header[fault.column]:
        where += f", column {columns.header[fault.column]}"
    return f"{where}: {fault.reason}"
