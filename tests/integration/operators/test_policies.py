# SPDX-License-Identifier: Apache-2.0
"""The choices that may cost money: what each literal does, and that the defaults never pay twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from airflow_provider_goenhance.exceptions import BatchFailedError, JobFailedError, SubmitOutcomeUnknownError
from airflow_provider_goenhance.retry_policy import is_final

from .light_runner import LightTask

KINDS = ["single", "batch"]
LOST_AFTER_ACCEPTING = {"kind": "disconnect", "when": "after", "count": 1}


@pytest.mark.parametrize("kind", KINDS)
def test_on_unknown_submit_hold_leaves_the_row_for_a_person(
    task: Callable[..., LightTask], kind: str
) -> None:
    swap = task(kind=kind)
    swap.sandbox.put_faults(submit=LOST_AFTER_ACCEPTING)
    swap.attempt()
    posts = swap.accepted()

    retried = swap.attempt()
    swap.clear()
    cleared = swap.attempt()

    assert swap.row()["status"] == "unknown"
    assert swap.accepted() == posts
    assert is_final(retried.error)
    assert is_final(cleared.error)
    assert "A retry or clear leaves it as it is (on_unknown_submit='hold')" in cleared.message
    assert "a new run holds the pair until that submit is settled" in cleared.message


@pytest.mark.parametrize("kind", KINDS)
def test_on_unknown_submit_resubmit_sends_it_again_with_the_next_attempt_and_says_it_may_pay_twice(
    task: Callable[..., LightTask], kind: str
) -> None:
    swap = task(kind=kind, on_unknown_submit="resubmit")
    swap.sandbox.put_faults(submit=LOST_AFTER_ACCEPTING)

    first = swap.attempt()

    assert not is_final(first.error)  # chosen by name, so Airflow's retries serve it
    assert isinstance(first.error, SubmitOutcomeUnknownError | BatchFailedError)
    assert "may pay twice (on_unknown_submit='resubmit')" in first.message
    assert swap.row()["attempts"] == 1

    second = swap.attempt()

    assert second.error is None
    assert (swap.row()["status"], swap.row()["attempts"]) == ("succeeded", 2)
    assert swap.accepted() == len(swap.pairs) + 1


@pytest.mark.parametrize("kind", KINDS)
def test_on_clear_reattach_takes_up_the_jobs_there_are(task: Callable[..., LightTask], kind: str) -> None:
    swap = task(kind=kind)
    img_uuids = {row["img_uuid"] for row in _succeeded(swap)}

    swap.clear()
    cleared = swap.attempt()

    assert cleared.error is None
    assert {row["img_uuid"] for row in swap.rows().values()} == img_uuids
    assert swap.accepted() == len(swap.pairs)


@pytest.mark.parametrize("kind", KINDS)
def test_on_clear_resubmit_pays_again_on_a_clear_but_not_on_a_retry(
    task: Callable[..., LightTask], kind: str
) -> None:
    swap = task(kind=kind, on_clear="resubmit")
    former = {row["img_uuid"] for row in _succeeded(swap)}

    swap.attempt()  # a retry
    assert swap.accepted() == len(swap.pairs)

    swap.clear()
    cleared = swap.attempt()

    assert cleared.error is None
    assert swap.accepted() == 2 * len(swap.pairs)
    assert {row["former_uuids"] for row in swap.rows().values()} == former

    swap.attempt()  # a retry after the clear
    assert swap.accepted() == 2 * len(swap.pairs)


@pytest.mark.parametrize("kind", KINDS)
def test_reuse_succeeded_lets_a_new_run_pay_for_nothing(task: Callable[..., LightTask], kind: str) -> None:
    swap = task(kind=kind)
    _succeeded(swap)

    swap.ti.run_id = "run-2"
    again = swap.attempt()

    assert again.error is None
    assert swap.accepted() == len(swap.pairs)
    assert {row["status"] for row in swap.rows().values()} == {"reused"}


def test_failed_job_resubmits_counts_the_job_that_was_taken_over(task: Callable[..., LightTask]) -> None:
    swap = task(wait_for_completion=False)
    swap.sandbox.put_faults(job={"kind": "failed"})
    swap.attempt()

    swap.ti.run_id = "run-2"
    swap.arguments |= {"wait_for_completion": True, "failed_job_resubmits": 1}
    ending = swap.attempt()

    assert (swap.row()["error_code"], swap.row()["attempts"]) == ("job_failed", 1)
    assert swap.accepted() == 2
    assert "leaves it as it is and pays nothing" in ending.message


@pytest.mark.parametrize("kind", KINDS)
def test_reuse_never_pays_for_every_pair_of_a_new_run(task: Callable[..., LightTask], kind: str) -> None:
    swap = task(kind=kind, reuse="never")
    _succeeded(swap)

    swap.ti.run_id = "run-2"
    swap.attempt()

    assert swap.accepted() == 2 * len(swap.pairs)


@pytest.mark.parametrize("kind", KINDS)
def test_failed_job_resubmits_0_never_pays_for_a_failed_job_again(
    task: Callable[..., LightTask], kind: str
) -> None:
    swap = task(kind=kind)
    swap.sandbox.put_faults(job={"kind": "failed", "count": 1, "error": "no_face: nobody there"})

    first = swap.attempt()

    assert isinstance(first.error, JobFailedError if kind == "single" else BatchFailedError)
    assert is_final(first.error)
    assert "no_face: nobody there" in first.message
    assert f"Job {swap.row()['img_uuid']} was paid for." in first.message
    assert "A retry or clear leaves it as it is and pays nothing" in first.message

    swap.attempt()
    swap.clear()
    swap.attempt()

    assert swap.row()["status"] == "failed"
    assert swap.accepted() == len(swap.pairs)


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_failed_job_resubmits_1_submits_it_once_more_within_the_attempt(
    task: Callable[..., LightTask], kind: str, deferrable: bool
) -> None:
    swap = task(kind=kind, deferrable=deferrable, failed_job_resubmits="1")
    swap.sandbox.put_faults(job={"kind": "failed", "count": 1})

    ending = swap.attempt()

    assert ending.error is None
    assert ending.deferrals == (2 if deferrable else 0)
    assert (swap.row()["status"], swap.row()["attempts"]) == ("succeeded", 2)
    assert swap.accepted() == len(swap.pairs) + 1


def test_failed_job_resubmits_ends(task: Callable[..., LightTask]) -> None:
    swap = task(failed_job_resubmits=2)
    swap.sandbox.put_faults(job={"kind": "failed"})

    ending = swap.attempt()

    assert isinstance(ending.error, JobFailedError)
    assert swap.accepted() == 3
    assert "2 earlier submits may have been" in ending.message


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"reuse": "none"}, "reuse must be 'succeeded' or 'never'; got 'none'"),
        ({"on_clear": "resubmitt"}, "on_clear must be 'reattach' or 'resubmit'; got 'resubmitt'"),
        ({"on_unknown_submit": "Hold"}, "on_unknown_submit must be 'hold' or 'resubmit'; got 'Hold'"),
        ({"failed_job_resubmits": "many"}, "failed_job_resubmits must be a non-negative number; got 'many'"),
        ({"failed_job_resubmits": 1.5}, "failed_job_resubmits must be a whole number; got 1.5"),
        ({"wait_for_completion": "maybe"}, "wait_for_completion must be True or False; got 'maybe'"),
        ({"timeout": "-1"}, "timeout must be a non-negative number of seconds; got '-1'"),
        ({"timeout": "inf"}, "timeout must be at most 31536000 seconds (a year); got 'inf'"),
        ({"timeout": 1e15}, "timeout must be at most 31536000 seconds (a year); got 1000000000000000.0"),
        ({"timeout": "nan"}, "timeout must be a non-negative number of seconds; got 'nan'"),
        ({"poll_interval": "soon"}, "poll_interval must be a non-negative number of seconds; got 'soon'"),
        ({"poll_interval": 1e15}, "poll_interval must be at most 31536000 seconds (a year)"),
        ({"allowed_failure_share": "10%"}, "allowed_failure_share must be a number from 0 to 1; got '10%'"),
        ({"allowed_failure_share": 10}, "allowed_failure_share must be a number from 0 to 1; got 10"),
    ],
)
def test_a_word_that_is_no_policy_is_refused_before_anything_is_sent(
    task: Callable[..., LightTask], arguments: dict[str, object], complaint: str
) -> None:
    swap = task(kind="batch", **arguments)

    ending = swap.attempt()

    assert complaint in ending.message
    assert is_final(ending.error)
    assert swap.accepted() == 0


def _succeeded(swap: LightTask) -> list[dict[str, object]]:
    assert swap.attempt().error is None
    rows = list(swap.rows().values())
    assert {row["status"] for row in rows} == {"succeeded"}
    return rows
