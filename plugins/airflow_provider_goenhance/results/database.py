# SPDX-License-Identifier: Apache-2.0
"""The database of the results table: connect, create the table on first use, repeat cut transactions."""

from __future__ import annotations

import logging
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa

from ..exceptions import ResultsTableError
from .account_tables import account_tables
from .encodings import describe_encoding, is_about_encoding
from .engines import make_engine
from .schema import DEFAULT_TABLE, swaps_table
from .transient_errors import OutOfReachError, interruption_behind, is_transient, leads_to_standby
from .upgrade import MARKER, add_pair_keys, renew_fingerprints

log = logging.getLogger(__name__)

#: Columns that the table has had since the first release.
_OF_EVERY_RELEASE = frozenset({"pair_id", "source_img", "reference_img", "status"})

T = TypeVar("T")

#: How often a transaction is attempted when the connection is cut or the database is busy.
ATTEMPTS = 8
#: The longest pause between two attempts, in seconds, before jitter.
MAX_PAUSE = 5.0
#: Keys in one ``IN (...)`` list: below every database's limit of bound parameters.
IN_LIST = 500
#: Rows that a stream fetches at a time.
STREAMED_ROWS = 1000


class RunInTransaction(Protocol):
    """The signature of :meth:`ResultsDatabase.run`."""

    def __call__(self, work: Callable[[sa.Connection], T], *, attempts: int = ATTEMPTS) -> T:
        """Run some work in one write transaction and commit it; repeat it if the connection was cut."""


class ResultsDatabase:
    """
    A database that holds a results table.

    Every transaction may run twice, because a connection cut during COMMIT leaves its outcome open. All transactions
    of this package are therefore conditional updates that recognize their own work.

    :param url: SQLAlchemy URL
    :param name: its name in messages, such as the connection id; not the URL, which holds a password
    :param table: name of the results table, default ``goenhance_swaps``
    :param schema: database schema of the table
    :param sleep: pauses between two attempts, for a number of seconds
    """

    def __init__(
        self,
        url: str | sa.URL,
        *,
        name: str,
        table: str = DEFAULT_TABLE,
        schema: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self.url = sa.make_url(url)
        self.swaps = swaps_table(table, schema)
        self.shared = account_tables(table, schema)
        self._sleep = sleep
        self._engine: sa.Engine | None = None
        # Re-entrant: `on_kill` runs in a signal handler, in a thread that may be opening the table at that moment.
        self._opening = threading.RLock()

    @property
    def engine(self) -> sa.Engine:
        """
        Return the engine. The first access creates the table.

        :raises ResultsTableError: when the database cannot be used
        """
        with self._opening:
            if self._engine is None:
                try:
                    engine = make_engine(self.url)
                except (sa.exc.SQLAlchemyError, ImportError, OSError) as error:
                    raise self._failure(error) from None
                try:
                    self._ensure_table(engine)
                except BaseException:
                    engine.dispose()
                    raise
                self._engine = engine
            return self._engine

    def close(self) -> None:
        """Close all connections."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def run(self, work: Callable[[sa.Connection], T], *, attempts: int = ATTEMPTS) -> T:
        """
        Run some work in one write transaction and commit it; repeat it if the connection was cut.

        :param work: receives the connection; must be safe to run again after it was committed
        :param attempts: how often the transaction is attempted
        :raises ResultsTableError: when the database stays out of reach, or refuses
        """
        return self._in_transaction(self.engine.connect, work, write=True, attempts=attempts)

    @contextmanager
    def persistent_connection(self) -> Iterator[RunInTransaction]:
        """
        Yield a :meth:`run` that keeps its connection from one transaction to the next, for one thread.

        Checking a connection out of the pool pings the server: a round trip per transaction, which a writer of many
        small transactions need not pay.
        """
        engine = self.engine
        with ExitStack() as stack:
            kept: list[sa.Connection] = []

            @contextmanager
            def connect() -> Iterator[sa.Connection]:
                if not kept:
                    kept.append(stack.enter_context(engine.connect()))
                try:
                    yield kept[0]
                except BaseException:
                    kept.clear()
                    stack.close()
                    raise

            yield partial(self._in_transaction, connect, write=True)

    def run_read(self, work: Callable[[sa.Connection], T]) -> T:
        """
        Run some work that only reads; it does not wait for writers.

        :raises ResultsTableError: when the database stays out of reach, or refuses
        """
        return self._in_transaction(self.engine.connect, work, write=False)

    def read(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        """Return the rows of a query as dicts."""

        def work(connection: sa.Connection) -> list[dict[str, Any]]:
            result = connection.execute(query)
            names = tuple(result.keys())
            # Plain tuples zipped: a hundred thousand rows through `mappings()` take twice as long.
            # All at once: psycopg takes three times as long to fetch them one by one.
            return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

        return self.run_read(work)

    def stream(
        self, query_after: Callable[[dict[str, Any] | None], sa.Select[Any]]
    ) -> Iterator[dict[str, Any]]:
        """
        Yield the rows of a query as dicts through a cursor of the server: few of them are in memory at a time.

        :param query_after: returns the query for the rows after the one that was read last, ``None`` at the start.
            Where the connection is cut, reading goes on from there
        :raises ResultsTableError: when the database stays out of reach, or refuses
        """
        last: dict[str, Any] | None = None
        failures = 0
        while True:
            handled = sys.exc_info()[1]
            try:
                for row in self.through_cursor(query_after(last)):
                    last, failures = row, 0
                    yield row
            except sa.exc.DBAPIError as error:
                if interruption := interruption_behind(error, handled):
                    raise interruption from None
                failures += 1
                transient = is_transient(error, failures)
                if not transient or failures == ATTEMPTS:
                    raise self._failure(error, OutOfReachError if transient else ResultsTableError) from None
                pause = _pause_after(failures + 1)
                self._log_failure(error, pause)
                self._sleep(pause)
            else:
                return

    def through_cursor(self, query: sa.Select[Any]) -> Iterator[dict[str, Any]]:
        """Yield the rows of a query as the database sends them; a connection that is cut ends it."""
        with self.engine.connect() as raw:
            connection = raw.execution_options(goenhance_write=False, yield_per=STREAMED_ROWS)
            with connection.begin():
                result = connection.execute(query)
                names = tuple(result.keys())
                for row in result:
                    yield dict(zip(names, row, strict=True))

    def _in_transaction(
        self,
        connect: Callable[[], AbstractContextManager[sa.Connection]],
        work: Callable[[sa.Connection], T],
        *,
        write: bool,
        attempts: int = ATTEMPTS,
    ) -> T:
        handled = sys.exc_info()[1]
        attempt = 1
        # Our own loop: to set up tenacity's takes as long as a small transaction on SQLite.
        while True:
            try:
                return self._once(connect, work, write=write, handled=handled)
            except (sa.exc.DBAPIError, UnicodeError) as error:
                transient = isinstance(error, sa.exc.DBAPIError) and is_transient(error, attempt)
                if not transient or attempt >= attempts:
                    raise self._final(error, connect, transient) from None
                pause = _pause_after(attempt)
                self._log_failure(error, pause)
            except sa.exc.SQLAlchemyError as error:
                raise self._failure(error) from None
            self._sleep(pause)
            attempt += 1

    def _final(
        self,
        error: sa.exc.DBAPIError | UnicodeError,
        connect: Callable[[], AbstractContextManager[sa.Connection]],
        transient: bool,
    ) -> Exception:
        """Return the error that a failed transaction ends in."""
        if is_about_encoding(error):
            return ResultsTableError(
                f"The results table ({self.name}) cannot hold a text: {describe_encoding(connect, self.swaps)} "
                f"({_first_line(error)})."
            )
        if isinstance(error, UnicodeError):
            return error
        return self._failure(error, OutOfReachError if transient else ResultsTableError)

    def _once(
        self,
        connect: Callable[[], AbstractContextManager[sa.Connection]],
        work: Callable[[sa.Connection], T],
        *,
        write: bool,
        handled: BaseException | None,
    ) -> T:
        try:
            with connect() as raw:
                connection = raw.execution_options(goenhance_write=write)
                try:
                    with connection.begin():
                        return work(connection)
                except sa.exc.DBAPIError as error:
                    if leads_to_standby(error):
                        raw.invalidate(error)
                    raise
        except Exception as error:
            # Neither repeated nor reported as trouble of the database: the task has to end.
            if interruption := interruption_behind(error, handled):
                raise interruption from None
            raise

    def _log_failure(self, error: BaseException | None, pause: float) -> None:
        log.warning(
            "The results table (%s) did not respond: %s. Trying again in %.1f s.",
            self.name,
            _first_line(error),
            pause,
        )

    def _ensure_table(self, engine: sa.Engine) -> None:
        """Create the tables, or the tables and columns that are new in this release, where they are missing."""
        missing = self._missing(engine)
        if MARKER in (missing or []):
            # Before the column is added, so that an upgrade that was cut begins again.
            renew_fingerprints(
                lambda work: self._in_transaction(engine.connect, work, write=True), self.swaps
            )
        while missing != []:
            try:
                self._in_transaction(engine.connect, self._create, write=True)
            except ResultsTableError:
                # Several tasks may do this at the same moment, on MySQL column by column, because it cannot roll DDL
                # back. The one that lost continues with what is still missing, and fails if that has not changed.
                before, missing = missing, self._missing(engine)
                if missing == before:
                    raise
            else:
                return

    def _missing(self, engine: sa.Engine) -> list[str] | None:
        """Return the names of the columns and of the tables beside it that are missing, ``None`` without a table."""

        def look(connection: sa.Connection) -> list[str] | None:
            columns = self._missing_columns(connection)
            if columns is None:
                return None
            return [*(column.name for column in columns), *self._missing_tables(connection)]

        return self._in_transaction(engine.connect, look, write=False)

    def _missing_tables(self, connection: sa.Connection) -> list[str]:
        present = set(sa.inspect(connection).get_table_names(self.swaps.schema))
        return [name for name in self.shared.names() if name not in present]

    def _missing_columns(self, connection: sa.Connection) -> list[sa.Column[Any]] | None:
        """Return the columns that the table lacks, ``None`` if there is no table."""
        inspector = sa.inspect(connection)
        try:
            found = inspector.get_columns(self.swaps.name, self.swaps.schema)
        except sa.exc.NoSuchTableError:
            return None
        present = {column["name"] for column in found}
        key = inspector.get_pk_constraint(self.swaps.name, self.swaps.schema)["constrained_columns"]
        if key != ["swap_id"]:
            raise self._foreign_table(sorted(present), "its primary key is not swap_id")
        if lacking := _OF_EVERY_RELEASE - present:
            raise self._foreign_table(sorted(present), f"it lacks {', '.join(sorted(lacking))}")
        return [column for column in self.swaps.columns if column.name not in present]

    def _create(self, connection: sa.Connection) -> None:
        missing = self._missing_columns(connection)
        if missing is None or self._missing_tables(connection):
            self.swaps.metadata.create_all(connection, checkfirst=True)
        if MARKER in [column.name for column in missing or []]:
            # Before the column is added, like the fingerprints.
            add_pair_keys(connection, self.swaps)
        for column in missing or []:
            self._add_column(connection, column)

    def _add_column(self, connection: sa.Connection, column: sa.Column[Any]) -> None:
        """Add a column to a table that an earlier release created; columns are never changed or removed."""
        preparer = connection.dialect.identifier_preparer
        compiler: Any = connection.dialect.ddl_compiler(connection.dialect, None)  # type: ignore[arg-type]
        default = compiler.get_column_default_string(column)
        connection.exec_driver_sql(
            f"ALTER TABLE {preparer.format_table(self.swaps)} ADD COLUMN {preparer.format_column(column)} "
            f"{column.type.compile(dialect=connection.dialect)}" + (f" DEFAULT {default}" if default else "")
        )
        log.info("Added the column %s to the results table (%s).", column.name, self.name)

    def _foreign_table(self, columns: list[str], why: str) -> ResultsTableError:
        shown = ", ".join(columns[:10]) + (", ..." if len(columns) > 10 else "")
        return ResultsTableError(
            f"The table {self.swaps.fullname} of the results table ({self.name}) was not created by this package: "
            f"{why}; its columns are {shown}. It was left as it is, and nothing is submitted. Set "
            "goenhance_table in the extra of the connection to a name that is free, or goenhance_schema to a schema "
            "of its own."
        )

    def _failure(
        self, error: BaseException, kind: type[ResultsTableError] = ResultsTableError
    ) -> ResultsTableError:
        return kind(
            f"The results table ({self.name}) cannot be used: {_first_line(error)}. "
            "Without it nothing is submitted, because there would be no record of what was paid for."
        )


def _pause_after(attempt: int) -> float:
    """Return the seconds to wait after a failed attempt, with jitter."""
    return min(MAX_PAUSE, 0.1 * 2.0 ** (attempt - 1)) * random.uniform(0.5, 1.5)  # noqa: S311


def _first_line(error: BaseException | None) -> str:
    cause = getattr(error, "orig", None) or error
    lines = str(cause).strip().splitlines()
    return (lines[0] if lines else type(cause).__name__).rstrip(".")
