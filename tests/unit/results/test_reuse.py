# SPDX-License-Identifier: Apache-2.0
"""Choose the earlier picture or job that a new run reuses."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import pytest

from airflow_provider_goenhance.results.reuse import (
    NextStep,
    adopting,
    holding,
    job_of,
    next_step,
    picture_of,
    reusing,
    unknown_submit,
)
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap


def row(status: str, img_uuid: str | None = "job", **fields: Any) -> Swap:
    given = {"attempts": 1, "swap_id": "the-earlier-row", "run_id": "yesterday", **fields}
    return Swap(
        dag_id="dag",
        task_id="swap",
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


# -- what becomes of a row, given what other rows have done with its pair ---------------------------------------------

HERE = row("planned", None, attempts=0, swap_id="this row", run_id="today")
SENT_AT = dt.datetime(2026, 11, 27, 2, tzinfo=dt.UTC)


def test_the_order_is_reuse_adopt_hold_submit() -> None:
    lost = row("unknown", None, swap_id="lost", claimed_at=SENT_AT)
    running = row("submitted", "running", swap_id="running")
    assert next_step(HERE, [KEPT, running], holder=lost, picture=KEPT).step is NextStep.REUSE
    assert next_step(HERE, [KEPT, running], holder=lost).step is NextStep.ADOPT
    assert next_step(HERE, [], holder=lost).step is NextStep.HOLD
    assert next_step(HERE, [], holder=lost, on_unknown_submit="resubmit").step is NextStep.SUBMIT
    assert next_step(HERE, []).step is NextStep.SUBMIT


@pytest.mark.parametrize(
    ("holder", "reusing", "paying_again"),
    [
        (row("planned", None), NextStep.SUBMIT, NextStep.SUBMIT),
        (row("held", None), NextStep.SUBMIT, NextStep.SUBMIT),
        (row("rejected", None), NextStep.SUBMIT, NextStep.SUBMIT),
        (row("failed", None, error_code="bad_request"), NextStep.SUBMIT, NextStep.SUBMIT),
        (row("failed", error_code="job_failed"), NextStep.SUBMIT, NextStep.SUBMIT),
        (row("failed", error_code="job_not_found"), NextStep.SUBMIT, NextStep.SUBMIT),
        (row("failed", error_code="job_timed_out"), NextStep.ADOPT, NextStep.SUBMIT),
        (row("submitting", None), NextStep.WAIT_FOR_SUBMIT, NextStep.WAIT_FOR_SUBMIT),
        (row("submitted"), NextStep.ADOPT, NextStep.WAIT_FOR_JOB),
        (row("succeeded"), NextStep.ADOPT, NextStep.SUBMIT),
        (row("unknown", None), NextStep.HOLD, NextStep.HOLD),
        (row("unknown", None, resolution="not_billed"), NextStep.HOLD, NextStep.HOLD),
        (row("failed", None, error_code="written_off"), NextStep.SUBMIT, NextStep.SUBMIT),
    ],
    ids=lambda value: f"{value.status} {value.error_code or ''}".strip() if isinstance(value, Swap) else "",
)
def test_the_state_of_the_row_that_claimed_the_pair_last_decides(
    holder: Swap, reusing: NextStep, paying_again: NextStep
) -> None:
    assert next_step(HERE, [], holder=holder).step is reusing
    assert next_step(HERE, [], holder=holder, reuse=False).step is paying_again


def test_what_another_row_of_the_same_task_has_serves_also_where_nothing_is_reused() -> None:
    twin = row("submitted", swap_id="twin", run_id="today")
    assert next_step(HERE, [], holder=twin, reuse=False).step is NextStep.ADOPT


def test_a_row_with_a_submit_of_its_own_is_sent_again_only_if_nobody_else_has_paid_since() -> None:
    again = row("failed", "its job", attempts=1, swap_id="this row", error_code="job_failed")
    assert next_step(again, [again], holder=again).step is NextStep.SUBMIT
    assert next_step(again, [again, KEPT], holder=KEPT, picture=KEPT).step is NextStep.REUSE
    assert next_step(again, [again], holder=row("submitted")).step is NextStep.ADOPT


def test_a_row_that_a_person_asked_to_pay_again_does_so_but_not_beside_another() -> None:
    again = row("succeeded", "its job", attempts=1, swap_id="this row")
    paying: dict[str, Any] = {"pay_again": True}
    assert next_step(again, [again], holder=again, **paying).step is NextStep.SUBMIT
    assert next_step(again, [again, KEPT], holder=KEPT, picture=KEPT, **paying).step is NextStep.SUBMIT
    assert next_step(again, [again], holder=row("submitted"), **paying).step is NextStep.WAIT_FOR_JOB


def test_a_job_that_a_row_has_adopted_in_vain_is_not_adopted_by_it_again() -> None:
    in_vain = row("failed", "job", attempts=0, swap_id="this row", error_code="job_not_found")
    assert next_step(in_vain, [KEPT], holder=KEPT).step is NextStep.SUBMIT
    assert next_step(in_vain, [], holder=row("submitted", "job")).step is NextStep.SUBMIT


def test_a_submit_that_came_after_the_unknown_one_ends_the_hold() -> None:
    lost = row("unknown", None, swap_id="lost", claimed_at=SENT_AT)
    later = row("failed", "later", error_code="job_failed", submitted_at=SENT_AT + dt.timedelta(hours=1))
    before = row("failed", "before", error_code="job_failed", submitted_at=SENT_AT - dt.timedelta(hours=1))
    assert next_step(HERE, [later, lost]).step is NextStep.SUBMIT
    assert next_step(HERE, [lost, before]).step is NextStep.HOLD
    assert next_step(HERE, [lost, before], holder=row("planned", None)).step is NextStep.HOLD


def test_a_held_row_says_whose_submit_holds_it_and_what_to_do() -> None:
    lost = row("unknown", None, swap_id="lost", claimed_at=SENT_AT)
    held = holding(HERE, next_step(HERE, [], holder=lost))
    assert (held.status, held.error_code) == (Status.HELD, "unknown_submit")
    assert "run yesterday of Dag dag submitted the same pair at 2026-11-27 02:00:00 UTC" in str(
        held.error_message
    )
    assert "airflow goenhance resolve" in str(held.error_message)
    assert "on_unknown_submit='resubmit'" in str(held.error_message)


def test_the_row_that_claimed_the_pair_last_holds_it_although_its_workers_clock_is_slow() -> None:
    noon = dt.datetime(2026, 11, 27, 12, tzinfo=dt.UTC)
    job = row("failed", error_code="job_failed", submitted_at=noon, swap_id="job")
    unknown = row("unknown", None, claimed_at=noon - dt.timedelta(minutes=10), swap_id="unknown")
    decision = next_step(row("planned", None, attempts=0, swap_id="mine"), [job], holder=unknown)
    assert (decision.step, decision.other) == (NextStep.HOLD, unknown)


def test_a_row_that_reuses_a_picture_hides_no_job_of_its_pair() -> None:
    job = row("failed", error_code="download_failed", swap_id="job")
    reused = row("reused", "gone", result_uri="file:///gone.jpg", swap_id="reused")
    decision = next_step(row("planned", None, attempts=0, swap_id="mine"), [job], holder=reused)
    assert (decision.step, decision.other) == (NextStep.ADOPT, job)


# -- pictures that a reviewer has rejected -----------------------------------------------------------------------------

REJECTED = row(
    "succeeded",
    img_uuid="rejected job",
    result_uri="file:///rejected.jpg",
    review="rejected",
    reviewed_by="anna",
    reviewed_at=dt.datetime(2026, 11, 28, 2, 30, tzinfo=dt.UTC),
    review_note="wrong person",
)
NEW = row("planned", img_uuid=None, swap_id="the-new-row", attempts=0, run_id="today")


def test_a_rejected_picture_is_not_reused_nor_its_job_adopted_and_the_pair_is_held() -> None:
    assert picture_of([REJECTED]) is None
    assert job_of([REJECTED]) is None
    decision = next_step(NEW, [REJECTED])
    assert (decision.step, decision.other) == (NextStep.HOLD, REJECTED)


def test_a_row_that_is_held_for_a_rejected_picture_says_whose_who_rejected_it_and_what_to_do() -> None:
    held = holding(NEW, next_step(NEW, [REJECTED]))
    assert (held.status, held.error_code, held.attempts) == (Status.HELD, "picture_rejected", 0)
    message = str(held.error_message)
    assert "the picture that run yesterday of Dag dag has of this pair was rejected by anna" in message
    assert "on 2026-11-28 02:30 UTC (wrong person)" in message
    assert "reuse='never'" in message


def test_the_copy_that_another_run_kept_of_the_same_job_is_not_adopted_either() -> None:
    adopted = row("submitted", img_uuid="rejected job", swap_id="adopter")
    assert next_step(NEW, [REJECTED, adopted], holder=adopted).step is not NextStep.ADOPT


@pytest.mark.parametrize("serves", [dataclasses.replace(KEPT), dataclasses.replace(KEPT, review="approved")])
@pytest.mark.parametrize("later", [True, False])
def test_a_picture_that_was_not_rejected_serves_beside_one_that_was(serves: Swap, later: bool) -> None:
    serves = dataclasses.replace(serves, swap_id="another-row")
    earlier = [REJECTED, serves] if later else [serves, REJECTED]
    assert picture_of(earlier) is serves
    assert next_step(NEW, earlier, picture=serves).step is NextStep.REUSE


@pytest.mark.parametrize("asked", [{"reuse": False}, {"pay_again": True}])
def test_a_new_swap_that_was_asked_for_by_name_is_paid_for(asked: dict[str, bool]) -> None:
    assert next_step(NEW, [REJECTED], **asked).step is NextStep.SUBMIT  # type: ignore[arg-type]


def test_an_unknown_submit_after_the_rejection_still_holds_the_pair_whatever_is_asked() -> None:
    unknown = row(
        "unknown", img_uuid=None, swap_id="lost", claimed_at=dt.datetime(2026, 11, 29, tzinfo=dt.UTC)
    )
    decision = next_step(NEW, [REJECTED, unknown], reuse=False)
    assert (decision.step, decision.other) == (NextStep.HOLD, unknown)
    assert holding(NEW, decision).error_code == "unknown_submit"
