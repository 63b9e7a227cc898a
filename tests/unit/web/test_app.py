# SPDX-License-Identifier: Apache-2.0
"""The page's application under Airflow's own permissions."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from fastapi.testclient import TestClient

from airflow_provider_goenhance.hooks.results import open_results
from airflow_provider_goenhance.pictures.names import folder_for, sheet_name_for
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from tests.unit.web.serving import PNG, token

SWAPS = {"dag_id": "mine", "run_id": "run", "task_id": "swap"}
PICTURE = {"dag_id": "mine", "swap_id": "id-mine"}
SHEET = {"dag_id": "mine", "run_id": "run", "task_id": "report"}
INPUT = {"dag_id": "mine", "swap_id": "id-mine", "of": "source"}
PAGES = [
    ("swaps", SWAPS),
    ("swap", PICTURE),
    ("changes", SWAPS),
    ("picture", PICTURE),
    ("thumbnail", PICTURE),
    ("input", INPUT),
    ("contact-sheet", SHEET),
    ("runs", {"dag_id": "mine"}),
]


@pytest.mark.parametrize(("path", "query"), PAGES)
def test_nobody_sees_anything_without_a_session(client: TestClient, path: str, query: dict[str, str]) -> None:
    assert client.get(f"/goenhance/{path}", params=query).status_code == 401


@pytest.mark.parametrize(("path", "query"), PAGES)
def test_a_user_who_may_not_see_the_dag_is_refused(
    client: TestClient, path: str, query: dict[str, str]
) -> None:
    assert client.get(f"/goenhance/{path}", params=query, headers=token(None)).status_code == 403


@pytest.mark.parametrize(("path", "query"), PAGES)
def test_a_forged_session_is_refused(client: TestClient, path: str, query: dict[str, str]) -> None:
    answer = client.get(f"/goenhance/{path}", params=query, headers={"Authorization": "Bearer e30.e30.e30"})

    assert answer.status_code == 403


def test_a_viewer_sees_the_rows_of_the_dag_asked_for_and_no_others(client: TestClient) -> None:
    answer = client.get("/goenhance/swaps", params=SWAPS, headers=token("viewer"))

    assert answer.status_code == 200
    assert "pair of mine" in answer.text
    assert "pair of other" not in answer.text


@pytest.mark.parametrize(("map_index", "there"), [(3, True), (-1, True), (4, False)])
def test_a_mapped_task_shows_its_own_rows(client: TestClient, map_index: int, there: bool) -> None:
    answer = client.get("/goenhance/swaps", params={**SWAPS, "map_index": map_index}, headers=token("viewer"))

    assert ("pair of mine" in answer.text) is there


def test_nothing_on_the_page_may_run_or_be_cached_by_others(client: TestClient) -> None:
    headers = client.get("/goenhance/swaps", params=SWAPS, headers=token("viewer")).headers

    assert headers["Content-Security-Policy"].startswith("default-src 'none';")
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "no-store" in headers["Cache-Control"]


@pytest.mark.parametrize("name", ["dag_id", "run_id", "task_id"])
@pytest.mark.parametrize("page", ["swaps", "changes", "failures.csv"])
def test_an_id_that_is_not_exactly_what_was_authorized_is_not_found(
    client: TestClient, page: str, name: str
) -> None:
    params = {**SWAPS, name: f"{SWAPS.get(name, 'swap')}\0"}
    answer = client.get(f"/goenhance/{page}", params=params, headers=token("viewer"))

    assert (answer.status_code, answer.text) == (404, "No Dag, run or task has such an id.")
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none';")


def test_a_viewer_gets_the_kept_picture(client: TestClient) -> None:
    answer = client.get("/goenhance/picture", params=PICTURE, headers=token("viewer"))

    assert (answer.status_code, answer.content) == (200, PNG)
    assert answer.headers["Content-Type"] == "image/png"


@pytest.mark.parametrize("ending", [".heic", ".tif", ".svg", ".html", ""])
def test_a_kept_file_that_browsers_do_not_show_is_downloaded(
    client: TestClient, tmp_path: Path, ending: str
) -> None:
    kept = tmp_path / f"kept{ending}"
    kept.write_bytes(b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>")
    ledger = Ledger(open_results())
    (mine,) = ledger.of_run(RunKey("mine", "run"))
    swap = dataclasses.replace(mine, swap_id="id-kept", run_id="run-2", result_uri=kept.as_uri())
    ledger.plan(RunKey("mine", "run-2"), [swap])

    answer = client.get(
        "/goenhance/picture", params={**PICTURE, "swap_id": "id-kept"}, headers=token("viewer")
    )

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"] == f"attachment; filename*=UTF-8''id-kept{ending}"


@pytest.mark.parametrize("swap_id", ["id-other", "no-such", "' OR 1=1 --"])
def test_a_picture_of_another_dag_is_as_good_as_not_there(client: TestClient, swap_id: str) -> None:
    answer = client.get("/goenhance/picture", params={**PICTURE, "swap_id": swap_id}, headers=token("admin"))

    assert answer.status_code == 404


def test_a_second_dag_id_in_the_address_does_not_get_past_the_check(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str | None] = []
    allow = SimpleAuthManager.is_authorized_dag

    def note(self: SimpleAuthManager, **asked: object) -> bool:
        checked.append(asked["details"].id)  # type: ignore[attr-defined]
        return allow(self, **asked)  # type: ignore[arg-type]

    monkeypatch.setattr(SimpleAuthManager, "is_authorized_dag", note)
    for dag_ids in (["mine", "other"], ["other", "mine"]):
        answer = client.get(
            "/goenhance/picture", params={"dag_id": dag_ids, "swap_id": "id-mine"}, headers=token("viewer")
        )
        # The Dag that was checked is the Dag that is served, whichever of the two it is.
        assert (answer.status_code == 200) is (checked[-1] == "mine")


@pytest.mark.parametrize("dag_id", ["~", ""])
def test_no_wildcard_shows_the_rows_of_all_dags(client: TestClient, dag_id: str) -> None:
    answer = client.get("/goenhance/swaps", params={**SWAPS, "dag_id": dag_id}, headers=token("viewer"))

    assert "pair of mine" not in answer.text
    assert "pair of other" not in answer.text


def test_a_picture_that_was_removed_is_said_to_be_gone(client: TestClient, tmp_path: Path) -> None:
    (tmp_path / "mine.png").unlink()

    answer = client.get("/goenhance/picture", params=PICTURE, headers=token("viewer"))

    assert answer.status_code == 404
    assert "no longer in the storage" in answer.text
    assert str(tmp_path) not in answer.text


def test_a_results_table_that_cannot_be_used_is_named(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    conn = {"conn_type": "sqlite", "host": "/proc/nowhere/results.db"}
    monkeypatch.setenv("AIRFLOW_CONN_GOENHANCE_RESULTS", json.dumps(conn))

    answer = client.get("/goenhance/swaps", params=SWAPS, headers=token("viewer"))

    assert answer.status_code == 503
    assert "goenhance_results" in answer.text


def test_a_viewer_gets_the_contact_sheet_that_lies_beside_the_pictures(
    client: TestClient, tmp_path: Path
) -> None:
    (tmp_path / sheet_name_for("mine", "report")).write_text("<p>sheet of mine")
    # Two Dags on one schedule have runs of one name, and their pictures in one folder.
    (tmp_path / sheet_name_for("other", "report")).write_text("<p>sheet of other")

    answer = client.get("/goenhance/contact-sheet", params=SHEET, headers=token("viewer"))

    assert (answer.status_code, answer.text) == (200, "<p>sheet of mine")


def test_a_sheet_without_any_picture_is_found_below_the_default_storage(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__GOENHANCE__STORAGE", str(tmp_path / "kept"))
    folder = tmp_path / "kept" / folder_for("run")
    folder.mkdir(parents=True)
    (folder / sheet_name_for("mine", "report")).write_text("<p>all failed")

    assert "all failed" in client.get("/goenhance/contact-sheet", params=SHEET, headers=token("viewer")).text


def test_a_contact_sheet_may_run_nothing_and_load_nothing_though_others_may_have_written_it(
    client: TestClient, tmp_path: Path
) -> None:
    (tmp_path / sheet_name_for("mine", "report")).write_text("<script>alert(1)</script>")

    answer = client.get("/goenhance/contact-sheet", params=SHEET, headers=token("viewer"))

    policy = {part.strip() for part in answer.headers["Content-Security-Policy"].split(";")}
    assert {"default-src 'none'", "img-src data:", "form-action 'none'", "sandbox"} <= policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "no-store" in answer.headers["Cache-Control"]


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"run_id": "another"},
        {"dag_id": "nobody"},
        {"task_id": "../../../etc/passwd"},
        {"task_id": "x" * 5000},
        {"run_id": "../" * 9},
    ],
)
def test_a_sheet_that_is_not_there_is_said_to_be_missing(client: TestClient, change: dict[str, str]) -> None:
    answer = client.get("/goenhance/contact-sheet", params={**SHEET, **change}, headers=token("viewer"))

    assert answer.status_code == 404
    assert "The contact sheet of this run was not found" in answer.text


def test_there_is_no_page_of_documentation_and_no_schema_for_strangers(client: TestClient) -> None:
    for path in ("docs", "redoc", "openapi.json"):
        assert client.get(f"/goenhance/{path}").status_code == 404
