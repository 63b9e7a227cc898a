# SPDX-License-Identifier: Apache-2.0
"""How long a ``Retry-After`` header makes us wait."""

from __future__ import annotations

import pytest
import time_machine

from airflow_provider_goenhance.api.retry_after import MAX_RETRY_AFTER, parse_retry_after


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 2.5 ", 2.5),
        ("0", 0.0),
        ("-3", 0.0),
        ("999999", MAX_RETRY_AFTER),
        ("inf", MAX_RETRY_AFTER),
        ("Sun, 22 Nov 2026 10:00:30 GMT", 30.0),
        ("Sun, 22 Nov 2026 10:00:30 -0000", 30.0),
        ("Sun, 22 Nov 2026 12:00:30 +0200", 30.0),
        ("Sun, 22 Nov 2026 09:59:00 GMT", 0.0),
        ("Sun, 22 Nov 2036 10:00:00 GMT", MAX_RETRY_AFTER),
        ("nan", None),
        ("soon", None),
        ("Sun, 99 Nov 2026 10:00:30 GMT", None),
        ("", None),
        (None, None),
    ],
)
@time_machine.travel("2026-11-22T10:00:00Z", tick=False)
def test_seconds_and_dates_are_understood_and_nonsense_is_not(
    value: str | None, seconds: float | None
) -> None:
    assert parse_retry_after(value) == seconds


@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        ("Sun, 22 Nov 2026 10:00:00 GMT", 7.0),
        ("Sun, 22 Nov 2026 09:00:00 GMT", MAX_RETRY_AFTER),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0.0),
        ("Sun, 22 Nov 2026 12:00:00 +0200", 7.0),
        ("yesterday", 67.0),
        ("", 67.0),
        (None, 67.0),
    ],
)
@time_machine.travel("2026-11-22T09:59:00Z", tick=False)
def test_a_date_is_compared_with_the_servers_own_clock_where_that_is_known(
    date: str | None, seconds: float
) -> None:
    assert parse_retry_after("Sun, 22 Nov 2026 10:00:07 GMT", date) == seconds
    assert parse_retry_after("7", date) == 7.0
