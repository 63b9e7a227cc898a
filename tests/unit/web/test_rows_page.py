# SPDX-License-Identifier: Apache-2.0
"""The page with the rows of a run: what it shows, and that nothing in a row can do more than be shown."""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from airflow_provider_goenhance.hooks.results import open_results
from airflow_provider_goenhance.results import search_indexes
from airflow_provider_goenhance.results.plan import RunKey
from airflow_provider_goenhance.results.search_indexes import SearchIndexes
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap
from airflow_provider_goenhance.web import budget_view, row_query, row_reading, rows, runs
from tests.unit.web.serving import Tags, row, token, write

RUN = {"dag_id": "mine", "run_id": "run"}
NASTY = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>"


def get(server: TestClient, path: str = "swaps", user: str = "viewer", **query: Any) -> str:
    answer = server.get(f"/goenhance/{path}", params={**RUN, **query}, headers=token(user))
    assert answer.status_code == 200, answer.text
    return answer.text


def page(server: TestClient, *swaps: Swap, **query: Any) -> str:
    write(*swaps)
    return get(server, **query)


def ids(html: str) -> list[str]:
    return [name.removeprefix("id-") for name in Tags(html).pairs()]


def test_source_reference_and_result_stand_side_by_side(server: TestClient) -> None:
    html = page(server, row(result_uri="file:///kept/anna.png"))

    assert [re.sub(r"&v=\w*", "", src) for src in Tags(html).all("img", "src")] == [
        f"thumbnail?dag_id=mine&swap_id=id-1&of={of}" for of in ("source", "reference", "result")
    ]
    assert "/kept/" not in html


@pytest.mark.parametrize("view", ["table", "grid"])
@pytest.mark.parametrize("path", ["swaps", "swap", "runs", "changes"])
@pytest.mark.parametrize(
    "field",
    [
        "pair_id",
        "source_img",
        "reference_img",
        "error_message",
        "error_code",
        "img_uuid",
        "swap_id",
        "labels",
        "manifest",
    ],
)
def test_markup_in_a_row_is_shown_and_not_run(server: TestClient, field: str, path: str, view: str) -> None:
    value = NASTY if field != "labels" else '{"<b>": "<script>alert(1)</script>"}'
    swap_id = NASTY[:36] if field == "swap_id" else "id-1"
    write(
        row(
            status=Status.FAILED,
            **{"swap_id": swap_id, field: value[:36] if field == "swap_id" else value},
        )
    )

    tags = Tags(get(server, path, swap_id=swap_id, view=view)).found

    assert [
        attributes
        for tag, attributes in tags
        if tag == "script" and not str(attributes["src"]).startswith("static/")
    ] == []
    assert not any(name.startswith("on") or name == "style" for _, attributes in tags for name in attributes)


@pytest.mark.parametrize(
    "name", ["dag_id", "run_id", "task_id", "q", "status", "reason", "label", "after", "view", "order"]
)
def test_markup_in_the_address_is_shown_and_not_run(server: TestClient, name: str) -> None:
    write(row())

    tags = Tags(get(server, **{name: NASTY})).found

    assert {str(attributes["src"])[:7] for tag, attributes in tags if tag == "script"} == {"static/"}
    assert not any(name.startswith("on") for _, attributes in tags for name in attributes)


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JavaScript://h/%0aalert(1)",
        "data:image/svg+xml,<svg onload=alert(1)>",
        "file:///etc/passwd",
        "/etc/passwd",
        "/api/v2/connections",
        "../../../auth/logout",
        "//h/a.jpg",
        "ftp://h/a.jpg",
        "\x01javascript:alert(1)",
        " https://h/a.jpg",
        "https:///a.jpg",
        "http://[::1/a.jpg",
    ],
)
@pytest.mark.parametrize("path", ["swaps", "swap"])
def test_an_address_that_is_not_read_is_text(server: TestClient, url: str, path: str) -> None:
    write(row(source_img=url, reference_img=url))

    html = get(server, path, swap_id="id-1")

    assert Tags(html).all("img", "src") == []
    assert all(_is_own(address) for address in Tags(html).addresses())


@pytest.mark.parametrize(
    "url", ["https://evil.example/a.jpg", "http://127.0.0.1:8080/api/v2/dags", "s3://bucket/a.jpg"]
)
@pytest.mark.parametrize("path", ["swaps", "swap"])
def test_a_browser_is_never_sent_to_an_address_of_a_manifest(server: TestClient, url: str, path: str) -> None:
    write(row(source_img=url, reference_img=url))

    html = get(server, path, swap_id="id-1")

    assert len(Tags(html).all("img", "src")) >= 2
    assert all(_is_own(address) for address in Tags(html).addresses())


def _is_own(address: str) -> bool:
    """Whether it is a page, a picture or a file of ours, or a page of Airflow's UI."""
    return bool(
        re.match(
            r"(runs|swaps|swap|changes|thumbnail|picture|input|actions/[\w.]+|static/\w+/[\w.]+)(\?|$)|/dags/|#",
            address,
        )
    )


def test_a_signed_link_is_not_in_the_page(server: TestClient) -> None:
    signed = "https://h/s.jpg?X-Amz-Signature=SECRET"
    write(row(source_img=signed, reference_img=signed))

    assert "SECRET" not in get(server)
    assert "SECRET" not in get(server, "swap", swap_id="id-1")


def test_ids_of_any_length_are_shown(server: TestClient) -> None:
    html = page(server, row(pair_id="p" * 250, source_img="https://h/" + "x" * 2000, manifest="m" * 2000))

    assert "p" * 250 in html


def test_the_counts_are_those_of_the_whole_run_and_filter_it(server: TestClient) -> None:
    failed = {"status": Status.FAILED, "error_code": "job_failed", "error_message": "no face"}
    write(*(row(number) for number in range(1, 70)), *(row(number, **failed) for number in range(70, 73)))

    html = get(server)

    assert len(ids(html)) == row_query.TABLE_ROWS
    assert re.search(r'status=succeeded"[^>]*>succeeded <span>69<', html)
    assert re.search(r'status=failed"[^>]*>failed <span>3<', html)
    assert re.search(r'reason=job_failed"[^>]*>job failed <span>3<', html)
    assert ids(get(server, status="failed")) == ["70", "71", "72"]
    assert ids(get(server, reason="job_failed")) == ["70", "71", "72"]
    assert ids(get(server, status="failed", reason="other")) == []


@pytest.mark.parametrize("view", ["table", "grid"])
def test_every_row_is_on_one_page_of_the_list(
    server: TestClient, view: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_query, "TABLE_ROWS", 4)
    monkeypatch.setattr(row_query, "GRID_ROWS", 4)
    write(*(row(number, batch=number // 5) for number in range(1, 12)))

    seen: list[list[str]] = []
    following: str | None = f"swaps?dag_id=mine&run_id=run&view={view}"
    while following:
        html = server.get(f"/goenhance/{following}", headers=token("viewer")).text
        seen.append(ids(html))
        following = Tags(html).link("Next page", html)

    assert seen == [["1", "2", "3", "4"], ["5", "6", "7", "8"], ["9", "10", "11"]]


def test_problems_can_come_first_and_pairs_be_sorted_by_their_ids(server: TestClient) -> None:
    write(row(1, pair_id="c"), row(2, pair_id="a"), row(3, pair_id="b", status=Status.UNKNOWN))

    assert ids(get(server)) == ["1", "2", "3"]
    assert ids(get(server, order="problems")) == ["3", "1", "2"]
    assert ids(get(server, order="pair")) == ["2", "3", "1"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ann", ["1", "2"]),
        ("anna", ["1"]),
        ("http://faces.example/a", ["1"]),
        ("http://scenes.example/", ["1", "2"]),
        ("nna", []),
        ("a%", []),
        ("a_n", []),
        ("'; DROP TABLE goenhance_swaps; --", []),
        ("\0", ["1", "2", "3"]),
        ("\ud7ff\U0010ffff", []),
    ],
)
def test_pair_ids_and_addresses_are_found_by_their_beginning(
    server: TestClient, text: str, found: list[str]
) -> None:
    scene = {"reference_img": "http://scenes.example/1.jpg"}
    write(
        row(1, pair_id="anna", source_img="http://faces.example/a.jpg", **scene),
        row(2, pair_id="annb", source_img="http://faces.example/b.jpg", **scene),
        row(3, pair_id="bert"),
    )

    assert ids(get(server, q=text)) == found


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"q": "AUTUMN"}, ["1", "2", "3", "4"]),
        ({"q": "tumn-0"}, ["1", "2", "3", "4"]),
        ({"q": "host.example/s3"}, ["3"]),
        ({"q": "tumn-0", "status": "failed"}, ["2", "4"]),
        ({"q": "tumn-0", "task_id": "swap", "map_index": "1"}, ["2", "3"]),
        ({"q": "tumn-0", "task_id": "another"}, []),
        ({"q": "tumn-0", "label": "campaign=a"}, ["1", "2"]),
        ({"q": "tumn-0", "after": "id-2"}, ["3", "4"]),
        ({"q": "100%"}, []),
    ],
)
def test_any_part_of_a_pair_id_or_address_is_found_where_the_table_has_trigram_indexes(
    server: TestClient, monkeypatch: pytest.MonkeyPatch, query: dict[str, str], found: list[str]
) -> None:
    # The search is the same without them, only slow: SQLite has none.
    indexes = SearchIndexes(by_pair=True, by_parts=("pair_id", "source_img", "reference_img"))
    monkeypatch.setattr(row_reading, "indexes_of", lambda database: indexes)
    write(
        *(
            row(
                number,
                pair_id=f"autumn-0{number}",
                source_img=f"http://host.example/s{number}.jpg",
                batch=number // 2,
                status=Status.SUCCEEDED if number % 2 else Status.FAILED,
                labels=json.dumps({"campaign": "a" if number < 3 else "b"}),
            )
            for number in (1, 2, 3, 4)
        ),
        row(5, pair_id="winter-05"),
    )
    html = get(server, **query)
    assert ids(html) == found
    assert "Part of a pair id or address" in html


def test_a_part_that_very_many_rows_have_is_searched_from_the_beginning(
    server: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexes = SearchIndexes(by_pair=True, by_parts=("pair_id",))
    monkeypatch.setattr(row_reading, "indexes_of", lambda database: indexes)
    monkeypatch.setattr(search_indexes, "MOST_FOUND", 2)
    write(*(row(number, pair_id=f"night-{number}") for number in range(3)), row(4, pair_id="a-night"))
    assert ids(get(server, q="night")) == ["0", "1", "2"]


def test_a_search_and_a_filter_go_together(server: TestClient) -> None:
    write(
        row(1, pair_id="anna"),
        row(2, pair_id="annb", status=Status.FAILED),
        row(3, pair_id="bert", status=Status.FAILED),
    )

    assert ids(get(server, q="ann", status="failed")) == ["2"]


def test_labels_with_few_values_are_filters(server: TestClient) -> None:
    write(
        *(row(n, labels=f'{{"client": "Acme & Sons", "sku": "{n}"}}') for n in range(1, 31)),
        row(31, labels='{"client": "Other", "sku": "31"}'),
    )

    html = get(server)

    assert re.search(r"client%3DAcme[^>]*>Acme &amp; Sons <span>30<", html)
    assert "sku%3D" not in html
    assert ids(get(server, label="client=Other")) == ["31"]


def test_a_task_that_is_not_mapped_shows_its_rows_though_airflow_leaves_the_index_as_it_is(
    server: TestClient,
) -> None:
    assert ids(page(server, row(), task_id="swap", map_index="{MAP_INDEX}")) == ["1"]


def test_a_mapped_task_counts_its_own_rows_only(server: TestClient) -> None:
    write(
        row(1, batch=0),
        row(2, batch=1),
        row(3, batch=1),
        row(4, batch=None, map_index=1),
        row(5, batch=None, map_index=2),
    )

    html = get(server, task_id="swap", map_index="1")

    assert sorted(ids(html)) == ["2", "3", "4"]
    assert re.search(r"succeeded <span>3<", html)


def test_a_run_without_rows_gets_two_friendly_lines(server: TestClient) -> None:
    assert "No rows yet" in get(server)
    assert (
        "No face swaps here yet"
        in server.get("/goenhance/runs", params={"dag_id": "mine"}, headers=token("viewer")).text
    )
    assert "No face swaps here yet" in server.get("/goenhance/runs", headers=token("viewer")).text


def test_a_row_says_what_happened_what_was_paid_and_what_comes_next(server: TestClient) -> None:
    write(
        row(
            status=Status.FAILED,
            img_uuid="job-1",
            attempts=1,
            error_code="job_failed",
            error_message="GoEnhance reports that the job failed: no face was found.",
            labels='{"client": "Acme"}',
        )
    )

    html = get(server, "swap", swap_id="id-1")
    text = Tags(html).text

    assert "no face was found" in text
    assert "Job job-1 was paid for." in text
    assert "A retry leaves it as it is" in text or "A retry or clear" in text
    assert "Acme" in text
    assert 'data-copy="job-1"' in html
    assert "/dags/mine/runs/run/tasks/swap/mapped/0" in Tags(html).addresses()


@pytest.mark.parametrize(
    ("swaps", "verdict"),
    [
        ([row(1)], "Every pair has its picture."),
        ([row(1), row(2, status=Status.REUSED)], "Every pair has its picture; 1 is reused."),
        ([row(1, status=Status.UNKNOWN), row(2)], "1 unknown: settle it."),
        ([row(1, status=Status.REJECTED), row(2)], "1 rejected: correct the manifest."),
        (
            [row(1, status=Status.PLANNED), row(2)],
            "The run has ended, and 1 pair was not finished: clear its task.",
        ),
        (
            [row(1, status=Status.HELD, error_code="unknown_submit")],
            "1 held by an earlier submit: settle that",
        ),
        (
            [row(1, status=Status.HELD, error_code="in_flight")],
            "1 held because another run has a job of the pair",
        ),
        (
            [row(1, status=Status.HELD, error_code="picture_rejected")],
            "1 held because a reviewer rejected the",
        ),
        (
            [row(1, status=Status.HELD, error_code="budget_reached")],
            "1 held by a budget: a later run sends it.",
        ),
        ([row(1, status=Status.HELD, error_code="erased")], "but for 1 whose content was erased or deleted"),
        ([row(1, quality="other_picture")], "1 suspicious (other picture): look at the picture."),
        ([row(1, quality="blank", review="approved")], "Every pair has its picture."),
    ],
)
def test_a_run_says_how_it_stands_and_what_a_person_has_to_do(
    server: TestClient, swaps: list[Swap], verdict: str
) -> None:
    assert verdict in page(server, *swaps)
    assert verdict in get(server, "runs")


def test_a_run_that_goes_on_is_asked_for_again_and_one_that_has_ended_is_not(
    server: TestClient, states: dict[RunKey, str]
) -> None:
    write(row(1, status=Status.SUBMITTED), row(2))

    assert 'data-refresh="15000"' in get(server)
    states[RunKey("mine", "run")] = "running"
    html = get(server)
    assert 'data-refresh="3000"' in html
    assert "Running, 50 % finished." in html
    assert 'data-refresh=""' in page(server, row(1, run_id="over"), run_id="over")


def test_the_figures_alone_are_a_small_answer(server: TestClient) -> None:
    write(*(row(number) for number in range(1, 60)))

    figures = get(server, fragment="figures")

    assert '<section id="figures"' in figures
    assert "<html" not in figures
    assert "data-row" not in figures
    assert "data-row" in get(server, fragment="rows")


def test_pairs_that_changed_since_the_run_before_are_listed(server: TestClient) -> None:
    import datetime as dt

    monday, tuesday = (dt.datetime(2026, 11, day, tzinfo=dt.UTC) for day in (23, 24))
    earlier = {"run_id": "z-monday", "planned_at": monday}
    write(
        *(row(n, swap_id=f"old-{n}", **earlier) for n in (1, 2)),
        row(3, swap_id="old-3", status=Status.FAILED, **earlier),
        row(1, status=Status.REUSED, planned_at=tuesday),
        row(2, status=Status.FAILED, planned_at=tuesday),
        row(3, planned_at=tuesday),
        row(4, planned_at=tuesday),
    )

    html = get(server, "changes")
    lines = re.findall(
        r'<tr><td class="pair"><a[^>]*>(p\d+)</a></td><td>.*?>([\w ]+)</span>.*?state-\w+">(\w+)<', html
    )

    assert lines == [
        ("p002", "succeeded", "failed"),
        ("p003", "failed", "succeeded"),
        ("p004", "not in it", "succeeded"),
    ]
    assert "Changes since z-monday</a> (succeeded +1)" in get(server)


@pytest.mark.parametrize(
    "after",
    [
        "x",
        "bm8",
        "WzAsbnVsbCxudWxsXQ",
        "WzAsInN3YXAiLDAsOTk5OTk5OTk5OTk5OTk5OTk5LCJwIiwicyJd",
        "W1tbW1tb",
        "=" * 8000,
    ],
)
def test_a_place_that_was_made_up_begins_somewhere_and_never_fails(server: TestClient, after: str) -> None:
    for order in ("manifest", "problems", "pair"):
        page_of_rows = page(server, row(), after=after, order=order)

        assert "Traceback" not in page_of_rows


def test_what_a_run_has_nothing_for_is_not_offered(server: TestClient) -> None:
    write(row(1), row(2, status=Status.REUSED))

    html = get(server, user="admin")

    assert 'data-action="again"' not in html
    assert "failures.csv" not in html
    assert "rows.csv" in html


def test_failures_and_rejected_pictures_are_offered_with_their_number(server: TestClient) -> None:
    write(
        row(1, review="rejected", reviewed_by="anna", result_uri="file:///p.png"),
        row(2, status=Status.FAILED),
        row(3, status=Status.HELD),
    )

    html = get(server, user="admin")

    assert "Run 2 pairs without a picture again" in html
    assert "Swap the rejected picture again" in html
    assert "failures.csv" in html


#: What an address gives a meaning, and what it cannot hold.
RUN_IDS = [
    "manual__2026-11-28T01:02:03+00:00",
    "a/b/../c",
    "a b&c=d#e?f%2B%%",
    "..",
    "nächtlich 夜 😀",
    "\\'\"<b>{{ x }}",
]


@pytest.mark.parametrize("run_id", RUN_IDS)
def test_every_link_on_every_page_of_a_run_leads_to_that_run(server: TestClient, run_id: str) -> None:
    earlier = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    write(row(100, run_id=f"{run_id} before", status=Status.SUCCEEDED, pair_fingerprint="f1", pair_id="p001"))
    database = open_results()
    database.run(lambda connection: connection.execute(sa.update(database.swaps).values(planned_at=earlier)))
    write(
        *(row(number, run_id=run_id, status=Status.FAILED, error_code="job_failed") for number in range(60))
    )
    write(row(61, run_id=run_id, review="rejected", result_uri="file:///p.png"))

    def read(address: str) -> str:
        answer = server.get(f"/goenhance/{address}", headers=token("admin"))
        assert answer.status_code == 200, address
        return answer.text

    def is_of(address: str, run_id: str) -> bool:
        return parse_qs(urlsplit(address).query).get("run_id") == [run_id]

    listed = read("runs?dag_id=mine")
    first = next(link for link in Tags(listed).all("a", "href") if is_of(link, run_id))
    seen, todo = {first}, [first]
    while todo:
        at = todo.pop()
        for address in Tags(read(at)).addresses():
            query = parse_qs(urlsplit(address).query)
            if is_of(address, run_id):
                kind = (urlsplit(address).path, *sorted(set(query) - {"run_id", "dag_id"}))
                if kind not in seen:
                    seen.add(kind)
                    todo.append(address)
            else:
                assert not query.get("run_id") or query["run_id"] == [f"{run_id} before"], address
    paths = {kind[0] for kind in seen if isinstance(kind, tuple)}
    assert {"swaps", "changes", "actions/rows.csv", "actions/failures.csv"} <= paths
    assert len(ids(read(first))) == row_query.TABLE_ROWS
    assert Tags(read(first)).all("div", "data-run") == [run_id]
    in_airflow = [link for link in Tags(read(first)).all("a", "href") if "/dags/" in link]
    assert {unquote(link.rpartition("/")[2]) for link in in_airflow} <= {run_id}
    again = json.loads(read(f"actions/again?{urlencode({'dag_id': 'mine', 'run_id': run_id})}"))
    assert again["request"]["conf"]["manifest"] == f"run:mine/{run_id}"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"max_pairs": 20}, "budget: 2 of 20 pairs used"),
        ({"max_pairs": "1", "max_cost": 300}, "budget: 2 of 1 pair and 8 of 300 credits used"),
        ({"max_pairs": None, "max_cost": ""}, None),
        ({"max_pairs": "{{ params.max_pairs }}"}, None),
        ("[]", None),
    ],
)
def test_a_run_says_how_much_of_its_budget_is_used(
    server: TestClient, monkeypatch: pytest.MonkeyPatch, fields: object, text: str | None
) -> None:
    write(row(1, attempts=1, cost=4), row(2, attempts=1, cost=4))
    known = budget_view.caps_in(fields)
    for module in (runs, rows):
        monkeypatch.setattr(module, "caps_of_runs", lambda tasks: {RunKey("mine", "run"): known})

    for html in (get(server), server.get("/goenhance/runs", headers=token("viewer")).text):
        assert ("budget" in html) == (text is not None)
        assert text is None or text in html
