# SPDX-License-Identifier: Apache-2.0
"""Read a run's rows from the results table, wherever `goenhance_results` says that it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from include.local.errors import LocalStackError
from include.local.settings import ConnectionSetting

_COLUMNS = ("row_number", "pair_id", "status", "img_uuid", "result_uri", "error_code", "error_message")
_DRIVERS = {"sqlite": "sqlite", "postgres": "postgresql+psycopg2"}


@dataclass(frozen=True)
class SwapRow:
    """What the terminal shows of one row."""

    row_number: int | None
    pair_id: str
    status: str
    img_uuid: str | None
    result_uri: str | None
    error_code: str | None
    error_message: str | None


class RunResults:
    """
    The rows of one run.

    :param connection: the connection to the results table
    :param dag_id: the Dag
    :param run_id: its run
    :raises LocalStackError: the connection is of a type that cannot be read here
    """

    def __init__(self, connection: ConnectionSetting, dag_id: str, run_id: str) -> None:
        driver = _DRIVERS.get(connection.conn_type)
        if driver is None:
            raise LocalStackError(
                f"connection {connection.conn_id!r} is of type {connection.conn_type!r}; `make run` can follow "
                f"results in: {', '.join(_DRIVERS)}"
            )
        self._file = Path(connection.host or "") if connection.conn_type == "sqlite" else None
        if self._file:
            url = sa.URL.create(driver, database=str(self._file))
        else:
            url = sa.URL.create(
                driver,
                username=connection.login,
                password=connection.password,
                host=connection.host,
                port=connection.port,
                database=connection.schema,
            )
        self._engine = sa.create_engine(url)
        self._table = sa.table(
            str(connection.extra.get("goenhance_table") or "goenhance_swaps"),
            *[sa.column(name) for name in (*_COLUMNS, "dag_id", "run_id")],
            schema=connection.extra.get("goenhance_schema"),
        )
        self._where = sa.and_(self._table.c.dag_id == dag_id, self._table.c.run_id == run_id)

    def counts(self) -> dict[str, int]:
        """Count the rows by status; nothing yet where the table is not there yet."""
        query = sa.select(self._table.c.status, sa.func.count()).where(self._where).group_by("status")
        return {str(status): int(number) for status, number in self._read(query)}

    def rows(self) -> list[SwapRow]:
        """Return all rows in the order of the manifest."""
        columns = [self._table.c[name] for name in _COLUMNS]
        query = (
            sa.select(*columns).where(self._where).order_by(self._table.c.row_number, self._table.c.pair_id)
        )
        return [SwapRow(*row) for row in self._read(query)]

    def close(self) -> None:
        """Give all connections back."""
        self._engine.dispose()

    def _read(self, query: sa.Select[Any]) -> list[tuple[Any, ...]]:
        # The product creates file and table on first use; connecting would leave an empty file behind.
        if self._file and not self._file.exists():
            return []
        try:
            with self._engine.connect() as connection:
                if not sa.inspect(connection).has_table(self._table.name, schema=self._table.schema):
                    return []
                return [tuple(row) for row in connection.execute(query)]
        except sa.exc.SQLAlchemyError as error:
            cause = str(getattr(error, "orig", None) or error).splitlines()[0]
            raise LocalStackError(f"the results table cannot be read: {cause}") from error
