# SPDX-License-Identifier: Apache-2.0
"""The jobs of some rows, read by where the rows are."""

from __future__ import annotations

import dataclasses
import datetime as dt

import pytest

from airflow_provider_goenhance.results.ledger import Ledger, Outcome, RunKey
from airflow_provider_goenhance.results.outcome_transitions import WaitedAgain
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap
from airflow_provider_goenhance.results.waiting_jobs import RowsOf, has_rows, read_waiting_jobs
from tests.integration.results.databases import TestDatabase
from tests.swaps import planned

SUBMITTED = dt.datetime(2026, 11, 1, 2, tzinfo=dt.UTC)


def submitted(number: int, *, run_id: str = "run", **values: object) -> Swap:
    fields = {
        "status": Status.SUBMITTED,
        "img_uuid": f"{run_id}-job-{number}",
        "account": "account",
        "submitted_at": SUBMITTED + dt.timedelta(seconds=number),
        **values,
    }
    return dataclasses.replace(planned(number, run_id=run_id), **fields)


@pytest.fixture
def ledger(database: TestDatabase) -> Ledger:
    ledger = Ledger(database)
    rows = [
        *(submitted(number, batch=number // 2) for number in range(6)),
        submitted(6, batch=None, map_index=None, task_id="pairs"),
        submitted(7, batch=None, map_index=0, task_id="pairs"),
        submitted(8, batch=None, map_index=1, task_id="pairs"),
        dataclasses.replace(planned(9), batch=0),
        submitted(10, batch=0, status=Status.SUCCEEDED, result_uri="file:///kept.jpg"),
        submitted(11, batch=0, status=Status.FAILED, error_code="job_timed_out"),
    ]
    ledger.plan(RunKey("dag", "run"), rows)
    ledger.plan(RunKey("dag", "other"), [submitted(0, run_id="other", account="another")])
    return ledger


def jobs(ledger: Ledger, **where: object) -> list[str]:
    found = read_waiting_jobs(ledger.database, RowsOf(**where))  # type: ignore[arg-type]
    assert found.known
    return [img_uuid.removeprefix("run-job-") for img_uuid in found.img_uuids]


def test_the_jobs_of_a_batch_are_those_of_its_submitted_rows_in_the_manifests_order(ledger: Ledger) -> None:
    run = {"dag_id": "dag", "run_id": "run", "task_id": "swap"}
    assert jobs(ledger, **run, batch=0) == ["0", "1"]
    assert jobs(ledger, **run, batch=2) == ["4", "5"]


def test_the_jobs_of_pairs_are_found_by_map_index(ledger: Ledger) -> None:
    run = {"dag_id": "dag", "run_id": "run", "task_id": "pairs"}
    assert jobs(ledger, **run, map_index=-1) == ["6"]
    assert jobs(ledger, **run, map_index=0) == ["7"]
    assert jobs(ledger, **run, map_index=1) == ["8"]


def test_the_jobs_of_a_run_or_of_all_runs_of_an_account_within_some_time(ledger: Ledger) -> None:
    assert jobs(ledger, dag_id="dag", run_id="other") == ["other-job-0"]
    assert jobs(ledger, account="another") == ["other-job-0"]
    start = SUBMITTED.timestamp()
    assert jobs(ledger, account="account", submitted_after=start + 2, submitted_before=start + 5) == [
        "2",
        "3",
        "4",
    ]


def test_a_table_without_rows_there_is_not_taken_for_one_whose_jobs_have_ended(ledger: Ledger) -> None:
    gone = {"dag_id": "dag", "run_id": "run", "task_id": "swap", "batch": 7}
    assert read_waiting_jobs(ledger.database, RowsOf(**gone)).known is False  # type: ignore[arg-type]
    assert not has_rows(ledger.database, RowsOf(**gone))  # type: ignore[arg-type]
    ended = RowsOf(dag_id="dag", run_id="run", task_id="swap", batch=0)
    ledger.record_outcomes(
        [Outcome(row.swap_id, str(row.img_uuid), Status.FAILED, error_code="job_failed")
         for row in ledger.of_run(RunKey("dag", "run"), batch=0) if row.img_uuid]
    )  # fmt: skip
    found = read_waiting_jobs(ledger.database, ended)
    assert (found.img_uuids, found.known, has_rows(ledger.database, ended)) == ([], True, True)


def test_a_row_that_timed_out_is_submitted_again_once_its_job_is_waited_for(ledger: Ledger) -> None:
    rows = {row.pair_id: row for row in ledger.of_run(RunKey("dag", "run"))}
    ledger.take([WaitedAgain.of(rows["p11"]), WaitedAgain.of(rows["p10"])])
    assert jobs(ledger, dag_id="dag", run_id="run", batch=0, task_id="swap") == ["0", "1", "11"]
    again = ledger.by_ids([rows["p11"].swap_id])[0]
    assert again == WaitedAgain.after(rows["p11"])
    assert (again.error_code, again.error_message) == (None, None)


def test_a_row_whose_job_failed_meanwhile_is_not_waited_for_again(ledger: Ledger) -> None:
    row = next(row for row in ledger.of_run(RunKey("dag", "run")) if row.pair_id == "p11")
    ledger.record_outcomes([Outcome(row.swap_id, str(row.img_uuid), Status.FAILED, error_code="job_failed")])
    ledger.take([WaitedAgain.of(row)])
    (now,) = ledger.by_ids([row.swap_id])
    assert (now.status, now.error_code) == (Status.FAILED, "job_failed")


def test_where_rows_are_is_stored_as_what_is_set() -> None:
    rows = RowsOf(dag_id="dag", run_id="run", task_id="swap", batch=0)
    assert rows.to_dict() == {"dag_id": "dag", "run_id": "run", "task_id": "swap", "batch": 0}
    assert RowsOf(**rows.to_dict()) == rows
