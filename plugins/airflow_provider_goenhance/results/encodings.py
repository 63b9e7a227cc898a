# SPDX-License-Identifier: Apache-2.0
"""Recognize a database whose encoding cannot hold a text, and name that encoding."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress

import sqlalchemy as sa

from .transient_errors import number_of, sqlstate_of

# PostgreSQL: no equivalent in the encoding, an invalid byte sequence. MySQL: an incorrect string value.
_SQLSTATES = frozenset({"22P05", "22021"})
_NUMBERS = frozenset({1366, 3988})
_UNICODE = {"postgresql": "UTF8", "mysql": "utf8mb4", "mariadb": "utf8mb4"}
# On MySQL each table has an encoding of its own.
_OF_TABLE = (
    "SELECT concat(group_concat(DISTINCT character_set_name), ' (its connections: ', @@character_set_client, ')') "
    "FROM information_schema.columns WHERE table_name = :name AND table_schema = coalesce(:schema, database())"
)


def is_about_encoding(error: BaseException) -> bool:
    """Return whether the database cannot hold a text in its encoding."""
    if isinstance(error, UnicodeEncodeError):
        return True
    cause = getattr(error, "orig", None)
    return sqlstate_of(cause) in _SQLSTATES or number_of(cause) in _NUMBERS


def describe_encoding(connect: Callable[[], AbstractContextManager[sa.Connection]], table: sa.Table) -> str:
    """
    Return which encoding cannot hold a text, and which one to use.

    :param connect: connects to the database
    :param table: the results table
    """
    kind, found = "", "unknown"
    with suppress(sa.exc.SQLAlchemyError), connect() as connection:
        kind = connection.dialect.name
        if kind == "postgresql":
            found = connection.execute(sa.text("SELECT current_setting('server_encoding')")).scalar_one()
        elif kind in _UNICODE:
            names = {"name": table.name, "schema": table.schema}
            found = connection.execute(sa.text(_OF_TABLE), names).scalar_one()
        connection.rollback()
    what = "table" if kind in {"mysql", "mariadb"} else "database"
    return (
        f"its {what} has the encoding {found}. Use a {what} with the encoding {_UNICODE.get(kind, 'UTF-8')}"
    )
