# SPDX-License-Identifier: Apache-2.0
"""The deadlines of jobs, over several rounds of submits and several resumes."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from types import SimpleNamespace

import pytest

from airflow_provider_goenhance.execution import wait_plan
from airflow_provider_goenhance.execution.wait_plan import (
    HAND_OVER_AFTER,
    LONGEST_HAND_OVER,
    MOST_ROUNDS,
    WaitPlan,
)
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap
from tests.swaps import planned

START = 1_795_000_000.0
HOUR = 3600.0


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = START

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(wait_plan, "time", SimpleNamespace(time=clock.time))
    return clock


def submitted(at: float, number: int = 0, **changes: object) -> Swap:
    moment = dt.datetime.fromtimestamp(at, dt.UTC)
    swap = dataclasses.replace(
        planned(number), status=Status.SUBMITTED, img_uuid=f"job-{number}", submitted_at=moment
    )
    return dataclasses.replace(swap, **changes)


def resumed(plan: WaitPlan) -> WaitPlan:
    """Take a plan the way through the trigger's arguments and its event."""
    return WaitPlan.of(json.loads(json.dumps(plan.to_carry())))


def test_a_hand_over_moves_no_deadline(clock: Clock) -> None:
    plan = WaitPlan()
    plan.begin_round(HOUR)
    row = submitted(START - 5)
    deadline = plan.begin_wait([row])
    clock.now += 1800
    later = resumed(plan)
    assert later.begin_wait([row]) == deadline == START + HOUR
    assert later.overdue([row], finished=False) == []
    clock.now = deadline
    assert later.overdue([row], finished=False) == [row]


def test_jobs_of_a_later_round_are_waited_for_as_long_as_those_of_the_first(clock: Clock) -> None:
    plan = WaitPlan()
    plan.begin_round(HOUR)
    clock.now += 600
    plan = resumed(plan)
    plan.begin_round(HOUR)
    first, second = submitted(START - 1, 1), submitted(START + 590, 2)
    assert plan.deadline_of(first) == START + HOUR
    assert plan.deadline_of(second) == START + 600 + HOUR
    assert plan.begin_wait([first, second]) == START + HOUR
    clock.now = START + HOUR
    assert plan.overdue([first, second], finished=True) == [first]


def test_a_job_adopted_in_a_later_round_has_the_deadline_of_that_round(clock: Clock) -> None:
    plan = WaitPlan()
    plan.begin_round(HOUR)
    clock.now += 600
    plan.begin_round(HOUR)
    adopted = submitted(START - 86_400, reused_from="another row")
    assert adopted.adopted_job
    assert plan.deadline_of(adopted) == START + 600 + HOUR


def test_the_triggerers_clock_may_be_ahead_of_the_workers(clock: Clock) -> None:
    plan = WaitPlan()
    plan.begin_round(HOUR)
    row = submitted(START - 5)
    clock.now = plan.begin_wait([row]) - 30
    assert plan.overdue([row], finished=True) == [row]
    assert plan.overdue([row], finished=False) == []


def test_however_many_rounds_there_are_the_plan_stays_small_and_no_deadline_comes_sooner(
    clock: Clock,
) -> None:
    plan = WaitPlan()
    rows = []
    for number in range(500):
        rows.append(submitted(clock.now + 60, number))
        clock.now += 120
        plan = resumed(plan)
        plan.begin_round(10 * 86_400)
    assert len(plan.rounds) <= MOST_ROUNDS
    assert len(json.dumps(plan.to_carry())) < 2_000
    for number, row in enumerate(rows):
        assert plan.deadline_of(row) >= START + 120 * (number + 1) + 10 * 86_400


def test_hand_overs_that_are_of_no_use_become_rarer_and_a_useful_one_makes_them_frequent_again() -> None:
    plan = WaitPlan()
    for _ in range(10):
        plan.note_hand_over(useful=False)
    assert resumed(plan).hand_over_after == LONGEST_HAND_OVER
    plan.note_hand_over(useful=True)
    assert plan.hand_over_after == HAND_OVER_AFTER


def test_jobs_ahead_are_waited_for_no_longer_because_of_hand_overs(clock: Clock) -> None:
    plan, ahead = WaitPlan(), [submitted(START, 7)]
    plan.begin_round(HOUR)
    plan.wait_ahead(ahead, HOUR)
    clock.now += 600
    plan = resumed(plan)
    plan.wait_ahead(ahead, HOUR)
    assert plan.begin_wait([]) == START + HOUR
    assert not plan.ahead_is_overdue(finished=False)
    assert plan.ahead_is_overdue(finished=True)
    plan.wait_ahead([], HOUR)
    assert plan.ahead_until is None
