# SPDX-License-Identifier: Apache-2.0
"""Read a manifest with an SQL query through any Airflow connection whose hook speaks SQL."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from ..exceptions import ManifestError, ManifestUnavailableError
from ..redaction import excerpt

if TYPE_CHECKING:
    from ..manifest.source import Source

log = logging.getLogger(__name__)

#: Rows that are fetched from the database at once.
FETCH_ROWS = 2000
# DB-API classes for trouble with the connection rather than with the statement, in every driver.
_PASSING = frozenset({"InterfaceError", "TimeoutError", "ConnectionError"})


def query_manifest(sql: str, conn_id: str) -> Source:
    """
    Run a query, and return its rows as a manifest.

    The rows are streamed, through a cursor on the server where the database has one, into a temporary file: memory
    stays bounded, and the query is closed before the rows are planned.

    :param sql: one query that returns rows, sent as it is
    :param conn_id: any connection whose hook has a SQLAlchemy URL or a DB-API connection
    :raises ManifestError: when the connection cannot be used, or the database refuses the query
    :raises ManifestUnavailableError: when the database cannot be reached at the moment
    """
    from ..manifest.tables import spool_rows

    location = f"query of connection {conn_id}"
    hook = _hook(conn_id, location)
    with _named(location), contextlib.ExitStack() as stack:
        names, rows = _stream(hook, sql, stack)
        return spool_rows(names, rows, location)


def _hook(conn_id: str, location: str) -> Any:
    try:
        conn = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise ManifestError(
            f"manifest {location} cannot be read: there is no such connection. Create it, or correct manifest_conn_id"
        ) from None
    try:
        hook = conn.get_hook()
    except Exception as error:  # noqa: BLE001  the provider is missing, or its hook rejects the connection
        raise ManifestError(f"manifest {location} cannot be read: {excerpt(str(error))}") from None
    if not hasattr(hook, "get_conn") or not hasattr(hook, "get_records"):
        raise ManifestError(
            f"manifest {location} cannot be read: a connection of type {conn.conn_type!r} takes no SQL. Use one of a "
            "database"
        )
    return hook


def _stream(
    hook: Any, sql: str, stack: contextlib.ExitStack
) -> tuple[Sequence[str], Iterator[Sequence[Any]]]:
    """Return the names of the columns, and the rows."""
    try:
        from sqlalchemy.pool import NullPool

        engine = hook.get_sqlalchemy_engine(engine_kwargs={"poolclass": NullPool})
    except Exception as error:  # noqa: BLE001  no SQLAlchemy dialect: the driver's own connection does as well
        log.debug("No SQLAlchemy engine for the manifest's query: %s", type(error).__name__)
        return _dbapi_stream(hook, sql, stack)
    stack.callback(engine.dispose)
    connection = stack.enter_context(engine.connect())
    # Without parameters, so that a % or a :name in the query is no placeholder.
    options = {"stream_results": True, "max_row_buffer": FETCH_ROWS, "no_parameters": True}
    result = stack.enter_context(
        contextlib.closing(connection.exec_driver_sql(sql, execution_options=options))
    )
    if not result.returns_rows:
        return [], iter(())
    return list(result.keys()), (row for part in result.partitions(FETCH_ROWS) for row in part)


def _dbapi_stream(
    hook: Any, sql: str, stack: contextlib.ExitStack
) -> tuple[Sequence[str], Iterator[Sequence[Any]]]:
    connection = stack.enter_context(contextlib.closing(hook.get_conn()))
    cursor = stack.enter_context(contextlib.closing(connection.cursor()))
    cursor.execute(sql)
    names = [column[0] for column in cursor.description or ()]
    return names, (row for part in iter(lambda: cursor.fetchmany(FETCH_ROWS), []) for row in part)


@contextlib.contextmanager
def _named(location: str) -> Iterator[None]:
    """Name an error of the database without the query, which may hold values."""
    try:
        yield
    except (ManifestError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  every driver has its own classes
        cause: Any = getattr(error, "orig", None) or error
        # The lines that follow repeat the query.
        text = excerpt(f"{type(cause).__name__}: {cause}".partition("\n")[0])
        if passes(error, cause):
            raise ManifestUnavailableError(
                f"manifest {location} cannot be read: {text}. A retry reads it again."
            ) from None
        raise ManifestError(f"manifest {location} cannot be read: {text}") from None


def passes(error: Exception, cause: Any) -> bool:
    """Return whether a database's error may be gone in a moment; ``cause`` is that of the driver."""
    import sqlalchemy as sa

    from ..results.transient_errors import is_transient

    classes = {base.__name__ for base in type(cause).__mro__}
    if not isinstance(error, sa.exc.DBAPIError) and "OperationalError" in classes:
        error = sa.exc.OperationalError("", {}, cause)
    return is_transient(error, 1) if isinstance(error, sa.exc.DBAPIError) else bool(classes & _PASSING)
