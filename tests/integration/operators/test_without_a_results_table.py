# SPDX-License-Identifier: Apache-2.0
"""The single operator on Airflow's task state store, and on cores that have none."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from airflow.sdk.execution_time.context import NEVER_EXPIRE

from airflow_provider_goenhance.exceptions import JobTimedOutError, SubmitOutcomeUnknownError

from .light_runner import LightTask


@pytest.fixture
def swap(task: Callable[..., LightTask]) -> LightTask:
    return task(results_conn_id=None)


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_retry_takes_up_the_job_of_the_attempt_before(swap: LightTask, deferrable: bool) -> None:
    swap.arguments |= {"deferrable": deferrable, "timeout": 0.2}
    swap.let_no_job_end()

    first = swap.attempt()
    swap.let_jobs_end()
    swap.arguments["timeout"] = 120
    second = swap.attempt()

    assert isinstance(first.error, JobTimedOutError)
    assert second.value == swap.sandbox.submissions()[1]["img_uuid"]
    assert swap.accepted() == 1 + 1


def test_a_submit_with_unknown_outcome_is_held(swap: LightTask) -> None:
    swap.sandbox.put_faults(submit={"kind": "disconnect", "when": "after", "count": 1})

    first, second = swap.attempt(), swap.attempt()

    assert isinstance(first.error, SubmitOutcomeUnknownError)
    assert isinstance(second.error, SubmitOutcomeUnknownError)
    assert swap.accepted() == 1


def test_a_clear_takes_up_the_job_too_unless_told_to_resubmit(swap: LightTask) -> None:
    swap.attempt()
    swap.clear()
    swap.attempt()
    assert swap.accepted() == 1

    swap.arguments["on_clear"] = "resubmit"
    swap.clear()
    swap.attempt()
    assert swap.accepted() == 2


@pytest.mark.parametrize("nothing", [None, "", "None"])
def test_a_results_conn_id_that_renders_to_nothing_means_no_table(
    swap: LightTask, nothing: str | None
) -> None:
    swap.arguments["results_conn_id"] = nothing

    assert swap.attempt().error is None
    assert not (swap.folder / "results.db").exists()


def test_an_airflow_without_task_state_is_warned_about_and_the_wait_stays_in_the_worker(
    swap: LightTask, capfd: pytest.CaptureFixture[str]
) -> None:
    swap.state_store = None
    swap.arguments["deferrable"] = True

    ending = swap.attempt()

    assert "Without a results table, a retry could not know of this submit" in capfd.readouterr().out
    # After a deferral a new process would not know that it has submitted, and pay again.
    assert ending.deferrals == 0
    assert ending.value == swap.sandbox.submissions()[0]["img_uuid"]
    assert swap.accepted() == 1


def test_an_airflow_without_task_state_refuses_a_second_try_before_anything_is_sent(swap: LightTask) -> None:
    swap.state_store = None
    assert swap.attempt().error is None

    ending = swap.attempt()

    assert isinstance(ending.error, ValueError)
    assert "may have submitted the pair" in ending.message
    assert "results_conn_id" in ending.message
    assert swap.accepted() == 1


def test_an_airflow_that_forgets_a_submit_on_success_is_refused_before_anything_is_sent(
    swap: LightTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__STATE_STORE__CLEAR_ON_SUCCESS", "True")

    ending = swap.attempt()

    assert isinstance(ending.error, ValueError)
    assert "clear_on_success" in ending.message
    assert "results_conn_id" in ending.message
    assert swap.accepted() == 0

    swap.arguments["results_conn_id"] = "goenhance_results"
    assert swap.attempt().error is None


def test_the_submit_is_kept_however_old_it_gets(swap: LightTask) -> None:
    swap.attempt()

    assert set(swap.state_store.retentions) == {NEVER_EXPIRE}
