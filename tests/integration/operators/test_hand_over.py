# SPDX-License-Identifier: Apache-2.0
"""A batch whose jobs do not end together: what has ended is collected while the others are waited for."""

from __future__ import annotations

import datetime as dt
import json
import logging
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowTaskTimeout, TaskDeferred

from airflow_provider_goenhance.exceptions import BatchFailedError, CollectError, ResultsTableError
from airflow_provider_goenhance.execution import attempt, wait_plan
from airflow_provider_goenhance.operators.collect import GoEnhanceCollectOperator
from airflow_provider_goenhance.operators.face_swap_batch import GoEnhanceFaceSwapBatchOperator
from airflow_provider_goenhance.results.transient_errors import OutOfReachError
from airflow_provider_goenhance.triggers import face_swap as trigger_module
from airflow_provider_goenhance.triggers.face_swap import GoEnhanceJobsTrigger

from .light_runner import LightTask, LightTaskInstance, event_of_trigger

MakeTask = Callable[..., LightTask]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait_plan, "HAND_OVER_AFTER", 0.3)


@pytest.fixture
def straggling(task: MakeTask) -> MakeTask:
    """Make a deferrable batch whose first job never ends."""

    def make(**options: Any) -> LightTask:
        batch = task(**{"kind": "batch", "deferrable": True, "pairs": 4, "timeout": 3600, **options})
        batch.sandbox.put_faults(job={"kind": "stuck", "count": 1})
        return batch

    return make


def statuses(task: LightTask) -> Counter[str]:
    return Counter(row["status"] for row in task.rows().values())


class Watch:
    """
    Runs the triggers of a task, and notes what they were given and how the rows were before each resume.

    :param hand_overs: how many waits there are before the deadline comes
    """

    def __init__(self, task: LightTask, hand_overs: int = 1) -> None:
        self.task = task
        self.hand_overs = hand_overs
        self.arguments: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.rows: list[Counter[str]] = []
        task.event_of = self

    def __call__(self, deferral: TaskDeferred) -> Any:
        self.arguments.append(deferral.trigger.serialize()[1])
        self.rows.append(statuses(self.task))
        self.events.append(self.event(deferral))
        return self.events[-1]

    def event(self, deferral: TaskDeferred) -> Any:
        if len(self.events) >= self.hand_overs:
            let_the_deadline_come(deferral)
        return event_of_trigger(deferral)


def let_the_deadline_come(deferral: TaskDeferred) -> None:
    """Let time pass until the deadline of everything that a trigger waits for."""
    trigger, now = deferral.trigger, time.time()
    trigger.deadline = now
    trigger.carried |= {
        "until": now,
        "rounds": [[submitted, now] for submitted, _ in trigger.carried.get("rounds", ())],
    }


def test_pictures_are_kept_while_a_straggler_of_the_same_task_still_runs(straggling: MakeTask) -> None:
    batch = straggling()
    watch = Watch(batch)

    ending = batch.attempt()

    assert [event["status"] for event in watch.events] == ["handed_over", "finished"]
    assert watch.rows == [{"submitted": 4}, {"succeeded": 3, "submitted": 1}]
    assert statuses(batch) == {"succeeded": 3, "failed": 1}
    assert batch.row(1)["error_code"] == "job_timed_out"
    assert isinstance(ending.error, BatchFailedError)
    assert batch.accepted() == 4
    kept = [row["result_uri"] for row in batch.rows().values() if row["result_uri"]]
    assert all(Path(uri.removeprefix("file://")).is_file() for uri in kept)


def test_a_hand_over_does_not_move_the_deadline(straggling: MakeTask) -> None:
    batch = straggling()
    watch = Watch(batch)
    began = time.time()
    batch.attempt()
    assert len({arguments["deadline"] for arguments in watch.arguments}) == 1
    assert watch.arguments[0]["deadline"] <= began + 3600 + 60


def test_a_trigger_is_told_where_the_rows_are_and_not_which_jobs_there_are(straggling: MakeTask) -> None:
    batch = straggling()
    watch = Watch(batch)
    batch.attempt()
    for arguments in watch.arguments:
        assert arguments["img_uuids"] == []
        assert arguments["results_conn_id"] == "goenhance_results"
        assert arguments["rows"] == {"dag_id": "light", "run_id": "run-1", "task_id": "swap", "map_index": -1}
        assert not any(row["img_uuid"] in json.dumps(arguments) for row in batch.rows().values())


def test_a_retry_after_the_deadline_waits_for_the_same_job_whose_row_is_submitted_again(
    straggling: MakeTask,
) -> None:
    batch = straggling()
    Watch(batch)
    assert isinstance(batch.attempt().error, BatchFailedError)
    watch = Watch(batch, hand_overs=0)

    batch.attempt()

    assert watch.rows == [{"succeeded": 3, "submitted": 1}]
    assert watch.events[0]["jobs"] == 1
    assert batch.accepted() == 4


def test_a_picture_that_is_lost_fails_alone_and_is_not_fetched_again_at_each_hand_over(
    straggling: MakeTask,
) -> None:
    batch = straggling()
    batch.sandbox.put_faults(result={"kind": "html", "count": 1})
    watch = Watch(batch)

    ending = batch.attempt()

    assert isinstance(ending.error, BatchFailedError)
    assert statuses(batch) == {"succeeded": 2, "failed": 2}
    assert [event["status"] for event in watch.events] == ["handed_over", "finished"]
    assert watch.events[1]["jobs"] == 1


def test_rows_that_others_have_collected_meanwhile_are_not_collected_again(straggling: MakeTask) -> None:
    batch = straggling()

    class OthersCollect(Watch):
        def event(self, deferral: TaskDeferred) -> Any:
            event = super().event(deferral)
            collect = GoEnhanceCollectOperator(task_id="collect", storage=str(batch.folder / "kept"))
            context: Any = {"ti": LightTaskInstance("collect")}
            collect.execute(context)
            return event

    watch = OthersCollect(batch)
    batch.sandbox.put_faults(result={"kind": "slow", "seconds": 0})
    batch.attempt()
    assert statuses(batch) == {"succeeded": 3, "failed": 1}
    assert batch.sandbox.faults()["result"][0]["fired"] == 3
    assert len(watch.events) == 2


@pytest.mark.timeout(0)  # a resume shortens the alarm of its process, which here is that of the test
def test_an_execution_timeout_counts_over_hand_overs_and_what_has_ended_is_kept(straggling: MakeTask) -> None:
    batch = straggling(execution_timeout=dt.timedelta(seconds=1800))

    class HalfAnHourLater(Watch):
        def event(self, deferral: TaskDeferred) -> Any:
            event = super().event(deferral)
            if self.events:
                assert self.task.ti.start_date is not None
                self.task.ti.start_date -= dt.timedelta(seconds=1800)
            return event

    watch = HalfAnHourLater(batch)
    with pytest.raises(AirflowTaskTimeout, match="A retry or clear re-attaches to them and pays nothing"):
        batch.attempt()

    assert len(watch.events) == 2
    assert len({arguments["deadline"] for arguments in watch.arguments}) == 1
    assert statuses(batch) == {"succeeded": 3, "submitted": 1}


def test_a_failed_job_is_submitted_again_while_the_others_run(straggling: MakeTask) -> None:
    batch = straggling(failed_job_resubmits=1)
    batch.sandbox.put_faults(
        job=[{"kind": "stuck", "count": 1}, {"kind": "failed", "error": "busy", "count": 1}]
    )
    watch = Watch(batch, hand_overs=2)
    batch.attempt()
    assert watch.rows[:2] == [{"submitted": 4}, {"succeeded": 2, "submitted": 2}]
    assert statuses(batch) == {"succeeded": 3, "failed": 1}
    assert batch.accepted() == 5


@pytest.mark.slow
@pytest.mark.parametrize("deferrable", [True, False])
def test_a_straggler_does_not_keep_the_places_of_max_jobs_from_the_other_rows(
    straggling: MakeTask, connect: Any, monkeypatch: pytest.MonkeyPatch, deferrable: bool
) -> None:
    monkeypatch.setattr(attempt, "LOOK_EVERY_DEFERRED", 0.3)
    batch = straggling(deferrable=deferrable, pairs=5, timeout=8)
    connect(batch.sandbox, max_jobs=2)

    batch.attempt()

    rows = batch.rows()
    assert {rows[f"pair-{number}"]["status"] for number in (2, 3, 4, 5)} == {"succeeded"}
    assert rows["pair-1"]["error_code"] == "job_timed_out"
    # The straggler has its own deadline: later rounds do not extend it.
    waited = [dt.datetime.fromisoformat(rows["pair-1"][name]) for name in ("submitted_at", "finished_at")]
    assert (waited[1] - waited[0]).total_seconds() < 8 + 60
    assert batch.accepted() == 5


@pytest.mark.slow
def test_a_worker_that_waits_collects_what_has_ended_meanwhile(straggling: MakeTask) -> None:
    batch = straggling(deferrable=False, timeout=12)
    seen: list[Counter[str]] = []
    running = threading.Thread(target=batch.attempt, daemon=True)
    running.start()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and {"succeeded": 3, "submitted": 1} not in seen:
        time.sleep(0.05)
        if (batch.folder / "results.db").is_file():
            seen.append(statuses_if_readable(batch))
    assert {"succeeded": 3, "submitted": 1} in seen
    assert running.is_alive()
    running.join(120)
    assert statuses(batch) == {"succeeded": 3, "failed": 1}


def statuses_if_readable(batch: LightTask) -> Counter[str]:
    try:
        return statuses(batch)
    except Exception:  # noqa: BLE001  the table is just being created
        return Counter()


# -- a results table that is not there --------------------------------------------------------------------------------


def test_a_hand_over_while_the_results_table_is_out_of_reach_costs_no_try(
    straggling: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = straggling()
    watch = Watch(batch, hand_overs=2)
    open_ledger = GoEnhanceFaceSwapBatchOperator.open_ledger
    opened: list[bool] = []

    def cut(self: GoEnhanceFaceSwapBatchOperator) -> Any:
        opened.append(len(watch.events) != 1)
        if not opened[-1]:
            raise OutOfReachError("The results table cannot be used: connection refused.")
        return open_ledger(self)

    monkeypatch.setattr(GoEnhanceFaceSwapBatchOperator, "open_ledger", cut)
    batch.attempt()
    assert opened == [True, False, True, True]
    # The second wait hands over as well, and the third ends at the deadline.
    assert watch.rows == [{"submitted": 4}, {"submitted": 4}, {"succeeded": 3, "submitted": 1}]
    assert len({arguments["deadline"] for arguments in watch.arguments}) == 1
    assert statuses(batch) == {"succeeded": 3, "failed": 1}
    assert batch.accepted() == 4


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Return the path of the SQLite file as another machine would find it: not there, or another one."""
    return tmp_path / "another machine" / "results.db"


@pytest.mark.parametrize("there", ["no folder", "no file", "an empty table", "a copy from before the submit"])
def test_a_triggerer_that_cannot_read_the_rows_says_so_and_the_worker_waits(
    straggling: MakeTask,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    elsewhere: Path,
    there: str,
) -> None:
    batch = straggling(timeout=2)
    here = json.dumps({"conn_type": "sqlite", "host": str(batch.folder / "results.db")})

    class OnAnotherMachine(Watch):
        def event(self, deferral: TaskDeferred) -> Any:
            if there != "no folder":
                elsewhere.parent.mkdir(exist_ok=True)
            if there in {"an empty table", "a copy from before the submit"}:
                copy(batch.folder / "results.db", elsewhere, keep_rows=there != "an empty table")
            conn = {"conn_type": "sqlite", "host": str(elsewhere)}
            monkeypatch.setenv("AIRFLOW_CONN_GOENHANCE_RESULTS", json.dumps(conn))
            event = super().event(deferral)
            monkeypatch.setenv("AIRFLOW_CONN_GOENHANCE_RESULTS", here)
            return event

    watch = OnAnotherMachine(batch)
    with caplog.at_level(logging.WARNING):
        batch.attempt()
    assert len(watch.events) == 1
    assert "the task waits in the worker" in caplog.text
    assert statuses(batch) == {"succeeded": 3, "failed": 1}
    assert batch.accepted() == 4
    assert elsewhere.exists() is (there in {"an empty table", "a copy from before the submit"})


def copy(source: Path, target: Path, *, keep_rows: bool) -> None:
    with closing(sqlite3.connect(source)) as here, closing(sqlite3.connect(target)) as there:
        here.backup(there)
        there.execute(
            "UPDATE goenhance_swaps SET status = 'planned'" if keep_rows else "DELETE FROM goenhance_swaps"
        )
        there.commit()


def test_a_database_that_is_out_of_reach_for_a_while_is_read_again(
    straggling: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = straggling()
    watch = Watch(batch)
    monkeypatch.setattr(trigger_module, "READ_AGAIN_EVERY", 0.05)
    read, tries = trigger_module.read_jobs, []

    def cut(*arguments: Any) -> Any:
        tries.append(arguments)
        if len(tries) < 3:
            raise OutOfReachError("The results table cannot be used: connection refused.")
        return read(*arguments)

    monkeypatch.setattr(trigger_module, "read_jobs", cut)
    batch.attempt()
    assert [event["status"] for event in watch.events] == ["handed_over", "finished"]
    assert len(tries) == 4


def test_without_its_results_table_a_resumed_task_fails_as_before(
    straggling: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wait that is over is not waited for again: Airflow retries the task."""
    batch = straggling(timeout=1)
    watch = Watch(batch)
    open_ledger = GoEnhanceFaceSwapBatchOperator.open_ledger

    def cut(self: GoEnhanceFaceSwapBatchOperator) -> Any:
        if watch.events and watch.events[-1]["status"] == "finished":
            raise OutOfReachError("The results table cannot be used: connection refused.")
        return open_ledger(self)

    monkeypatch.setattr(GoEnhanceFaceSwapBatchOperator, "open_ledger", cut)
    with pytest.raises(ResultsTableError):
        raise batch.attempt().error or AssertionError
    assert watch.events[-1]["status"] == "finished"


# -- an upgrade in the middle of a wait -------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_trigger_of_an_earlier_release_is_waited_for_and_collected_in_one_piece(
    straggling: MakeTask,
) -> None:
    batch = straggling(timeout=5)

    class Deferred01(Watch):
        def event(self, deferral: TaskDeferred) -> Any:
            stored = {
                "goenhance_conn_id": "goenhance_default",
                "img_uuids": [row["img_uuid"] for row in self.task.rows().values()],
                "deadline": deferral.trigger.deadline,
                "poll_interval": 0.05,
            }
            return event_of_trigger(
                TaskDeferred(trigger=GoEnhanceJobsTrigger(**stored), method_name="execute_complete")
            )

    watch = Deferred01(batch)
    batch.attempt()
    assert [event["status"] for event in watch.events] == ["finished"]
    assert statuses(batch) == {"succeeded": 3, "failed": 1}
    assert batch.accepted() == 4


def test_an_event_of_an_earlier_release_counts_for_rows_whose_wait_had_timed_out_before(
    straggling: MakeTask,
) -> None:
    """The earlier release did not make them `submitted` again before it waited."""
    batch = straggling()
    Watch(batch)
    batch.attempt()
    stuck = batch.row(1)
    assert stuck["error_code"] == "job_timed_out"

    class Event01(Watch):
        def event(self, deferral: TaskDeferred) -> Any:
            with closing(sqlite3.connect(batch.folder / "results.db")) as connection:
                connection.execute(
                    "UPDATE goenhance_swaps SET status = 'failed', error_code = 'job_timed_out', error_message = 'x' "
                    "WHERE pair_id = 'pair-1'"
                )
                connection.commit()
            return {
                "status": "finished",
                "failed": {stuck["img_uuid"]: "no face"},
                "declined": {},
                "running": [],
            }

    Event01(batch)
    batch.attempt()
    assert (batch.row(1)["error_code"], batch.row(1)["img_uuid"]) == ("job_failed", stuck["img_uuid"])
    assert batch.accepted() == 4


# -- the collect operator ---------------------------------------------------------------------------------------------


def collect(batch: LightTask, **arguments: Any) -> tuple[dict[str, int], list[Counter[str]]]:
    """Run the collect operator in a Dag of its own; return what it returns, and the rows before each resume."""
    context: Any = {"ti": LightTaskInstance("collect", dag_id="another_dag", run_id="another_run")}
    arguments = {
        "storage": str(batch.folder / "kept"),
        "poll_interval": 0.05,
        "wait_for_completion": True,
        "deferrable": True,
        **arguments,
    }
    seen: list[Counter[str]] = []
    method, event = "execute", {}
    while True:
        operator = GoEnhanceCollectOperator(task_id="collect", **arguments)
        try:
            return dict(getattr(operator, method)(context, **event)), seen
        except TaskDeferred as deferral:
            seen.append(statuses(batch))
            method, event = deferral.method_name, {"event": event_of_trigger(deferral)}


@pytest.mark.slow
def test_the_collect_operator_keeps_pictures_while_a_straggler_runs(straggling: MakeTask) -> None:
    batch = straggling(wait_for_completion=False)
    assert batch.attempt().error is None

    with pytest.raises(
        CollectError, match=r"1 of 4 paid jobs could not be downloaded or stored; .* Still running"
    ):
        collect(batch, timeout=4)

    assert statuses(batch) == {"succeeded": 3, "failed": 1}
    batch.sandbox.put_faults(job=None)
    # The wait of a row that timed out begins again, and its row is `submitted` again.
    with pytest.raises(CollectError, match="1 of 1 paid job"):
        collect(batch, timeout=1)


def test_the_collect_operator_counts_over_hand_overs_what_was_lost(
    straggling: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = straggling(wait_for_completion=False)
    assert batch.attempt().error is None
    batch.sandbox.put_faults(result={"kind": "html", "count": 1})

    with pytest.raises(
        CollectError, match="2 of 4 paid jobs could not be downloaded or stored; the first: pair"
    ):
        collect(batch, timeout=4)

    assert statuses(batch) == {"succeeded": 2, "failed": 2}


def test_a_collect_operator_that_waits_in_the_worker_keeps_pictures_meanwhile(straggling: MakeTask) -> None:
    batch = straggling(wait_for_completion=False)
    assert batch.attempt().error is None
    with pytest.raises(CollectError, match="1 of 4 paid jobs"):
        collect(batch, timeout=2, deferrable=False)
    kept = [row for row in batch.rows().values() if row["status"] == "succeeded"]
    failed = batch.row(1)
    assert len(kept) == 3
    assert all(row["result_sha256"] for row in kept)
    assert failed["error_code"] == "job_timed_out"


# -- XCom -------------------------------------------------------------------------------------------------------------


def test_a_task_with_many_pairs_returns_counts_and_where_its_rows_are(
    task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__GOENHANCE__MAX_XCOM_PAIRS", "3")
    few = task(kind="batch", pairs=3).attempt()
    assert set(few.xcoms["img_uuids"]) == {"pair-1", "pair-2", "pair-3"}
    assert [entry["status"] for entry in few.value] == ["succeeded"] * 3

    many_task = task(kind="batch", pairs=4, reuse="never", deferrable=False)
    many_task.ti.run_id = "run-2"
    many = many_task.attempt()
    rows = {
        "results_conn_id": "goenhance_results",
        "dag_id": "light",
        "run_id": "run-2",
        "task_id": "swap",
        "map_index": -1,
    }
    assert many.value == {"pairs": 4, "counts": {"succeeded": 4}, "rows": rows}
    assert many.xcoms["img_uuids"] == {"pairs": 4, "counts": {"succeeded": 4}, "rows": rows}
