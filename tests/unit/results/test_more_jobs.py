# SPDX-License-Identifier: Apache-2.0
"""Room for jobs is shared fairly, is never given twice, and reaches the one that has waited longest."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_goenhance.results.job_counts import Count, job_holder, more_jobs
from airflow_provider_goenhance.results.lease_rows import Holder

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def count(owner: str, jobs: int, wanted: int, since: float = 0.0, run: str = "r") -> Count:
    return Count(Holder(owner, "dag", run), jobs, wanted, START + dt.timedelta(seconds=since))


def test_a_task_that_has_the_account_alone_has_all_the_room() -> None:
    assert more_jobs(10, count("a", 0, 50), []) == 10
    assert more_jobs(10, count("a", 4, 50), []) == 6


def test_no_more_is_granted_than_is_wanted() -> None:
    assert more_jobs(10, count("a", 0, 3), []) == 3


def test_jobs_under_way_of_others_are_not_granted_again() -> None:
    assert more_jobs(10, count("b", 0, 50, 1), [count("a", 10, 50)]) == 0
    assert more_jobs(10, count("b", 0, 50, 1), [count("a", 9, 9)]) == 1


def test_more_jobs_under_way_than_a_lowered_limit_allows_leave_no_room() -> None:
    assert more_jobs(3, count("b", 0, 5), [count("a", 10, 10)]) == 0


def test_a_run_with_many_tasks_gets_no_more_than_a_run_with_one() -> None:
    many = [count(f"m{number}", 0, 100, number) for number in range(5)]
    assert more_jobs(10, count("one", 0, 100, 9, run="other"), many) == 5


def test_what_is_free_is_left_to_a_task_that_has_waited_longer() -> None:
    waits, running = count("waits", 0, 9, 0), count("running", 1, 9, 1)
    assert more_jobs(2, count("again", 0, 9, 2), [waits, running]) == 0
    assert more_jobs(2, waits, [count("again", 0, 9, 2), running]) == 1


def test_the_count_of_a_task_has_the_same_name_in_every_execution() -> None:
    assert job_holder("dag", "run", "swap[1] ") == job_holder("dag", "run", "swap[1] ")
    names = {job_holder("dag", "run", f"swap[{number}] ").owner for number in range(10)}
    assert len(names) == 10
    assert len(job_holder("d" * 250, "r" * 250, "t" * 250).owner) <= 400


TASKS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20)), min_size=1, max_size=8)


@settings(deadline=None)
@given(TASKS, st.integers(1, 12), st.data())
def test_the_jobs_never_exceed_the_limit_and_no_task_waits_forever(
    tasks: list[tuple[int, int]], limit: int, data: st.DataObject
) -> None:
    left = {f"t{number}": wanted for number, (_, wanted) in enumerate(tasks)}
    counts = {
        f"t{number}": count(f"t{number}", 0, wanted, 0, str(run))
        for number, (run, wanted) in enumerate(tasks)
    }
    moment = 0
    while any(left.values()):
        was_idle = not any(each.jobs for each in counts.values())
        order = data.draw(st.permutations(sorted(left)))
        ended = order[: data.draw(st.integers(1, len(order)))]
        for name in order:
            before = counts[name]
            if name not in ended and before.jobs:
                continue  # it waits for its jobs
            moment += 1
            since = START + dt.timedelta(seconds=moment) if before.jobs else before.since
            mine = replace(before, jobs=0, wanted=left[name], since=since)
            others = [other for other in counts.values() if other.holder != mine.holder and other.wanted]
            more = more_jobs(limit, mine, others)
            left[name] -= more
            counts[name] = replace(mine, jobs=more)
            assert sum(each.jobs for each in counts.values()) <= limit
        assert not was_idle or any(each.jobs for each in counts.values())
