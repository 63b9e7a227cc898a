# SPDX-License-Identifier: Apache-2.0
"""The trigger's event, as it is written and as the task reads it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_goenhance.api.polling import WaitOutcome
from airflow_provider_goenhance.exceptions import AuthenticationError, GoEnhanceError, ServerError
from airflow_provider_goenhance.execution.events import event_of, event_of_error, resumed_by
from airflow_provider_goenhance.execution.wait_plan import MOST_ROUNDS


def ask_nobody(img_uuids: list[str]) -> WaitOutcome:
    raise AssertionError(f"asked about {img_uuids}")


def jobs(count: int, name: str = "job") -> list[str]:
    """Return UUIDs of the usual length."""
    return [f"{name:0<24}-{number:011d}" for number in range(count)]


def sent(outcome: WaitOutcome, **carried: Any) -> Any:
    """Return an event as the task receives it."""
    return json.loads(json.dumps(event_of(outcome, carried or None)))


def test_the_outcome_of_the_jobs_survives_the_way_to_the_task() -> None:
    outcome = WaitOutcome(
        succeeded=["a"],
        failed={"b": "no face"},
        declined={"c": "no such job"},
        running=["d"],
        last_error="slow",
    )
    read = resumed_by(sent(outcome)).complete(["a", "b", "c", "d"], ask_nobody)
    assert (read.failed, read.declined, read.running, read.last_error) == (
        {"b": "no face"},
        {"c": "no such job"},
        ["d"],
        "slow",
    )


def test_the_event_of_many_finished_jobs_is_small() -> None:
    event = event_of(WaitOutcome(succeeded=jobs(10_000)))
    assert len(json.dumps(event)) < 300
    assert event["jobs"] == 10_000


@pytest.mark.parametrize(
    ("ended", "running"), [(10, 9_990), (9_990, 10), (500, 9_500), (9_500, 500), (0, 10_000), (10_000, 0)]
)
def test_of_ten_thousand_jobs_the_fewer_are_listed(ended: int, running: int) -> None:
    every = jobs(10_000)
    outcome = WaitOutcome(succeeded=every[:ended], running=every[ended:], handed_over=True)
    event = sent(outcome)
    assert len(json.dumps(event)) < 30_000
    assert resumed_by(event).complete(every, ask_nobody).running == every[ended:]


def test_where_neither_those_that_ended_nor_those_that_run_fit_goenhance_is_asked() -> None:
    every = jobs(10_000)
    event = sent(WaitOutcome(succeeded=every[:5_000], running=every[5_000:], handed_over=True))
    assert len(json.dumps(event)) < 1_000
    asked = WaitOutcome(succeeded=every[:4_999], failed={every[4_999]: "no face"}, running=every[5_000:])
    read = resumed_by(event).complete(every, lambda uuids: asked if uuids == every else ask_nobody(uuids))
    assert read.running == every[5_000:]
    assert read.failed == {every[4_999]: "no face"}


def test_an_event_stays_below_64_kib_whatever_has_become_of_ten_thousand_jobs() -> None:
    ended, failed, lost, running = (jobs(2_500, name) for name in ("done", "fail", "lost", "runs"))
    outcome = WaitOutcome(
        succeeded=ended,
        failed=dict.fromkeys(failed, "\N{GREEK SMALL LETTER ALPHA}" * 10_000),
        declined=dict.fromkeys(lost, "no such job " * 1_000),
        running=running,
        doubted=dict.fromkeys(running, 4),
        doubted_since=dict.fromkeys(running, 1_795_000_000.123456),
        last_error="trouble " * 10_000,
        handed_over=True,
    )
    event = event_of(outcome, {"rounds": [[1_795_000_000.123456, 1_795_003_600.123456]] * MOST_ROUNDS})
    assert len(json.dumps(event).encode()) < 60_000


def test_failed_jobs_that_do_not_fit_count_as_ended_so_that_the_task_asks_for_each() -> None:
    failed, running = jobs(300, "fail"), jobs(1_000, "runs")
    outcome = WaitOutcome(failed=dict.fromkeys(failed, "no face " * 50), running=running, handed_over=True)
    read = resumed_by(sent(outcome)).complete([*failed, *running], ask_nobody)
    assert 0 < len(read.failed) < len(failed)
    assert read.running == running


def test_jobs_that_goenhance_does_not_know_and_that_do_not_fit_come_with_a_later_event() -> None:
    lost = jobs(1_000, "lost")
    event = sent(WaitOutcome(declined=dict.fromkeys(lost, "no such job")))
    read = resumed_by(event).complete(lost, ask_nobody)
    assert 0 < len(read.declined) < len(lost)
    # The wait for the others goes on: they are neither done nor timed out.
    assert read.handed_over
    assert set(read.running) == set(lost) - set(read.declined)


def test_what_a_task_has_given_the_trigger_to_carry_comes_back() -> None:
    assert resumed_by(sent(WaitOutcome(), until=1.5)).carried == {"until": 1.5}
    assert resumed_by(event_of_error(RuntimeError("x"), {"until": 1.5}, unreadable=True)).carried == {
        "until": 1.5
    }


def test_the_event_of_a_triggerer_of_an_earlier_release_lists_the_jobs_that_run() -> None:
    old = {"status": "finished", "failed": {"b": "no face"}, "declined": {}, "running": ["c"]}
    resumed = resumed_by(old)
    read = resumed.complete(["a", "b", "c"], ask_nobody)
    assert (read.running, read.failed, read.handed_over) == (["c"], {"b": "no face"}, False)
    assert (resumed.carried, resumed.jobs) == (None, None)


def test_a_results_table_that_the_triggerer_cannot_read_says_nothing_about_any_job() -> None:
    resumed = resumed_by(event_of_error(RuntimeError("no such file"), unreadable=True))
    assert resumed.unreadable == "no such file"
    assert resumed.complete(["a"], lambda uuids: WaitOutcome(running=uuids)).running == ["a"]


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
        {"status": "handed_over", "failed": {}, "declined": {}, "running": [], "listed": "some"},
        {"status": "handed_over", "failed": {}, "declined": {}, "running": [], "ended": None},
        {"status": "error", "message": "boom"},
        {"status": "error"},
    ],
)
def test_an_event_that_makes_no_sense_is_an_error_that_may_be_retried_and_never_a_success(event: Any) -> None:
    with pytest.raises(GoEnhanceError, match="a retry re-attaches to them and pays nothing") as raised:
        resumed_by(event)
    assert raised.value.retryable


def test_a_refused_token_is_the_same_error_as_in_a_worker() -> None:
    event = event_of_error(AuthenticationError("GoEnhance refused the API token of connection 'c'."))
    with pytest.raises(AuthenticationError, match="connection 'c'") as raised:
        resumed_by(event)
    assert not raised.value.retryable


@pytest.mark.parametrize("error", [ServerError("HTTP 500"), RuntimeError("HTTP 500")])
def test_another_fault_is_reported_with_its_message(error: Exception) -> None:
    with pytest.raises(GoEnhanceError, match="HTTP 500"):
        resumed_by(event_of_error(error))


def test_an_event_carries_no_signed_link_and_never_an_empty_message() -> None:
    assert event_of_error(RuntimeError("https://a.b/c?sig=1"))["message"] == "https://a.b/c?..."
    assert event_of_error(RuntimeError())["message"] == "RuntimeError"
