# SPDX-License-Identifier: Apache-2.0
"""Look up many keys at once: as one array where the database has arrays, otherwise in lists."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import sqlalchemy as sa

from .database import IN_LIST

#: Keys in one array: for more of them PostgreSQL may find that to read a large table as a whole is cheaper.
ARRAY_KEYS = 5000
#: Between two keys.
_SEPARATOR = "\n"


def among(dialect: str, column: sa.Column[Any], keys: Iterable[str]) -> Iterator[sa.ColumnElement[bool]]:
    """
    Yield conditions that together find the rows with one of some keys.

    :param dialect: SQLAlchemy's name of the dialect
    :param keys: without line breaks
    """
    wanted = list(dict.fromkeys(keys))
    size = ARRAY_KEYS if dialect in {"postgresql", "sqlite"} else IN_LIST
    for start in range(0, len(wanted), size):
        yield _one_of(dialect, column, wanted[start : start + size])


def read_in_one_process(connection: sa.Connection) -> None:
    """
    Have the queries of this transaction read by one process of the database.

    PostgreSQL may start two workers for each array of keys; that takes it three times the processor time.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL max_parallel_workers_per_gather = 0")


def _one_of(dialect: str, column: sa.Column[Any], keys: list[str]) -> sa.ColumnElement[bool]:
    if dialect == "postgresql":
        text = sa.bindparam(None, _SEPARATOR.join(keys), type_=sa.Text, unique=True)
        # Not an array of the driver's own, which each driver takes in another form.
        return column == sa.func.any(
            sa.func.string_to_array(text, sa.literal_column(f"chr({ord(_SEPARATOR)})"))
        )
    if dialect == "sqlite":
        table = sa.func.json_each(sa.bindparam(None, json.dumps(keys), type_=sa.String, unique=True))
        return column.in_(sa.select(table.table_valued("value").c.value))
    return column.in_(keys)
