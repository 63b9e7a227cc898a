# SPDX-License-Identifier: Apache-2.0
"""Read the ``Retry-After`` header."""

from __future__ import annotations

import datetime as dt
import email.utils
import math
import time

#: The longest wait that is accepted, seconds.
MAX_RETRY_AFTER = 3600.0


def parse_retry_after(value: str | None, date: str | None = None) -> float | None:
    """
    Return the seconds that a ``Retry-After`` header asks for: a number of seconds or an HTTP date.

    :param date: the response's ``Date`` header: a date is compared with the server's clock, because ours may be wrong
    :return: between 0 and :data:`MAX_RETRY_AFTER`; ``None`` when absent or unreadable
    """
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        until, now = _timestamp(value), _timestamp(date)
        if until is None:
            return None
        seconds = until - (time.time() if now is None else now)
    return None if math.isnan(seconds) else min(max(seconds, 0.0), MAX_RETRY_AFTER)


def _timestamp(value: str | None) -> float | None:
    if not value:
        return None
    try:
        moment = email.utils.parsedate_to_datetime(value)
        # HTTP dates are GMT, also those that Python parses without a time zone.
        return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
