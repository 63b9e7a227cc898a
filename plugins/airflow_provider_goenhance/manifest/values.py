# SPDX-License-Identifier: Apache-2.0
"""Turn a typed value of a workbook, a Parquet file, a database or another task into the text a CSV file would have."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal

#: Types whose text is unambiguous. Others, such as lists, are no value of the manifest's own columns.
_PLAIN = (str, int, float, Decimal, dt.date, dt.time, dt.timedelta, bytes)


class NotTextError(ValueError):
    """A value has no text that could be meant."""


def as_text(value: object) -> str:
    """
    Return a value as the text that a CSV file would have, trimmed.

    Programs make numbers of texts: a column of ids with one blank becomes 4711.0 and NaN.
    """
    if isinstance(value, Decimal):
        return _decimal_text(value)
    if value is None or value != value:  # only NaN differs from itself
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").strip()
    return _time_text(value) if isinstance(value, dt.date | dt.time) else str(value).strip()


def _time_text(value: dt.date | dt.time) -> str:
    # A workbook has no dates without a time of day.
    if isinstance(value, dt.datetime) and value.time() == dt.time():
        return value.date().isoformat()
    return value.isoformat()


def _decimal_text(value: Decimal) -> str:
    if not value.is_finite():
        return ""
    return format(value.to_integral_value() if value == value.to_integral_value() else value, "f")


def column_text(value: object) -> str:
    """
    Return a value of one of the manifest's own columns as text.

    :raises NotTextError: for a list, an object, or bytes that are not UTF-8
    """
    if isinstance(value, str):
        return value.strip()
    if value is not None and not isinstance(value, _PLAIN):
        kind = {"list": "a list", "dict": "an object"}.get(
            type(value).__name__, f"of type {type(value).__name__}"
        )
        raise NotTextError(f"is {kind}, not a text")
    if isinstance(value, bytes):
        try:
            value.decode()
        except UnicodeDecodeError:
            raise NotTextError("is bytes that are not UTF-8") from None
    return as_text(value)


def label_text(value: object) -> str:
    """Return a value of any other column as text; a list or an object as JSON."""
    if isinstance(value, list | dict | tuple):
        try:
            return json.dumps(value, ensure_ascii=False, default=as_text)
        except (RecursionError, ValueError, TypeError):
            return ""
    return as_text(value)
