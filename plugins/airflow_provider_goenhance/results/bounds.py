# SPDX-License-Identifier: Apache-2.0
"""
Bound values before they reach SQL: a cost, a time or a text from outside may be anything.

A database refuses a value that does not fit its column, and with it the whole transaction, in which a paid job's UUID
may be.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import sqlalchemy as sa

from .columns import UtcDateTime
from .swap import clean

#: The range of an INTEGER column.
SMALLEST, LARGEST = -(2**31), 2**31 - 1
#: The years of a time that can be real. Databases store others, but not every driver can read them back.
FIRST_YEAR, LAST_YEAR = 1971, 2999
#: A cut key would name something else.
_KEYS = frozenset({"swap_id", "img_uuid", "former_uuids", "reused_from", "pair_fingerprint"})


def fit(value: Any, column: sa.Column[Any]) -> Any:
    """Return the value as its column can store it; a time that cannot be real is ``None``."""
    bound = bound_of(column)
    return value if bound is None or value is None else bound(value)


@lru_cache(maxsize=512)
def bound_of(column: sa.Column[Any]) -> Callable[[Any], Any] | None:
    """Return the function that bounds a value of a column, except ``None``; ``None`` if any value can be stored."""
    match column.type:
        case UtcDateTime():
            return _real_time
        case sa.Integer():
            return _integer
        case sa.String() if column.name in _KEYS:
            return None
        case sa.String(length=length):
            return partial(_text, length=length)
        case _:
            return None


def _real_time(value: dt.datetime) -> dt.datetime | None:
    return value if FIRST_YEAR <= value.year <= LAST_YEAR else None


def _integer(value: Any) -> int:
    return min(max(int(value), SMALLEST), LARGEST)


def _text(value: Any, *, length: int | None) -> str:
    return clean(str(value))[:length]
