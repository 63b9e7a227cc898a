# SPDX-License-Identifier: Apache-2.0
"""A run that misses its deadline says how far it is, and a results table that cannot be read does not hide that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_goenhance.hooks.results import open_ledger
from airflow_provider_goenhance.notifications.deadline import describe_unfinished_run, log_unfinished_run
from airflow_provider_goenhance.results.ledger import RunKey
from airflow_provider_goenhance.results.states import Status
from tests.swaps import planned

STATUSES = (Status.PLANNED, Status.SUBMITTING, Status.SUBMITTED, Status.SUCCEEDED, Status.HELD)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Define a connection to a file that does not exist yet."""
    path = tmp_path / "results.db"
    monkeypatch.setenv("AIRFLOW_CONN_RESULTS_TEST", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    return path


@pytest.fixture
def run(results: Path) -> Path:
    with open_ledger("results_test") as ledger:
        rows = [planned(number, status=status) for number, status in enumerate(STATUSES)]
        ledger.plan(RunKey("dag", "run"), [*rows, planned(9, task_id="another")])
    return results


@pytest.mark.usefixtures("run")
def test_pairs_that_are_planned_or_under_way_are_not_done() -> None:
    line = describe_unfinished_run("dag", "run", results_conn_id="results_test", task_id="swap")

    assert line == (
        "Run run of Dag dag has missed its deadline: 3 pairs are not done. run run: pairs=5 succeeded=1 reused=0 "
        "failed=0 rejected=0 held=1 unknown=0 planned=1 submitting=1 submitted=1"
    )


@pytest.mark.usefixtures("run")
def test_without_a_task_the_rows_of_all_tasks_count() -> None:
    line = describe_unfinished_run("dag", "run", results_conn_id="results_test")
    assert "4 pairs are not done. run run: pairs=6" in line


@pytest.mark.usefixtures("results")
def test_a_results_table_that_is_not_there_is_named(results: Path) -> None:
    line = describe_unfinished_run("dag", "run", results_conn_id="results_test")

    assert line.startswith(
        "Run run of Dag dag has missed its deadline. The results table (connection 'results_"
    )
    assert not results.exists()


@pytest.mark.usefixtures("run")
async def test_the_callback_logs_an_error_and_returns_nothing(caplog: pytest.LogCaptureFixture) -> None:
    context: dict[str, Any] = {"dag_run": {"dag_id": "dag", "dag_run_id": "run"}}

    # Airflow makes what a callback returns a tag of a metric.
    returned = await log_unfinished_run(context, results_conn_id="results_test", task_id="swap")  # type: ignore[func-returns-value]

    assert returned is None
    [record] = caplog.records
    assert record.levelname == "ERROR"
    assert record.getMessage().startswith("Run run of Dag dag has missed its deadline: 3 pairs are not done.")


@pytest.mark.parametrize("context", [None, {}, {"dag_run": None}, {"dag_run": {"dag_id": "dag"}}])
async def test_a_callback_that_is_not_passed_its_run_says_so(
    context: Any, caplog: pytest.LogCaptureFixture
) -> None:
    await log_unfinished_run(context)
    assert caplog.messages == ["A run of face swaps has missed its deadline; Airflow did not pass which."]
