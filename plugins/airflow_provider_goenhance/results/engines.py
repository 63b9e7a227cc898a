# SPDX-License-Identifier: Apache-2.0
"""Create the SQLAlchemy engine of a results table, with the settings that each database needs to be safe."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

#: Seconds that a statement waits for SQLite's write lock before it fails.
SQLITE_BUSY_SECONDS = 60.0
#: Seconds to connect to a server; without a limit, a host that drops packets blocks a task for minutes.
CONNECT_SECONDS = 10

# Detects a server that vanished within a minute; the system's default is two hours.
_LIBPQ = {
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}
_CONNECT_ARGS: dict[str, dict[str, Any]] = {
    # Without the encoding, SQLAlchemy cannot connect to a database of the encoding SQL_ASCII.
    "psycopg": {**_LIBPQ, "client_encoding": "utf8"},
    "psycopg2": _LIBPQ,
    "pymysql": {"connect_timeout": CONNECT_SECONDS},
    "mysqldb": {"connect_timeout": CONNECT_SECONDS},
    "mariadbconnector": {"connect_timeout": CONNECT_SECONDS},
}

_USE_UTC = {
    "postgresql": "SET TIME ZONE 'UTC'",
    "mysql": "SET time_zone = '+00:00'",
    "mariadb": "SET time_zone = '+00:00'",
}


def make_engine(url: sa.URL) -> sa.Engine:
    """Return an engine for a database, without connecting."""
    if url.get_backend_name() == "sqlite":
        return _sqlite(url)
    asked = _CONNECT_ARGS.get(url.get_driver_name(), {})
    arguments = {name: value for name, value in asked.items() if name not in url.query}
    options: dict[str, Any] = {"pool_pre_ping": True, "pool_size": 2, "max_overflow": 4}
    if url.get_driver_name() == "psycopg2":
        # A hundred updates in one round trip, as psycopg does of itself, instead of one.
        options["executemany_mode"] = "values_plus_batch"
    engine = sa.create_engine(url, connect_args=arguments, **options)
    if engine.dialect.name in _USE_UTC:
        sa.event.listen(engine, "connect", partial(_use_utc, _USE_UTC[engine.dialect.name]))
    return engine


def _use_utc(statement: str, connection: Any, _record: Any) -> None:
    # In the zone of a server west of UTC the first day that there is lies before year 1, which no driver can read.
    cursor = connection.cursor()
    cursor.execute(statement)
    cursor.close()
    connection.commit()


def _sqlite(url: sa.URL) -> sa.Engine:
    if url.database and url.database != ":memory:":
        Path(url.database).expanduser().parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url, connect_args={"timeout": SQLITE_BUSY_SECONDS})
    sa.event.listen(engine, "connect", _set_up_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    # We send BEGIN ourselves: the driver's own takes the write lock only at the first write, when two transactions
    # that have both read can no longer be serialized.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # FULL: a committed row must survive a power failure, or a paid swap could be lost.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    write = connection.get_execution_options().get("goenhance_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
