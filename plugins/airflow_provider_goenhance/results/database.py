# SPDX-License-Identifier: Apache-2.0
"""The database behind the results table: connecting, creating on first use, and living with cut connections."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from ..exceptions import ResultsTableError
from .schema import DEFAULT_TABLE, swaps_table

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds a statement waits for SQLite's write lock before it gives up.
SQLITE_BUSY_SECONDS = 60.0
#: A transaction is tried again this often when the connection was cut or the database was busy.
ATTEMPTS = 8
#: Rows named in one ``IN (...)`` list: below every database's limit of bound parameters.
IN_LIST = 500


class ResultsDatabase:
    """
    One database that holds a results table.

    Every transaction may be run twice, because a connection cut during COMMIT leaves its outcome open. All
    transactions of this package are therefore written as conditional updates that find their own work done.

    :param url: SQLAlchemy URL
    :param name: what to call it in messages, such as the connection id; not the URL, which holds a password
    :param table: name of the results table, default ``goenhance_swaps``
    :param schema: database schema of the table
    """

    def __init__(
        self, url: str | sa.URL, *, name: str, table: str = DEFAULT_TABLE, schema: str | None = None
    ) -> None:
        self.name = name
        self.url = sa.make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.swaps = swaps_table(table, schema)
        self._engine: sa.Engine | None = None

    @property
    def engine(self) -> sa.Engine:
        """The engine; the table exists once this has been asked for."""
        if self._engine is None:
            engine = self._create_engine()
            self._engine = engine
            try:
                self.run(self._create_table)
            except BaseException:
                self._engine = None
                raise
        return self._engine

    def close(self) -> None:
        """Give all connections back."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def run(self, work: Callable[[sa.Connection], T], *, attempts: int = ATTEMPTS) -> T:
        """
        Run some work in one write transaction and commit it, again if the connection was cut.

        :param work: gets the connection; must be safe to run again after it was committed
        :raises ResultsTableError: when the database stays out of reach, or refuses
        """
        for attempt in range(1, attempts + 1):
            try:
                with self.engine.connect() as raw:
                    connection = raw.execution_options(goenhance_write=True)
                    with connection.begin():
                        return work(connection)
            except sa.exc.DBAPIError as error:
                if attempt == attempts or not _passing(error):
                    raise self._failure(error) from None
                pause = min(5.0, 0.05 * 2**attempt) * random.uniform(0.5, 1.5)  # noqa: S311
                log.warning(
                    "The results table (%s) did not answer: %s. Trying again in %.1f s.",
                    self.name,
                    _first_line(error),
                    pause,
                )
                time.sleep(pause)
            except sa.exc.SQLAlchemyError as error:
                raise self._failure(error) from None
        raise AssertionError("the last attempt either returns or raises")

    def read(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        """Return the rows of a query as dicts."""

        def work(connection: sa.Connection) -> list[dict[str, Any]]:
            return [dict(row) for row in connection.execute(query).mappings()]

        return self.run_read(work)

    def run_read(self, work: Callable[[sa.Connection], T]) -> T:
        """Run some work that writes nothing; it does not queue behind writers."""
        with self.reading() as connection:
            return work(connection)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Open a connection for reading."""
        try:
            with self.engine.connect() as connection:
                yield connection
        except sa.exc.SQLAlchemyError as error:
            raise self._failure(error) from None

    def _create_engine(self) -> sa.Engine:
        try:
            if not self.is_sqlite:
                return sa.create_engine(self.url, pool_pre_ping=True, pool_size=2, max_overflow=4)
            database = self.url.database
            if database and database != ":memory:":
                Path(database).expanduser().parent.mkdir(parents=True, exist_ok=True)
            engine = sa.create_engine(self.url, connect_args={"timeout": SQLITE_BUSY_SECONDS})
            sa.event.listen(engine, "connect", _set_up_sqlite)
            sa.event.listen(engine, "begin", _begin_sqlite)
        except (sa.exc.SQLAlchemyError, ImportError, OSError) as error:
            raise self._failure(error) from None
        return engine

    def _create_table(self, connection: sa.Connection) -> None:
        inspector = sa.inspect(connection)
        if not inspector.has_table(self.swaps.name, schema=self.swaps.schema):
            try:
                self.swaps.metadata.create_all(connection, checkfirst=True)
            except sa.exc.DBAPIError:
                # Two tasks may create it in the same instant; the one that lost finds it there.
                if not sa.inspect(self.engine).has_table(self.swaps.name, schema=self.swaps.schema):
                    raise
            return
        self._add_new_columns(connection, inspector)

    def _add_new_columns(self, connection: sa.Connection, inspector: sa.Inspector) -> None:
        """Bring a table made by an earlier release up to date; columns are only ever added."""
        present = {column["name"] for column in inspector.get_columns(self.swaps.name, self.swaps.schema)}
        preparer = connection.dialect.identifier_preparer
        for column in self.swaps.columns:
            if column.name in present:
                continue
            kind = column.type.compile(dialect=connection.dialect)
            table, name = preparer.format_table(self.swaps), preparer.format_column(column)
            connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {name} {kind}")
            log.info("Added the column %s to the results table (%s).", column.name, self.name)

    def _failure(self, error: BaseException) -> ResultsTableError:
        return ResultsTableError(
            f"The results table ({self.name}) cannot be used: {_first_line(error)}. "
            "Without it nothing is submitted, because nobody could say afterwards what was paid for."
        )


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    # We say BEGIN ourselves: the driver's own would take the write lock only at the first write, where two
    # transactions that both read first can no longer be put in order.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # FULL: a committed row must survive a power cut, or a paid swap could be forgotten.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute(f"PRAGMA busy_timeout={int(SQLITE_BUSY_SECONDS * 1000)}")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    write = connection.get_execution_options().get("goenhance_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


_PASSING_SQLSTATES = frozenset({"40001", "40P01", "53300", "57P01", "57P02", "57P03"})


def _passing(error: sa.exc.DBAPIError) -> bool:
    """Tell whether the same transaction may go through in a moment: cut connection, lock, deadlock, restart."""
    # Two attempts may plan the same run at once; the one that lost finds the rows there the next time.
    if error.connection_invalidated or isinstance(error, sa.exc.IntegrityError):
        return True
    if getattr(error.orig, "sqlstate", None) in _PASSING_SQLSTATES:
        return True
    if getattr(error.orig, "pgcode", None) in _PASSING_SQLSTATES:
        return True
    if not isinstance(error, sa.exc.OperationalError):
        return False
    text = str(error.orig).lower()
    if any(
        word in text for word in ("authentication", "does not exist", "pg_hba", "readonly", "unable to open")
    ):
        return False
    return any(
        word in text
        for word in (
            "locked",
            "busy",
            "deadlock",
            "connection",
            "server closed",
            "timeout",
            "terminat",
            "ssl",
        )
    )


def _first_line(error: BaseException) -> str:
    cause = getattr(error, "orig", None) or error
    lines = str(cause).strip().splitlines()
    return (lines[0] if lines else type(cause).__name__).rstrip(".")
