# SPDX-License-Identifier: Apache-2.0
"""Column types that mean the same on every database."""

from __future__ import annotations

import datetime as dt
import json

import sqlalchemy as sa
from sqlalchemy.dialects import mysql


class UtcDateTime(sa.types.TypeDecorator[dt.datetime]):
    """An aware UTC datetime on every database, SQLite's naive text included."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: sa.Dialect) -> dt.datetime | None:
        """Refuse a naive value rather than guess its zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"The results table stores only datetimes with a time zone; got {value!r}.")
        value = value.astimezone(dt.UTC)
        return value.replace(tzinfo=None) if dialect.name in {"sqlite", "mysql", "mariadb"} else value

    def process_result_value(self, value: dt.datetime | None, dialect: sa.Dialect) -> dt.datetime | None:
        """Return the aware datetime that was stored."""
        if value is None:
            return None
        try:
            return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)
        except OverflowError:  # the first or last day that there is, in another zone
            return value.replace(tzinfo=dt.UTC)


class PreciseUtcDateTime(UtcDateTime):
    """The same with microseconds on MySQL too, whose times have whole seconds otherwise."""

    impl = sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    cache_ok = True


class StringTuple(sa.types.TypeDecorator[tuple[str, ...]]):
    """A tuple of strings, stored as JSON text; an empty one as NULL."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: tuple[str, ...] | None, dialect: sa.Dialect) -> str | None:
        """Return the JSON text."""
        return json.dumps(value) if value else None

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> tuple[str, ...]:
        """Return the tuple that was stored."""
        return tuple(json.loads(value)) if value else ()
