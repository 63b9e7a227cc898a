# SPDX-License-Identifier: Apache-2.0
"""The HTML of the page: what it shows, and that nothing in a row can do more than be shown."""

from __future__ import annotations

import dataclasses
from collections import Counter
from html.parser import HTMLParser
from typing import Any

import pytest

from airflow_provider_goenhance.results.ledger import RunKey
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap
from airflow_provider_goenhance.web.page import render

KEY = RunKey("dag", "run")
SWAP = Swap(
    swap_id="id-1",
    dag_id="dag",
    run_id="run",
    pair_id="anna",
    source_img="http://h/s.jpg",
    reference_img="http://h/r.jpg",
    pair_fingerprint="f",
    status=Status.SUCCEEDED,
    img_uuid="img_uuid-1",
    row_number=2,
    result_uri="file:///kept/anna.png",
)


class Tags(HTMLParser):
    """The tags of a page with their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def page(*swaps: Swap, more: int = 0, **options: Any) -> str:
    """The page of some rows, of a run that has more of them, which succeeded."""
    counts = Counter(swap.status for swap in swaps) + Counter({Status.SUCCEEDED: more})
    return render(swaps, counts, KEY, "swap", **options)


def test_source_reference_and_result_stand_side_by_side() -> None:
    images = [attributes["src"] for tag, attributes in Tags(page(SWAP)).found if tag == "img"]

    assert images == ["http://h/s.jpg", "http://h/r.jpg", "picture?dag_id=dag&swap_id=id-1"]


def test_the_place_where_a_picture_is_kept_is_not_told() -> None:
    assert "/kept/" not in page(SWAP)


@pytest.mark.parametrize(
    "field", ["pair_id", "source_img", "reference_img", "error_message", "img_uuid", "dag_id", "swap_id"]
)
def test_markup_in_a_row_is_shown_and_not_run(field: str) -> None:
    nasty = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>"

    tags = Tags(page(dataclasses.replace(SWAP, **{field: nasty}))).found

    assert "script" not in {tag for tag, _ in tags}
    assert not any("onerror" in attributes for _, attributes in tags)


def test_markup_in_the_address_is_shown_and_not_run() -> None:
    html = render([], {}, RunKey("<script>1</script>", "<b>"), "<i>")

    assert {"script", "b", "i"}.isdisjoint(tag for tag, _ in Tags(html).found)


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JavaScript://h/%0aalert(1)",
        "data:image/svg+xml,<svg onload=alert(1)>",
        "file:///etc/passwd",
        "//h/a.jpg",
        "ftp://h/a.jpg",
        "\x01javascript:alert(1)",
        " https://h/a.jpg",
        "s3://bucket/a.jpg",
    ],
)
def test_only_web_addresses_are_loaded_as_pictures(url: str) -> None:
    tags = Tags(page(dataclasses.replace(SWAP, source_img=url, reference_img=url, result_uri=None))).found

    assert not [tag for tag, attributes in tags if tag == "img" or {"src", "href"} & attributes.keys()]


@pytest.mark.parametrize("ending", [".jpg", ".PNG", ".webp", ".gif", ".avif", ".bmp", ".ico"])
def test_a_result_that_browsers_show_is_a_picture(ending: str) -> None:
    tags = Tags(page(dataclasses.replace(SWAP, result_uri="s3://b/run/anna" + ending))).found

    assert len([tag for tag, _ in tags if tag == "img"]) == 3


@pytest.mark.parametrize("ending", [".heic", ".tif", ".jxl", ".jp2", ".svg", ""])
def test_a_result_that_browsers_do_not_show_is_a_link(ending: str) -> None:
    html = page(dataclasses.replace(SWAP, result_uri="s3://b/run/anna" + ending))

    assert len([tag for tag, _ in Tags(html).found if tag == "img"]) == 2
    assert [a["href"] for tag, a in Tags(html).found if tag == "a"] == ["picture?dag_id=dag&swap_id=id-1"]
    assert f"{ending[1:].upper()} file, which browsers do not show" in html or not ending


def test_a_link_that_runs_something_is_never_a_link() -> None:
    tags = Tags(page(dataclasses.replace(SWAP, source_img="javascript:alert(1)"))).found

    assert not any("javascript" in str(attributes.get("href")) for _, attributes in tags)


@pytest.mark.parametrize(
    ("status", "refreshes"),
    [(Status.SUBMITTED, True), (Status.PLANNED, True), (Status.FAILED, False), (Status.SUCCEEDED, False)],
)
def test_the_page_asks_again_while_something_is_under_way(status: Status, refreshes: bool) -> None:
    assert ('http-equiv="refresh"' in page(dataclasses.replace(SWAP, status=status))) is refreshes


def test_a_failure_shows_its_reason_and_its_job() -> None:
    failed = dataclasses.replace(
        SWAP, status=Status.FAILED, error_message="no face was found", result_uri=None
    )

    html = page(failed)

    assert "no face was found" in html
    assert "img_uuid-1" in html
    assert "picture?" not in html


def test_a_page_without_rows_says_when_there_are_some() -> None:
    assert "No rows yet: the task has not started" in page()


def test_a_long_list_says_how_much_of_it_is_shown_and_counts_all_of_it() -> None:
    html = page(SWAP, more=1999)

    assert "2,000 succeeded" in html
    assert "Showing 1 of 2,000 rows." in html


def links(html: str) -> list[str | None]:
    return [attributes["href"] for tag, attributes in Tags(html).found if tag == "a"][1:]


def test_each_page_of_a_long_list_links_to_the_next_one_and_back_to_the_first() -> None:
    start = "swaps?dag_id=dag&run_id=run&task_id=swap&map_index=3"

    assert links(page(SWAP, more=9, index=3, last=False)) == [f"{start}&after=id-1"]
    assert links(page(SWAP, more=9, index=3, first=False, last=False)) == [start, f"{start}&after=id-1"]
    assert links(page(SWAP, more=9, index=3, first=False)) == [start]
    assert links(page(SWAP)) == []


def test_a_large_run_names_its_first_failures_before_its_rows() -> None:
    failed = dataclasses.replace(SWAP, pair_id="bert", status=Status.FAILED, result_uri=None)

    html = page(SWAP, more=9, failures=[failed])

    assert html.index("First failures") < html.index("bert") < html.index("All rows") < html.index("anna")


def test_the_page_of_a_large_run_reloads_less_often() -> None:
    planned = dataclasses.replace(SWAP, status=Status.PLANNED)

    assert 'content="5"' in page(planned)
    assert 'content="30"' in page(planned, more=1_000_000)
