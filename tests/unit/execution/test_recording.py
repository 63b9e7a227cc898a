# SPDX-License-Identifier: Apache-2.0
"""Recording outcomes in groups, whatever the database does meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence

import pytest

from airflow_provider_goenhance.exceptions import ResultsTableError
from airflow_provider_goenhance.execution import recording
from airflow_provider_goenhance.execution.recording import OutcomeRecorder
from airflow_provider_goenhance.results.ledger import Outcome
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.transient_errors import OutOfReachError
from tests.unit.clock import until


def outcome(number: int) -> Outcome:
    return Outcome(f"swap-{number}", f"job-{number}", Status.SUCCEEDED, result_uri=f"file:///{number}.jpg")


class Table:
    """Records groups as a results table would, and fails when told to."""

    def __init__(self, fails: Callable[[Sequence[Outcome]], ResultsTableError | None] | None = None) -> None:
        self.groups: list[list[str]] = []
        self.calls = 0
        self.fails = fails

    def record(self, outcomes: Sequence[Outcome]) -> None:
        self.calls += 1
        if self.fails is not None and (error := self.fails(outcomes)):
            raise error
        self.groups.append([outcome.img_uuid for outcome in outcomes])

    @property
    def recorded(self) -> list[str]:
        return [img_uuid for group in self.groups for img_uuid in group]


def jobs(count: int) -> list[str]:
    return [f"job-{number}" for number in range(count)]


async def record_all(recorder: OutcomeRecorder, count: int) -> None:
    for number in range(count):
        recorder.add(outcome(number))
    recorder.close()
    async with asyncio.timeout(60):
        await recorder.run()


async def test_outcomes_that_have_accumulated_are_recorded_in_one_transaction() -> None:
    table = Table()
    await record_all(OutcomeRecorder(table.record), 500)
    assert table.groups == [jobs(500)]


async def test_what_is_added_during_a_transaction_goes_into_the_next_one() -> None:
    table, may_commit = Table(), threading.Event()

    def record(outcomes: Sequence[Outcome]) -> None:
        table.calls += 1
        may_commit.wait(60)
        table.record(outcomes)

    recorder = OutcomeRecorder(record)
    running = asyncio.create_task(recorder.run())
    recorder.add(outcome(0))
    await until(lambda: table.calls)
    for number in range(1, 50):
        recorder.add(outcome(number))
    recorder.close()
    may_commit.set()
    await running
    assert table.groups == [["job-0"], jobs(50)[1:]]


async def test_only_the_outcome_that_the_database_does_not_accept_fails() -> None:
    refusal = ResultsTableError("cannot hold a text")
    table = Table(lambda outcomes: refusal if any(o.img_uuid == "job-7" for o in outcomes) else None)
    recorder = OutcomeRecorder(table.record)
    await record_all(recorder, 20)
    assert sorted(table.recorded) == sorted(set(jobs(20)) - {"job-7"})
    assert recorder.refused is refusal


async def test_outcomes_outlive_a_database_that_is_out_of_reach_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recording, "OUT_OF_REACH_PAUSE", 0.001)
    table = Table(lambda _: OutOfReachError("no answer") if table.calls <= 3 else None)
    await record_all(OutcomeRecorder(table.record), 20)
    assert table.groups == [jobs(20)]


async def test_a_database_that_stays_out_of_reach_ends_the_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "OUT_OF_REACH_SECONDS", 0.0)
    with pytest.raises(OutOfReachError):
        await record_all(OutcomeRecorder(Table(lambda _: OutOfReachError("no answer")).record), 20)


async def test_downloads_wait_while_too_many_outcomes_are_not_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recording, "MOST_WAITING", 3)
    recorder = OutcomeRecorder(Table().record)
    for number in range(3):
        recorder.add(outcome(number))
    waiting = asyncio.create_task(recorder.wait_for_room())
    await asyncio.sleep(0)
    assert not waiting.done()
    recorder.close()
    await recorder.run()
    async with asyncio.timeout(60):
        await waiting


async def test_what_is_known_when_the_task_ends_is_recorded() -> None:
    table = Table()
    recorder = OutcomeRecorder(table.record)
    running = asyncio.create_task(recorder.run())
    await asyncio.sleep(0)
    recorder.add(outcome(0))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await recorder.record_last()
    assert table.recorded == ["job-0"]


async def test_a_locked_database_does_not_hold_up_a_task_that_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "LAST_SECONDS", 0.01)
    unlocked = threading.Event()
    recorder = OutcomeRecorder(lambda _: unlocked.wait(60) and None)
    recorder.add(outcome(0))
    try:
        async with asyncio.timeout(30):
            await recorder.record_last()
    finally:
        unlocked.set()
