# SPDX-License-Identifier: Apache-2.0
"""What the decision is and what people read, side by side: every state, policy and next step."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from airflow_provider_goenhance.exceptions import AuthenticationError, ConnectionLostError, RateLimitedError
from airflow_provider_goenhance.execution.messages import (
    counts_line,
    describe,
    next_steps,
    paid_for,
    with_next_step,
)
from airflow_provider_goenhance.results.recovery import Action, Policies, after_clear, after_retry
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap
from tests.swaps import planned


def row(status: str, **values: Any) -> Swap:
    return planned(0, **{"status": Status(status), "max_tries": 1, **values})


def sent(status: str, **values: Any) -> Swap:
    """A row with a submit of its own."""
    return row(status, **{"attempts": 1, "img_uuid": "J", **values})


def adopted(status: str, **values: Any) -> Swap:
    """A row that adopted an earlier run's job."""
    return row(status, img_uuid="J", reused_from="an earlier row", max_tries=None, **values)


ROWS = {
    "planned": row("planned", max_tries=None),
    "submitting": sent("submitting", img_uuid=None),
    "unknown": sent("unknown", img_uuid=None),
    "submitted": sent("submitted"),
    "submitted, adopted": adopted("submitted"),
    "succeeded": sent("succeeded", result_uri="file:///kept"),
    "reused": adopted("reused", result_uri="file:///kept"),
    "rejected": row("rejected", max_tries=None),
    "held, unknown submit": row("held", max_tries=None, error_code="unknown_submit"),
    "held, in flight": row("held", max_tries=None, error_code="in_flight"),
    "held, picture rejected": row("held", max_tries=None, error_code="picture_rejected"),
    "succeeded, picture rejected": sent("succeeded", result_uri="file:///kept", review="rejected"),
    "written off": sent("failed", img_uuid=None, error_code="written_off", resolution="written_off"),
    "declined": row("failed", error_code="bad_request"),
    "job failed": sent("failed", error_code="job_failed"),
    "job failed twice": sent("failed", error_code="job_failed", attempts=2),
    "job failed, adopted": adopted("failed", error_code="job_failed"),
    "timed out": sent("failed", error_code="job_timed_out"),
    "timed out, adopted": adopted("failed", error_code="job_timed_out"),
    "not found": sent("failed", error_code="job_not_found"),
    "not found, adopted": adopted("failed", error_code="job_not_found"),
    "picture not kept": sent("failed", error_code="picture_too_large"),
}

POLICIES = {
    "defaults": Policies(),
    "unknown: resubmit": Policies(on_unknown_submit="resubmit"),
    "clear: resubmit": Policies(on_clear="resubmit"),
    "failed: resubmit 1": Policies(failed_job_resubmits=1),
    "reuse: never": Policies(reuse="never"),
}

SUBMIT, WAIT, LEAVE, LOOK = Action.SUBMIT, Action.WAIT, Action.LEAVE, Action.LOOK
PAYS = "submits the pair and pays for it"
AGAIN = "submits the pair and pays for it again"
TWICE = "submits the pair again and may pay twice"
RISKS = "submits the pair again and may pay twice (on_unknown_submit='resubmit')"
POLLS = "polls the same job again and pays nothing"
LEAVES = "leaves it as it is and pays nothing"
HOLDS = "leaves it as it is (on_unknown_submit='hold')"
OTHER = "leaves it to the attempt that is submitting it, or marks it unknown if that attempt has ended"
ADOPTS = "adopts the same job and pays nothing (unless reuse='never')"
REUSES = "reuses the picture and pays nothing (unless reuse='never')"
KEEPS = "holds the pair until that submit is settled"
ITS_JOB = "adopts its job, or holds the pair if the outcome stays unknown"
UNTIL = "holds it until the earlier submit is settled"
SENDS = "submits the pair and may pay twice (on_unknown_submit='resubmit')"
ANOTHER = "submits the pair and pays for it again (reuse='never')"
UNDONE = "holds it until the rejection is undone (reuse='never' pays for a new picture)"
REFUSED = "holds the pair, because its picture was rejected (reuse='never' pays for a new picture)"
LOOKS = "checks again, and then adopts the other job or submits the pair"
NEVER = "A retry or clear never sends it; correct it and start a new run."

# row, policy ("*": all that are not listed below), retry, clear, sentence
TABLE = [
    ("planned", "*", SUBMIT, SUBMIT, f"A retry, clear or new run {PAYS}."),
    ("submitting", "*", LEAVE, LEAVE, f"A retry or clear {OTHER}; a new run {ITS_JOB}."),
    ("unknown", "*", LEAVE, LEAVE, f"A retry or clear {HOLDS}; a new run {KEEPS}."),
    ("unknown", "unknown: resubmit", SUBMIT, SUBMIT, f"A retry, clear or new run {RISKS}."),
    ("unknown", "clear: resubmit", LEAVE, SUBMIT, f"A retry {HOLDS}; a clear {TWICE}; a new run {KEEPS}."),
    ("held, unknown submit", "*", LOOK, LOOK, f"A retry, clear or new run {UNTIL}."),
    ("held, unknown submit", "unknown: resubmit", LOOK, LOOK, f"A retry, clear or new run {SENDS}."),
    ("held, in flight", "*", LOOK, LOOK, f"A retry, clear or new run {LOOKS}."),
    ("held, picture rejected", "*", LOOK, LOOK, f"A retry, clear or new run {UNDONE}."),
    ("held, picture rejected", "reuse: never", LOOK, LOOK, f"A retry, clear or new run {ANOTHER}."),
    (
        "succeeded, picture rejected",
        "*",
        LEAVE,
        LEAVE,
        f"A retry or clear {LEAVES}; a new run {REFUSED}.",
    ),
    (
        "succeeded, picture rejected",
        "clear: resubmit",
        LEAVE,
        SUBMIT,
        f"A retry {LEAVES}; a clear {AGAIN}; a new run {REFUSED}.",
    ),
    (
        "succeeded, picture rejected",
        "reuse: never",
        LEAVE,
        LEAVE,
        f"A retry or clear {LEAVES}; a new run {ANOTHER}.",
    ),
    ("written off", "*", LEAVE, LEAVE, f"A retry or clear {LEAVES}; a new run {AGAIN}."),
    ("written off", "clear: resubmit", LEAVE, SUBMIT, f"A retry {LEAVES}; a clear or new run {AGAIN}."),
    ("submitted", "*", WAIT, WAIT, f"A retry or clear {POLLS}; a new run {ADOPTS}."),
    ("submitted", "clear: resubmit", WAIT, SUBMIT, f"A retry {POLLS}; a clear {AGAIN}; a new run {ADOPTS}."),
    ("submitted, adopted", "*", WAIT, WAIT, f"A retry or clear {POLLS}; a new run {ADOPTS}."),
    ("succeeded", "*", LEAVE, LEAVE, f"A retry or clear {LEAVES}; a new run {REUSES}."),
    (
        "succeeded",
        "clear: resubmit",
        LEAVE,
        SUBMIT,
        f"A retry {LEAVES}; a clear {AGAIN}; a new run {REUSES}.",
    ),
    ("reused", "*", LEAVE, LEAVE, f"A retry or clear {LEAVES}; a new run {REUSES}."),
    ("rejected", "*", LEAVE, LEAVE, NEVER),
    ("declined", "*", LEAVE, SUBMIT, f"A retry {LEAVES}; a clear or new run {PAYS}."),
    ("job failed", "*", LEAVE, LEAVE, f"A retry or clear {LEAVES}; a new run {AGAIN}."),
    ("job failed", "clear: resubmit", LEAVE, SUBMIT, f"A retry {LEAVES}; a clear or new run {AGAIN}."),
    ("job failed", "failed: resubmit 1", SUBMIT, SUBMIT, f"A retry, clear or new run {AGAIN}."),
    ("job failed twice", "*", LEAVE, LEAVE, f"A retry or clear {LEAVES}; a new run {AGAIN}."),
    ("job failed twice", "clear: resubmit", LEAVE, SUBMIT, f"A retry {LEAVES}; a clear or new run {AGAIN}."),
    ("job failed, adopted", "*", LEAVE, LEAVE, f"A retry or clear {LEAVES}; a new run {AGAIN}."),
    ("job failed, adopted", "failed: resubmit 1", SUBMIT, SUBMIT, f"A retry, clear or new run {AGAIN}."),
    ("timed out", "*", WAIT, WAIT, f"A retry or clear {POLLS}; a new run {ADOPTS}."),
    ("timed out", "clear: resubmit", WAIT, SUBMIT, f"A retry {POLLS}; a clear {AGAIN}; a new run {ADOPTS}."),
    ("timed out, adopted", "*", WAIT, WAIT, f"A retry or clear {POLLS}; a new run {ADOPTS}."),
    ("not found", "*", WAIT, WAIT, f"A retry or clear {POLLS}; a new run {AGAIN}."),
    ("not found", "clear: resubmit", WAIT, SUBMIT, f"A retry {POLLS}; a clear or new run {AGAIN}."),
    ("not found, adopted", "*", SUBMIT, SUBMIT, f"A retry, clear or new run {AGAIN}."),
    ("picture not kept", "*", WAIT, WAIT, f"A retry or clear {POLLS}; a new run {ADOPTS}."),
    (
        "picture not kept",
        "clear: resubmit",
        WAIT,
        SUBMIT,
        f"A retry {POLLS}; a clear {AGAIN}; a new run {ADOPTS}.",
    ),
]
EXPECTED = {(name, policy): (retry, clear, sentence) for name, policy, retry, clear, sentence in TABLE}


def test_the_table_is_complete() -> None:
    assert len(EXPECTED) == len(TABLE)
    assert {name for name, _ in EXPECTED} == set(ROWS)
    assert {policy for _, policy in EXPECTED} == {"*", *POLICIES} - {"defaults"}
    assert {swap.status for swap in ROWS.values()} == set(Status)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", ROWS)
def test_the_decision_and_the_sentence_agree(name: str, policy: str) -> None:
    swap, policies = ROWS[name], POLICIES[policy]
    expected = EXPECTED.get((name, policy)) or EXPECTED[name, "*"]
    assert (after_retry(swap, policies), after_clear(swap, policies), next_steps(swap, policies)) == expected


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("planned", "Nothing was paid."),
        ("declined", "Nothing was paid."),
        ("unknown", "1 submit may have been paid for."),
        ("submitted", "Job J was paid for."),
        ("job failed twice", "Job J was paid for, and 1 earlier submit may have been."),
        ("submitted, adopted", "Job J was paid for by an earlier run; nothing was paid by this one."),
        ("reused", "Nothing was paid: an earlier run's picture is reused."),
    ],
)
def test_what_was_paid_is_one_sentence(name: str, sentence: str) -> None:
    assert paid_for(ROWS[name]) == sentence


def test_an_error_that_a_retry_may_survive_says_what_the_retry_does() -> None:
    error = with_next_step(RateLimitedError("Too many requests."), [ROWS["planned"]], Policies())
    assert str(error) == (
        "Too many requests. Pair 'p0' (row 1) is planned. Nothing was paid. "
        "A retry submits the pair and pays for it."
    )


def test_an_error_that_a_person_must_fix_says_what_a_clear_does() -> None:
    error = with_next_step(AuthenticationError("The token was refused."), [ROWS["unknown"]], Policies())
    assert str(error) == (
        "The token was refused. Pair 'p0' (row 1) is unknown. 1 submit may have been paid for. "
        "Once that is fixed, a clear leaves it as it is (on_unknown_submit='hold')."
    )


def test_submits_with_unknown_outcome_end_a_round_and_a_retry_sends_the_rows_that_are_still_planned() -> None:
    lost = ConnectionLostError("The connection broke.").of_paid_call()
    rows = [sent("unknown", img_uuid=None, pair_id="a"), row("planned", pair_id="b", max_tries=None)]
    error = with_next_step(lost, rows, Policies())
    assert error.retryable
    assert str(error).endswith("A retry submits 1 pair and leaves 1 row unchanged.")


def test_submits_with_unknown_outcome_are_not_retried_where_nothing_else_is_left_to_do() -> None:
    lost = ConnectionLostError("The connection broke.").of_paid_call()
    error = with_next_step(lost, [ROWS["unknown"], sent("succeeded", result_uri="file:///a.png")], Policies())
    assert not error.retryable
    assert "Once that is fixed, a clear" in str(error)


def test_an_error_of_many_rows_counts_them() -> None:
    rows = [row("planned", pair_id=f"a{number}", row_number=None) for number in range(5)]
    rows += [sent("submitted", pair_id="b"), sent("unknown", pair_id="c", img_uuid=None)]
    error = with_next_step(RateLimitedError("Too many requests."), rows, Policies())
    assert (
        str(error)
        == error.message
        == (
            "Too many requests. 7 rows: 5 planned (pair 'a0', pair 'a1', pair 'a2', ...); "
            "1 submitted (pair 'b' (row 1)); 1 unknown (pair 'c' (row 1)). 2 submits may have been paid for. "
            "A retry submits 5 pairs, waits for 1 job and leaves 1 row unchanged."
        )
    )


def test_a_rejected_picture_is_described_by_who_rejected_it_when_and_why() -> None:
    moment = dt.datetime(2026, 11, 28, 2, 30, tzinfo=dt.UTC)
    swap = sent(
        "succeeded", review="rejected", reviewed_by="anna", reviewed_at=moment, review_note="wrong person"
    )
    assert "Its picture was rejected by anna on 2026-11-28 02:30 UTC (wrong person)." in describe(swap)


def test_an_error_of_a_task_without_work_says_so() -> None:
    error = with_next_step(RateLimitedError("Too many requests."), [], Policies())
    assert str(error) == "Too many requests. 0 rows. Nothing was paid. A retry has nothing to do."


def test_the_counts_line_has_the_form_other_programs_read() -> None:
    counts = {"succeeded": 9, "reused": 2, "failed": 1, "rejected": 3, "unknown": 1, "planned": 4}
    assert (
        counts_line("run_1", counts)
        == "run run_1: pairs=20 succeeded=9 reused=2 failed=1 rejected=3 held=0 unknown=1 planned=4"
    )


def test_the_counts_line_of_a_run_without_rows_counts_nothing() -> None:
    assert (
        counts_line("run_1", {})
        == "run run_1: pairs=0 succeeded=0 reused=0 failed=0 rejected=0 held=0 unknown=0"
    )


@pytest.mark.parametrize("status", ["planned", "failed"])
def test_a_row_whose_adopted_job_is_gone_and_whose_own_submit_was_refused_has_no_job(status: str) -> None:
    swap = row(status, reused_from="an earlier row", former_uuids="J", error_code="bad_request")
    assert paid_for(swap) == "Nothing was paid."
    assert not swap.adopted_job


def test_a_failure_is_named_with_its_labels_on_one_line_of_bounded_length() -> None:
    labels = json.dumps({"shoot": "night 7\nlate", "client": "A" * 500})
    text = describe(row("failed", error_message="No face.", labels=labels))
    assert text.startswith(f"{row('failed').label}, shoot: night 7 late, client: AAA")
    assert text.endswith("A..., is failed: No face. Nothing was paid.")
    assert len(text) < 250
