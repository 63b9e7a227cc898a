# SPDX-License-Identifier: Apache-2.0
"""Read a run's rows from the results table that the connection `goenhance_results` names."""

from __future__ import annotations

import importlib.util
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from airflow_provider_goenhance.exceptions import ResultsTableError
from airflow_provider_goenhance.results.database import ResultsDatabase
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.run_rows import RunRows
from airflow_provider_goenhance.results.schema import DEFAULT_TABLE
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap
from include.local.errors import LocalStackError
from include.local.settings import ConnectionSetting

#: Connection type -> SQLAlchemy dialect and its Python drivers, the preferred one first.
_DRIVERS = {
    "sqlite": ("sqlite", ("sqlite3",)),
    "postgres": ("postgresql", ("psycopg2", "psycopg")),
    "mysql": ("mysql", ("MySQLdb", "pymysql")),
}
_GOOD = {Status.SUCCEEDED, Status.REUSED}


class RunResults:
    """
    The rows of one run.

    :param connection: the connection to the results table: of type sqlite, postgres or mysql (MariaDB too)
    :param dag_id: the Dag
    :param run_id: its run
    :raises LocalStackError: the results table cannot be read
    """

    def __init__(self, connection: ConnectionSetting, dag_id: str, run_id: str) -> None:
        self._file = Path(connection.host or "") if connection.conn_type == "sqlite" else None
        self._key = RunKey(dag_id, run_id)
        self._ledger = Ledger(
            ResultsDatabase(
                _url(connection),
                name=f"connection {connection.conn_id!r}",
                table=str(connection.extra.get("goenhance_table") or DEFAULT_TABLE),
                schema=connection.extra.get("goenhance_schema"),
            )
        )

    def counts(self) -> dict[str, int]:
        """Return the number of rows by status, without the statuses that no row has."""
        if self._is_missing():
            return {}
        try:
            counts = self._ledger.counts(self._key)
        except ResultsTableError as error:
            raise LocalStackError(str(error)) from error
        return {status.value: count for status, count in counts.items() if count}

    def rows(self, limit: int) -> list[Swap]:
        """
        Return all rows in the order of the manifest; of a longer run, only the first rows that need attention.

        :param limit: maximum number of rows
        """
        if self._is_missing():
            return []
        rows = partial(RunRows, self._ledger.database, self._key)
        try:
            found = rows().page(limit + 1)
            return found if len(found) <= limit else rows(statuses=set(Status) - _GOOD).page(limit)
        except ResultsTableError as error:
            raise LocalStackError(str(error)) from error

    def close(self) -> None:
        """Close all connections."""
        self._ledger.database.close()

    def _is_missing(self) -> bool:
        # The tasks create the file on first use; reading must not leave an empty one behind.
        return self._file is not None and not self._file.exists()


def _url(connection: ConnectionSetting) -> sa.URL:
    if connection.conn_type not in _DRIVERS:
        raise LocalStackError(
            f"connection {connection.conn_id!r} has the type {connection.conn_type!r}; `make run` reads results of "
            f"the types {', '.join(_DRIVERS)}"
        )
    if connection.conn_type == "sqlite":
        return sa.URL.create("sqlite", database=connection.host)
    dialect, modules = _DRIVERS[connection.conn_type]
    installed = [module for module in modules if importlib.util.find_spec(module)]
    if not installed:
        raise LocalStackError(
            f"connection {connection.conn_id!r} has the type {connection.conn_type!r}, and no driver for it is "
            f"installed; install one of {', '.join(modules)}"
        )
    return sa.URL.create(
        f"{dialect}+{installed[0].lower()}",
        username=connection.login,
        password=connection.password,
        host=connection.host,
        port=connection.port,
        database=connection.schema,
        query={name: str(connection.extra[name]) for name in ("unix_socket",) if name in connection.extra},
    )
