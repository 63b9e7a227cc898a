# SPDX-License-Identifier: Apache-2.0
"""
The rows that a plan wants: first in a temporary file on this machine, then in a temporary table of the database.

In the file they wait for the end of the manifest, because the size of the batches depends on how many there are, and
memory stays bounded. The table is filled and used within one transaction, so a transaction that was cut is repeated
from the file. PostgreSQL reads the file by COPY.
"""

from __future__ import annotations

import datetime as dt
import io
import json
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from operator import attrgetter
from typing import IO, Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, sqlite

from .bounds import bound_of, fit
from .swap import Swap

NAME = "goenhance_plan"
#: A row, its place among the new rows that need a task, ``None`` if it needs none, and whether the run has it already.
StagedRow = tuple[Swap, int | None, bool]


class FilePart(NamedTuple):
    """Some rows in the file: where they start, and how many bytes they take."""

    start: int
    size: int


#: Columns of which most rows of a plan have none.
_RARE = (
    "additional_result_uris",
    "staged_uris",
    "map_index",
    "batch",
    "former_uuids",
    "claimed_by",
    "max_tries",
    "planned_at",
    "claimed_at",
    "claim_expires_at",
    "superseded_at",
    "reserved_cost",
    "reserved_day",
    "resolution",
    "resolved_by",
    "resolved_at",
    "resolution_note",
    "picture_deleted_at",
    "erased_at",
    "consent_expires",
    "input_notes",
    "input_warnings",
)
_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
_NULL = r"\N"
#: Rows of one INSERT, and of one record of the file.
_ROWS = 1000


class StagedRows:
    """
    Rows that wait to be planned.

    :param swaps: the results table
    :param dialect: of its database
    """

    def __init__(self, swaps: sa.Table, dialect: sa.Dialect) -> None:
        self._swaps = swaps
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="goenhance-plan-")  # noqa: SIM115
        self._format: _CopyText | _Pickled
        self._format = _CopyText(swaps) if dialect.driver in COPY_BY_DRIVER else _Pickled(swaps, dialect)
        #: Rows that were added.
        self.count = 0

    @property
    def can_be_copied(self) -> bool:
        """Return whether :meth:`copy` can be used."""
        return isinstance(self._format, _CopyText)

    def add(self, rows: Iterable[StagedRow]) -> FilePart:
        """Add rows, and return where they are."""
        start = self._file.tell()
        self.count += self._format.write(self._file, rows)
        self._file.flush()
        return FilePart(start, self._file.tell() - start)

    def close(self) -> None:
        """Delete the file."""
        self._file.close()

    def load(self, connection: sa.Connection) -> sa.Table:
        """Create the temporary table in the transaction of a connection, fill it, and return it."""
        table = create_staging_table(connection, self._swaps)
        self._file.seek(0)
        if isinstance(self._format, _Pickled):
            self._format.insert(connection, self._file)
        else:
            _copy(connection, _copy_statement(table), self._file)
        return table

    def copy(self, connection: sa.Connection, parts: Iterable[FilePart]) -> None:
        """Copy some rows into the temporary table of a connection, also while another thread adds further ones."""
        file = io.BytesIO(b"".join(os.pread(self._file.fileno(), part.size, part.start) for part in parts))
        _copy(connection, _copy_statement(staging_table(self._swaps, connection.dialect.name)), file)


def create_staging_table(connection: sa.Connection, swaps: sa.Table) -> sa.Table:
    """Create the temporary table in the transaction of a connection, and return it."""
    table = staging_table(swaps, connection.dialect.name)
    drop_staging_table(connection)
    connection.execute(sa.schema.CreateTable(table))
    return table


@lru_cache(maxsize=16)
def staging_table(swaps: sa.Table, dialect: str) -> sa.Table:
    """Return the definition of the temporary table."""
    # PostgreSQL joins it by hash; the others need an index.
    is_key = dialect != "postgresql"
    columns: list[Any] = [
        sa.Column(name, swaps.c[name].type, primary_key=is_key and name == "swap_id") for name in _columns()
    ]
    return sa.Table(
        NAME,
        sa.MetaData(),
        *columns,
        sa.Column("place", sa.Integer),
        sa.Column("known", sa.Integer),
        prefixes=["TEMPORARY"],
        postgresql_on_commit="DROP",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )


def drop_staging_table(connection: sa.Connection) -> None:
    """Drop what an earlier transaction has left of the temporary table; on PostgreSQL the commit does."""
    match connection.dialect.name:
        case "sqlite":
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS temp.{NAME}")
        case "mysql" | "mariadb":
            # With TEMPORARY it does not end the transaction.
            connection.exec_driver_sql(f"DROP TEMPORARY TABLE IF EXISTS {NAME}")


def _columns() -> tuple[str, ...]:
    names = Swap.names()
    return (*(name for name in names if name not in _RARE), *_RARE)


class _CopyText:
    """The text format of COPY."""

    def __init__(self, swaps: sa.Table) -> None:
        columns = [swaps.c[name] for name in _columns()]
        self._columns = columns[: -len(_RARE)]
        self._rare_columns = columns[-len(_RARE) :]
        self._common = attrgetter(*(column.name for column in self._columns))
        self._rare = attrgetter(*_RARE)
        # The two tuples of strings come first.
        self._no_rare: tuple[Any, ...] = ((), (), *[None] * (len(_RARE) - 2))
        self._no_rare_text = "\t".join([_NULL] * len(_RARE))
        self._tabs = len(self._columns) - 1

    def write(self, file: IO[bytes], rows: Iterable[StagedRow]) -> int:
        lines = [self._line(row, place, known) for row, place, known in rows]
        file.write("".join(lines).encode())
        return len(lines)

    def _line(self, row: Swap, place: int | None, known: bool) -> str:
        values, rare = self._common(row), self._rare(row)
        rare_text = self._no_rare_text if rare == self._no_rare else self._texts(rare, self._rare_columns)
        # Nearly all rows are of plain characters: those are joined as they are.
        text = "\t".join(
            [
                value if value.__class__ is str else _NULL if value is None else _copied(value)
                for value in values
            ]
        )
        if not self._is_plain(text, values.count(None)):
            text = self._texts(values, self._columns)
        return f"{text}\t{rare_text}\t{_NULL if place is None else place}\t{int(known)}\n"

    def _is_plain(self, text: str, nulls: int) -> bool:
        """Return whether values that were joined need no escapes; to count is faster than to search for a pattern."""
        return (
            text.isascii()
            and text.count("\\") == nulls
            and text.count("\t") == self._tabs
            and "\n" not in text
            and "\r" not in text
            and "\0" not in text
        )

    @staticmethod
    def _texts(values: tuple[Any, ...], columns: list[sa.Column[Any]]) -> str:
        texts = [_copied(fit(value, column)) for value, column in zip(values, columns, strict=True)]
        return "\t".join(text if text is _NULL else text.translate(_ESCAPES) for text in texts)


def _copied(value: Any) -> str:
    """Return a value as COPY reads it, but for the escapes."""
    if isinstance(value, str):
        return str(value)  # the text of a Status
    if value is None or value == ():
        return _NULL
    if isinstance(value, tuple):
        return json.dumps(value)
    return value.isoformat() if isinstance(value, dt.datetime) else str(value)


class _Pickled:
    """
    Lists of rows, whose values are converted for the driver as they are written.

    SQLAlchemy takes several times as long to convert the parameters of many rows, most of whose values are NULL.
    """

    def __init__(self, swaps: sa.Table, dialect: sa.Dialect) -> None:
        table = staging_table(swaps, dialect.name)
        compiled: Any = _insert_or_leave(table, dialect.name).compile(dialect=dialect)
        self._text = str(compiled)
        self._names = None if compiled.positiontup else table.columns.keys()
        self._values = attrgetter(*_columns())
        self._converters = [_converter(table.c[name], dialect) for name in _columns()]

    def write(self, file: IO[bytes], rows: Iterable[StagedRow]) -> int:
        count = 0
        some: list[tuple[Any, ...]] = []
        for row, place, known in rows:
            values = [
                value if value is None or convert is None else convert(value)
                for value, convert in zip(self._values(row), self._converters, strict=True)
            ]
            some.append((*values, place, int(known)))
            count += 1
            if len(some) == _ROWS:
                pickle.dump(some, file)
                some = []
        if some:
            pickle.dump(some, file)
        return count

    def insert(self, connection: sa.Connection, file: IO[bytes]) -> None:
        """Insert the rows of a file into the temporary table."""
        names = self._names
        for some in self._read(file):
            parameters = some if names is None else [dict(zip(names, row, strict=True)) for row in some]
            connection.exec_driver_sql(self._text, parameters)

    @staticmethod
    def _read(file: IO[bytes]) -> Iterator[list[tuple[Any, ...]]]:
        while True:
            try:
                yield pickle.load(file)  # noqa: S301  a file of our own that has no name
            except EOFError:
                return


def _converter(column: sa.Column[Any], dialect: sa.Dialect) -> Callable[[Any], Any] | None:
    """Return the function that makes a value fit its column and the driver, ``None`` if any does."""
    bound = bound_of(column)
    convert = column.type.dialect_impl(dialect).bind_processor(dialect)
    if bound is None or convert is None:
        return bound or convert
    return lambda value: convert(bound(value))


def _insert_or_leave(table: sa.Table, dialect: str) -> Any:
    """Return an INSERT that leaves a row out which is there already, and refuses what does not fit."""
    if dialect == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    if dialect in {"mysql", "mariadb"}:
        return mysql.insert(table).on_duplicate_key_update(swap_id=table.c.swap_id)
    return sa.insert(table)


def _copy_statement(table: sa.Table) -> str:
    return f"COPY {NAME} ({', '.join(table.columns.keys())}) FROM STDIN"


def _copy(connection: sa.Connection, statement: str, file: IO[bytes]) -> None:
    driver: Any = connection.connection.driver_connection
    dialect: Any = connection.dialect
    try:
        with driver.cursor() as cursor:
            COPY_BY_DRIVER[dialect.driver](cursor, statement, file)
    except dialect.dbapi.Error as error:
        # As SQLAlchemy does it for its own statements, so that a connection that was cut is recognized.
        cut = dialect.is_disconnect(error, driver, None)
        if cut:
            connection.invalidate(error)
        raise sa.exc.DBAPIError.instance(
            statement, None, error, dialect.dbapi.Error, connection_invalidated=cut, dialect=dialect
        ) from error


def _copy_by_psycopg2(cursor: Any, statement: str, file: IO[bytes]) -> None:
    cursor.copy_expert(statement, file, 1 << 16)


def _copy_by_psycopg(cursor: Any, statement: str, file: IO[bytes]) -> None:
    with cursor.copy(statement) as copy:
        shutil.copyfileobj(file, copy, 1 << 16)


#: The drivers of PostgreSQL that we know how to COPY with.
COPY_BY_DRIVER = {"psycopg2": _copy_by_psycopg2, "psycopg": _copy_by_psycopg}
