# SPDX-License-Identifier: Apache-2.0
"""Open the results table of an Airflow connection."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from ..exceptions import ResultsTableError

if TYPE_CHECKING:
    from ..results.database import ResultsDatabase
    from ..results.ledger import Ledger

log = logging.getLogger(__name__)

DEFAULT_RESULTS_CONN_ID = "goenhance_results"


def open_results(conn_id: str = DEFAULT_RESULTS_CONN_ID) -> ResultsDatabase:
    """
    Open the database of the results table.

    The connection may be of any type whose hook has a SQLAlchemy URL: ``sqlite``, ``postgres``, ``mysql``, ... Its
    extra may set ``goenhance_table`` (default ``goenhance_swaps``) and ``goenhance_schema``. If the default connection
    does not exist, the table is in an SQLite file in the Airflow home.

    :param conn_id: id of the connection, default ``goenhance_results``
    :raises ResultsTableError: when there is no such connection, or its type has no SQLAlchemy URL
    """
    from ..results.database import ResultsDatabase
    from ..results.schema import DEFAULT_TABLE

    try:
        conn = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        if conn_id != DEFAULT_RESULTS_CONN_ID:
            raise ResultsTableError(
                f"The connection {conn_id!r} of the results table does not exist: create it, or omit results_conn_id."
            ) from None
        path = _default_file()
        log.info(
            "The connection %r does not exist; the results table is in the SQLite file %s.", conn_id, path
        )
        return ResultsDatabase(f"sqlite:///{path}", name=f"SQLite file {path}")
    extra = conn.extra_dejson
    return ResultsDatabase(
        _url_of(conn, conn_id),
        name=f"connection {conn_id!r}",
        table=str(extra.get("goenhance_table") or DEFAULT_TABLE),
        schema=extra.get("goenhance_schema") or None,
    )


@contextmanager
def open_ledger(conn_id: str = DEFAULT_RESULTS_CONN_ID) -> Iterator[Ledger]:
    """
    Open the results table as a ledger, and close it afterwards.

    :param conn_id: id of the connection, default ``goenhance_results``
    :raises ResultsTableError: as :func:`open_results`
    """
    from ..results.ledger import Ledger

    database = open_results(conn_id)
    try:
        yield Ledger(database)
    finally:
        database.close()


def _default_file() -> Path:
    from airflow.configuration import AIRFLOW_HOME

    return Path(AIRFLOW_HOME) / "goenhance_results.db"


def _url_of(conn: Any, conn_id: str) -> Any:
    if conn.conn_type == "sqlite":
        import sqlalchemy as sa

        # Not the sqlite provider's URI: it uses the host only, and unquotes it.
        path = conn.host or conn.schema
        if not path:
            raise ResultsTableError(
                f"Connection {conn_id!r} has no file path: put the path of the SQLite file into the host field."
            )
        return sa.URL.create("sqlite", database=str(Path(path).expanduser()))
    try:
        hook = conn.get_hook()
        url = getattr(hook, "sqlalchemy_url", None)
    except Exception as error:  # noqa: BLE001  the provider is missing, or its hook rejects the connection
        raise ResultsTableError(
            f"Connection {conn_id!r} of type {conn.conn_type!r} cannot serve as the results table: {error}"
        ) from None
    if url is None:
        raise ResultsTableError(
            f"Connection {conn_id!r} of type {conn.conn_type!r} has no SQLAlchemy URL; use sqlite, postgres or mysql."
        )
    return url
