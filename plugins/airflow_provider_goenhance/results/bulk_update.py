# SPDX-License-Identifier: Apache-2.0
"""
One UPDATE statement for many rows, each with values of its own.

The values travel as one JSON text, which SQLite and Postgres read as a table. An UPDATE per row (``executemany``)
costs a round trip per row on a server, and one hand-over of the interpreter lock per row everywhere. Seconds per
submitted row, relative to no ledger at all (``benchmarks/bench_ledger.py --pairs 4000 --rounds 4``, with this
module and with :func:`reads_json` returning ``False``):

========  ====  ===========
database  JSON  executemany
========  ====  ===========
Postgres  1.12         1.81
SQLite    1.18         1.26
========  ====  ===========

Other databases receive an UPDATE per row, and do not report how many rows were updated.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

#: Name -> SQL expression of a value that differs from row to row.
Cells = dict[str, sa.ColumnElement[Any]]
#: Names of the bound parameters that hold the JSON text and, on Postgres, the keys.
_JSON, _KEYS = "row_values", "row_keys"
#: Between two keys.
_SEPARATOR = "\n"
_to_json = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def reads_json(dialect: str) -> bool:
    """Return whether the values travel as one JSON text, and the number of updated rows is reported."""
    return dialect in {"sqlite", "postgresql"}


def parameter_cells(columns: Mapping[str, sa.Column[Any]]) -> Cells:
    """
    Return the expressions for an UPDATE per row: bound parameters.

    :param columns: name of the value -> column whose type it has
    """
    return {name: sa.bindparam(_parameter(name), type_=column.type) for name, column in columns.items()}


def json_cells(dialect: str, columns: Mapping[str, sa.Column[Any]]) -> Cells:
    """
    Return the expressions for one UPDATE of all rows: cells of the JSON table.

    :param dialect: SQLAlchemy's name of the dialect
    :param columns: name of the value -> column whose type it has, in the order of :func:`execute_json`'s rows
    """
    text = sa.bindparam(_JSON, type_=sa.String)
    expressions: list[sa.ColumnElement[Any]]
    if dialect == "sqlite":
        table = sa.func.json_each(text).table_valued("value", name=_JSON)
        expressions = [
            sa.func.json_extract(table.c.value, sa.literal_column(f"'$[{i}]'")) for i in range(len(columns))
        ]
    else:
        table = sa.func.json_array_elements(sa.cast(text, sa.JSON)).table_valued("value", name=_JSON)
        expressions = [table.c.value.op("->>")(sa.literal_column(str(i))) for i in range(len(columns))]
    return {
        name: _typed(expression, column)
        for (name, column), expression in zip(columns.items(), expressions, strict=True)
    }


def _typed(cell: sa.ColumnElement[Any], column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    # Text is not cast: a cast to VARCHAR(n) would silently truncate it.
    is_text = isinstance(column.type, sa.String)
    return sa.type_coerce(cell, sa.Text) if is_text else sa.cast(cell, column.type)


def key_matches(dialect: str, key: sa.Column[Any], cell: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    """Return the condition that a row of the table is one of the JSON table."""
    condition = key == cell
    if dialect != "postgresql":
        return condition
    # Postgres cannot estimate how many rows the JSON holds, and would scan the whole table. It can count an array.
    keys = sa.func.string_to_array(
        sa.bindparam(_KEYS, type_=sa.Text), sa.literal_column(f"chr({ord(_SEPARATOR)})")
    )
    return sa.and_(condition, key == sa.func.any(keys))


class JsonStatement:
    """
    One statement for all rows over :func:`json_cells`, compiled once.

    SQLAlchemy takes about 30 microseconds (SQLite) or 80 (Postgres) to execute a statement that it has compiled before,
    most of it for looking up the statement and converting its parameters one by one; the text is executed in a third
    of that.

    :param statement: an UPDATE, or an INSERT that returns what it has written
    :param dialect: the dialect of the connections that it is executed on
    """

    def __init__(self, statement: sa.Update | sa.Insert, dialect: sa.Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect)
        self._text = str(compiled)
        self._positions: Sequence[str] | None = compiled.positiontup
        self._converters = {
            name: converter
            for bind, name in compiled.bind_names.items()
            if (converter := bind.type.dialect_impl(dialect).bind_processor(dialect)) is not None
        }
        self._constants = self._converted(
            {name: compiled.params[name] for bind, name in compiled.bind_names.items() if not bind.required}
        )
        self._has_keys = _KEYS in compiled.params

    def execute(
        self, connection: sa.Connection, rows: Sequence[Sequence[Any]], fixed: Mapping[str, Any]
    ) -> sa.CursorResult[Any]:
        """
        Execute the statement.

        :param rows: values of each row, in the order of the cells; the primary key first
        :param fixed: parameters that are the same for all rows
        """
        values = self._constants | self._converted(fixed)
        values[_JSON] = _to_json(rows)
        if self._has_keys:
            values[_KEYS] = _SEPARATOR.join([row[0] for row in rows])
        parameters = values if self._positions is None else tuple([values[name] for name in self._positions])
        return connection.exec_driver_sql(self._text, parameters)

    def _converted(self, values: Mapping[str, Any]) -> dict[str, Any]:
        convert = self._converters
        return {name: convert[name](value) if name in convert else value for name, value in values.items()}


def execute_many(
    connection: sa.Connection,
    update: sa.Update,
    names: Sequence[str],
    rows: Sequence[Sequence[Any]],
    fixed: dict[str, Any],
) -> None:
    """
    Update rows with a statement each, over :func:`parameter_cells`.

    :param names: names of the values of a row
    """
    parameters = [_parameter(name) for name in names]
    connection.execute(update, [dict(zip(parameters, row, strict=True)) | fixed for row in rows])


def _parameter(name: str) -> str:
    # SQLAlchemy reserves the columns' own names in an UPDATE.
    return f"row_{name}"
