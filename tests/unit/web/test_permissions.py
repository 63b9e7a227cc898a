# SPDX-License-Identifier: Apache-2.0
"""Who may see and do what: rights for each Dag, the log-in, and requests of other sites."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from fastapi import APIRouter
from fastapi.testclient import TestClient

from airflow_provider_goenhance.web.permissions import may_edit, same_origin
from tests.unit.web.serving import PAGE, token

SWAPS = {"dag_id": "mine", "run_id": "run"}


@pytest.fixture
def only_mine(monkeypatch: pytest.MonkeyPatch) -> None:
    """An auth manager with rights for each Dag: everybody may do everything with `mine`, and nothing with others."""

    def is_authorized_dag(self: SimpleAuthManager, **asked: object) -> bool:
        return asked["details"].id == "mine"  # type: ignore[attr-defined]

    monkeypatch.setattr(SimpleAuthManager, "is_authorized_dag", is_authorized_dag)


@pytest.mark.usefixtures("only_mine")
def test_the_runs_of_a_dag_that_the_user_may_not_see_are_not_listed(client: TestClient) -> None:
    answer = client.get("/goenhance/runs", headers=token("viewer"))

    assert "dag_id=mine" in answer.text
    assert "other" not in answer.text


@pytest.mark.usefixtures("only_mine")
@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("runs", {"dag_id": "other"}),
        ("swaps", {"dag_id": "other", "run_id": "run"}),
        ("swap", {"dag_id": "other", "swap_id": "id-other"}),
        ("picture", {"dag_id": "other", "swap_id": "id-other"}),
        ("thumbnail", {"dag_id": "other", "swap_id": "id-other"}),
        ("input", {"dag_id": "other", "swap_id": "id-other", "of": "source"}),
        ("changes", {"dag_id": "other", "run_id": "run"}),
    ],
)
def test_nothing_of_a_dag_is_shown_to_those_who_may_not_see_it(
    client: TestClient, path: str, query: dict[str, str]
) -> None:
    assert client.get(f"/goenhance/{path}", params=query, headers=token("viewer")).status_code == 403


@pytest.mark.usefixtures("only_mine")
@pytest.mark.parametrize("path", ["swap", "picture", "thumbnail", "input"])
def test_a_row_of_another_dag_is_not_reached_through_a_dag_that_one_may_see(
    client: TestClient, path: str
) -> None:
    query = {"dag_id": "mine", "swap_id": "id-other", "of": "source"}

    assert client.get(f"/goenhance/{path}", params=query, headers=token("viewer")).status_code == 404


def test_a_browser_without_a_session_goes_to_the_log_in_and_comes_back(client: TestClient) -> None:
    answer = client.get("/goenhance/swaps", params={**SWAPS, "q": "a&b"}, headers=PAGE)

    assert answer.status_code == 303
    to = urlsplit(answer.headers["Location"])
    assert to.path == "/auth/login"
    (back,) = parse_qs(to.query)["next"]
    assert urlsplit(back).path == "/goenhance/swaps"
    assert parse_qs(urlsplit(back).query) == {"dag_id": ["mine"], "run_id": ["run"], "q": ["a&b"]}


def test_the_way_back_is_below_the_address_that_browsers_know(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example/team")

    answer = client.get("/goenhance/runs", headers=PAGE)

    assert answer.headers["Location"] == (
        "https://airflow.example/team/auth/login?next=https%3A%2F%2Fairflow.example%2Fteam%2Fgoenhance%2Fruns"
    )


def test_a_script_without_a_session_is_told_so_and_sent_nowhere(client: TestClient) -> None:
    answer = client.get("/goenhance/swaps", params=SWAPS, headers={"Accept": "application/json"})

    assert (answer.status_code, answer.json()) == (401, {"detail": "Not authenticated"})


def test_a_person_who_is_refused_gets_a_page_that_says_why(client: TestClient) -> None:
    answer = client.get("/goenhance/swaps", params=SWAPS, headers={**token(None), **PAGE})

    assert answer.status_code == 403
    assert "You may not see this" in answer.text


def test_an_address_that_is_not_complete_says_what_is_missing(client: TestClient) -> None:
    answer = client.get("/goenhance/swaps", params={"dag_id": "mine"}, headers={**token("viewer"), **PAGE})

    assert answer.status_code == 422
    assert "run_id is missing" in answer.text


# -- writes -------------------------------------------------------------------------------------------------------


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch, server: TestClient) -> TestClient:
    """The page with a route that changes something."""
    from airflow_provider_goenhance.web import app

    router = APIRouter()

    @router.post("/change", dependencies=[may_edit, same_origin])
    def change(dag_id: str) -> str:
        return f"changed {dag_id}"

    monkeypatch.setattr(app, "ROUTERS", (router,))
    from fastapi import FastAPI

    outer = FastAPI()
    outer.mount("/goenhance", app.create_app())
    return TestClient(outer, base_url="http://airflow.example:8080")


def signed_in(headers: dict[str, str], role: str = "admin") -> dict[str, str]:
    """The headers of a browser with a session."""
    return {"Cookie": "_token=" + token(role)["Authorization"].removeprefix("Bearer "), **headers}


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://airflow.example:8080"}],
)
def test_a_write_from_our_page_is_taken(writes: TestClient, headers: dict[str, str]) -> None:
    answer = writes.post("/goenhance/change?dag_id=mine", headers=signed_in(headers))

    assert (answer.status_code, answer.json()) == (200, "changed mine")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://airflow.example:8080"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://airflow.example:9999"},
        {"Origin": "null"},
        {"Authorization": "Basic YTpi"},
        {"Referer": "http://airflow.example:8080/goenhance/runs"},
    ],
)
def test_a_write_that_another_site_may_have_sent_is_refused(
    writes: TestClient, headers: dict[str, str]
) -> None:
    answer = writes.post("/goenhance/change?dag_id=mine", headers=signed_in(headers))

    assert answer.status_code == 403
    assert "not sent by a page of this Airflow" in answer.text


def test_a_program_with_a_token_needs_no_page(writes: TestClient) -> None:
    assert writes.post("/goenhance/change?dag_id=mine", headers=token("admin")).status_code == 200


def test_a_viewer_may_see_and_not_do(writes: TestClient) -> None:
    answer = writes.post(
        "/goenhance/change?dag_id=mine", headers=signed_in({"Sec-Fetch-Site": "same-origin"}, "viewer")
    )

    assert answer.status_code == 403


def test_a_user_may_do_with_each_dag_what_the_auth_manager_says(
    server: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_goenhance.web.permissions import Viewer

    def is_authorized_dag(self: SimpleAuthManager, **asked: object) -> bool:
        allowed = {("PUT", DagAccessEntity.HITL_DETAIL), ("GET", DagAccessEntity.TASK_INSTANCE)}
        return (asked["method"], asked["access_entity"]) in allowed

    monkeypatch.setattr(SimpleAuthManager, "is_authorized_dag", is_authorized_dag)

    rights = Viewer(object()).rights("mine")

    assert (rights.review, rights.clear, rights.edit, rights.trigger) == (True, False, False, False)
