# SPDX-License-Identifier: Apache-2.0
"""Collecting many pictures while the results table cannot be written."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_goenhance.api.account import Account
from airflow_provider_goenhance.api.models import Job
from airflow_provider_goenhance.api.polling import WaitOutcome
from airflow_provider_goenhance.execution import collect, collecting
from airflow_provider_goenhance.pictures import collector
from airflow_provider_goenhance.pictures.collector import StorageOptions
from airflow_provider_goenhance.pictures.storage import KeptPicture
from airflow_provider_goenhance.results import engines
from airflow_provider_goenhance.results.database import ResultsDatabase
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.stores import TableStore
from tests.swaps import planned

KEY = RunKey("dag", "run")


class FinishedJobs:
    """A client for which every job has succeeded."""

    async def get_job(self, img_uuid: str) -> Job:
        return Job(img_uuid, "success", links=("http://pictures.example/result.jpg",))


@asynccontextmanager
async def finished_jobs(_account: Account) -> AsyncIterator[FinishedJobs]:
    yield FinishedJobs()


def test_downloads_go_on_while_the_outcome_of_another_one_waits_for_a_locked_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not for as long as otherwise: a loop that stands still would wait for this lock.
    monkeypatch.setattr(engines, "SQLITE_BUSY_SECONDS", 3.0)
    database = ResultsDatabase(f"sqlite:///{tmp_path / 'results.db'}", name="the test's database")
    ledger = Ledger(database)
    rows = [planned(number, status=Status.SUBMITTED, img_uuid=f"job-{number}") for number in range(2)]
    ledger.plan(KEY, rows, task_id="swap")
    store = TableStore(ledger, lambda: ledger.of_run(KEY))
    lock = sqlite3.connect(tmp_path / "results.db", isolation_level=None, check_same_thread=False)
    lock.execute("BEGIN IMMEDIATE")
    recording: list[str] = []
    record = store.record_outcomes

    def record_outcomes(outcomes: Any, account: Any = None) -> None:
        recording.extend(outcome.img_uuid for outcome in outcomes)
        record(outcomes)

    async def collect_picture(*_: Any, pair_id: str, **__: Any) -> list[KeptPicture]:
        if pair_id == "p1":
            # Each look needs a loop that runs; the lock is released only after many, by the download itself.
            looks = 0
            while looks < 20:
                await asyncio.sleep(0.005)
                looks += recording == ["job-0"]
            lock.execute("ROLLBACK")
        return [KeptPicture(f"file:///{pair_id}.jpg", f"{pair_id}.jpg", "0" * 64, 1)]

    monkeypatch.setattr(store, "record_outcomes", record_outcomes)
    monkeypatch.setattr(collector, "collect_picture", collect_picture)
    monkeypatch.setattr(collecting, "open_client", finished_jobs)
    collect.collect_jobs(
        Account(conn_id="c", token="a-token"),
        store,
        ledger.of_run(KEY),
        WaitOutcome(succeeded=["job-0", "job-1"]),
        StorageOptions(storage=str(tmp_path), run_id="run"),
    )
    lock.close()
    assert [row.status for row in ledger.of_run(KEY)] == [Status.SUCCEEDED] * 2
    assert recording == ["job-0", "job-1"]
    database.close()
