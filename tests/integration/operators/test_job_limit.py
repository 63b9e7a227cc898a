# SPDX-License-Identifier: Apache-2.0
"""With ``max_jobs`` a task submits what fits, waits, and submits more, in the worker or deferred."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_goenhance.exceptions import JobLimitReachedError
from airflow_provider_goenhance.execution import attempt as attempt_module
from airflow_provider_goenhance.operators.collect import GoEnhanceCollectOperator
from include.sandbox.process import SandboxProcess

from .light_runner import Ending, LightTask, LightTaskInstance, event_of_trigger

MakeTask = Callable[..., LightTask]
Connect = Callable[..., None]


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt_module, "LOOK_EVERY", 0.1)
    monkeypatch.setattr(attempt_module, "LOOK_EVERY_DEFERRED", 0.1)


def statuses(task: LightTask) -> dict[str, int]:
    return dict(Counter(row["status"] for row in task.rows().values()))


def counted(task: LightTask) -> list[int]:
    """Return the jobs that are counted for each task."""
    engine = sa.create_engine(f"sqlite:///{task.folder / 'results.db'}")
    try:
        with engine.connect() as connection:
            query = sa.text("SELECT jobs FROM goenhance_swaps_leases WHERE jobs IS NOT NULL ORDER BY jobs")
            return list(connection.execute(query).scalars())
    finally:
        engine.dispose()


def most_jobs(sandbox: SandboxProcess) -> int:
    """Return the most jobs that the sandbox had under way at once, by its own log."""
    log = sandbox.submissions()
    events = sorted([(row["accepted_at"], 1) for row in log] + [(row["ended_at"], -1) for row in log])
    return max(sum(change for _, change in events[: place + 1]) for place in range(len(events)))


def another(task: LightTask, number: int) -> LightTask:
    """Give a task pairs and a run of its own."""
    task.ti.run_id = f"run-{number}"
    for pair in task.pairs:
        pair["reference_img"] = pair["reference_img"].replace("reference-", f"reference-{number}-")
    return task


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_task_submits_what_fits_then_waits_then_submits_more(
    task: MakeTask, connect: Connect, goenhance_sandbox_shared: SandboxProcess, deferrable: bool
) -> None:
    connect(goenhance_sandbox_shared, max_jobs=2)
    batch = task(kind="batch", pairs=5, deferrable=deferrable)

    ending = batch.attempt()

    assert ending.error is None
    assert statuses(batch) == {"succeeded": 5}
    assert most_jobs(goenhance_sandbox_shared) == 2
    assert ending.deferrals == (3 if deferrable else 0)
    assert counted(batch) == []


@pytest.mark.parametrize("deferrable", [False, True])
def test_two_tasks_at_once_share_the_limit(
    task: MakeTask, connect: Connect, goenhance_sandbox_shared: SandboxProcess, deferrable: bool
) -> None:
    connect(goenhance_sandbox_shared, max_jobs=2, max_concurrency=8)
    goenhance_sandbox_shared.put_faults(job_seconds=0.1, job_seconds_max=0.4)
    tasks = [another(task(kind="batch", pairs=5, deferrable=deferrable), number) for number in range(2)]
    endings: list[Ending] = []
    threads = [threading.Thread(target=lambda each=each: endings.append(each.attempt())) for each in tasks]  # type: ignore[misc]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)

    assert [ending.error for ending in endings] == [None, None]
    assert [statuses(each) for each in tasks] == [{"succeeded": 5}] * 2
    assert most_jobs(goenhance_sandbox_shared) == 2
    assert counted(tasks[0]) == []


def test_a_deferred_task_keeps_its_jobs_counted_and_another_one_does_not_hold_a_worker(
    task: MakeTask, connect: Connect, goenhance_sandbox_shared: SandboxProcess
) -> None:
    connect(goenhance_sandbox_shared, max_jobs=2)
    first, second = (another(task(kind="batch", deferrable=True), number) for number in range(2))
    deferral = start(first)
    assert "rows" in deferral.trigger.serialize()[1]
    assert counted(first) == [2]

    waits = start(second)
    assert "rows" not in waits.trigger.serialize()[1]
    assert goenhance_sandbox_shared.submissions()[2:] == []
    assert statuses(second) == {"planned": 3}

    resume(first, deferral)
    assert statuses(first) == {"succeeded": 2, "submitted": 1}
    resume(second, waits)
    assert statuses(second) == {"submitted": 1, "planned": 2}
    assert counted(first) == [1, 1]


def start(task: LightTask) -> Any:
    with pytest.raises(TaskDeferred) as caught:
        task.operator().execute({"ti": task.ti})
    return caught.value


def resume(task: LightTask, deferral: Any) -> None:
    with pytest.raises(TaskDeferred):
        task.operator().execute_complete({"ti": task.ti}, event=event_of_trigger(deferral))


def test_a_task_that_does_not_wait_says_what_had_no_room_and_a_retry_sends_it(
    task: MakeTask, connect: Connect, goenhance_sandbox_shared: SandboxProcess
) -> None:
    connect(goenhance_sandbox_shared, max_jobs=2)
    batch = task(kind="batch", wait_for_completion=False)

    ending = batch.attempt()

    assert isinstance(ending.error, JobLimitReachedError)
    assert ending.error.retryable
    assert "may have 2 jobs in progress (max_jobs), and 1 pair did not fit" in ending.message
    assert "A retry submits 1 pair and waits for 2 jobs." in ending.message
    assert statuses(batch) == {"submitted": 2, "planned": 1}
    assert counted(batch) == [2]

    for submission in goenhance_sandbox_shared.submissions():
        goenhance_sandbox_shared.wait_for(submission["img_uuid"])
    assert batch.attempt().error is None
    assert statuses(batch) == {"succeeded": 2, "submitted": 1}
    assert counted(batch) == [1]


def test_the_collect_operator_makes_room(
    task: MakeTask, connect: Connect, goenhance_sandbox_shared: SandboxProcess
) -> None:
    connect(goenhance_sandbox_shared, max_jobs=3)
    batch = task(kind="batch", wait_for_completion=False)
    assert batch.attempt().error is None
    assert counted(batch) == [3]

    collect = GoEnhanceCollectOperator(
        task_id="collect", storage=str(batch.folder / "kept"), wait_for_completion=True, poll_interval=0.05
    )
    collect.execute({"ti": LightTaskInstance("collect")})

    assert statuses(batch) == {"succeeded": 3}
    assert counted(batch) == [0]


def test_the_limit_may_be_the_one_that_goenhance_reports(
    task: MakeTask, connect: Connect, goenhance_sandbox_shared: SandboxProcess
) -> None:
    goenhance_sandbox_shared.put_faults(show_queue_limit=True)  # it reports 3
    connect(goenhance_sandbox_shared, max_jobs="queue_limit")
    batch = task(kind="batch", pairs=5)
    assert batch.attempt().error is None
    assert most_jobs(goenhance_sandbox_shared) == 3


def test_nothing_is_sent_where_goenhance_reports_no_limit(
    task: MakeTask, connect: Connect, goenhance_sandbox_shared: SandboxProcess
) -> None:
    connect(goenhance_sandbox_shared, max_jobs="queue_limit")
    batch = task(kind="batch")
    assert "GoEnhance reports no queueLimit for the account" in batch.attempt().message
    assert batch.accepted() == 0


def test_pairs_that_are_listed_twice_take_room_for_one_job(
    task: MakeTask, connect: Connect, goenhance_sandbox_shared: SandboxProcess
) -> None:
    connect(goenhance_sandbox_shared, max_jobs=1)
    batch = task(kind="batch", pairs=2)
    batch.pairs += [{**pair, "pair_id": f"{pair['pair_id']} again"} for pair in batch.pairs]
    ending = batch.attempt()
    assert ending.error is None
    assert batch.accepted() == 2
    assert most_jobs(goenhance_sandbox_shared) == 1


def run_until(task: LightTask, condition: Callable[[], bool]) -> None:
    """Run an attempt in a process of its own, and kill it as soon as the condition holds."""
    process = subprocess.Popen(
        [
            sys.executable, "-m", "tests.integration.operators.killed_worker", str(task.sandbox.port),
            str(task.folder), json.dumps({"kind": "batch"}), "0",
        ],
        cwd=Path(__file__).parents[3],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.mark.slow
def test_a_task_that_was_killed_while_it_waited_keeps_its_room_until_it_is_retried(
    task: MakeTask, connect: Connect, goenhance_sandbox_shared: SandboxProcess
) -> None:
    connect(goenhance_sandbox_shared, max_jobs=2)
    killed, other = task(kind="batch"), another(task(kind="batch", deferrable=True), 2)
    killed.let_no_job_end()
    run_until(killed, lambda: killed.accepted() == 3 and statuses(killed) == {"submitted": 2, "planned": 1})
    assert counted(killed) == [2]

    assert start(other).trigger.serialize()[1]["img_uuids"] == []
    killed.let_jobs_end()
    assert killed.attempt().error is None
    assert statuses(killed) == {"succeeded": 3}
    assert counted(killed) == [0]  # the place of the other one


@pytest.mark.slow
def test_a_task_that_was_killed_while_it_submitted_keeps_the_room_that_it_reserved(
    task: MakeTask, connect: Connect, goenhance_sandbox_shared: SandboxProcess
) -> None:
    connect(goenhance_sandbox_shared, max_jobs=2, max_concurrency=2)
    killed, other = task(kind="batch"), another(task(kind="batch", deferrable=True), 2)
    goenhance_sandbox_shared.put_faults(latency=3.0)
    run_until(killed, lambda: len(goenhance_sandbox_shared.traffic()) == 2)
    goenhance_sandbox_shared.put_faults(latency=0.0)
    assert counted(killed) == [2]

    assert start(other).trigger.serialize()[1]["img_uuids"] == []
    # Both submits may have been accepted: they count as jobs in the retry too.
    killed.arguments["deferrable"] = True
    assert start(killed).trigger.serialize()[1]["img_uuids"] == []
    assert statuses(killed) == {"unknown": 2, "planned": 1}
