# SPDX-License-Identifier: Apache-2.0
"""A run in figures, counted in the database."""

from __future__ import annotations

import datetime as dt
from typing import Any

from airflow_provider_goenhance.exceptions import ErrorCode
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.run_rows import RunRows
from airflow_provider_goenhance.results.run_summary import RunSummary, summarize
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap
from tests.integration.results.databases import TestDatabase
from tests.swaps import planned

KEY = RunKey("dag", "run")
START = dt.datetime(2026, 11, 27, 2, 0, tzinfo=dt.UTC)


def took(number: int, seconds: float, **values: Any) -> Swap:
    """A row whose picture was kept some seconds after its submit."""
    return planned(
        number,
        **{
            "status": Status.SUCCEEDED,
            "attempts": 1,
            "cost": 2,
            "submitted_at": START,
            "finished_at": START + dt.timedelta(seconds=seconds),
            **values,
        },
    )


def summary_of(database: TestDatabase, *rows: Swap) -> RunSummary:
    Ledger(database).plan(KEY, rows)
    return summarize(RunRows(database, KEY, task_id="swap", counted=True))


def test_a_run_without_rows_has_the_count_0_in_every_state(database: TestDatabase) -> None:
    summary = summary_of(database)
    assert summary == RunSummary(counts=dict.fromkeys(Status, 0))
    assert summary.rows == 0


def test_states_submits_and_credits_are_counted(database: TestDatabase) -> None:
    summary = summary_of(
        database,
        planned(1),
        took(2, 10),
        took(3, 20, cost=None),
        planned(4, status=Status.FAILED, attempts=3, cost=5),
        planned(5, status=Status.HELD, error_code=ErrorCode.BUDGET_REACHED),
        planned(6, status=Status.HELD, error_code=ErrorCode.UNKNOWN_SUBMIT),
        planned(7, status=Status.REJECTED, superseded_at=START),
        planned(8, status=Status.FAILED, task_id="another"),
    )
    found = {str(status): count for status, count in summary.counts.items() if count}
    assert found == {"planned": 1, "succeeded": 2, "failed": 1, "held": 2}
    assert (summary.rows, summary.over_budget, summary.attempts, summary.cost) == (6, 1, 5, 7)


def test_the_median_and_the_slowest_are_those_of_the_kept_pictures(database: TestDatabase) -> None:
    summary = summary_of(
        database,
        *(took(number, seconds) for number, seconds in enumerate((1, 4, 4, 5, 90))),
        took(10, 9000, status=Status.FAILED),
        planned(11, status=Status.SUCCEEDED),
    )
    assert (summary.median_seconds, summary.slowest_seconds) == (4, 90)


def test_a_picture_that_was_kept_days_later_counts_with_its_own_time(database: TestDatabase) -> None:
    summary = summary_of(database, took(1, 3 * 86400 + 59), took(2, 3 * 86400 + 7), took(3, -5))
    # By the minute above an hour; a worker whose clock is wrong counts for nothing.
    assert (summary.median_seconds, summary.slowest_seconds) == (3 * 86400, 3 * 86400 + 59)
