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


def airflow(answer: Callable[[httpx.Request], httpx.Response]) -> AirflowApi:
    """An Airflow that accepts the credentials and returns the given responses."""

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/auth/token":
            return httpx.Response(201, json={"access_token": "jwt"})
        return answer(request)

    return AirflowApi("http://127.0.0.1:8080", "secret", transport=httpx.MockTransport(handle))


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
