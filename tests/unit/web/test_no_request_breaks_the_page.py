# SPDX-License-Identifier: Apache-2.0
"""schemathesis asks the page for anything that its routes may be asked: no answer is an error of the server."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import hypothesis
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings

from airflow_provider_goenhance.hooks.results import open_results
from airflow_provider_goenhance.results.ledger import Ledger
from airflow_provider_goenhance.results.row_version import version_of
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.web.actions import policies
from airflow_provider_goenhance.web.app import create_app
from tests.unit.web.serving import row, token, write

schemathesis = pytest.importorskip("schemathesis", reason="install schemathesis to run this test")

OPERATIONS = [
    "GET /runs",
    "GET /swaps",
    "GET /swap",
    "GET /changes",
    "GET /picture",
    "GET /thumbnail",
    "GET /input",
    "GET /contact-sheet",
    "GET /actions/again",
    "GET /actions/rows.csv",
    "GET /actions/failures.csv",
    "POST /actions/clear",
    "POST /actions/review",
    "POST /actions/settle",
    "POST /actions/pictures.zip",
    "GET /static/{version}/{name}",
]


@pytest.fixture
def pages(server: TestClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """The page's application with rows in several states, for a user who may do everything."""
    monkeypatch.setattr(policies, "rendered_fields", lambda key, task_ids: [])
    write(
        row(1),
        row(2, status=Status.FAILED, error_code="job_failed"),
        row(3, status=Status.UNKNOWN),
        row(4, status=Status.REJECTED, batch=None),
    )
    app = FastAPI()
    app.mount("/goenhance", create_app())
    with TestClient(
        app, headers=token("admin"), follow_redirects=False, raise_server_exceptions=False
    ) as client:
        yield client


def _versions(ids: list[str]) -> dict[str, str]:
    """The rows as they are now, as a page sends them that has just been loaded."""
    return {row.swap_id: version_of(row) for row in Ledger(open_results()).by_ids(ids)}


def test_every_route_is_asked() -> None:
    paths = create_app().openapi()["paths"]
    assert {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods} == set(
        OPERATIONS
    )


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_request_is_an_error_of_the_server(pages: TestClient, operation: str) -> None:
    method, _, path = operation.partition(" ")
    answers: Counter[int] = Counter()
    schema = schemathesis.openapi.from_dict(create_app().openapi())
    strategies = schema[path][method].as_strategy()

    @given(case=strategies)
    @settings(
        max_examples=int(os.environ.get("GOENHANCE_PAGE_EXAMPLES", "25")),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: object) -> None:
        # Half of what is asked is about rows that exist.
        query = dict(case.query or {})  # type: ignore[attr-defined]
        body = case.body if isinstance(case.body, dict) else None  # type: ignore[attr-defined]
        for known in ({}, {"dag_id": "mine", "run_id": "run", "swap_id": "id-1"}):
            asked = query | {name: value for name, value in known.items() if name in query}
            ids = [f"id-{number}" for number in (1, 2, 3, 4)]
            chosen = {"swap_ids": ids} if path.endswith(".zip") else {"rows": _versions(ids)}
            sent = body | chosen if body and known else body
            answer = pages.request(
                method,
                f"/goenhance{case.formatted_path}",  # type: ignore[attr-defined]
                params=asked,
                headers={"Sec-Fetch-Site": "same-origin"},
                **({} if sent is None else {"data" if path.endswith(".zip") else "json": sent}),
            )
            answers[answer.status_code] += 1
            hypothesis.note(f"{operation} {asked} {sent!r}")
            assert answer.status_code < 500, answer.text[:500]

    ask()
    assert sum(answers.values()) >= 2
