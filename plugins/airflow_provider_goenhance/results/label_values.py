# SPDX-License-Identifier: Apache-2.0
"""The labels of rows in SQL: the value of one label, and which labels sort a run into few groups."""

from __future__ import annotations

import json
import re
from typing import Any

import sqlalchemy as sa

from .database import ResultsDatabase
from .plan import RunKey

#: Rows that are looked at to see which labels there are.
SAMPLE = 500
#: A label with more values among them is no filter: it names the row.
MOST_VALUES = 20
MOST_LABELS = 4
#: Names that can be part of a path in JSON on every database.
_NAME = re.compile(r"[\w .:/-]{1,64}")


def label_values(database: ResultsDatabase, name: str) -> sa.ColumnElement[Any]:
    """
    Return the expression for the value of a label.

    :param name: for which :func:`can_be_read` holds
    """
    labels = database.swaps.c.labels
    json_of: sa.ColumnElement[Any]
    # SQLite casts to JSON what it takes for a number, and PostgreSQL reads JSON from no text.
    if database.engine.dialect.name == "postgresql":
        json_of = sa.cast(labels, sa.JSON)
    else:
        json_of = sa.type_coerce(labels, sa.JSON)
    value: sa.ColumnElement[Any] = json_of[name].as_string()
    return value


def can_be_read(name: str) -> bool:
    """Return whether the value of a label of this name can be read in SQL."""
    return bool(_NAME.fullmatch(name))


def label_value_of(labels: str | None, name: str) -> str | None:
    """Return the value of a label of a row."""
    value = _read(labels).get(name)
    return None if value is None else str(value)


def labels_to_filter_by(database: ResultsDatabase, key: RunKey) -> list[str]:
    """Return the labels of a run that have few values, by a look at some of its rows."""
    c = database.swaps.c
    # In the order of the index: without it, PostgreSQL reads all runs before this one to find its first rows.
    query = sa.select(c.labels).where(c.dag_id == key.dag_id, c.run_id == key.run_id)
    query = query.order_by(c.task_id, c.batch).limit(SAMPLE)
    values: dict[str, set[str]] = {}
    for row in database.read(query):
        for name, value in _read(row["labels"]).items():
            values.setdefault(str(name), set()).add(str(value))
    few = [name for name, found in values.items() if len(found) <= MOST_VALUES and can_be_read(name)]
    return few[:MOST_LABELS]


def _read(labels: str | None) -> dict[str, Any]:
    try:
        read = json.loads(labels or "{}")
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}
