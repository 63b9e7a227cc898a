# SPDX-License-Identifier: Apache-2.0
"""The jobs under way of an account are counted over all tasks, stay counted while a task waits, and expire."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from airflow_provider_goenhance.api.account import Account
from airflow_provider_goenhance.execution import attempt as attempt_module
from airflow_provider_goenhance.execution.attempt import Attempt
from airflow_provider_goenhance.pictures.collector import StorageOptions
from airflow_provider_goenhance.results.job_counts import JobCounts, job_holder
from airflow_provider_goenhance.results.lease_rows import Holder, Request
from airflow_provider_goenhance.results.leases import AccountLeases
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.recovery import Policies
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.stores import TableStore
from airflow_provider_goenhance.results.transitions import ClaimOwner
from include.sandbox.process import SandboxProcess
from tests.integration.results.databases import TestDatabase
from tests.swaps import planned

ACCOUNT = "account"
A, B = job_holder("dag", "r1", "swap[0] "), job_holder("dag", "r2", "swap[0] ")
MakeDatabase = Callable[..., TestDatabase]


@pytest.fixture
def counts(database: TestDatabase) -> JobCounts:
    return JobCounts(database, ACCOUNT)


def rows(database: TestDatabase) -> dict[str, tuple[int, int]]:
    table = database.shared.leases
    return {row["owner"]: (row["jobs"], row["wanted"]) for row in database.read(sa.select(table))}


def let_pass(database: TestDatabase, seconds: float) -> None:
    table = database.shared.leases
    for row in database.read(sa.select(table)):
        earlier = {name: row[name] - dt.timedelta(seconds=seconds) for name in ("since", "expires_at")}
        change = sa.update(table).where(table.c.owner == row["owner"]).values(**earlier)
        database.run(lambda connection, change=change: connection.execute(change))  # type: ignore[misc]


def reserve(counts: JobCounts, holder: Holder, *, jobs: int = 0, more: int = 20, limit: int = 10) -> int:
    return counts.reserve(holder, jobs=jobs, more=more, limit=limit, seconds=600)


def test_jobs_are_counted_before_they_are_submitted(database: TestDatabase, counts: JobCounts) -> None:
    assert reserve(counts, A) == 10
    assert rows(database) == {A.owner: (10, 20)}
    assert reserve(counts, B) == 0


def test_a_task_that_waits_keeps_its_jobs_counted(database: TestDatabase, counts: JobCounts) -> None:
    reserve(counts, A, more=7)
    counts.record(A, jobs=6, seconds=300)  # one was declined
    assert reserve(JobCounts(database, ACCOUNT), B) == 4


def test_each_run_gets_its_half_once_the_first_jobs_have_ended(
    database: TestDatabase, counts: JobCounts
) -> None:
    reserve(counts, A)
    assert reserve(counts, B) == 0
    assert reserve(counts, A, more=10) == 5
    assert reserve(counts, B) == 5


def test_a_task_at_its_end_is_not_counted_any_more(database: TestDatabase, counts: JobCounts) -> None:
    reserve(counts, A)
    counts.record(A, jobs=0, seconds=300)
    assert rows(database) == {}


def test_the_count_of_a_killed_task_expires(database: TestDatabase, counts: JobCounts) -> None:
    reserve(counts, A)
    let_pass(database, 599)
    assert reserve(counts, B) == 0
    let_pass(database, 2)
    assert reserve(counts, B) == 10
    assert set(rows(database)) == {B.owner}


def test_the_next_execution_of_a_task_replaces_the_count_of_a_killed_one(
    database: TestDatabase, counts: JobCounts
) -> None:
    reserve(counts, A)
    assert reserve(counts, A, jobs=4, more=16) == 6
    assert rows(database)[A.owner] == (10, 20)


def test_a_reservation_that_is_repeated_counts_once(database: TestDatabase, counts: JobCounts) -> None:
    """The reply to a commit may be lost: the transaction then runs again."""
    reserve(counts, A, more=3)
    assert reserve(counts, A, more=3) == 3
    assert rows(database) == {A.owner: (3, 3)}


def test_a_task_keeps_its_place_while_it_looks_for_room(database: TestDatabase, counts: JobCounts) -> None:
    reserve(counts, A, limit=1)
    reserve(counts, B, limit=1)
    let_pass(database, 60)
    assert reserve(counts, A, jobs=0, limit=1) == 0  # the other one has waited longer
    assert reserve(counts, B, limit=1) == 1


def test_jobs_that_another_task_has_seen_end_make_room(database: TestDatabase, counts: JobCounts) -> None:
    reserve(counts, A, more=8)
    counts.release({A: 5, B: 3})
    assert rows(database) == {A.owner: (3, 3)}


def test_accounts_are_counted_apart(database: TestDatabase, counts: JobCounts) -> None:
    reserve(counts, A)
    assert reserve(JobCounts(database, "another"), B) == 10


def test_counts_of_jobs_take_no_place_among_the_leases(database: TestDatabase, counts: JobCounts) -> None:
    reserve(counts, A)
    leases = AccountLeases(database, ACCOUNT, post_seconds=60)
    assert leases.renew(Holder("a", "dag", "r1"), Request(held=0, wanted=50, limit=10)).slots == 10
    assert reserve(counts, B) == 0
    leases.release(Holder("a", "dag", "r1"))
    assert set(rows(database)) == {A.owner, B.owner}


# -- whole tasks on a sandbox ------------------------------------------------------------------------------------


def most_jobs(sandbox: SandboxProcess) -> int:
    """Return the most jobs that the sandbox had under way at once, by its own log."""
    log = sandbox.submissions()
    events = sorted([(row["accepted_at"], 1) for row in log] + [(row["ended_at"], -1) for row in log])
    return max(sum(change for _, change in events[: place + 1]) for place in range(len(events)))


class Task:
    """A task of a run of its own, with a connection of its own to the database."""

    def __init__(
        self,
        database: TestDatabase,
        sandbox: SandboxProcess,
        folder: Path,
        number: int,
        rows: int,
        max_jobs: int,
    ) -> None:
        ledger = Ledger(database)
        key = RunKey("dag", f"run{number}")
        ledger.plan(
            key, [planned(number * 1000 + row, run_id=key.run_id) for row in range(rows)], task_id="swap"
        )
        account = Account("goenhance_test", sandbox.token, sandbox.url, max_concurrency=8, max_jobs=max_jobs)
        self.store = TableStore(ledger, lambda: ledger.of_run(key, task_id="swap"))
        self.attempt = Attempt(
            account=account,
            store=self.store,
            owner=ClaimOwner(f"swap[{number}] try 1", account.fingerprint, 1, 600.0),
            policies=Policies(),
            storage_options=StorageOptions(storage=str(folder), run_id=key.run_id),
            poll_interval=0.05,
            timeout=120.0,
        )
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self.attempt.rounds(wait=True, first_look=True, submitted=lambda _: None, defer=None)
        except BaseException as error:  # noqa: BLE001  the test fails with it
            self.failure = error


def test_two_tasks_at_once_never_have_more_jobs_under_way_than_the_limit(
    make_database: MakeDatabase,
    goenhance_sandbox_shared: SandboxProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attempt_module, "LOOK_EVERY", 0.1)
    sandbox = goenhance_sandbox_shared
    sandbox.put_faults(job_seconds=0.1, job_seconds_max=0.4)
    tasks = [Task(make_database(), sandbox, tmp_path, number, 9, max_jobs=3) for number in range(2)]
    for task in tasks:
        task.thread.start()
    for task in tasks:
        task.thread.join(timeout=120)

    assert [task.failure for task in tasks] == [None, None]
    assert [{row.status for row in task.store.load()} for task in tasks] == [{Status.SUCCEEDED}] * 2
    assert len(sandbox.submissions()) == 18
    assert most_jobs(sandbox) <= 3
    assert rows(make_database()) == {}
