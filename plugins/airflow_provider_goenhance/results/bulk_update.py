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

Other databases receive an UPDATE per row, and do not report which rows were updated.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.dml import ReturningUpdate

#: Name -> SQL expression of a value that differs from row to row.
Cells = dict[str, sa.ColumnElement[Any]]
#: Names of the bound parameters that hold the JSON text and, on Postgres, the keys.
_JSON, _KEYS = "row_values", "row_keys"


def reads_json(dialect: str) -> bool:
    """Return whether the values travel as one JSON text, and the statement reports the rows it updated."""
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
    return sa.and_(condition, key == sa.func.any(sa.bindparam(_KEYS, type_=sa.ARRAY(sa.Text))))


def execute_json(
    connection: sa.Connection,
    update: ReturningUpdate[Any],
    keys: Iterable[str],
    rows: Sequence[Mapping[str, Any]],
    fixed: Mapping[str, Any],
) -> set[str]:
    """
    Update all rows with one statement over :func:`json_cells`.

    :param update: returns the primary key
    :param keys: primary keys of the rows
    :param rows: values of each row, in the order of the cells
    :param fixed: parameters that are the same for all rows
    :return: primary keys of the rows that were updated
    """
    text = json.dumps([list(row.values()) for row in rows], separators=(",", ":"))
    parameters = {_JSON: text, **fixed}
    if connection.dialect.name == "postgresql":
        parameters[_KEYS] = list(keys)
    return set(connection.execute(update, parameters).scalars())


def json_parameters(rows: Sequence[Sequence[Any]]) -> dict[str, str]:
    """Return the bound parameter of :func:`json_cells`, for rows of values in the order of the cells."""
    return {_JSON: json.dumps(rows, separators=(",", ":"))}


def execute_many(
    connection: sa.Connection, update: sa.Update, rows: Sequence[Mapping[str, Any]], fixed: Mapping[str, Any]
) -> None:
    """Update rows with a statement each, over :func:`parameter_cells`."""
    connection.execute(
        update, [{_parameter(name): value for name, value in row.items()} | dict(fixed) for row in rows]
    )


def _parameter(name: str) -> str:
    # SQLAlchemy reserves the columns' own names in an UPDATE.
    return f"row_{name}"
