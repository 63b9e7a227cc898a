# SPDX-License-Identifier: Apache-2.0
"""Read an Excel workbook (.xlsx) as a manifest: its first visible sheet with the manifest's columns."""

from __future__ import annotations

import itertools
import logging
import zipfile
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from ..exceptions import ManifestError
from .columns import ANY_NAMES, find_columns, has_required, names_found
from .records import RecordRows
from .values import as_text

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from .columns import Wanted
    from .model import Rows
    from .source import Source

log = logging.getLogger(__name__)

CHUNK_ROWS = 10_000
#: Rows that the header is looked for in: people put titles above their tables.
HEADER_ROWS = 10
#: Rows that a sheet can have; a damaged file may claim more.
MAX_ROWS = 1 << 20
#: What a workbook may unpack to: its texts are held in memory.
MAX_UNPACKED = 1 << 30


def read_excel(
    source: Source, wanted: Wanted = ANY_NAMES, *, chunk_rows: int = CHUNK_ROWS
) -> Generator[Rows]:
    """
    Read a workbook in chunks. Rows have the numbers that Excel shows; blank rows are left out.

    Of a formula the value counts that Excel saved with it.

    :raises ManifestError: if the file as a whole cannot be used
    """
    if source.compression:
        raise ManifestError(
            f"manifest {source.location} is an Excel workbook inside another compression: unpack it"
        )
    with source.open() as stream, _workbook(source, stream) as book:
        sheet, header = _sheet_of(book, source, wanted)
        rows = RecordRows(source, wanted)
        names: list[str] = []
        for number, values in _rows_of(sheet, source):
            if number < header:
                continue
            if number == header:
                names = [as_text(value) for value in values]
                if not any(names):
                    raise ManifestError(
                        f"manifest {source.location}, row {number} is blank: the column names must be in row 1"
                    )
                find_columns(names, source.location, quote=not source.from_web, wanted=wanted, row=number)
                continue
            rows.add(number, names, [*values, *[None] * (len(names) - len(values))])
            if len(rows) >= chunk_rows:
                yield rows.take()
        if not names:
            raise ManifestError(
                f"manifest {source.location} is empty: it needs a header row and at least one pair"
            )
        if len(rows):
            yield rows.take()


@contextmanager
def _workbook(source: Source, stream: IO[bytes]) -> Iterator[Any]:
    try:
        from openpyxl import load_workbook
    except ImportError:
        raise ManifestError(
            f"manifest {source.location} is an Excel workbook, which needs openpyxl: install the extra `manifests` "
            "(pip install 'airflow-provider-goenhance[manifests]'), or save the sheet as CSV"
        ) from None
    _check_archive(source, stream)
    with _named(source):
        book = load_workbook(stream, read_only=True, data_only=True, keep_links=False)
    try:
        yield book
    finally:
        book.close()


def _check_archive(source: Source, stream: IO[bytes]) -> None:
    with _named(source):
        parts = zipfile.ZipFile(stream).infolist()
    names = {part.filename for part in parts}
    if "mimetype" in names:
        raise ManifestError(f"manifest {source.location} is an OpenDocument file: save it as .xlsx or CSV")
    if "xl/workbook.xml" not in names:
        raise ManifestError(
            f"manifest {source.location} is a zip file and no Excel workbook (.xlsx): unpack it"
        )
    if sum(part.file_size for part in parts) > MAX_UNPACKED:
        raise ManifestError(
            f"manifest {source.location} unpacks to more than {MAX_UNPACKED >> 20} MB: save it as CSV"
        )
    stream.seek(0)


@contextmanager
def _named(source: Source) -> Iterator[None]:
    """Name every error of a damaged workbook: the library has no base class for them."""
    try:
        yield
    except ManifestError:
        raise
    except Exception as error:  # noqa: BLE001
        text = type(error).__name__ if source.from_web else f"{type(error).__name__}: {str(error)[:200]}"
        raise ManifestError(
            f"manifest {source.location} is not an Excel workbook that can be read ({text}): save it again, or as "
            "CSV"
        ) from None


def _sheet_of(book: Any, source: Source, wanted: Wanted) -> tuple[Any, int]:
    """Return the first visible sheet that has the manifest's columns, and their row; or else the first one, and 1."""
    sheets = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"] or book.worksheets
    if not sheets:
        raise ManifestError(f"manifest {source.location} has no sheet with rows")
    headers = ((sheet, _header_of(sheet, source, wanted)) for sheet in sheets)
    found = ((sheet, number) for sheet, number in headers if number is not None)
    chosen = next(found, None)
    if chosen is None:
        return sheets[0], 1
    if left := [sheet.title for sheet, _ in found]:
        log.warning(
            "Manifest %s: only the sheet %r is read. Its other sheets with the same columns are not: %s. Save each as "
            "a file, and pass a list of manifests.",
            source.location,
            chosen[0].title,
            ", ".join(map(repr, left)),
        )
    return chosen


def _header_of(sheet: Any, source: Source, wanted: Wanted) -> int | None:
    """Return the row with the manifest's columns, ``None`` for a sheet without them."""
    for number, values in itertools.islice(_rows_of(sheet, source), HEADER_ROWS):
        names = [as_text(value) for value in values]
        if has_required(names) or names_found(names, wanted.names) >= max(len(wanted.required), 2):
            return number
        if number == 1 and names_found(names, wanted.names) >= len(wanted.required):
            return number
    return None


def _rows_of(sheet: Any, source: Source) -> Iterator[tuple[int, tuple[Any, ...]]]:
    with _named(source):
        # Some programs write a wrong size into the sheet, and rows beyond it would be lost.
        sheet.reset_dimensions()
        rows = enumerate(sheet.iter_rows(values_only=True), start=1)
    while True:
        with _named(source):
            row = next(rows, None)
        if row is None:
            return
        if row[0] > MAX_ROWS:
            raise ManifestError(
                f"manifest {source.location} claims to have more than {MAX_ROWS} rows: it is damaged"
            )
        yield row
