# SPDX-License-Identifier: Apache-2.0
"""Read a Parquet file as a manifest, a part of a row group at a time."""

from __future__ import annotations

from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from ..exceptions import ManifestError
from .columns import ANY_NAMES, KNOWN, find_columns
from .labels import labels_text
from .model import Rows
from .own_files import signature_problem
from .values import NotTextError, column_text, label_text

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from .columns import Columns, Wanted
    from .source import Source

CHUNK_ROWS = 20_000


def read_parquet(
    source: Source, wanted: Wanted = ANY_NAMES, *, chunk_rows: int = CHUNK_ROWS
) -> Generator[Rows]:
    """
    Read a Parquet file in chunks. Rows are numbered from 1; those without any value are left out.

    :raises ManifestError: if the file as a whole cannot be used
    """
    if source.compression:
        raise ManifestError(
            f"manifest {source.location} is a Parquet file inside another compression: unpack it"
        )
    with source.open() as stream, _parquet_file(source, stream) as file:
        names = list(file.schema_arrow.names)
        columns = find_columns(names, source.location, quote=not source.from_web, wanted=wanted)
        batches = file.iter_batches(batch_size=chunk_rows)
        number = 0
        while True:
            with _named(source):
                batch = next(batches, None)
                values = [_values(column) for column in batch.columns] if batch is not None else []
            if batch is None:
                return
            rows = _rows(columns, number, batch.num_rows, values)
            number += batch.num_rows
            del batch, values
            if rows.row_number:
                yield rows


@contextmanager
def _parquet_file(source: Source, stream: IO[bytes]) -> Iterator[Any]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise ManifestError(
            f"manifest {source.location} is a Parquet file, which needs pyarrow: install the extra `manifests` "
            "(pip install 'airflow-provider-goenhance[manifests]')"
        ) from None
    with _named(source):
        # Without pre-buffering, memory holds one batch and not a row group.
        file = parquet.ParquetFile(pa.PythonFile(stream, mode="r"), pre_buffer=False)
    with file:
        yield file


@contextmanager
def _named(source: Source) -> Iterator[None]:
    """Name every error of a damaged file: pyarrow raises built-in classes and its own."""
    try:
        yield
    except Exception as error:  # noqa: BLE001
        text = type(error).__name__ if source.from_web else f"{type(error).__name__}: {str(error)[:200]}"
        raise ManifestError(
            f"manifest {source.location} is not a Parquet file that can be read ({text}): write it again"
        ) from None


def _values(column: Any) -> list[Any]:
    try:
        return list(column.to_pylist())
    except OverflowError:  # a date that Python has none for
        return list(column.cast("string").to_pylist())


def _rows(columns: Columns, before: int, count: int, values: list[list[Any]]) -> Rows:
    unreadable = [""] * count
    texts = {name: _texts(name, values, columns.position.get(name), unreadable) for name in KNOWN}
    labels = [""] * count
    if columns.labels:
        names = [name for name, _ in columns.labels]
        others = [[label_text(value) for value in values[position]] for _, position in columns.labels]
        labels = [labels_text(dict(zip(names, row, strict=True))) for row in zip(*others, strict=True)]
    if columns.removed is not None:
        for row, removed in enumerate(values[columns.removed]):
            found = signature_problem(
                texts["source_img"][row], texts["reference_img"][row], label_text(removed)
            )
            unreadable[row] = "; ".join(filter(None, (unreadable[row], found)))
    every = [list(range(before + 1, before + count + 1)), *texts.values(), labels, unreadable]
    kept = [row for row in zip(*every, strict=True) if any(row[1:])]
    numbers, source, reference, pair_id, consent, source_key, reference_key, expires, labels, unreadable = (
        list(column) for column in (zip(*kept, strict=True) if kept else [()] * len(every))
    )
    return Rows(
        numbers,
        source,
        reference,
        pair_id,
        consent,
        [],
        source_key,
        reference_key,
        labels,
        unreadable,
        expires,
    )


def _texts(name: str, values: list[list[Any]], position: int | None, unreadable: list[str]) -> list[str]:
    if position is None:
        return [""] * len(unreadable)
    texts = []
    for row, value in enumerate(values[position]):
        try:
            texts.append(column_text(value))
        except NotTextError as error:
            texts.append("")
            unreadable[row] = f"{unreadable[row]}; {name} {error}".removeprefix("; ")
    return texts
