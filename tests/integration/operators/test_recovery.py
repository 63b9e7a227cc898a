# SPDX-License-Identifier: Apache-2.0
"""Recovery of an attempt from failures outside a single submit."""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from airflow.providers.common.compat.sdk import AirflowTaskTimeout

from airflow_provider_goenhance.exceptions import (
    AuthenticationError,
    BadRequestError,
    BatchFailedError,
    CollectError,
    GoEnhanceError,
    JobTimedOutError,
    ResultsTableError,
    UnreachableError,
)
from airflow_provider_goenhance.retry_policy import is_final
from include.sandbox.process import SandboxProcess

from .light_runner import LightTask, event_of_trigger

ROOT = Path(__file__).resolve().parents[3]
KINDS = ["single", "batch"]


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_refused_token_names_the_connection_and_leaves_the_rows_planned(
    task: Callable[..., LightTask], connect: Any, kind: str, deferrable: bool
) -> None:
    swap = task(kind=kind, deferrable=deferrable)
    connect(swap.sandbox, token="sk-wrong-token")

    ending = swap.attempt()

    assert isinstance(ending.error, AuthenticationError)
    assert is_final(ending.error)
    assert "connection 'goenhance_default'" in ending.message
    assert "sk-wrong-token" not in ending.message
    assert "planned" in ending.message
    assert "othing was paid" in ending.message
    assert {row["status"] for row in swap.rows().values()} == {"planned"}

    connect(swap.sandbox)
    assert swap.attempt().error is None
    assert swap.accepted() == len(swap.pairs)


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_token_refused_during_the_wait_loses_no_job(
    task: Callable[..., LightTask], deferrable: bool
) -> None:
    batch = task(kind="batch", deferrable=deferrable)
    batch.sandbox.put_faults(detail={"kind": "http_error", "status": 401})

    ending = batch.attempt()

    assert isinstance(ending.error, AuthenticationError)
    assert "3 submitted (pair 'pair-1'" in ending.message
    assert "3 submits may have been paid for" in ending.message
    assert {row["status"] for row in batch.rows().values()} == {"submitted"}

    batch.sandbox.put_faults(detail=None)
    assert batch.attempt().error is None
    assert batch.accepted() == 3


@pytest.mark.parametrize("kind", KINDS)
def test_with_the_api_down_rows_stay_planned_and_a_retry_goes_on(
    task: Callable[..., LightTask], connect: Any, kind: str
) -> None:
    swap = task(kind=kind)
    connect(swap.sandbox, port=9)  # the discard port: nothing listens there

    ending = swap.attempt()

    assert isinstance(ending.error, UnreachableError)
    assert not is_final(ending.error)
    assert "planned" in ending.message
    assert {row["status"] for row in swap.rows().values()} == {"planned"}

    connect(swap.sandbox)
    assert swap.attempt().error is None
    assert swap.accepted() == len(swap.pairs)


@pytest.mark.parametrize("kind", KINDS)
def test_without_its_results_table_nothing_is_submitted(
    task: Callable[..., LightTask], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    swap = task(kind=kind)
    conn = {"conn_type": "sqlite", "host": "/proc/no-such-folder/results.db"}
    monkeypatch.setenv("AIRFLOW_CONN_GOENHANCE_RESULTS", json.dumps(conn))

    ending = swap.attempt()

    assert isinstance(ending.error, ResultsTableError)
    assert not is_final(ending.error)
    assert "connection 'goenhance_results'" in ending.message
    assert "nothing is submitted" in ending.message
    assert swap.accepted() == 0


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_wait_that_times_out_fails_the_row_and_a_retry_takes_the_same_job_up_again(
    task: Callable[..., LightTask], kind: str, deferrable: bool
) -> None:
    swap = task(kind=kind, deferrable=deferrable, timeout="0.3")
    swap.let_no_job_end()

    ending = swap.attempt()

    img_uuid = swap.row()["img_uuid"]
    assert isinstance(ending.error, JobTimedOutError if kind == "single" else BatchFailedError)
    assert not is_final(ending.error)
    assert (swap.row()["status"], swap.row()["error_code"]) == ("failed", "job_timed_out")
    assert f"Job {img_uuid} was paid for." in ending.message
    assert "A retry or clear polls the same job again and pays nothing" in ending.message

    swap.let_jobs_end()
    swap.arguments["timeout"] = 120
    again = swap.attempt()

    assert again.error is None
    assert (swap.row()["status"], swap.row()["img_uuid"]) == ("succeeded", img_uuid)
    assert swap.accepted() == 1 + len(swap.pairs)
    # Airflow forgets an attempt's XCom: one that submits nothing has to push the UUIDs as well.
    assert img_uuid in str(again.xcoms)


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_that_cannot_be_fetched_is_fetched_by_the_retry(
    task: Callable[..., LightTask], kind: str
) -> None:
    swap = task(kind=kind)
    swap.sandbox.put_faults(result={"kind": "html"})

    ending = swap.attempt()

    assert isinstance(ending.error, CollectError if kind == "single" else BatchFailedError)
    assert not is_final(ending.error)
    assert swap.row()["status"] == "failed"
    assert "was paid for, but its picture was not stored" in swap.row()["error_message"]

    swap.sandbox.put_faults(result=None)
    assert swap.attempt().error is None
    assert Path(swap.row()["result_uri"].removeprefix("file://")).is_file()
    assert swap.accepted() == len(swap.pairs)


@pytest.mark.parametrize("kind", KINDS)
def test_without_waiting_the_rows_stay_submitted_and_a_clear_collects_what_is_done(
    task: Callable[..., LightTask], kind: str
) -> None:
    swap = task(kind=kind, wait_for_completion="False")
    swap.sandbox.put_faults(job_seconds=3600)

    first = swap.attempt()

    assert first.error is None
    assert {row["status"] for row in swap.rows().values()} == {"submitted"}

    swap.clear()
    assert swap.attempt().error is None  # nothing is done yet: nothing is failed for it either
    assert {row["status"] for row in swap.rows().values()} == {"submitted"}

    swap.sandbox.reset()
    (swap.folder / "results.db").unlink()  # it knows of jobs that the sandbox has forgotten
    quick = task(kind=kind, wait_for_completion="False", reuse="never")
    quick.ti.run_id = "run-2"
    quick.attempt()
    for entry in quick.sandbox.submissions():
        quick.sandbox.wait_for(entry["img_uuid"])
    quick.clear()
    assert quick.attempt().error is None
    assert {row["status"] for row in quick.rows().values()} == {"succeeded"}
    assert quick.accepted() == len(quick.pairs)


@pytest.mark.parametrize(
    "event", [None, "finished", {}, {"status": "surprise"}, {"status": "error", "message": "x"}]
)
def test_an_event_that_makes_no_sense_is_never_a_success_and_a_retry_takes_the_jobs_up_again(
    task: Callable[..., LightTask], event: Any
) -> None:
    batch = task(kind="batch", deferrable=True)
    batch.event_of = lambda deferral: event

    ending = batch.attempt()

    assert isinstance(ending.error, GoEnhanceError)
    assert not is_final(ending.error)
    assert "3 submitted" in ending.message

    batch.event_of = event_of_trigger


def test_an_account_switched_between_attempts_is_named_and_the_jobs_are_not_paid_again(
    task: Callable[..., LightTask], connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    swap = task(timeout=0.3)
    connect(swap.sandbox, account_name="studio-a")
    swap.let_no_job_end()
    swap.attempt()

    connect(swap.sandbox, account_name="studio-b")
    swap.let_jobs_end()
    swap.arguments["timeout"] = 120
    with caplog.at_level(logging.WARNING):
        again = swap.attempt()

    assert again.error is None
    assert "connection 'goenhance_default'" in caplog.text
    assert "is not the account that submitted" in caplog.text
    assert swap.accepted() == 1 + 1


def test_the_tasks_verdict_follows_the_allowed_failure_share(task: Callable[..., LightTask]) -> None:
    strict = task(kind="batch", pairs=4)
    strict.sandbox.put_faults(submit={"kind": "business_error", "count": 1, "msg": "picture refused"})

    ending = strict.attempt()

    assert isinstance(ending.error, BatchFailedError)
    assert is_final(ending.error)
    assert ending.message.startswith("1 of 4 pairs did not succeed, more than the allowed share of 0.")
    assert "picture refused" in ending.message

    strict.arguments["allowed_failure_share"] = "0.25"
    lenient = strict.attempt()

    assert lenient.error is None
    assert [entry["status"] for entry in lenient.value] == ["failed", "succeeded", "succeeded", "succeeded"]
    assert [entry["pair_id"] for entry in lenient.value] == ["pair-1", "pair-2", "pair-3", "pair-4"]


FAULTS_THAT_A_RETRY_CORRECTS: dict[str, Callable[[LightTask], None]] = {
    "a wait that timed out": lambda batch: batch.let_no_job_end(),
    "a picture that was not fetched": lambda batch: batch.sandbox.put_faults(result={"kind": "html"}),
}


@pytest.mark.parametrize("fault", FAULTS_THAT_A_RETRY_CORRECTS)
def test_the_allowed_failure_share_judges_the_last_try(task: Callable[..., LightTask], fault: str) -> None:
    batch = task(kind="batch", allowed_failure_share=1.0, timeout=0.3)
    batch.ti.max_tries = 1
    FAULTS_THAT_A_RETRY_CORRECTS[fault](batch)

    first, last = batch.attempt(), batch.attempt()

    assert isinstance(first.error, BatchFailedError)
    assert not is_final(first.error)
    assert "a retry can still correct that" in first.message
    assert last.error is None
    assert {entry["status"] for entry in last.value} == {"failed"}


def test_a_row_that_no_retry_corrects_is_judged_by_the_share_at_once(task: Callable[..., LightTask]) -> None:
    batch = task(kind="batch", allowed_failure_share=1.0)
    batch.sandbox.put_faults(submit={"kind": "business_error", "msg": "picture refused"})

    ending = batch.attempt()

    assert ending.error is None
    assert {entry["status"] for entry in ending.value} == {"failed"}


@pytest.mark.parametrize("kind", KINDS)
def test_an_execution_timeout_that_passes_while_the_task_is_deferred_fails_it_and_a_retry_goes_on(
    task: Callable[..., LightTask], kind: str
) -> None:
    swap = task(kind=kind, deferrable=True, execution_timeout=dt.timedelta(seconds=1))
    swap.let_no_job_end()

    with pytest.raises(AirflowTaskTimeout, match="A retry or clear re-attaches to them and pays nothing"):
        swap.attempt()

    assert {row["status"] for row in swap.rows().values()} == {"submitted"}

    swap.let_jobs_end()
    swap.arguments["execution_timeout"] = dt.timedelta(seconds=120)
    assert swap.attempt().error is None
    assert swap.accepted() == 1 + len(swap.pairs)


@pytest.mark.parametrize("kind", ["single", "batch"])
def test_pictures_of_jobs_that_ended_are_collected_although_the_execution_timeout_has_passed(
    task: Callable[..., LightTask], kind: str
) -> None:
    """The time in the queue may have made the resume late; the jobs are paid for, and their links expire."""
    swap = task(kind=kind, deferrable=True, wait_for_completion=False)
    assert swap.attempt().error is None
    for row in swap.rows().values():
        swap.sandbox.wait_for(row["img_uuid"])
    swap.arguments |= {"wait_for_completion": True, "execution_timeout": dt.timedelta(microseconds=1)}

    assert swap.attempt().error is None

    assert {row["status"] for row in swap.rows().values()} == {"succeeded"}
    assert swap.accepted() == len(swap.pairs)


def test_what_ended_is_collected_before_a_timeout_is_raised_for_the_rest(
    task: Callable[..., LightTask],
) -> None:
    swap = task(kind="batch", deferrable=True, execution_timeout=dt.timedelta(seconds=2))
    swap.sandbox.put_faults(job={"kind": "stuck", "count": 1})

    with pytest.raises(AirflowTaskTimeout):
        swap.attempt()

    assert sorted(row["status"] for row in swap.rows().values()) == ["submitted", "succeeded", "succeeded"]


def test_a_declined_pair_is_sent_again_only_after_a_clear(task: Callable[..., LightTask]) -> None:
    swap = task()
    swap.sandbox.put_faults(submit={"kind": "business_error", "count": 1})

    first = swap.attempt()
    swap.attempt()

    assert isinstance(first.error, BadRequestError)
    assert (
        "A retry leaves it as it is and pays nothing; a clear or new run submits the pair and pays for it"
        in first.message
    )
    assert swap.accepted() == 0

    swap.clear()

    assert swap.attempt().error is None
    assert swap.accepted() == 1


def test_a_bad_pair_is_rejected_and_the_good_ones_are_swapped(task: Callable[..., LightTask]) -> None:
    batch = task(kind="batch")
    batch.pairs[1]["source_img"] = "face.jpg"

    ending = batch.attempt()

    assert isinstance(ending.error, BatchFailedError)
    assert [batch.row(number)["status"] for number in (1, 2, 3)] == ["succeeded", "rejected", "succeeded"]
    assert "A retry or clear never sends it; correct it and start a new run." in ending.message
    assert batch.accepted() == 2


def test_pairs_as_python_prints_them_are_refused_with_the_way_to_pass_them(
    task: Callable[..., LightTask],
) -> None:
    batch = task(kind="batch")
    batch.pairs = str(batch.pairs)  # type: ignore[assignment]  as `pairs="{{ ti.xcom_pull(...) }}"` renders

    ending = batch.attempt()

    assert isinstance(ending.error, ValueError)
    assert "Pass the task's output itself" in ending.message
    assert "tojson" in ending.message
    assert batch.accepted() == 0


def test_a_batch_of_no_pairs_does_nothing(task: Callable[..., LightTask]) -> None:
    batch = task(kind="batch")
    batch.pairs = []

    assert batch.attempt().value == []


def test_five_submits_in_a_row_with_unknown_outcome_leave_the_rest_for_a_retry(
    task: Callable[..., LightTask],
) -> None:
    batch = task(kind="batch", pairs=8)
    batch.sandbox.put_faults(submit={"kind": "http_error", "when": "after"})

    ending = batch.attempt()

    statuses = [row["status"] for row in batch.rows().values()]
    assert (statuses.count("unknown"), statuses.count("planned")) == (5, 3)
    assert not is_final(ending.error)
    assert "5 submits may have been paid for" in ending.message


# -- killed workers --------------------------------------------------------------------------------------------------

StartWorker = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[StartWorker]:
    """Start a task's attempt in a process of its own, which does not outlive the test."""
    started: list[subprocess.Popen[str]] = []

    def start(task: LightTask, *, execution_timeout: float = 0) -> subprocess.Popen[str]:
        options = {"kind": task.kind, "pairs": len(task.pairs)}
        arguments = [str(task.sandbox.port), str(tmp_path), json.dumps(options), str(execution_timeout)]
        worker = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.operators.killed_worker", *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'plugins'}"},
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(worker)
        return worker

    yield start
    for worker in started:
        worker.kill()
        worker.communicate()


def test_a_worker_killed_during_a_submit_leaves_a_row_that_is_never_sent_again_by_itself(
    task: Callable[..., LightTask], start_worker: StartWorker
) -> None:
    swap = task(kind="batch")
    swap.sandbox.put_faults(submit={"kind": "hang", "when": "after", "count": 1})
    worker = start_worker(swap)
    _until(lambda: swap.accepted() == 1, worker)

    worker.kill()
    worker.wait()

    assert swap.row()["status"] == "submitting"

    ending = swap.attempt()

    assert swap.row()["status"] == "unknown"
    assert swap.row()["attempts"] == 1
    assert swap.accepted() == len(swap.pairs)
    assert is_final(ending.error)
    assert "1 submit may have been paid for" in ending.message


def test_a_worker_told_to_end_sends_nothing_more_and_marks_what_was_under_way(
    task: Callable[..., LightTask], start_worker: StartWorker
) -> None:
    batch = task(kind="batch", pairs=5)

    with _standing_still(batch.sandbox):  # so that no answer comes before all has been looked at
        worker = start_worker(batch)
        # A connection is made only for a POST that nothing holds back any more.
        _until(lambda: _is_connected(worker.pid, batch.sandbox.port), worker)
        assert batch.row()["status"] == "submitting"

        worker.send_signal(signal.SIGTERM)
        _until(lambda: batch.row()["status"] == "unknown", worker)

    out, _ = worker.communicate(timeout=120)

    # The answer still came: the row knows its job after all. Nothing was sent after the signal.
    assert [entry["img_uuid"] for entry in batch.sandbox.submissions()] == [batch.row()["img_uuid"]]
    assert batch.row()["status"] in {"submitted", "succeeded"}
    assert [row["status"] for row in batch.rows().values()].count("planned") == 4
    assert json.loads(out.splitlines()[-1])["error"] == "TaskEndedError"


def test_rows_in_a_pause_of_the_rate_limit_are_planned_when_the_task_is_told_to_end(
    task: Callable[..., LightTask], connect: Any, start_worker: StartWorker
) -> None:
    batch = task(kind="batch", pairs=20)
    connect(batch.sandbox, max_concurrency=6, requests_per_second=1, submit_attempts=6)
    batch.sandbox.put_faults(submit={"kind": "rate_limited", "retry_after": 30})
    worker = start_worker(batch)
    # A connection is made only for a claimed row.
    _until(lambda: _is_connected(worker.pid, batch.sandbox.port), worker)
    batch.sandbox.put_faults(submit=None)

    worker.send_signal(signal.SIGTERM)
    out, _ = worker.communicate(timeout=120)

    rows = batch.rows().values()
    with_job = [row["img_uuid"] for row in rows if row["img_uuid"]]
    assert json.loads(out.splitlines()[-1])["error"] == "TaskEndedError"
    assert sorted(with_job) == sorted(entry["img_uuid"] for entry in batch.sandbox.submissions())
    assert {row["status"] for row in rows} - {"submitted"} == {"planned"}


@pytest.mark.parametrize("alarms", [1, 2])
def test_an_execution_timeout_ends_the_task_and_keeps_the_job_of_every_accepted_post(
    task: Callable[..., LightTask], connect: Any, start_worker: StartWorker, alarms: int
) -> None:
    batch = task(kind="batch", pairs=300)
    connect(batch.sandbox, max_concurrency=8)
    batch.sandbox.put_faults(submit={"kind": "slow", "seconds": 0.5})

    worker = start_worker(batch, execution_timeout=600)
    for alarm in range(1, alarms + 1):
        _until(lambda accepted=1 + 2 * alarm: batch.accepted() >= accepted, worker)  # type: ignore[misc]
        worker.send_signal(signal.SIGALRM)  # as the clock would
    out, _ = worker.communicate(timeout=120)

    rows = batch.rows().values()
    with_job = [row["img_uuid"] for row in rows if row["img_uuid"]]
    assert json.loads(out.splitlines()[-1])["error"] == "AirflowTaskTimeout"
    assert sorted(with_job) == sorted(entry["img_uuid"] for entry in batch.sandbox.submissions())
    assert 0 < len(with_job) < 300
    assert {row["status"] for row in rows} == {"submitted", "planned"}


@contextmanager
def _standing_still(sandbox: SandboxProcess) -> Iterator[None]:
    process = psutil.Process(sandbox.pid)
    process.suspend()
    try:
        yield
    finally:
        process.resume()


def _is_connected(pid: int, port: int) -> bool:
    connections = psutil.Process(pid).net_connections("tcp")
    return any(
        one.status == psutil.CONN_ESTABLISHED and one.raddr and one.raddr.port == port for one in connections
    )


def _until(condition: Callable[[], bool], worker: subprocess.Popen[str], *, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert worker.poll() is None, "the worker ended too early"
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.02)
