# SPDX-License-Identifier: Apache-2.0
"""When the consent of the person shown ends."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache

#: The last moment of a day.
_LAST = dt.time(23, 59, 59)


@lru_cache(maxsize=1024)
def read_expiry(text: str) -> dt.datetime | None:
    """
    Return when a consent ends, in UTC: a date counts to the end of its day; ``None`` for an empty text.

    :param text: a date or a time in the form of ISO 8601; without a time zone it is in UTC
    :raises ValueError: for any other text
    """
    if not text:
        return None
    moment = dt.datetime.fromisoformat(text)
    if len(text) <= len("2027-03-31"):
        moment = dt.datetime.combine(moment, _LAST)
    if moment.tzinfo is None:
        return moment.replace(tzinfo=dt.UTC)
    try:
        return moment.astimezone(dt.UTC)
    except OverflowError:
        raise ValueError(text) from None


def expiry_text(expires: dt.datetime | None) -> str:
    """Return what :func:`read_expiry` reads: the date alone where the consent ends with a day."""
    if expires is None:
        return ""
    expires = expires.astimezone(dt.UTC)
    return expires.date().isoformat() if expires.time() == _LAST else expires.isoformat()


def has_expired(expires: dt.datetime | None, now: dt.datetime | None = None) -> bool:
    """Return whether a consent has ended."""
    return expires is not None and expires < (now or dt.datetime.now(dt.UTC))
