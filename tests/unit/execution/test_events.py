# SPDX-License-Identifier: Apache-2.0
"""The trigger's event, as it is written and as the task reads it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_goenhance.api.polling import WaitOutcome
from airflow_provider_goenhance.exceptions import AuthenticationError, GoEnhanceError, ServerError
from airflow_provider_goenhance.execution.events import event_of, event_of_error, outcome_of


def test_the_outcome_of_the_jobs_survives_the_way_to_the_task() -> None:
    outcome = WaitOutcome(
        succeeded=["a"],
        failed={"b": "no face"},
        declined={"c": "no such job"},
        running=["d"],
        last_error="slow",
    )
    read = outcome_of(json.loads(json.dumps(event_of(outcome))))
    assert (read.failed, read.declined, read.running, read.last_error) == (
        {"b": "no face"},
        {"c": "no such job"},
        ["d"],
        "slow",
    )


def test_the_event_of_many_finished_jobs_is_small() -> None:
    event = event_of(WaitOutcome(succeeded=[f"job-{n}" for n in range(10_000)]))
    assert len(json.dumps(event)) < 200


@pytest.mark.parametrize(
    "event",
    [
        None,
        "finished",
        [],
        {},
        {"status": "completed"},
        {"status": None},
        # What is missing here would be taken for jobs that succeeded.
        {"status": "finished"},
        {"status": "finished", "failed": {}, "declined": {}, "running": None},
        {"status": "finished", "failed": [], "declined": {}, "running": []},
        {"status": "error", "message": "boom"},
        {"status": "error"},
    ],
)
def test_an_event_that_makes_no_sense_is_an_error_that_may_be_retried_and_never_a_success(event: Any) -> None:
    with pytest.raises(GoEnhanceError, match="a retry re-attaches to them and pays nothing") as raised:
        outcome_of(event)
    assert raised.value.retryable


def test_a_refused_token_is_the_same_error_as_in_a_worker() -> None:
    event = event_of_error(AuthenticationError("GoEnhance refused the API token of connection 'c'."))
    with pytest.raises(AuthenticationError, match="connection 'c'") as raised:
        outcome_of(event)
    assert not raised.value.retryable


@pytest.mark.parametrize("error", [ServerError("HTTP 500"), RuntimeError("HTTP 500")])
def test_another_fault_is_reported_with_its_message(error: Exception) -> None:
    with pytest.raises(GoEnhanceError, match="HTTP 500"):
        outcome_of(event_of_error(error))


def test_an_event_carries_no_signed_link_and_never_an_empty_message() -> None:
    assert event_of_error(RuntimeError("https://a.b/c?sig=1"))["message"] == "https://a.b/c?..."
    assert event_of_error(RuntimeError())["message"] == "RuntimeError"
