# SPDX-License-Identifier: Apache-2.0
"""
Bound values before they reach SQL: a cost, a time or a text from outside may be anything.

A database refuses a value that does not fit its column, and with it the whole transaction, in which a paid job's UUID
may be.
"""

from __future__ import annotations

import datetime as dt
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
    match column.type:
        case _ if value is None:
            return None
        case UtcDateTime():
            return value if _is_real(value) else None
        case sa.Integer():
            return min(max(int(value), SMALLEST), LARGEST)
        case sa.String() if column.name in _KEYS:
            return value
        case sa.String():
            text = clean(str(value))
            return text[: column.type.length] if column.type.length else text
        case _:
            return value


def _is_real(value: dt.datetime) -> bool:
    return FIRST_YEAR <= value.year <= LAST_YEAR
