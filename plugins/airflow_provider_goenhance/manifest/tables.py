# SPDX-License-Identifier: Apache-2.0
"""Rows of a database as a manifest: written to a temporary file, so that the query does not stay open."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..exceptions import ManifestError
from .columns import ANY_NAMES, find_columns
from .model import Rows
from .records import RecordRows
from .source import Source
from .spool import new_file, opener_of
from .values import NotTextError, column_text, label_text

if TYPE_CHECKING:
    from collections.abc import Generator

    from .columns import Wanted

#: Stands for the format of the temporary file, and is the ending of no other: a JSON array a line, the names first.
SUFFIX = "(rows)"
#: The same for pairs that were planned before: a JSON array a line, the known columns and the labels.
PAIRS_SUFFIX = "(pairs)"
CHUNK_ROWS = 10_000


def spool_rows(names: Sequence[str], rows: Iterable[Sequence[Any]], location: str) -> Source:
    """
    Write rows to a temporary file, and return it as a manifest.

    :param names: names of the columns
    :param rows: their values, read once
    :param location: name of the manifest
    """
    file = new_file()
    file.write(json.dumps([str(name) for name in names]).encode() + b"\n")
    for row in rows:
        file.write(json.dumps([_stored(value) for value in row]).encode() + b"\n")
    return Source(location, opener_of(file), SUFFIX)


def spool_pairs(pairs: Iterable[Sequence[str]], location: str) -> Source:
    """
    Write pairs to a temporary file, and return it as a manifest.

    :param pairs: of each, the columns :data:`~.columns.KNOWN` and the labels' text; read once
    :param location: name of the manifest
    """
    file = new_file()
    for pair in pairs:
        file.write(json.dumps(pair).encode() + b"\n")
    return Source(location, opener_of(file), PAIRS_SUFFIX)


def _stored(value: Any) -> Any:
    try:
        return column_text(value)
    except NotTextError:
        # A value of a label may be a list; as a URL it is refused, being JSON.
        return label_text(value)


def read_rows(source: Source, wanted: Wanted = ANY_NAMES, *, chunk_rows: int = CHUNK_ROWS) -> Generator[Rows]:
    """
    Read what :func:`spool_rows` wrote, in chunks. Rows are numbered from 1; those without any value are left out.

    :raises ManifestError: if a required column is missing
    """
    with source.open() as stream:
        names = json.loads(stream.readline())
        if not names:
            raise ManifestError(
                f"manifest {source.location} returned no columns: it must be a query that returns rows"
            )
        find_columns(names, source.location, wanted=wanted)
        rows = RecordRows(source, wanted)
        for number, line in enumerate(stream, start=1):
            rows.add(number, names, json.loads(line))
            if len(rows) >= chunk_rows:
                yield rows.take()
        if len(rows):
            yield rows.take()


def read_pairs(
    source: Source, wanted: Wanted = ANY_NAMES, *, chunk_rows: int = CHUNK_ROWS
) -> Generator[Rows]:
    """Read what :func:`spool_pairs` wrote, in chunks, numbered from 1; the names of columns do not matter."""
    with source.open() as stream:
        numbered = enumerate(stream, start=1)
        while chunk := list(itertools.islice(numbered, chunk_rows)):
            columns = zip(*(json.loads(line) for _, line in chunk), strict=True)
            source_img, reference_img, pair_id, consent_ref, source_key, reference_key, expires, labels = map(
                list, columns
            )
            yield Rows(
                [number for number, _ in chunk],
                source_img,
                reference_img,
                pair_id,
                consent_ref,
                [],
                source_key,
                reference_key,
                labels,
                consent_expires=expires,
            )
