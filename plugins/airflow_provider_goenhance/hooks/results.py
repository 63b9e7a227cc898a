# SPDX-License-Identifier: Apache-2.0
"""Open the results table of an Airflow connection."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from ..exceptions import ResultsTableError

if TYPE_CHECKING:
    from ..results.database import ResultsDatabase
    from ..results.ledger import Ledger

log = logging.getLogger(__name__)

_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)

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
def open_ledger(conn_id: str = DEFAULT_RESULTS_CONN_ID, *, must_exist: bool = False) -> Iterator[Ledger]:
    """
    Open the results table as a ledger, and close it afterwards.

    :param conn_id: id of the connection, default ``goenhance_results``
    :param must_exist: refuse an SQLite file that does not exist, instead of creating it
    :raises ResultsTableError: as :func:`open_results`
    """
    from ..results.ledger import Ledger

    database = open_results(conn_id)
    path = database.url.database if database.url.get_backend_name() == "sqlite" else None
    if must_exist and path and not Path(path).is_file():
        raise ResultsTableError(
            f"The results table ({database.name}) cannot be read: the SQLite file {path!r} does not exist on this "
            "machine. It must be on a volume that workers and triggerers share; with several machines use PostgreSQL."
        )
    try:
        yield Ledger(database)
    finally:
        database.close()


def _default_file() -> Path:
    from airflow.configuration import AIRFLOW_HOME

    return Path(AIRFLOW_HOME) / "goenhance_results.db"


def _url_of(conn: Any, conn_id: str) -> Any:
    import sqlalchemy as sa

    if conn.conn_type == "sqlite":
        # Not the sqlite provider's URI: it uses the host only, and unquotes it.
        return sa.URL.create("sqlite", database=sqlite_file(conn.host or conn.schema or "", conn_id))
    if "://" in (conn.host or ""):
        # Database clients repeat the host, and a password in it, in their errors.
        raise ResultsTableError(
            f"The results table (connection {conn_id!r}) cannot be used, and nothing is submitted: its host field "
            "holds a URL. Put the host name alone there, and login, password, port and database into their own fields."
        )
    try:
        hook = conn.get_hook()
        url = getattr(hook, "sqlalchemy_url", None)
    except Exception as error:  # noqa: BLE001  the provider is missing, or its hook rejects the connection
        raise ResultsTableError(
            f"Connection {conn_id!r} of type {conn.conn_type!r} cannot serve as the results table: {error}"
        ) from None
    if url is not None and (url := sa.make_url(url)).get_backend_name() == "sqlite":
        return url.set(database=sqlite_file(url.database or "", conn_id))
    if url is None:
        raise ResultsTableError(
            f"Connection {conn_id!r} of type {conn.conn_type!r} has no SQLAlchemy URL; use sqlite, postgres or mysql."
        )
    return url


def sqlite_file(location: str, conn_id: str) -> str:
    """
    Return the absolute path of the SQLite file that a connection names.

    Anything that is not the same file for every process would make a second results table, and pairs would be paid for
    twice: a relative path, a home directory, a database in memory, a folder that a process would create for itself.

    :param location: a path, or a SQLite URL
    :raises ResultsTableError: when it is not one file for all processes, with the right spelling
    """
    path = _path_in(location, conn_id)
    start = f"The results table (connection {conn_id!r}) cannot be used, and nothing is submitted: "
    if not path:
        raise ResultsTableError(
            f"{start}the connection has no file path. Put the absolute path of the SQLite file into the host field."
        )
    if ":memory:" in path or "mode=memory" in location:
        raise ResultsTableError(
            f"{start}{location!r} is a database in memory, which each process has for itself and loses when it ends. "
            "Put the absolute path of a file into the host field, such as /opt/airflow/goenhance_results.db."
        )
    if path.startswith("~"):
        raise ResultsTableError(
            f"{start}{path!r} is another file for each user that a process runs as. Put the absolute path into the "
            f"host field: {Path(path).expanduser()}"
        )
    if bare := _without_decoration(path):
        raise ResultsTableError(
            f"{start}{path!r} is taken as it stands, with quotes, variables and parameters. Put the absolute path "
            f"alone into the host field, such as {bare}"
        )
    if not Path(path).is_absolute():
        raise ResultsTableError(
            f"{start}{path!r} is a relative path, and another file for each process. Put the absolute path into the "
            f"host field, such as {Path(path).absolute()}"
        )
    folder = Path(path).parent
    if "\0" in path or Path(path).is_dir():
        raise ResultsTableError(
            f"{start}{path!r} is not the path of a file. Put the absolute path of the SQLite file into the host field."
        )
    if not folder.is_dir():
        raise ResultsTableError(
            f"{start}the directory {str(folder)!r} of the SQLite file does not exist on this machine. Create it, or "
            "correct the path. All workers must share it: use PostgreSQL for workers on several machines."
        )
    return path


def _without_decoration(path: str) -> str:
    """Return what was meant by a path with quotes, variables or parameters in it; empty for one that has none."""
    meant = path.strip("'\"").partition("?")[0]
    if "$" in meant or "{{" in meant:
        meant = f"/opt/airflow/{Path(meant).name}"
    return meant if meant != path else ""


def _path_in(location: str, conn_id: str) -> str:
    """Return the path in a location: the location itself, or the path of a SQLite or file URL."""
    import sqlalchemy as sa

    location = _SCHEME.sub(lambda found: found[0].lower(), location.strip(), count=1)
    scheme, mark, rest = location.partition(":")
    if scheme == "sqlite" and rest.startswith("/") and not rest.startswith("//"):
        return rest
    if scheme == "file" and mark:
        path = rest.partition("?")[0]
        return unquote("/" + path.lstrip("/") if path.startswith("/") else path)
    if "://" not in location:
        return location
    try:
        url = sa.make_url(location)
    except sa.exc.ArgumentError:
        url = None
    if url is not None and url.get_backend_name() == "sqlite":
        return url.database or ":memory:"
    raise ResultsTableError(
        f"The results table (connection {conn_id!r}) cannot be used, and nothing is submitted: the type 'sqlite' takes "
        "the path of a file, and this is a URL "
        f"that begins with {scheme[:20]!r}. Put the absolute path into the host field, or use the type of "
        "that database, such as 'postgres'."
    )
