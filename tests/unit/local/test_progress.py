# SPDX-License-Identifier: Apache-2.0
"""What `make run` shows while it works and when it is done."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap
from include.local.paths import Paths
from include.local.progress import SHOWN_ROWS, RunProgress, results_table
from tests.swaps import planned

PLACES = Paths(Path("/project"))


def row(number: int, status: str = "succeeded", **more: str) -> Swap:
    return planned(number, row_number=number, pair_id=f"pair-{number}", status=Status(status), **more)


def shown(rows: list[Swap], total: int | None = None) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(results_table(rows, len(rows) if total is None else total, PLACES))
    return console.file.getvalue()


def test_a_kept_picture_is_shown_by_its_path_below_the_project() -> None:
    text = shown([row(1, img_uuid="u-1", result_uri="file:///project/.local/swaps/r/a%20b.jpg")])
    assert "u-1" in text
    assert " .local/swaps/r/a b.jpg " in text


def test_a_picture_in_a_bucket_is_shown_by_its_address() -> None:
    assert "s3://bucket/a.jpg" in shown([row(1, result_uri="s3://bucket/a.jpg")])


def test_a_failed_row_shows_its_reason_square_brackets_and_all() -> None:
    assert "no face [code 7]" in shown([row(1, "failed", error_message="no face [code 7]")])


def test_a_rejected_row_shows_where_it_stands_in_the_manifest() -> None:
    assert "Row 7: source_img is missing" in shown(
        [row(7, "rejected", error_message="source_img is missing")]
    )


def test_a_reason_without_words_is_shown_by_its_code() -> None:
    assert "job_failed" in shown([row(1, "failed", error_code="job_failed")])


def test_a_long_run_says_how_many_of_its_rows_are_listed() -> None:
    text = shown([row(5, "unknown", error_message="connection lost")], total=SHOWN_ROWS + 1)
    assert "pair-5 " in text
    assert f"1 of {SHOWN_ROWS + 1} swaps" in text


@pytest.fixture
def pipe() -> Console:
    return Console(file=io.StringIO(), width=200)


def test_a_pipe_gets_a_line_whenever_something_changes(pipe: Console) -> None:
    with RunProgress(pipe) as progress:
        progress.show("running", {"planned": 2, "submitted": 1})
        progress.show("running", {"planned": 2, "submitted": 1})
        progress.show("running", {"succeeded": 2, "failed": 1})
    assert pipe.file.getvalue().splitlines() == [
        "run running: 0 of 3 swaps done (2 planned, 1 submitted)",
        "run running: 3 of 3 swaps done (2 succeeded, 1 failed)",
    ]


def test_a_terminal_gets_a_bar() -> None:
    terminal = Console(file=io.StringIO(), width=200, force_terminal=True)
    with RunProgress(terminal) as progress:
        progress.show("running", {"planned": 2, "succeeded": 1})
    text = terminal.file.getvalue()
    assert "1/3" in text
    assert "2 planned, 1 succeeded" in text
