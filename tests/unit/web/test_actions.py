# SPDX-License-Identifier: Apache-2.0
"""What a person can do on the results page, under Airflow's own permissions and with real results tables."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import logging
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from fastapi import FastAPI
from fastapi.testclient import TestClient

from airflow_provider_goenhance.execution.settle import Selection, resolve_unknown
from airflow_provider_goenhance.execution.what_follows import TaskInstance
from airflow_provider_goenhance.hooks.goenhance import GoEnhanceHook
from airflow_provider_goenhance.hooks.results import open_results
from airflow_provider_goenhance.plugin import GoEnhancePlugin
from airflow_provider_goenhance.results.ledger import Ledger, Outcome, RunKey
from airflow_provider_goenhance.results.prices import store_price
from airflow_provider_goenhance.results.recovery import Policies
from airflow_provider_goenhance.results.row_version import version_of
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap
from airflow_provider_goenhance.results.transition_sql import apply
from airflow_provider_goenhance.results.transitions import Accepted, Claim, ClaimOwner, OutcomeUnknown
from airflow_provider_goenhance.web import rows
from airflow_provider_goenhance.web.actions import again, policies
from tests.airflow_versions import no_teams, revoke_nothing, use_auth_manager
from tests.swaps import planned

MINE, RUN = {"dag_id": "dag"}, {"dag_id": "dag", "run_id": "run"}
PICTURE = b"\x89PNG\r\n\x1a\n and so on"
#: Sent by every browser with a request of a page's own script or form.
OWN_PAGE = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[TestClient]:
    """The plugin mounted as the API server mounts it, on a results table with rows in every state."""
    monkeypatch.setenv(
        "AIRFLOW__API_AUTH__JWT_SECRET", "a secret of this test, of sufficient length: " + "x" * 32
    )
    use_auth_manager(monkeypatch, SimpleAuthManager())
    # The things that are read from the metadata database: teams, revoked sessions, rendered fields. There are none.
    no_teams(monkeypatch)
    revoke_nothing(monkeypatch)
    monkeypatch.setattr(policies, "rendered_fields", lambda key, task_ids: [])
    monkeypatch.setenv(
        "AIRFLOW_CONN_GOENHANCE_RESULTS",
        json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "results.db")}),
    )
    _write_rows(tmp_path)
    server = FastAPI()
    (mounted,) = GoEnhancePlugin.fastapi_apps
    server.mount(mounted["url_prefix"], mounted["app"])
    with TestClient(server, headers=OWN_PAGE) as client:
        # The session is a cookie, as in a browser.
        client.cookies.set("_token", token("user"))
        yield client


def _write_rows(folder: Path) -> None:
    kept = folder / "p0.png"
    kept.write_bytes(PICTURE)
    sent: dict[str, Any] = {
        "attempts": 1,
        "account": "account",
        "max_tries": 2,
        "claimed_by": "swap[0] try 1",
    }
    done = {**sent, "status": Status.SUCCEEDED, "img_uuid": "job-0", "result_uri": kept.as_uri()}
    planned_rows = [
        planned(0, map_index=0, **done),
        planned(1, map_index=0, status=Status.UNKNOWN, **sent),
        planned(
            2, map_index=1, status=Status.FAILED, error_code="bad_request", account="account", max_tries=2
        ),
        planned(3, map_index=1, status=Status.FAILED, error_code="job_timed_out", img_uuid="job-3", **sent),
        planned(4, map_index=2, batch=2, status=Status.PLANNED),
        planned(5, batch=None, status=Status.REJECTED, error_code="no_host", error_message="Row 6: no host."),
    ]
    ledger = Ledger(open_results())
    ledger.plan(RunKey("dag", "run"), planned_rows)
    foreign = planned(0, dag_id="other", swap_id="foreign", **done)
    ledger.plan(RunKey("other", "run"), [foreign])
    store_price(ledger.database, "account", 4)


def token(role: str | None, name: str = "anna") -> str:
    user = SimpleAuthManagerUser(username=name, role=role)
    return get_auth_manager().generate_jwt(user)


def row(number: int) -> Swap:
    (found,) = Ledger(open_results()).by_ids([planned(number).swap_id])
    return found


def ids(*numbers: int) -> dict[str, Any]:
    return {"swap_ids": [planned(number).swap_id for number in numbers]}


def seen(*numbers: int) -> dict[str, Any]:
    """Rows as they are now, as a page sends them that has just been loaded."""
    return {"rows": {row(number).swap_id: version_of(row(number)) for number in numbers}}


def review(client: TestClient, verdict: str | None, *numbers: int, **more: Any) -> Any:
    return client.post(
        "/goenhance/actions/review", params=MINE, json={**seen(*numbers), "review": verdict, **more}
    )


def settle(client: TestClient, resolution: str, *numbers: int, **more: Any) -> Any:
    body = {**seen(*numbers), "resolution": resolution, **more}
    return client.post("/goenhance/actions/settle", params=MINE, json=body)


def clear(client: TestClient, *numbers: int, **more: Any) -> Any:
    return client.post("/goenhance/actions/clear", params=RUN, json={**seen(*numbers), **more})


def rerun(client: TestClient, **query: str) -> Any:
    return client.get("/goenhance/actions/again", params={**RUN, **query})


def pictures(client: TestClient, *numbers: int) -> Any:
    return client.post("/goenhance/actions/pictures.zip", params=MINE, data=ids(*numbers))


WRITES: dict[str, Callable[[TestClient], Any]] = {
    "review": lambda client: review(client, "rejected", 0),
    "settle": lambda client: settle(client, "not_billed", 1),
    "clear": lambda client: clear(client, 2),
    "pictures": lambda client: pictures(client, 0),
}
READS: dict[str, Callable[[TestClient], Any]] = {
    "again": rerun,
    "rows.csv": lambda client: client.get("/goenhance/actions/rows.csv", params=RUN),
    "failures.csv": lambda client: client.get("/goenhance/actions/failures.csv", params=RUN),
}


# -- who may do what ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", WRITES | READS)
def test_nobody_does_anything_without_a_session(client: TestClient, action: str) -> None:
    client.cookies.clear()
    assert (WRITES | READS)[action](client).status_code == 401


@pytest.mark.parametrize("action", ["review", "settle", "clear"])
def test_a_viewer_may_look_and_not_do(client: TestClient, action: str) -> None:
    client.cookies.set("_token", token("viewer"))
    before = [row(number) for number in range(6)]
    assert WRITES[action](client).status_code == 403
    assert [row(number) for number in range(6)] == before


@pytest.mark.parametrize("action", ["pictures", *READS])
def test_a_viewer_may_download_what_can_be_seen(client: TestClient, action: str) -> None:
    client.cookies.set("_token", token("viewer"))
    assert (WRITES | READS)[action](client).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none", None])
@pytest.mark.parametrize("action", WRITES)
def test_a_request_that_another_site_sends_along_with_the_session_is_refused(
    client: TestClient, action: str, site: str | None
) -> None:
    client.headers.pop("Sec-Fetch-Site")
    client.headers["Origin"] = "https://evil.example"
    if site:
        client.headers["Sec-Fetch-Site"] = site
    before = [row(number) for number in range(6)]
    assert WRITES[action](client).status_code == 403
    assert [row(number) for number in range(6)] == before


@pytest.mark.parametrize("path", ["review", "settle", "clear", "pictures.zip"])
def test_a_row_of_another_dag_than_the_one_named_does_not_exist(client: TestClient, path: str) -> None:
    more = {"review": {"review": "rejected"}, "settle": {"resolution": "not_billed"}}.get(path, {})
    body = {"rows": {"foreign": version_of(Ledger(open_results()).by_ids(["foreign"])[0])}, **more}
    given: dict[str, Any] = {"data": {"swap_ids": ["foreign"]}} if path == "pictures.zip" else {"json": body}
    answer = client.post(f"/goenhance/actions/{path}", params=RUN, **given)
    assert answer.status_code == 404
    assert "does not have all of the selected rows" in answer.json()["detail"]
    assert Ledger(open_results()).by_ids(["foreign"])[0].review is None


@pytest.mark.parametrize(
    "rows",
    [
        {},
        {"x" * 37: "seen"},
        {"../x": "seen"},
        dict.fromkeys(map(str, range(1001)), "seen"),
        {"a": "s" * 101},
        {"a": 7},
        ["a"],
        "a",
    ],
)
def test_a_selection_that_cannot_be_meant_is_refused(client: TestClient, rows: Any) -> None:
    body = {"rows": rows, "review": "approved"}
    assert client.post("/goenhance/actions/review", params=MINE, json=body).status_code == 422


# -- review ------------------------------------------------------------------------------------------------------------


def test_a_reviewer_rejects_a_picture_and_undoes_it(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (shown,) = review(client, "rejected", 0, note="wrong person").json()

    assert (row(0).review, row(0).reviewed_by, row(0).review_note) == ("rejected", "anna", "wrong person")
    assert (shown["review"], shown["reviewed_by"]) == ("rejected", "anna")
    assert "a new run holds the pair, because its picture was rejected" in shown["next_steps"]
    assert "anna rejected 1 picture" in caplog.text
    (shown,) = review(client, None, 0).json()
    assert (shown["review"], row(0).review) == (None, None)
    assert "anna undid the review of 1 picture" in caplog.text


def test_the_counts_of_a_finished_run_follow_a_review_and_a_settlement(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "states_of", lambda keys: {})
    monkeypatch.setattr(rows, "caps_of_runs", lambda tasks: {})

    def figures() -> str:
        return client.get("/goenhance/swaps", params={**RUN, "fragment": "figures"}).text

    assert "Swap the rejected picture again" not in figures()
    review(client, "rejected", 0)
    assert "Swap the rejected picture again" in figures()
    assert "1 unknown" in figures()
    settle(client, "written_off", 1)
    assert "1 unknown" not in figures()


def test_a_row_without_a_picture_cannot_be_reviewed(client: TestClient) -> None:
    answer = review(client, "approved", 0, 1)
    assert answer.status_code == 409
    assert "has no picture to review" in answer.json()["detail"]
    assert row(0).review is None


# -- settle ------------------------------------------------------------------------------------------------------------


def test_a_person_settles_a_submit_and_is_named_on_the_row(client: TestClient) -> None:
    (shown,) = settle(client, "not_billed", 1, note="not in the console").json()

    assert (row(1).status, row(1).resolved_by, row(1).resolution_note) == (
        Status.PLANNED,
        "anna",
        "not in the console",
    )
    assert shown["status"] == "planned"
    assert "submits the pair and pays for it" in shown["next_steps"]


def test_a_submit_that_is_not_unknown_cannot_be_settled(client: TestClient) -> None:
    answer = settle(client, "not_billed", 1, 2)
    assert answer.status_code == 409
    assert "only a submit whose outcome is unknown can be settled" in answer.json()["detail"]
    assert row(1).status is Status.UNKNOWN


def test_a_billed_submit_is_recorded_once_goenhance_confirms_its_job(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_GOENHANCE_DEFAULT", json.dumps({"conn_type": "goenhance", "password": "t"})
    )
    monkeypatch.setattr(GoEnhanceHook, "get_job", lambda self, img_uuid: None)

    answer = settle(client, "billed", 1, img_uuid="job-1")
    assert answer.status_code == 409
    assert "was sent for another account" in answer.json()["detail"]
    assert settle(client, "billed", 1, img_uuid="job-1", check=False).status_code == 200
    assert (row(1).status, row(1).img_uuid) == (Status.SUBMITTED, "job-1")


# -- a page that is no longer true ------------------------------------------------------------------------------------


def send_again(number: int, *, lost: bool = True) -> None:
    """Another attempt of the row, not billed before, whose outcome is unknown again, or a job of its own."""
    ledger = Ledger(open_results())
    if row(number).status is Status.UNKNOWN:
        resolve_unknown(ledger, Selection(swap_ids=[row(number).swap_id]), "not_billed", by="bert")
    owner = ClaimOwner("swap[0] try 2", "account", 2)
    sent = row(number).swap_id
    answer = OutcomeUnknown(sent, "submit_outcome_unknown", "Lost.") if lost else Accepted(sent, "job-new")
    for step in (Claim.of(row(number)), answer):
        take = partial(apply, swaps=ledger.swaps, owner=owner, steps=[step])
        assert ledger.database.run(take) == [True]


@pytest.mark.parametrize("resolution", ["not_billed", "written_off", "billed"])
def test_a_page_that_was_loaded_before_the_row_was_sent_again_settles_nothing(
    client: TestClient, resolution: str
) -> None:
    old = seen(1)
    send_again(1)
    assert row(1).status is Status.UNKNOWN
    before = row(1)

    job = {"img_uuid": "job-1", "check": False} if resolution == "billed" else {}
    answer = settle(client, resolution, 1, **old, **job)
    assert answer.status_code == 409
    assert "pair 'p1' (row 2) was sent again since you looked at it" in answer.json()["detail"]
    assert row(1) == before
    assert settle(client, resolution, 1, **job).status_code == 200  # by a page that shows the newer submit


def test_an_old_page_reviews_no_picture_that_was_made_since(client: TestClient) -> None:
    old = seen(0)
    send_again(0, lost=False)
    Ledger(open_results()).record_outcomes(
        [Outcome(row(0).swap_id, "job-new", Status.SUCCEEDED, result_uri="file:///new.png")]
    )
    before = row(0)
    answer = review(client, "approved", 0, **old)
    assert answer.status_code == 409
    assert "was sent again since you looked at it" in answer.json()["detail"]
    assert row(0) == before


def test_the_second_of_two_reviewers_learns_what_the_first_one_said(client: TestClient) -> None:
    both = seen(0)
    review(client, "rejected", 0, **both)
    client.cookies.set("_token", token("user", "bert"))

    answer = review(client, "approved", 0, **both)
    assert answer.status_code == 409
    assert "pair 'p0' (row 1) was rejected by anna since you looked at it" in answer.json()["detail"]
    assert (row(0).review, row(0).reviewed_by) == ("rejected", "anna")
    (shown,) = review(client, "approved", 0).json()  # now that they know it
    assert (row(0).review, row(0).reviewed_by) == ("approved", "bert")
    assert shown["version"] == version_of(row(0))


def test_an_old_page_clears_no_task_whose_row_was_sent_again(client: TestClient) -> None:
    old = seen(1)
    send_again(1)
    answer = clear(client, 1, **old)
    assert answer.status_code == 409
    assert "was sent again since you looked at it" in answer.json()["detail"]


def test_the_page_names_the_version_of_each_row_that_it_shows(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "states_of", lambda keys: {})
    monkeypatch.setattr(rows, "caps_of_runs", lambda tasks: {})
    for view in ("table", "grid"):
        html = client.get("/goenhance/swaps", params={**RUN, "view": view}).text
        for number in range(6):
            assert f'data-version="{version_of(row(number))}"' in html
    detail = client.get("/goenhance/swap", params={**MINE, "swap_id": row(1).swap_id, "fragment": "true"})
    assert f'data-version="{version_of(row(1))}"' in detail.text


# -- clear -------------------------------------------------------------------------------------------------------------


def test_exactly_the_tasks_of_the_chosen_rows_are_to_be_cleared_and_the_dry_run_comes_first(
    client: TestClient,
) -> None:
    request = clear(client, 2, 3, 4).json()["request"]

    assert request["dry_run"] is True
    assert request["dag_run_id"] == "run"
    assert request["task_ids"] == [["swap", 1], ["swap", 2]]
    assert request["only_failed"] is False


def test_what_a_clear_does_with_every_row_of_those_tasks_is_said_and_priced(client: TestClient) -> None:
    preview = clear(client, 2, 4).json()

    assert preview["does"] == {"submit": 2, "wait": 1}
    assert preview["credits"] == 8
    assert preview["sentences"] == [
        "Clearing 2 tasks submits 2 pairs and waits for 1 job. 2 submits will be paid for: about 8 credits.",
        "Tasks downstream of them are cleared too, as listed. What swap tasks among those pay is not included.",
        FORGOTTEN.format(2),
    ]


FORGOTTEN = (
    "Airflow no longer has the arguments of {} of these tasks, so this assumes the default policies. A task with "
    "on_clear='resubmit', on_unknown_submit='resubmit' or failed_job_resubmits pays for more."
)


def test_a_clear_of_a_task_that_resubmits_is_priced_by_its_own_policies(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        policies, "rendered_fields", lambda key, task_ids: [("swap", 1, {"on_clear": "resubmit"})]
    )
    preview = clear(client, 2).json()
    assert preview["does"] == {"submit": 2}
    assert FORGOTTEN.format(1) not in preview["sentences"]


def test_rejected_rows_are_in_no_task_and_the_way_out_is_named(client: TestClient) -> None:
    answer = clear(client, 5)
    assert answer.status_code == 409
    assert "correct the manifest" in answer.json()["detail"]
    both = clear(client, 2, 5).json()
    assert both["request"]["task_ids"] == [["swap", 1]]
    assert both["sentences"][-1].startswith(
        "1 selected row is in no task: rejected rows need a corrected manifest"
    )


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"on_clear": "resubmit", "reuse": "never"}, Policies(on_clear="resubmit", reuse="never")),
        ({"failed_job_resubmits": "2"}, Policies(failed_job_resubmits=2)),
        ({"on_clear": "{{ params.x }}"}, Policies()),
        ({"failed_job_resubmits": [1]}, Policies()),
        (None, Policies()),
        ("a text", Policies()),
    ],
)
def test_policies_are_read_from_therendered_fields_of_a_task(fields: Any, expected: Policies) -> None:
    assert policies.policies_from(fields) == expected


def test_a_task_that_is_not_mapped_is_named_without_an_index() -> None:
    assert TaskInstance.of(planned(0)) == TaskInstance("swap", -1)


def test_a_row_that_the_plan_reused_never_clears_all_mapped_tasks() -> None:
    assert TaskInstance.of(planned(0, status=Status.REUSED, batch=None)) is None


# -- run again ---------------------------------------------------------------------------------------------------------


def test_the_failures_of_a_run_are_run_again_by_a_run_that_reads_them(client: TestClient) -> None:
    preview = rerun(client).json()

    assert preview["dags"] == ["dag", again.BATCH_DAG]
    assert preview["request"] == {
        "logical_date": None,
        "conf": {
            "manifest": "run:dag/run",
            "statuses": ["failed", "unknown", "held", "planned"],
            "reuse": "succeeded",
        },
    }
    assert preview["rows"] == 4
    assert preview["credits"] == 8  # the unknown one is held, and the one that timed out is adopted
    assert "1 row: it holds the pair until that submit is settled." in preview["sentences"]


def test_rejected_pictures_are_swapped_again_by_name_and_paid_for(client: TestClient) -> None:
    review(client, "rejected", 0)
    preview = rerun(client, statuses="rejected_by_reviewer").json()

    assert preview["request"]["conf"] == {
        "manifest": "run:dag/run",
        "statuses": ["rejected_by_reviewer"],
        "reuse": "never",
    }
    assert (preview["rows"], preview["credits"]) == (1, 4)


def test_who_swaps_a_rejected_picture_again_learns_that_somebody_already_has(client: TestClient) -> None:
    review(client, "rejected", 0)
    assert not any(
        "sent again since" in said
        for said in rerun(client, statuses="rejected_by_reviewer").json()["sentences"]
    )
    later = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1)
    again = planned(
        0,
        run_id="again",
        swap_id="again",
        status=Status.SUBMITTED,
        img_uuid="job-again",
        account="account",
        attempts=1,
        claimed_at=later,
    )
    Ledger(open_results()).plan(RunKey("dag", "again"), [again])

    sentences = rerun(client, statuses="rejected_by_reviewer").json()["sentences"]
    assert (
        "1 of these pairs was sent again since the rejected picture was made, and is paid for once more: look for the "
        "new picture first." in sentences
    )


@pytest.mark.parametrize(
    ("statuses", "code", "said"),
    [("held", 409, "has no row that is held"), ("lost", 422, "statuses must be some of")],
)
def test_a_new_run_with_nothing_to_do_is_not_offered(
    client: TestClient, statuses: str, code: int, said: str
) -> None:
    answer = rerun(client, statuses=statuses)
    assert answer.status_code == code
    assert said in answer.json()["detail"]


# -- downloads ---------------------------------------------------------------------------------------------------------


def test_the_rows_of_a_run_are_downloaded_as_csv_for_a_spreadsheet(client: TestClient) -> None:
    review(client, "rejected", 0, note="=HYPERLINK(1)")
    answer = client.get("/goenhance/actions/rows.csv", params=RUN)

    assert answer.headers["Content-Disposition"] == "attachment; filename*=UTF-8''rows-run.csv"
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert [found["pair_id"] for found in rows] == [f"p{number}" for number in range(6)]
    assert (rows[0]["review"], rows[0]["review_note"]) == ("rejected", "'=HYPERLINK(1)")
    assert {"claimed_by", "account", "pair_fingerprint"}.isdisjoint(rows[0])


def test_only_the_rows_in_some_states_are_downloaded(client: TestClient) -> None:
    answer = client.get("/goenhance/actions/rows.csv", params={**RUN, "statuses": "unknown,planned"})
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert [found["status"] for found in rows] == ["unknown", "planned"]


def test_the_failures_are_downloaded_as_a_manifest(client: TestClient) -> None:
    answer = client.get("/goenhance/actions/failures.csv", params=RUN)
    rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert {found["pair_id"]: found["status"] for found in rows} == {
        "p1": "unknown",
        "p2": "failed",
        "p3": "failed",
        "p4": "planned",
        "p5": "rejected",
    }


def test_pictures_are_downloaded_as_a_zip_file(client: TestClient) -> None:
    answer = pictures(client, 0, 1)
    assert answer.headers["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as file:
        assert file.namelist() == ["run/p0.png"]
        assert file.read("run/p0.png") == PICTURE


def test_rows_without_pictures_make_no_zip_file(client: TestClient) -> None:
    assert pictures(client, 1).status_code == 409


@pytest.mark.parametrize("action", WRITES | READS)
def test_a_results_table_that_cannot_be_used_is_named(
    client: TestClient, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = {number: row(number) for number in range(6)}
    monkeypatch.setattr(f"{__name__}.row", loaded.__getitem__)
    monkeypatch.setenv(
        "AIRFLOW_CONN_GOENHANCE_RESULTS", json.dumps({"conn_type": "sqlite", "host": "/no/such/x"})
    )
    answer = (WRITES | READS)[action](client)
    assert answer.status_code == 503
    assert "results table" in answer.json()["detail"]
