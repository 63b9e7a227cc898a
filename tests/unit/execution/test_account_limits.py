# SPDX-License-Identifier: Apache-2.0
"""A round of submits within its share of the account: what waits, what a 429 does, and what is left behind."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_goenhance.api.account import Account
from airflow_provider_goenhance.exceptions import RateLimitedError, TaskEndedError
from airflow_provider_goenhance.execution import account_limits
from airflow_provider_goenhance.execution.submit_report import SubmitReport
from airflow_provider_goenhance.execution.submit_round import submit_round
from airflow_provider_goenhance.execution.task_loop import TaskLoop
from airflow_provider_goenhance.results.database import ResultsDatabase
from airflow_provider_goenhance.results.lease_rows import Holder, Request
from airflow_provider_goenhance.results.leases import AccountLeases
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.stores import TableStore
from airflow_provider_goenhance.results.transitions import ClaimOwner
from include.sandbox.process import SandboxProcess
from tests.swaps import planned

KEY = RunKey("dag", "run")
ROWS = 20


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(ResultsDatabase(f"sqlite:///{tmp_path / 'results.db'}", name="the test's database"))
    ledger.plan(KEY, [planned(number) for number in range(ROWS)], task_id="swap")
    yield ledger
    ledger.database.close()


@pytest.fixture
def account(goenhance_sandbox_shared: SandboxProcess) -> Account:
    return Account(
        "goenhance_test", goenhance_sandbox_shared.token, goenhance_sandbox_shared.url, max_concurrency=4
    )


def submit(ledger: Ledger, account: Account, loop: TaskLoop | None = None) -> SubmitReport:
    store = TableStore(ledger, lambda: ledger.of_run(KEY))
    owner = ClaimOwner("swap[0] try 2", account.fingerprint, 1, task_key="swap[0] ")
    due = [swap for swap in store.load() if swap.status is Status.PLANNED]
    return submit_round(account, store, owner, due, loop=loop or TaskLoop())


OTHER = Holder("other", "dag", "other")


def other_task(ledger: Ledger, account: Account, slots: int, holder: Holder = OTHER) -> AccountLeases:
    """Take slots for another run, which uses them and does not reduce itself."""
    leases = AccountLeases(ledger.database, account.fingerprint, post_seconds=60)
    leases.renew(holder, Request(slots, slots, account.max_concurrency))
    return leases


def leases_left(ledger: Ledger) -> list[dict[str, Any]]:
    return ledger.database.read(sa.select(ledger.database.shared.leases))


def statuses(ledger: Ledger) -> Counter[Status]:
    return Counter(row.status for row in ledger.of_run(KEY))


def most_at_once(log: list[dict[str, Any]]) -> int:
    events = sorted([(row["received_at"], 1) for row in log] + [(row["answered_at"], -1) for row in log])
    sums = [sum(change for _, change in events[: place + 1]) for place in range(len(events))]
    return max(sums)


@pytest.mark.parametrize("rate", [0, 200])
def test_a_round_alone_uses_the_whole_limit_and_leaves_no_lease(
    ledger: Ledger, account: Account, goenhance_sandbox_shared: SandboxProcess, rate: float
) -> None:
    goenhance_sandbox_shared.put_faults(latency=0.05)
    report = submit(ledger, replace(account, requests_per_second=rate))
    assert len(report.submitted) == ROWS
    assert 2 <= most_at_once(goenhance_sandbox_shared.traffic()) <= 4
    assert leases_left(ledger) == []


def test_a_round_sends_no_more_at_once_than_other_tasks_leave(
    ledger: Ledger, account: Account, goenhance_sandbox_shared: SandboxProcess
) -> None:
    goenhance_sandbox_shared.put_faults(latency=0.02)
    other_task(ledger, account, 3)
    assert len(submit(ledger, account).submitted) == ROWS
    assert most_at_once(goenhance_sandbox_shared.traffic()) == 1


def test_rows_that_wait_for_a_share_are_not_claimed_and_an_end_leaves_them_planned(
    ledger: Ledger, account: Account, goenhance_sandbox_shared: SandboxProcess
) -> None:
    other_task(ledger, account, 4)
    loop = TaskLoop()

    async def end_later() -> None:
        await asyncio.sleep(1.5)
        assert statuses(ledger) == {Status.PLANNED: ROWS}
        loop.end()

    ending = threading.Thread(target=lambda: asyncio.run(end_later()))
    ending.start()
    report = submit(ledger, account, loop)
    ending.join()
    assert isinstance(report.stopped_by, TaskEndedError)
    assert goenhance_sandbox_shared.traffic() == []
    assert statuses(ledger) == {Status.PLANNED: ROWS}
    assert [row["owner"] for row in leases_left(ledger)] == ["other"]


def test_a_share_that_becomes_free_is_used(
    ledger: Ledger, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account_limits, "LOOK_FOR_ANY", 0.05)
    leases = other_task(ledger, account, 4)
    threading.Timer(0.5, leases.release, [OTHER]).start()
    assert len(submit(ledger, account).submitted) == ROWS


@pytest.mark.slow
def test_the_next_try_of_a_killed_task_says_why_it_waits_and_has_its_share_after_seconds(
    ledger: Ledger, account: Account, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(account_limits, "SAY_AFTER", 0.0)
    caplog.set_level(logging.INFO)
    killed = Holder("swap[0] try 1", KEY.dag_id, KEY.run_id, "swap[0] ")
    other_task(ledger, account, 4, killed)
    began = time.monotonic()
    assert len(submit(ledger, account).submitted) == ROWS
    assert time.monotonic() - began < account.request_timeout
    assert "Other tasks use all 4 concurrent submits" in caplog.text
    assert (
        "4 of them belong to tasks that no longer report, as after a kill, and will be free in" in caplog.text
    )
    assert f"{ROWS} pairs wait." in caplog.text


@pytest.mark.parametrize("rate", [0, 50])
def test_a_429_pauses_the_account_for_all_and_its_rows_are_sent_again(
    ledger: Ledger, account: Account, goenhance_sandbox_shared: SandboxProcess, rate: float
) -> None:
    goenhance_sandbox_shared.put_faults(submit=[{"kind": "rate_limited", "retry_after": 1, "count": 2}])
    report = submit(ledger, replace(account, requests_per_second=rate))
    assert (len(report.submitted), report.stopped_by) == (ROWS, None)
    assert {row.attempts for row in ledger.of_run(KEY)} == {1}
    assert len(goenhance_sandbox_shared.submissions()) == ROWS
    (row,) = ledger.database.read(sa.select(ledger.database.shared.accounts))
    assert row["pace"] <= 0.5
    times = sorted(each["received_at"] for each in goenhance_sandbox_shared.traffic())
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) >= 0.8


@pytest.mark.slow
def test_a_429_that_comes_again_and_again_ends_the_round_and_nothing_is_claimed(
    ledger: Ledger, account: Account, goenhance_sandbox_shared: SandboxProcess
) -> None:
    goenhance_sandbox_shared.put_faults(submit=[{"kind": "rate_limited", "retry_after": 0}])
    report = submit(ledger, replace(account, submit_attempts=2))
    assert isinstance(report.stopped_by, RateLimitedError)
    assert statuses(ledger) == {Status.PLANNED: ROWS}
    assert {row.attempts for row in ledger.of_run(KEY)} == {0}
    assert leases_left(ledger) == []


def test_an_account_that_pauses_for_longer_than_a_task_waits_ends_the_round_with_that_time(
    ledger: Ledger, account: Account, goenhance_sandbox_shared: SandboxProcess
) -> None:
    other_task(ledger, account, 0).slow_down(600)
    began = time.monotonic()
    report = submit(ledger, account)
    assert time.monotonic() - began < 60
    assert isinstance(report.stopped_by, RateLimitedError)
    assert report.stopped_by.retry_after == pytest.approx(600, abs=60)
    assert goenhance_sandbox_shared.traffic() == []
    assert statuses(ledger) == {Status.PLANNED: ROWS}


def test_a_turn_that_was_missed_is_not_made_up_for(
    ledger: Ledger,
    account: Account,
    goenhance_sandbox_shared: SandboxProcess,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every claim is committed too late for its turn: each row takes another one, and none is lost or sent early."""
    monkeypatch.setattr(account_limits, "LATEST", -1.0)
    turns: list[float] = []
    take = AccountLeases.take_turns

    def counted(self: AccountLeases, count: int, *args: Any, **options: Any) -> list[float]:
        turns.extend(found := take(self, count, *args, **options))
        if len(turns) > 2 * ROWS:
            monkeypatch.setattr(account_limits, "LATEST", 60.0)
        return found

    monkeypatch.setattr(AccountLeases, "take_turns", counted)
    report = submit(ledger, replace(account, requests_per_second=100))
    assert len(report.submitted) == ROWS
    assert len(goenhance_sandbox_shared.traffic()) == ROWS
    assert len(turns) > 2 * ROWS
