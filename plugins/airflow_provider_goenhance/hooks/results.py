# SPDX-License-Identifier: Apache-2.0
"""From an Airflow connection to the results table."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from ..exceptions import ResultsTableError

if TYPE_CHECKING:
    from ..results.database import ResultsDatabase

log = logging.getLogger(__name__)

DEFAULT_RESULTS_CONN_ID = "goenhance_results"


def open_results(conn_id: str = DEFAULT_RESULTS_CONN_ID) -> ResultsDatabase:
    """
    Open the results table behind a connection.

    The connection may be of any type whose hook names a SQLAlchemy URL: ``sqlite``, ``postgres``, ``mysql``, ... Its
    extra may name ``goenhance_table`` (default ``goenhance_swaps``) and ``goenhance_schema``. Where the default
    connection does not exist, an SQLite file in the Airflow home serves.

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
                f"There is no connection {conn_id!r} for the results table: create it, or leave results_conn_id out."
            ) from None
        path = _default_file()
        log.info("There is no connection %r; the results table is in the SQLite file %s.", conn_id, path)
        return ResultsDatabase(f"sqlite:///{path}", name=f"SQLite file {path}")
    extra = conn.extra_dejson
    return ResultsDatabase(
        _url_of(conn, conn_id),
        name=f"connection {conn_id!r}",
        table=str(extra.get("goenhance_table") or DEFAULT_TABLE),
        schema=extra.get("goenhance_schema") or None,
    )


def _default_file() -> Path:
    from airflow.configuration import AIRFLOW_HOME

    return Path(AIRFLOW_HOME) / "goenhance_results.db"


def _url_of(conn: Any, conn_id: str) -> Any:
    if conn.conn_type == "sqlite":
        import sqlalchemy as sa

        # The path as it stands: the sqlite provider's URI takes a host only, and unquotes it.
        path = conn.host or conn.schema
        if not path:
            raise ResultsTableError(
                f"Connection {conn_id!r} names no file: put the path of it into the host field."
            )
        return sa.URL.create("sqlite", database=str(Path(path).expanduser()))
    try:
        hook = conn.get_hook()
        url = getattr(hook, "sqlalchemy_url", None)
    except Exception as error:  # noqa: BLE001  a provider that is missing, or a connection that its hook refuses
        raise ResultsTableError(
            f"Connection {conn_id!r} of type {conn.conn_type!r} cannot serve as the results table: {error}"
        ) from None
    if url is None:
        raise ResultsTableError(
            f"Connection {conn_id!r} of type {conn.conn_type!r} names no SQLAlchemy URL; use sqlite, postgres or mysql."
        )
    return url
