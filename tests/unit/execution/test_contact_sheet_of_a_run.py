# SPDX-License-Identifier: Apache-2.0
"""The contact sheet's downloads run in a loop of their own, which an interruption of the task ends in order."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_goenhance.execution import contact_sheet
from airflow_provider_goenhance.pictures.contact_sheet import MOST_ROWS
from airflow_provider_goenhance.results.database import ResultsDatabase
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.run_rows import RunRows
from airflow_provider_goenhance.results.run_summary import RunSummary, summarize
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap
from tests.swaps import planned


class TaskTimedOut(BaseException):
    """As Airflow's ``execution_timeout`` raises it in the main thread."""


def test_a_time_out_cancels_the_downloads_and_goes_on_to_the_caller(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cancelled: list[threading.Thread] = []

    async def hang(*_: Any, **__: Any) -> dict[str, str | None]:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(threading.current_thread())
            raise
        return {}

    def time_out(*_: Any) -> None:
        raise TaskTimedOut

    monkeypatch.setattr(contact_sheet, "fetch_inputs", hang)
    before = signal.signal(signal.SIGUSR1, time_out)
    try:
        with pytest.raises(TaskTimedOut):
            contact_sheet.keep_contact_sheet(
                [planned(0, status=Status.SUBMITTED)],
                RunSummary(counts={Status.SUBMITTED: 1}),
                RunKey("dag", "run"),
                "report",
                str(tmp_path),
            )
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert [thread is threading.main_thread() for thread in cancelled] == [False]
    assert list(tmp_path.iterdir()) == []


def test_the_inputs_of_rows_without_a_result_yet_are_not_fetched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str] = []

    async def fetch_inputs(rows: list[contact_sheet.SheetRow], **_: Any) -> dict[str, str | None]:
        asked.extend(row.status for row in rows if row.with_inputs)
        return {}

    monkeypatch.setattr(contact_sheet, "fetch_inputs", fetch_inputs)
    statuses = [Status.SUBMITTED, Status.REJECTED, Status.SUCCEEDED, Status.FAILED]
    contact_sheet.keep_contact_sheet(
        [planned(number, status=status) for number, status in enumerate(statuses)],
        RunSummary(counts=dict.fromkeys(statuses, 1)),
        RunKey("dag", "run"),
        "report",
        str(tmp_path),
    )

    assert asked == ["succeeded", "failed"]


# -- which rows it shows, and what it says of the run ------------------------------------------------------------------


@pytest.fixture
def shown_of(tmp_path: Path) -> Iterator[Callable[[list[Swap]], list[Swap]]]:
    """Plan rows, and return those that the sheet of their run shows."""
    database = ResultsDatabase(f"sqlite:///{tmp_path / 'results.db'}", name="the test's database")
    key = RunKey("dag", "run")

    def shown(swaps: list[Swap]) -> list[Swap]:
        Ledger(database).plan(key, swaps)
        rows = partial(RunRows, database, key, counted=True)
        return contact_sheet.rows_to_show(rows, summarize(rows()))

    yield shown
    database.close()


def rows_of(count: int, first: int = 0, **values: Any) -> list[Swap]:
    return [planned(first + number, **values) for number in range(count)]


def test_the_sheet_of_a_small_run_shows_all_rows_in_their_order(shown_of: Any) -> None:
    swaps = [*rows_of(3, status=Status.SUCCEEDED), *rows_of(2, 3, status=Status.FAILED)]
    assert [row.pair_id for row in shown_of(swaps)] == ["p0", "p1", "p2", "p3", "p4"]


def test_the_sheet_of_a_large_run_shows_failures_then_suspicious_pictures_then_others(shown_of: Any) -> None:
    swaps = [
        *rows_of(200, status=Status.SUCCEEDED),
        *rows_of(60, 200, status=Status.SUCCEEDED, quality="blank"),
        *rows_of(90, 260, status=Status.FAILED),
    ]
    shown = shown_of(swaps)

    kinds = ["failed" if row.status is Status.FAILED else row.suspicion or "good" for row in shown]
    half, quarter = contact_sheet.MOST_FAILURES, contact_sheet.MOST_SUSPICIOUS
    assert kinds == ["failed"] * half + ["blank"] * quarter + ["good"] * (MOST_ROWS - half - quarter)


def test_failures_take_the_places_that_pictures_leave(shown_of: Any) -> None:
    shown = shown_of([*rows_of(10, status=Status.REUSED), *rows_of(300, 10, status=Status.UNKNOWN)])

    assert [row.status for row in shown] == [Status.UNKNOWN] * 90 + [Status.REUSED] * 10


def test_a_large_run_without_a_picture_shows_failures_only(shown_of: Any) -> None:
    shown = shown_of(rows_of(300, status=Status.REJECTED))
    assert [row.status for row in shown] == [Status.REJECTED] * MOST_ROWS


def test_the_facts_of_a_run_name_counts_suspicions_durations_and_what_was_paid_for() -> None:
    counts = {**dict.fromkeys(Status, 0), Status.SUCCEEDED: 1200, Status.FAILED: 3}
    summary = RunSummary(
        counts=counts,
        attempts=1203,
        cost=2406,
        median_seconds=9,
        slowest_seconds=80,
        suspicious={"blank": 1, "unchanged": 7},
    )

    assert contact_sheet.run_facts(summary) == {
        "succeeded": "1,200",
        "failed": "3",
        "suspicious": "7 unchanged, 1 blank",
        "median seconds per job": "9",
        "slowest": "80",
        "credits": "2,406",
        "submits that may have been paid for": "1,203",
    }
    assert contact_sheet.run_facts(RunSummary(counts=dict.fromkeys(Status, 0))) == {
        "submits that may have been paid for": "0"
    }
