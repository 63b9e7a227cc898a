# SPDX-License-Identifier: Apache-2.0
"""
One UPDATE for many rows, each with values of its own.

An UPDATE per row hands Python's interpreter lock back and forth once per row, and on a server it is a round trip per
row; beside a busy event loop that is most of what a group commit costs. So the values travel as one JSON text, which
SQLite and Postgres read as a table: the statement's text is always the same, and cached from the application down to
the database. Other databases get an UPDATE per row, and are asked afterwards which rows moved.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

Columns = dict[str, sa.ColumnElement[Any]]


def reads_json(dialect: str) -> bool:
    """Tell whether values travel as one JSON text."""
    return dialect in {"sqlite", "postgresql"}


def given_columns(dialect: str, *columns: sa.Column[Any]) -> Columns:
    """
    Return what stands for a row's own values inside a statement.

    :param dialect: SQLAlchemy's name of the database's dialect
    :param columns: the columns whose values are given, in the order of :func:`execute_given`'s rows
    """
    if not reads_json(dialect):
        return {column.name: sa.bindparam(f"given_{column.name}", type_=column.type) for column in columns}
    text = sa.bindparam("given", type_=sa.String)
    cells: list[sa.ColumnElement[Any]]
    if dialect == "sqlite":
        each = sa.func.json_each(text).table_valued("value", name="given")
        cells = [
            sa.func.json_extract(each.c.value, sa.literal_column(f"'$[{i}]'")) for i in range(len(columns))
        ]
    else:
        each = sa.func.json_array_elements(sa.cast(text, sa.JSON)).table_valued("value", name="given")
        cells = [each.c.value.op("->>")(sa.literal_column(str(i))) for i in range(len(columns))]
    return {column.name: _typed(cell, column) for column, cell in zip(columns, cells, strict=True)}


def _typed(cell: sa.ColumnElement[Any], column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    # Text stays as it is: a cast to VARCHAR(n) would cut it short without a word.
    is_text = isinstance(column.type, sa.String)
    return sa.type_coerce(cell, sa.Text) if is_text else sa.cast(cell, column.type)


def execute_given(
    connection: sa.Connection,
    statement: sa.Update,
    rows: Sequence[dict[str, Any]],
    **fixed: Any,
) -> set[str]:
    """
    Run an update for all rows.

    :param statement: an UPDATE with :func:`given_columns` that returns the primary key where the database can
    :param rows: column name -> value, in the order of :func:`given_columns`
    :param fixed: the statement's other parameters
    :return: keys of the rows that surely moved; empty where the database cannot tell
    """
    if reads_json(connection.dialect.name):
        text = json.dumps([list(row.values()) for row in rows], separators=(",", ":"))
        return set(connection.execute(statement, {"given": text, **fixed}).scalars())
    connection.execute(
        statement, [{**{f"given_{name}": value for name, value in row.items()}, **fixed} for row in rows]
    )
    return set()


def returning_key(dialect: str, statement: sa.Update, key: sa.Column[Any]) -> sa.Update:
    """Add RETURNING where :func:`execute_given` reads it."""
    return statement.returning(key) if reads_json(dialect) else statement
