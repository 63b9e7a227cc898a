# SPDX-License-Identifier: Apache-2.0
"""Read a manifest of any supported format from any supported storage, and check its rows."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from ..exceptions import ManifestError
from .model import Manifest
from .read_csv import read_csv
from .source import find_source
from .validate import RowChecker

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from .model import Rows
    from .source import Source

#: The reader of each file name extension. It yields the rows in order, and raises ManifestError for an unusable file.
READERS: dict[str, Callable[[Source], Generator[Rows]]] = {
    ".csv": read_csv,
}


def read_manifest(
    location: str, *, conn_id: str | None = None, limit: int | None = None, require_consent: bool = False
) -> Manifest:
    """
    Read a manifest and check each of its rows.

    ``row_number`` is the row as a spreadsheet counts it: the header is row 1, the first data row is row 2, blank
    rows are counted and left out. It is the number of the record plus one, so a quoted value with line breaks in
    it counts as one row, not several.

    :param location: local path or URI (``file://``, ``http(s)://``, or what Airflow's object storage knows, such as
        ``s3://bucket/key.csv``) of a CSV file in UTF-8 with the columns ``source_img`` and ``reference_img`` and,
        optionally, ``pair_id`` and ``consent_ref``; other columns are ignored. A web address needs no ``.csv``
    :param conn_id: Airflow connection for the storage, where it needs one
    :param limit: take at most this many pairs and read no further; rejected rows met on the way are reported and
        do not count. ``None`` reads everything
    :param require_consent: reject rows without ``consent_ref``
    :raises ManifestError: if the file as a whole cannot be used; bad rows are reported in the result instead
    :raises ManifestUnavailableError: if it cannot be read at the moment, and a later try may succeed
    :raises ValueError: if ``limit`` is less than 1
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1, or None to read the whole manifest; got {limit}.")
    if not location.strip():
        raise ManifestError("manifest must be a path or URI; it is empty.")
    source = find_source(location, conn_id)
    read = _reader_for(source)
    checker = RowChecker(limit, require_consent=require_consent)
    with closing(read(source)) as chunks:
        for rows in chunks:
            checker.add(rows)
            if checker.full:
                break
    if not checker.pairs and not checker.rejected:
        raise ManifestError(
            f"manifest {source.location} has a header row and no rows below it: it needs at least one pair"
        )
    return Manifest(source.location, checker.pairs, checker.rejected)


def _reader_for(source: Source) -> Callable[[Source], Generator[Rows]]:
    if source.suffix not in READERS:
        kind = f"has the unknown ending {source.suffix}" if source.suffix else "has no file ending"
        raise ManifestError(f"manifest {source.location} {kind}; supported: {', '.join(sorted(READERS))}")
    return READERS[source.suffix]
