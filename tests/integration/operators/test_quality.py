# SPDX-License-Identifier: Apache-2.0
"""Kept pictures that are suspicious: on the rows, in the verdicts, in the report, and in later runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import sqlalchemy as sa

from airflow_provider_goenhance.exceptions import GoEnhanceError, SuspiciousPictureError
from airflow_provider_goenhance.operators.collect import GoEnhanceCollectOperator
from airflow_provider_goenhance.operators.report import GoEnhanceReportOperator
from airflow_provider_goenhance.pictures import contact_sheet

from .light_runner import LightTask, LightTaskInstance

#: The sandbox of these tests answers with a picture of one colour.
FOUND = "blank"


@pytest.fixture
def batch(task: Callable[..., LightTask]) -> Callable[..., LightTask]:
    def make(**options: Any) -> LightTask:
        made = task(**({"kind": "batch", "pairs": 2} | options))
        for number, pair in enumerate(made.pairs):
            pair["source_img"] = made.sandbox.image("hopper.jpg")
            pair["reference_img"] = made.sandbox.image(["crew.jpg", "collins.jpg"][number])
        return made

    return make


def report(batch: LightTask, **arguments: Any) -> tuple[LightTaskInstance, BaseException | None]:
    ti = LightTaskInstance("report", run_id=batch.ti.run_id)
    operator = GoEnhanceReportOperator(task_id="report", storage=str(batch.folder / "kept"), **arguments)
    try:
        operator.execute({"ti": ti, "outlet_events": {}})  # type: ignore[typeddict-item]
    except GoEnhanceError as error:
        return ti, error
    return ti, None


@pytest.mark.parametrize("kind", ["single", "batch"])
def test_a_suspicious_picture_is_kept_and_its_row_succeeds(
    batch: Callable[..., LightTask], kind: str
) -> None:
    swap = batch(kind=kind)
    assert swap.attempt().error is None
    for row in swap.rows().values():
        assert (row["status"], row["quality"]) == ("succeeded", FOUND)
        assert row["quality_score"] < 1
        assert Path(unquote(urlsplit(row["thumbnail_uri"]).path)).is_file()


def test_without_a_results_table_a_single_swap_is_judged_too(batch: Callable[..., LightTask]) -> None:
    swap = batch(kind="single", results_conn_id=None, on_suspicious="fail")
    assert isinstance(swap.attempt().error, SuspiciousPictureError)
    assert FOUND in json.dumps(swap.state_store.values)


@pytest.mark.parametrize("kind", ["single", "batch"])
def test_with_review_the_task_succeeds_and_lists_what_is_to_be_reviewed(
    batch: Callable[..., LightTask], kind: str
) -> None:
    swap = batch(kind=kind, on_suspicious="review")
    ending = swap.attempt()
    pairs = [pair["pair_id"] for pair in swap.pairs]
    assert ending.error is None
    assert ending.xcoms["to_review"] == {"count": len(pairs), "pair_ids": pairs}


@pytest.mark.parametrize("kind", ["single", "batch"])
def test_with_fail_the_task_fails_and_neither_a_retry_nor_a_clear_nor_a_new_run_pays_again(
    batch: Callable[..., LightTask], kind: str
) -> None:
    swap = batch(kind=kind, on_suspicious="fail")
    first = swap.attempt()
    assert isinstance(first.error, SuspiciousPictureError)
    assert "paid for and kept" in first.message
    before = swap.rows()
    assert isinstance(swap.attempt().error, SuspiciousPictureError)
    swap.clear()
    assert isinstance(swap.attempt().error, SuspiciousPictureError)
    assert swap.rows() == before
    swap.ti = LightTaskInstance("swap", run_id="run-2")
    assert isinstance(swap.attempt().error, SuspiciousPictureError)
    assert {row["status"] for row in swap.rows().values()} == {"reused"}
    assert swap.accepted() == len(swap.pairs)


def test_a_reused_picture_has_the_quality_and_the_thumbnails_of_its_origin(
    batch: Callable[..., LightTask],
) -> None:
    swap = batch()
    swap.attempt()
    names = [
        *("quality", "quality_score", "quality_figures"),
        *("thumbnail_uri", "source_thumbnail_uri", "reference_thumbnail_uri"),
    ]
    earlier = {pair: [row[name] for name in names] for pair, row in swap.rows().items()}
    assert all(None not in values for values in earlier.values())
    swap.ti = LightTaskInstance("swap", run_id="run-2")
    swap.attempt()
    assert {pair: [row[name] for name in names] for pair, row in swap.rows().items()} == earlier


def test_the_collect_operator_fails_once_all_pictures_are_kept(batch: Callable[..., LightTask]) -> None:
    swap = batch(wait_for_completion=False)
    swap.attempt()
    for entry in swap.sandbox.submissions():
        swap.sandbox.wait_for(entry["img_uuid"])
    operator = GoEnhanceCollectOperator(
        task_id="collect", storage=str(swap.folder / "kept"), on_suspicious="fail"
    )
    with pytest.raises(SuspiciousPictureError, match=f"2 kept pictures are suspicious .2 {FOUND}.: 'pair-"):
        operator.execute({"ti": LightTaskInstance("collect")})  # type: ignore[typeddict-item]
    assert {row["status"] for row in swap.rows().values()} == {"succeeded"}


def test_the_report_says_how_many_pictures_are_suspicious_and_fails_only_if_asked_to(
    batch: Callable[..., LightTask], capfd: pytest.CaptureFixture[str]
) -> None:
    swap = batch()
    swap.attempt()

    assert report(swap)[1] is None
    assert f"succeeded 2, of which 2 suspicious (2 {FOUND})" in capfd.readouterr().out
    ti, error = report(swap, on_suspicious="review")
    assert (error, ti.xcoms["to_review"]["count"]) == (None, 2)
    assert isinstance(report(swap, on_suspicious="fail")[1], SuspiciousPictureError)
    with pytest.raises(ValueError, match="on_suspicious"):
        report(swap, on_suspicious="delete")


def test_the_contact_sheet_takes_the_thumbnails_and_fetches_no_input_again(
    batch: Callable[..., LightTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    swap = batch()
    swap.attempt()
    monkeypatch.setattr(contact_sheet.InputPictures, "fetch", lambda *_: pytest.fail("an input was fetched"))
    ti, _ = report(swap)
    html = Path(unquote(urlsplit(ti.xcoms["contact_sheet"]).path)).read_text()
    assert html.count('src="data:image/webp;base64,') == 3 * 2
    assert f"succeeded, suspicious: {FOUND}" in html


@pytest.mark.parametrize("value", ["delete", "", None])
def test_a_policy_that_does_not_exist_is_refused_before_anything_is_paid(
    batch: Callable[..., LightTask], value: Any
) -> None:
    swap = batch(on_suspicious=value)
    assert "on_suspicious" in swap.attempt().message
    assert swap.accepted() == 0


def test_a_check_that_does_not_exist_is_refused_before_anything_is_paid(
    batch: Callable[..., LightTask],
) -> None:
    swap = batch(quality_check="no_such_module.check")
    assert "quality_check must be the import path" in swap.attempt().message
    assert swap.accepted() == 0


def nobody_is_the_right_one(_source: Path, _reference: Path, _result: Path) -> list[str]:
    return ["wrong_person"]


def test_a_check_of_the_team_s_own_is_named_in_the_configuration(
    batch: Callable[..., LightTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__GOENHANCE__QUALITY_CHECK", f"{__name__}.nobody_is_the_right_one")
    monkeypatch.setenv("AIRFLOW__GOENHANCE__QUALITY", "False")
    monkeypatch.setenv("AIRFLOW__GOENHANCE__THUMBNAILS", "False")
    swap = batch()
    swap.attempt()
    for row in swap.rows().values():
        assert (row["quality"], row["thumbnail_uri"]) == ("flagged", None)


def test_both_can_be_switched_off_for_a_task(batch: Callable[..., LightTask]) -> None:
    swap = batch(quality="False", thumbnails=False)
    swap.attempt()
    assert {(row["quality"], row["thumbnail_uri"]) for row in swap.rows().values()} == {(None, None)}


def test_a_picture_that_a_person_has_approved_is_suspicious_no_more(batch: Callable[..., LightTask]) -> None:
    swap = batch(on_suspicious="fail")
    assert isinstance(swap.attempt().error, SuspiciousPictureError)
    engine = sa.create_engine(f"sqlite:///{swap.folder / 'results.db'}")
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE goenhance_swaps SET review = 'approved'"))
    engine.dispose()
    swap.clear()
    assert swap.attempt().error is None
    assert report(swap, on_suspicious="fail")[1] is None
