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


def is_given(dialect: str, key: sa.Column[Any], given: Columns) -> sa.ColumnElement[bool]:
    """Return the condition that a row is one of those given."""
    condition = key == given[key.name]
    if dialect != "postgresql":
        return condition
    # Postgres cannot know how many rows the JSON holds, and reads the whole table for them; a list of keys it can
    # count, and looks up.
    return sa.and_(condition, key == sa.func.any(sa.bindparam("given_keys", type_=sa.ARRAY(sa.Text))))


class GivenUpdate:
    """
    An UPDATE over :func:`given_columns`, compiled once.

    SQLAlchemy's own path from a statement to the driver costs more than the database's work on it; a text that never
    changes can go to the driver as it is.

    :param update: the statement, without RETURNING
    :param key: the primary key, returned for the rows that moved where the database can
    """

    def __init__(self, dialect: sa.Dialect, update: sa.Update, key: sa.Column[Any]) -> None:
        self._as_json = reads_json(dialect.name)
        self._update = update.returning(key) if self._as_json else update
        compiled: Any = self._update.compile(dialect=dialect)
        self._text = str(compiled)
        self._order: list[str] | None = compiled.positiontup
        self._key = key.name
        self._constants: dict[str, Any] = {}
        self._processors: dict[str, Any] = {}
        for bind, name in compiled.bind_names.items():
            process = bind.type.dialect_impl(dialect).bind_processor(dialect)
            if process is not None:
                self._processors[name] = process
            if not bind.required:
                self._constants[name] = process(bind.value) if process else bind.value

    def execute(self, connection: sa.Connection, rows: Sequence[dict[str, Any]], **fixed: Any) -> set[str]:
        """
        Update all rows.

        :param rows: column name -> value, in the order of :func:`given_columns`
        :param fixed: the statement's other parameters
        :return: keys of the rows that surely moved; empty where the database cannot tell
        """
        if not self._as_json:
            given = [{f"given_{name}": value for name, value in row.items()} | fixed for row in rows]
            connection.execute(self._update, given)
            return set()
        text = json.dumps([list(row.values()) for row in rows], separators=(",", ":"))
        values = self._constants | {
            name: self._processors[name](value) if name in self._processors else value
            for name, value in {"given": text, **fixed}.items()
        }
        values["given_keys"] = [row[self._key] for row in rows]
        parameters: Any = values if self._order is None else tuple(values[name] for name in self._order)
        return {row[0] for row in connection.exec_driver_sql(self._text, parameters)}
