# SPDX-License-Identifier: Apache-2.0
"""Read a CSV manifest, in chunks, with every row numbered as a spreadsheet numbers it."""

from __future__ import annotations

import csv
import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

from ..exceptions import ManifestError
from .columns import ANY_NAMES, Columns, Wanted, find_columns
from .csv_header import read_header
from .csv_records import Records
from .csv_text import QuotesError, open_text
from .labels import labels_text
from .model import Rows
from .own_files import signature_problem

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from .csv_text import ManifestText
    from .quoting import Fault
    from .source import Source


#: Rows held at once while reading: enough to keep pandas fast, about 20 MB with long URLs.
CHUNK_ROWS = 50_000
#: Values held at once: a wide file is read in smaller chunks.
CHUNK_VALUES = 400_000
#: Damaged quotes that one message names.
NAMED_FAULTS = 20


def read_csv(source: Source, wanted: Wanted = ANY_NAMES, *, chunk_rows: int = CHUNK_ROWS) -> Generator[Rows]:
    """
    Read a CSV manifest chunk by chunk; blank rows are counted and left out.

    pandas' C parser reads. It does not report which row it failed on (too many values), its Python engine silently
    drops rows in such files, and both accept damaged quotes, which swallow rows. So from the chunk with the first
    such row or the first double quote on, the standard library's reader is used, and each record's quotes are
    checked.

    :param wanted: how the columns are found
    :param chunk_rows: rows in one chunk
    :raises ManifestError: if the file as a whole cannot be used
    """
    from pandas.errors import ParserError

    last_row = 1
    try:
        for number, rows in read_by_pandas(source, chunk_rows, wanted):
            yield rows
            last_row = number
    except (ParserError, QuotesError):
        yield from read_by_record(source, chunk_rows, wanted, after=last_row)


def read_by_pandas(source: Source, chunk_rows: int, wanted: Wanted = ANY_NAMES) -> Iterator[tuple[int, Rows]]:
    """
    Yield each chunk with the number of its last row, blank rows included.

    :raises ParserError: at a row that pandas cannot parse
    :raises QuotesError: at a double quote
    """
    import pandas as pd

    with open_text(source) as text:
        columns = _columns(text, source, wanted)
        # pandas infers the number of columns from the first row and does not validate that row. So a blank row,
        # one value wider than the header, stands in for row 1; what reaches into that last column is overflow.
        text.put_back(text.delimiter * columns.width + "\n")
        frames = pd.read_csv(
            text,
            engine="c",
            sep=text.delimiter,
            header=None,
            names=range(columns.width + 1),
            index_col=False,
            dtype=object,  # keeps each value the text it is, in every version of pandas
            na_filter=False,  # "NA" and "null" are names too
            skip_blank_lines=False,
            chunksize=_rows_at_once(columns, chunk_rows),
        )
        with frames:
            for frame in frames:
                first = frame.index[0] + text.header_row
                numbers = list(range(first, first + len(frame)))
                values = [frame[position].tolist() for position in range(columns.width + 1)]
                yield numbers[-1], _rows(columns, numbers, values, text.delimiter)


def read_by_record(
    source: Source, chunk_rows: int, wanted: Wanted = ANY_NAMES, *, after: int
) -> Iterator[Rows]:
    """
    Yield the rows after row ``after``, parsed by the standard library's reader.

    The rows that follow a damaged quote are yielded as ``damaged``, so that the message can name all problems at once.
    """
    with open_text(source) as text:
        columns = _columns(text, source, wanted)
        records = Records(text, before=text.header_lines, number=text.header_row, delimiter=text.delimiter)
        faults: list[str] = []
        size = _rows_at_once(columns, chunk_rows)
        for chunk in _chunks(_checked(records, source, columns, text.delimiter, faults), size, after):
            numbers = [number for number, _ in chunk]
            values = [list(column) for column in zip(*(record for _, record in chunk), strict=True)]
            yield _rows(columns, numbers, values, text.delimiter, damaged=bool(faults))
        if faults:
            raise ManifestError(". ".join(faults))


def _rows_at_once(columns: Columns, most: int) -> int:
    return min(most, max(CHUNK_VALUES // columns.width, 1))


def _checked(
    records: Records, source: Source, columns: Columns, delimiter: str, faults: list[str]
) -> Iterator[tuple[int, list[str]]]:
    """Yield number and values of each record; behind a damaged quote, go on with the next line."""
    width = columns.width
    while True:
        fault = ""
        try:
            for record in records:
                if found := records.quoting_fault(width):
                    fault = _quoting_message(source.location, columns, records, found)
                    break
                if record:  # a blank line is none
                    yield records.number, _fitted(record, width, delimiter)
        except csv.Error as error:
            records.number += 1
            fault = (
                f"manifest {source.location}, row {records.number} cannot be read ({error}): "
                f"is a quote opened in it (line {records.line}) and never closed?"
            )
        if not fault:
            return
        faults.append(fault.replace(f"manifest {source.location}, ", "Also: ", 1) if faults else fault)
        if len(faults) == NAMED_FAULTS:
            return
        records = Records(records.rest(), before=records.line, number=records.number, delimiter=delimiter)


def _chunks(
    records: Iterator[tuple[int, list[str]]], size: int, after: int
) -> Iterator[list[tuple[int, list[str]]]]:
    wanted = itertools.dropwhile(lambda numbered: numbered[0] <= after, records)
    while chunk := list(itertools.islice(wanted, size)):
        yield chunk


def _columns(text: ManifestText, source: Source, wanted: Wanted) -> Columns:
    tabs = source.suffix in {".tsv", ".tab"}
    header = read_header(text, source.location, columns=wanted.names, delimiter="\t" if tabs else "")
    return find_columns(
        header,
        source.location,
        quote=not source.from_web,
        wanted=wanted,
        row=text.header_row,
    )


def _fitted(record: list[str], width: int, delimiter: str) -> list[str]:
    """Return a record with the header's width, plus one value that joins all values beyond it."""
    beyond = delimiter.join(record[width:])
    return [*record[:width], *[""] * (width - len(record)), beyond]


def _rows(
    columns: Columns, numbers: list[int], values: list[list[str]], delimiter: str, *, damaged: bool = False
) -> Rows:
    """Return the manifest's columns, trimmed and without blank rows."""
    overflow = [value.strip(f"{delimiter} \t\r\n") for value in values[columns.width]]
    numbers, values = _without_blank_rows(numbers, [*values[: columns.width], overflow])
    absent = [""] * len(numbers)

    def column(name: str) -> list[str]:
        position = columns.position.get(name)
        return absent if position is None else [value.strip() for value in values[position]]

    texts = [column(name) for name in ("source_img", "reference_img", "pair_id", "consent_ref")]
    texts.append(values[columns.width])
    texts += [column(name) for name in ("source_key", "reference_key")]
    if columns.labels or columns.removed is not None:
        texts.append(_labels(columns, values) if columns.labels else absent)
    if columns.removed is not None:
        texts.append(list(map(signature_problem, texts[0], texts[1], values[columns.removed])))
    rows = Rows(numbers, *texts)  # type: ignore[arg-type]
    return replace(rows, consent_expires=column("consent_expires"), damaged=damaged)


def _labels(columns: Columns, values: list[list[str]]) -> list[str]:
    names = [name for name, _ in columns.labels]
    others = [[value.strip() for value in values[position]] for _, position in columns.labels]
    return [labels_text(dict(zip(names, row, strict=True))) for row in zip(*others, strict=True)]


def _without_blank_rows(numbers: list[int], values: list[list[str]]) -> tuple[list[int], list[list[str]]]:
    # One that has labels beyond the limits only is a row all the same, so every column counts.
    whole = list(map("".join, zip(*values, strict=True)))
    kept = [text != "" and not text.isspace() for text in whole]
    if all(kept):
        return numbers, values
    return list(itertools.compress(numbers, kept)), [
        list(itertools.compress(column, kept)) for column in values
    ]


def _quoting_message(location: str, columns: Columns, records: Records, fault: Fault) -> str:
    where = f"manifest {location}, row {records.number}"
    if fault.column < columns.width and columns.header[fault.column]:
        where += f", column {columns.header[fault.column]}"
    return f"{where}: {fault.reason}"
