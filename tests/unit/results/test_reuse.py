# SPDX-License-Identifier: Apache-2.0
"""Choose the earlier picture or job that a new run reuses."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_goenhance.results.reuse import (
    adopting,
    job_of,
    picture_of,
    reusing,
    unknown_submit,
)
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap


def row(status: str, img_uuid: str | None = "job", **fields: Any) -> Swap:
    given = {"attempts": 1, "swap_id": "the-earlier-row", **fields}
    return Swap(
        dag_id="dag",
        run_id="yesterday",
        pair_id="p1",
        source_img="https://example.com/face.jpg",
        reference_img="https://example.com/scene.jpg",
        pair_fingerprint="f" * 64,
        status=Status(status),
        img_uuid=img_uuid,
        account="account",
        **given,
    )


KEPT = row("succeeded", result_uri="file:///kept.jpg", result_sha256="0" * 64)


def test_the_latest_kept_picture_serves_whatever_came_after_it() -> None:
    later = row("failed", error_code="job_failed")
    older = row("succeeded", result_uri="file:///older.jpg")
    assert picture_of([older, KEPT, later]) is KEPT


@pytest.mark.parametrize(
    "earlier",
    [
        row("submitted"),
        row("failed", error_code="job_timed_out"),
        row("failed", error_code="picture_too_large"),
        KEPT,
        *(
            row("failed", error_code=code, reused_from="another", attempts=0)
            for code in ("job_timed_out", "not_kept", "download_failed", "wait_failed", "link_expired")
        ),
    ],
    ids=[
        "not waited for",
        "timed out",
        "picture not kept",
        "picture gone from storage",
        "adopted and timed out",
        "adopted and not kept",
        "adopted and not downloaded",
        "adopted and not waited for",
        "adopted and its link expired",
    ],
)
def test_a_job_that_was_paid_for_and_has_no_picture_is_adopted(earlier: Swap) -> None:
    assert job_of([earlier]) is earlier


@pytest.mark.parametrize(
    "earlier",
    [
        row("failed", error_code="job_failed"),
        row("failed", error_code="job_not_found"),
        row("unknown", None),
        row("failed", None, error_code="bad_request"),
        row("failed", error_code="job_failed", reused_from="another", attempts=0),
        row("failed", error_code="job_not_found", reused_from="another", attempts=0),
    ],
    ids=[
        "GoEnhance failed it",
        "GoEnhance does not know it",
        "no UUID",
        "declined",
        "adopted, and GoEnhance failed it",
        "adopted, and GoEnhance does not know it",
    ],
)
def test_a_job_that_will_never_have_a_picture_is_not_adopted(earlier: Swap) -> None:
    assert job_of([earlier]) is None


def test_the_latest_job_counts_and_a_lost_submit_after_it_does_not_hide_it() -> None:
    good, lost = row("submitted", "good"), row("unknown", None)
    assert job_of([good, lost]) is good
    assert job_of([good, row("failed", "bad", error_code="job_failed")]) is None
    assert unknown_submit([good, lost]) is lost
    assert unknown_submit([lost, good]) is None
    assert unknown_submit([]) is None


def test_a_job_submitted_after_one_was_adopted_may_be_adopted_itself() -> None:
    again = row("failed", error_code="job_timed_out", reused_from="another", attempts=1)
    assert job_of([again]) is again


def test_a_row_that_adopts_a_job_is_submitted_and_has_paid_nothing() -> None:
    planned = row("planned", None, attempts=0, swap_id="the-new-row")
    taken = adopting(planned, row("submitted", "its-job"))
    assert (taken.status, taken.img_uuid, taken.attempts, taken.cost) == ("submitted", "its-job", 0, 0)
    assert (taken.swap_id, taken.reused_from, taken.result_uri) == ("the-new-row", "the-earlier-row", None)
    assert taken.adopted_job


def test_a_row_that_reuses_a_picture_is_finished_and_has_paid_nothing() -> None:
    planned = row("planned", None, attempts=0, swap_id="the-new-row")
    reused = reusing(planned, KEPT)
    assert (reused.status, reused.result_uri, reused.attempts, reused.cost) == (
        "reused",
        "file:///kept.jpg",
        0,
        0,
    )
    assert (reused.reused_from, reused.result_sha256) == ("the-earlier-row", "0" * 64)
    assert not reused.adopted_job
