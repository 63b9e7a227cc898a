# SPDX-License-Identifier: Apache-2.0
"""Collecting pictures while other jobs still run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_goenhance.api.account import Account
from airflow_provider_goenhance.api.models import Job
from airflow_provider_goenhance.exceptions import AuthenticationError, ResultsTableError, TaskEndedError
from airflow_provider_goenhance.execution import recording
from airflow_provider_goenhance.execution.collecting import open_collecting
from airflow_provider_goenhance.execution.task_loop import TaskLoop
from airflow_provider_goenhance.pictures import collector
from airflow_provider_goenhance.pictures.collector import StorageOptions
from airflow_provider_goenhance.pictures.storage import KeptPicture
from airflow_provider_goenhance.results.database import ResultsDatabase
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.stores import TableStore
from airflow_provider_goenhance.results.transient_errors import OutOfReachError
from tests.swaps import planned
from tests.unit.clock import until

KEY = RunKey("dag", "run")
ACCOUNT = Account(conn_id="c", token="a-token")


class Client:
    """Says of every job that it has succeeded, and records which it was asked about."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[str] = []
        self.error = error

    async def get_job(self, img_uuid: str) -> Job:
        self.asked.append(img_uuid)
        if self.error is not None:
            raise self.error
        return Job(img_uuid, "success", links=("http://pictures.example/result.jpg",))


class Setting:
    """A results table with submitted rows, and downloads that a test decides about."""

    def __init__(self, folder: Path, rows: int) -> None:
        self.ledger = Ledger(
            ResultsDatabase(f"sqlite:///{folder / 'results.db'}", name="the test's database")
        )
        swaps = [planned(number, status=Status.SUBMITTED, img_uuid=f"job-{number}") for number in range(rows)]
        self.ledger.plan(KEY, swaps, task_id="swap")
        self.rows = self.ledger.of_run(KEY)
        self.store = TableStore(self.ledger, lambda: self.ledger.of_run(KEY))
        self.options = StorageOptions(storage=str(folder), run_id="run")
        self.client: Any = Client()
        self.folders: dict[str, str] = {}
        self.download: Callable[[str], Any] = self.nothing

    async def nothing(self, pair_id: str) -> None:
        """Download at once."""

    async def collect_picture(
        self, _session: Any, links: Any, options: StorageOptions, *, pair_id: str, **_: Any
    ) -> list[KeptPicture]:
        await links(False)
        await self.download(pair_id)
        self.folders[pair_id] = options.run_id
        return [KeptPicture(f"file:///{pair_id}.jpg", f"{pair_id}.jpg", "0" * 64, 1)]

    def open(self) -> Any:
        return open_collecting(ACCOUNT, self.store, self.options, client=self.client)

    async def collect(self, rows: int) -> None:
        async with self.open() as collecting:
            for row in self.rows[:rows]:
                collecting.add(row)

    @property
    def statuses(self) -> list[str]:
        return [str(row.status) for row in self.ledger.of_run(KEY)]


@pytest.fixture
def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setting:
    made = Setting(tmp_path, 3)
    monkeypatch.setattr(collector, "collect_picture", made.collect_picture)
    return made


async def test_a_row_is_recorded_while_others_are_still_waited_for(setting: Setting) -> None:
    async with setting.open() as collecting:
        collecting.add(setting.rows[1])
        await until(lambda: setting.statuses[1] == "succeeded")
        assert setting.statuses == ["submitted", "succeeded", "submitted"]
        collecting.add(setting.rows[0])
    assert setting.statuses == ["succeeded", "succeeded", "submitted"]


async def test_a_job_that_was_just_described_is_not_asked_about_again(setting: Setting) -> None:
    job = Job("job-0", "success", links=("http://pictures.example/result.jpg",))
    async with setting.open() as collecting:
        collecting.add(setting.rows[0], job)
        collecting.add(setting.rows[1])
    assert setting.client.asked == ["job-1"]
    assert setting.statuses == ["succeeded", "succeeded", "submitted"]


async def test_a_row_of_another_run_is_stored_in_that_run_s_folder(setting: Setting) -> None:
    other = StorageOptions(storage=setting.options.storage, run_id="other")
    async with setting.open() as collecting:
        collecting.add(setting.rows[0])
        collecting.add(setting.rows[1], storage_options=other)
    assert setting.folders == {"p0": "run", "p1": "other"}


async def test_a_defect_that_one_picture_reveals_fails_that_picture_alone(setting: Setting) -> None:
    async def download(pair_id: str) -> None:
        if pair_id == "p1":
            raise RecursionError("at https://pictures.example/r.jpg?q-signature=SECRET")

    setting.download = download
    await setting.collect(3)
    assert setting.statuses == ["succeeded", "failed", "succeeded"]
    failed = setting.ledger.of_run(KEY)[1]
    assert failed.error_code == "collect_failed"
    assert "RecursionError" in str(failed.error_message)
    assert "SECRET" not in str(failed.error_message)


async def test_a_refused_token_ends_the_wait_for_the_other_jobs_too(setting: Setting) -> None:
    setting.client.error = AuthenticationError("The token was refused.")

    async def collect_and_wait() -> None:
        async with setting.open() as collecting:
            collecting.add(setting.rows[0])
            await asyncio.Event().wait()

    with pytest.raises(AuthenticationError):
        await asyncio.wait_for(collect_and_wait(), 60)
    assert setting.statuses == ["submitted"] * 3


async def test_pictures_that_are_stored_when_the_token_is_refused_are_recorded(setting: Setting) -> None:
    stored = asyncio.Event()

    async def get_job(img_uuid: str) -> Job:
        if img_uuid == "job-1":
            await stored.wait()
            raise AuthenticationError("The token was refused.")
        return Job(img_uuid, "success", links=("http://pictures.example/result.jpg",))

    async def download(_pair_id: str) -> None:
        stored.set()

    setting.client.get_job = get_job
    setting.download = download
    with pytest.raises(AuthenticationError):
        await setting.collect(2)
    assert setting.statuses == ["succeeded", "submitted", "submitted"]


def test_a_task_that_is_told_to_end_leaves_the_rows_that_it_has_not_collected_submitted(
    setting: Setting,
) -> None:
    loop = TaskLoop()

    async def download(pair_id: str) -> None:
        if pair_id != "p0":
            await asyncio.Event().wait()

    setting.download = download

    async def collect() -> None:
        async with setting.open() as collecting:
            for row in setting.rows:
                collecting.add(row)
            await until(lambda: setting.statuses[0] == "succeeded")
            loop.end()

    with pytest.raises(TaskEndedError):
        loop.run(collect)
    assert setting.statuses == ["succeeded", "submitted", "submitted"]


async def test_an_outcome_that_the_table_does_not_accept_is_reported_after_all_others_are_recorded(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = setting.store.record_outcomes

    def record_outcomes(outcomes: Any, account: Any = None) -> None:
        if any(outcome.img_uuid == "job-1" for outcome in outcomes):
            raise ResultsTableError("The results table cannot hold a text.")
        record(outcomes, account)

    monkeypatch.setattr(setting.store, "record_outcomes", record_outcomes)
    with pytest.raises(ResultsTableError, match="cannot hold a text"):
        await setting.collect(3)
    assert setting.statuses == ["succeeded", "submitted", "succeeded"]


async def test_many_rows_are_collected_by_a_bounded_number_of_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = Setting(tmp_path, 200)
    monkeypatch.setattr(collector, "collect_picture", setting.collect_picture)
    running = most = 0

    async def download(_pair_id: str) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    setting.download = download
    await setting.collect(200)
    assert setting.statuses == ["succeeded"] * 200
    assert most <= ACCOUNT.max_downloads * 3 / 2


async def test_a_database_out_of_reach_for_a_while_loses_no_outcome(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "OUT_OF_REACH_PAUSE", 0.001)
    record, tries = setting.store.record_outcomes, 0

    def record_outcomes(outcomes: Any, account: Any = None) -> None:
        nonlocal tries
        tries += 1
        if tries <= 3:
            raise OutOfReachError("no answer")
        record(outcomes, account)

    monkeypatch.setattr(setting.store, "record_outcomes", record_outcomes)
    await setting.collect(3)
    assert setting.statuses == ["succeeded"] * 3


async def test_a_database_that_stays_out_of_reach_ends_the_task_and_the_next_attempt_records_everything(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "OUT_OF_REACH_SECONDS", 0.0)
    record = setting.store.record_outcomes

    def out_of_reach(*_: Any) -> None:
        raise OutOfReachError("no answer")

    monkeypatch.setattr(setting.store, "record_outcomes", out_of_reach)
    with pytest.raises(OutOfReachError):
        await setting.collect(3)
    assert setting.statuses == ["submitted"] * 3
    monkeypatch.setattr(setting.store, "record_outcomes", record)
    await setting.collect(3)
    assert setting.statuses == ["succeeded"] * 3
