# SPDX-License-Identifier: Apache-2.0
"""Speaking to Airflow's REST API: the log-in, health, errors."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from include.local.airflow_api import AirflowApi, last_error
from include.local.errors import LocalStackError

START = dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.UTC)
BEFORE, AFTER = "2026-11-22T11:59:00Z", "2026-11-22T12:00:05Z"


def airflow(answer: Callable[[httpx.Request], httpx.Response], **options: Any) -> AirflowApi:
    """An Airflow that accepts the credentials and returns the given responses; its client makes no pauses."""

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/auth/token":
            return httpx.Response(201, json={"access_token": "jwt"})
        return answer(request)

    options = {"sleep": lambda seconds: None} | options
    return AirflowApi("http://127.0.0.1:8080", "secret", transport=httpx.MockTransport(handle), **options)


def health_report(**changes: Any) -> dict[str, Any]:
    report: dict[str, Any] = {"metadatabase": {"status": "healthy"}}
    for name in ("scheduler", "triggerer", "dag_processor"):
        report[name] = {"status": "healthy", f"latest_{name}_heartbeat": AFTER}
    return report | changes


def test_healthy_components_are_reported_healthy() -> None:
    api = airflow(lambda request: httpx.Response(200, json=health_report()))
    assert set(api.health(since=START).values()) == {"healthy"}


def test_a_heartbeat_of_an_earlier_stack_counts_as_starting() -> None:
    old = health_report(scheduler={"status": "healthy", "latest_scheduler_heartbeat": BEFORE})
    api = airflow(lambda request: httpx.Response(200, json=old))
    assert api.health(since=START)["scheduler"] == "starting"


def test_an_airflow_that_does_not_listen_yet_has_no_health() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    assert set(airflow(refuse).health().values()) == {"no answer"}


def test_a_dag_that_was_not_read_yet_is_none() -> None:
    assert airflow(lambda request: httpx.Response(404)).dag("d") is None


def test_every_call_bears_the_token_of_the_log_in() -> None:
    api = airflow(lambda request: httpx.Response(200, json={"state": request.headers["Authorization"]}))
    assert api.run_state("d", "r") == "Bearer jwt"


def test_somebody_elses_airflow_is_recognised_by_its_refusing_our_log_in() -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(401))
    api = AirflowApi("http://127.0.0.1:8080", "secret", transport=transport)
    with pytest.raises(LocalStackError, match=r"rejects the credentials of this checkout .*AIRFLOW_PORT"):
        api.run_state("d", "r")


def test_a_refusal_carries_airflows_own_words() -> None:
    api = airflow(lambda request: httpx.Response(409, json={"detail": "run exists"}))
    with pytest.raises(LocalStackError, match="HTTP 409 run exists"):
        api.trigger("d", "r", {})


def test_a_lost_airflow_is_an_error_that_names_its_address() -> None:
    def lose(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("slow")

    with pytest.raises(LocalStackError, match=r"http://127\.0\.0\.1:8080 does not answer: slow"):
        airflow(lose).run_state("d", "r")


class Answers:
    """Answers a request with one after the other; an exception is raised."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.left = list(answers)
        self.asked = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        answer = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


LOCKED = httpx.Response(500, json={"detail": "database is locked"})
PASSING = [
    LOCKED,
    httpx.Response(502),
    httpx.Response(503),
    httpx.Response(429),
    httpx.ConnectError("refused"),
    httpx.ReadTimeout("slow"),
    httpx.RemoteProtocolError("closed"),
]


@pytest.mark.parametrize("trouble", PASSING)
def test_what_passes_by_itself_is_asked_again(trouble: httpx.Response | Exception) -> None:
    answers, pauses = Answers(trouble, trouble, trouble, httpx.Response(200, json={})), list[float]()
    airflow(answers, sleep=pauses.append).unpause("d")
    assert answers.asked == 4
    assert pauses == [0.5, 1.0, 2.0]


@pytest.mark.parametrize("trouble", PASSING)
def test_a_log_in_is_repeated_too(trouble: httpx.Response | Exception) -> None:
    answers = Answers(
        trouble, httpx.Response(201, json={"access_token": "jwt"}), httpx.Response(200, json={})
    )
    transport = httpx.MockTransport(answers)
    AirflowApi("http://127.0.0.1:8080", "x", transport=transport, sleep=lambda seconds: None).unpause("d")
    assert answers.asked == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
def test_a_refusal_is_final(status: int) -> None:
    answers = Answers(httpx.Response(status))
    with pytest.raises(LocalStackError, match=f"HTTP {status}"):
        airflow(answers).unpause("d")
    assert answers.asked == 1


def test_what_does_not_pass_is_named_with_its_cause_and_for_how_long_it_was_tried() -> None:
    answers = Answers(LOCKED)
    with pytest.raises(
        LocalStackError,
        match=r"refused PATCH /api/v2/dags/d: HTTP 500 database is locked \(asked again for 46 s; ",
    ):
        airflow(answers).unpause("d")
    assert answers.asked == 10


@pytest.mark.parametrize("trouble", PASSING)
def test_a_run_that_a_lost_answer_hides_is_triggered_once(trouble: httpx.Response | Exception) -> None:
    answers = Answers(trouble, httpx.Response(409, json={"detail": "run exists"}))
    airflow(answers).trigger("d", "r", {})
    assert answers.asked == 2


def test_a_component_that_has_ended_ends_the_waiting() -> None:
    def ended() -> None:
        raise LocalStackError("api-server has stopped unexpectedly")

    answers = Answers(httpx.ConnectError("refused"))
    with pytest.raises(LocalStackError, match="has stopped unexpectedly"):
        airflow(answers, check=ended).run_state("d", "r")
    assert answers.asked == 1


def test_a_run_is_given_up_without_waiting() -> None:
    answers = Answers(LOCKED)
    with pytest.raises(LocalStackError):
        airflow(answers).fail_run("d", "r")
    assert answers.asked == 1


def test_import_errors_of_earlier_starts_are_left_out() -> None:
    errors = [
        {"filename": "old.py", "stack_trace": "x", "timestamp": BEFORE},
        {"filename": "new.py", "stack_trace": "Traceback\n  ...\nNameError: name 'a'\n", "timestamp": AFTER},
    ]
    api = airflow(lambda request: httpx.Response(200, json={"import_errors": errors}))
    assert api.import_errors(since=START) == ["new.py: NameError: name 'a'"]


def test_the_message_of_the_last_exception_is_found_in_a_log() -> None:
    log = [
        {"event": "retrying", "level": "error"},
        {"event": "Task failed", "error_detail": [{"exc_type": "A", "exc_value": "first"}]},
        {
            "event": "Task failed",
            "error_detail": [{"exc_type": "B", "exc_value": "cause"}, {"exc_value": "last"}],
        },
        {"event": "done", "level": "info"},
    ]
    assert last_error(log) == "last"


def test_an_exception_without_words_is_named_by_its_class() -> None:
    assert last_error([{"error_detail": [{"exc_type": "KeyError", "exc_value": ""}]}]) == "KeyError"


def test_without_an_exception_the_first_logged_error_serves() -> None:
    assert last_error([{"event": "killed", "level": "error"}, {"event": "bye", "level": "info"}]) == "killed"


def test_a_log_without_errors_has_no_message() -> None:
    assert last_error([{"event": "fine", "level": "info"}, "plain line"]) is None
