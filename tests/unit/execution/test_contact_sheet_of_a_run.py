# SPDX-License-Identifier: Apache-2.0
"""The contact sheet's downloads run in a loop of their own, which an interruption of the task ends in order."""

from __future__ import annotations

import asyncio
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_goenhance.execution import contact_sheet
from airflow_provider_goenhance.results.ledger import RunKey
from airflow_provider_goenhance.results.run_summary import RunSummary
from airflow_provider_goenhance.results.states import Status
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
