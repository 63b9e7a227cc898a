# SPDX-License-Identifier: Apache-2.0
"""A later run with the same pairs adopts what was paid for, and pays only for the rest."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_goenhance.api import polling
from airflow_provider_goenhance.operators.plan import GoEnhancePlanOperator
from airflow_provider_goenhance.retry_policy import is_final

from .light_runner import LightTask, LightTaskInstance

KINDS = ["single", "batch"]
#: Answers to status calls that are not about the job, and one that is not to be believed at once.
NO_ANSWERS = {
    "maintenance": {"kind": "business_error", "code": 1001, "msg": "system maintenance, try again later"},
    "not found": {"kind": "business_error", "code": 404, "msg": "Job not found"},
}


@pytest.fixture
def _believed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five answers that say "job not found" are enough: the five minutes are in the unit tests of the wait."""
    monkeypatch.setattr(polling, "NOT_FOUND_SECONDS", 0.0)


def next_run(swap: LightTask, number: int = 2, **arguments: Any) -> Any:
    swap.ti = LightTaskInstance("swap", run_id=f"run-{number}")
    swap.arguments |= arguments
    return swap.attempt()


def assert_taken_over(swap: LightTask, img_uuid: str) -> None:
    row = swap.row()
    assert (row["status"], row["img_uuid"], row["attempts"], row["cost"]) == ("succeeded", img_uuid, 0, 0)
    assert Path(row["result_uri"].removeprefix("file://")).is_file()
    assert swap.ti.run_id in row["result_uri"]
    assert swap.accepted() == len(swap.pairs)


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_jobs_that_nobody_waited_for_are_taken_over(
    task: Callable[..., LightTask], kind: str, deferrable: bool
) -> None:
    swap = task(kind=kind, deferrable=deferrable, wait_for_completion=False)
    swap.attempt()
    img_uuid = swap.row()["img_uuid"]

    ending = next_run(swap, wait_for_completion=True)

    assert ending.error is None
    assert img_uuid in str(ending.xcoms)
    assert_taken_over(swap, img_uuid)


@pytest.mark.parametrize("kind", KINDS)
def test_jobs_that_timed_out_are_taken_over(task: Callable[..., LightTask], kind: str) -> None:
    swap = task(kind=kind, timeout=0.05)
    swap.sandbox.put_faults(job_seconds=3600)
    ending = swap.attempt()
    img_uuid = swap.row()["img_uuid"]
    assert f"Job {img_uuid} was paid for." in ending.message
    assert "a new run adopts the same job and pays nothing (unless reuse='never')" in ending.message

    again = next_run(swap)  # still running
    assert f"Job {img_uuid} was paid for by an earlier run; nothing was paid by this one." in again.message
    assert "A retry or clear polls the same job again and pays nothing" in again.message
    assert "a new run adopts the same job and pays nothing (unless reuse='never')" in again.message
    assert swap.accepted() == len(swap.pairs)

    swap.attempt()
    swap.clear()
    swap.arguments["on_clear"] = "resubmit"
    cleared = swap.attempt()
    assert swap.accepted() == len(swap.pairs)  # a retry, and any clear, keeps waiting for the adopted job
    assert "A retry or clear polls the same job again and pays nothing" in cleared.message


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_that_was_not_kept_is_fetched_by_the_next_run(
    task: Callable[..., LightTask], kind: str
) -> None:
    swap = task(kind=kind)
    swap.sandbox.put_faults(result={"kind": "html"})
    swap.attempt()
    img_uuid = swap.row()["img_uuid"]
    swap.sandbox.put_faults(result=None)

    assert next_run(swap).error is None
    assert_taken_over(swap, img_uuid)


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_that_is_gone_from_storage_is_fetched_again(
    task: Callable[..., LightTask], kind: str
) -> None:
    swap = task(kind=kind)
    swap.attempt()
    img_uuid = swap.row()["img_uuid"]
    for picture in (swap.folder / "kept").rglob("pair-*"):
        picture.unlink()

    assert next_run(swap).error is None
    assert_taken_over(swap, img_uuid)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trouble", ["no picture", "no storage", "never done", "maintenance", "not found"])
def test_however_many_nights_a_job_is_not_collected_it_is_paid_for_once(
    task: Callable[..., LightTask], connect: Any, kind: str, trouble: str
) -> None:
    swap = task(kind=kind)
    connect(swap.sandbox, get_attempts=1)
    img_uuid = None
    for night in range(1, 5):
        if trouble == "no picture":
            swap.sandbox.put_faults(result={"kind": "html"})
        elif trouble == "no storage":
            (swap.folder / "file").touch()
            swap.arguments["storage"] = str(swap.folder / "file" / "kept")
        else:
            swap.arguments["timeout"] = 0.05
            swap.sandbox.put_faults(job_seconds=3600, detail=NO_ANSWERS.get(trouble))
        assert next_run(swap, number=night).error is not None
        assert swap.row()["status"] == "failed"
        img_uuid = img_uuid or swap.row()["img_uuid"]
        assert swap.row()["img_uuid"] == img_uuid
    swap.sandbox.put_faults(result=None, job_seconds=0, detail=None)
    swap.arguments["storage"] = str(swap.folder / "kept")

    ending = next_run(swap, number=5)

    if trouble in {"never done", *NO_ANSWERS}:
        assert swap.row()["img_uuid"] == img_uuid
    else:
        assert ending.error is None
        assert_taken_over(swap, str(img_uuid))
    assert swap.accepted() == len(swap.pairs)


@pytest.mark.usefixtures("_believed_at_once")
@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_maintenance_however_long_never_makes_a_later_run_pay_again(
    task: Callable[..., LightTask], connect: Any, kind: str, deferrable: bool
) -> None:
    swap = task(kind=kind, deferrable=deferrable, wait_for_completion=False)
    connect(swap.sandbox, get_attempts=1)
    swap.attempt()
    img_uuid = swap.row()["img_uuid"]
    answers = len(swap.pairs) * 3 * polling.NOT_FOUND_LIMIT
    swap.sandbox.put_faults(detail={**NO_ANSWERS["maintenance"], "count": answers})

    ending = next_run(swap, wait_for_completion=True)

    assert ending.error is None
    assert swap.sandbox.faults()["detail"][0]["fired"] == answers
    assert_taken_over(swap, img_uuid)


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_row_says_how_often_its_job_was_not_found_and_why_that_is_not_believed(
    task: Callable[..., LightTask], kind: str, deferrable: bool
) -> None:
    swap = task(kind=kind, deferrable=deferrable, timeout=0.05)
    swap.sandbox.put_faults(detail=NO_ANSWERS["not found"])

    ending = swap.attempt()

    assert re.search(
        r"GoEnhance said 'job not found' (once|\d+ times), not often", swap.row()["error_message"]
    )
    assert "GoEnhance said 'job not found'" in ending.message
    assert swap.row()["error_code"] == "job_timed_out"


@pytest.mark.usefixtures("_believed_at_once")
@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_job_that_goenhance_no_longer_knows_is_submitted_again_at_once(
    task: Callable[..., LightTask], kind: str, deferrable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Five answers that say "job not found" are enough here: the five minutes are in the unit tests of the wait.
    monkeypatch.setattr(polling, "NOT_FOUND_SECONDS", 0.0)
    swap = task(kind=kind, deferrable=deferrable, wait_for_completion=False)
    swap.attempt()
    img_uuid = swap.row()["img_uuid"]
    swap.sandbox.reset()

    ending = next_run(swap, wait_for_completion=True)

    assert ending.error is None
    row = swap.row()
    assert (row["status"], row["attempts"], row["former_uuids"]) == ("succeeded", 1, img_uuid)
    assert swap.accepted() == len(swap.pairs)


@pytest.mark.parametrize("kind", KINDS)
def test_a_failed_job_is_not_taken_over(task: Callable[..., LightTask], kind: str) -> None:
    swap = task(kind=kind)
    swap.sandbox.put_faults(job={"kind": "failed"})
    swap.attempt()
    swap.sandbox.put_faults(job=None)

    assert next_run(swap).error is None
    assert swap.accepted() == 2 * len(swap.pairs)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reuse", ["succeeded", "never"])
def test_a_pair_whose_submit_has_an_unknown_outcome_is_held_by_every_new_run(
    task: Callable[..., LightTask], kind: str, reuse: str, caplog: pytest.LogCaptureFixture
) -> None:
    swap = task(kind=kind)
    swap.sandbox.put_faults(submit={"kind": "disconnect", "when": "after", "count": 1})
    ending = swap.attempt()
    assert swap.row()["status"] == "unknown"
    assert "a new run holds the pair until that submit is settled" in ending.message
    accepted = swap.accepted()
    others = len(swap.pairs) - 1

    for number in (2, 3):
        with caplog.at_level(logging.WARNING):
            ending = next_run(swap, number=number, reuse=reuse)
        row = swap.row()
        assert (row["status"], row["error_code"], row["attempts"]) == ("held", "unknown_submit", 0)
        assert "run run-1 of Dag light" in row["error_message"]
        assert "UTC" in row["error_message"]
        assert "airflow goenhance resolve" in row["error_message"]
        assert ending.error is not None
        assert is_final(ending.error)
        assert "is held" in ending.message
    assert "1 pair is held, because an earlier submit of the pair may have been accepted" in caplog.text
    assert swap.accepted() == accepted + (2 * others if reuse == "never" else 0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_user_may_have_such_a_pair_sent_again_by_a_new_run(
    task: Callable[..., LightTask], kind: str
) -> None:
    swap = task(kind=kind)
    swap.sandbox.put_faults(submit={"kind": "disconnect", "when": "after", "count": 1})
    swap.attempt()
    next_run(swap, number=2)
    assert swap.row()["status"] == "held"

    # A retry of the held row, and a run after it.
    assert swap.attempt().error is not None
    swap.arguments["on_unknown_submit"] = "resubmit"
    assert swap.attempt().error is None
    assert (swap.row()["status"], swap.row()["attempts"]) == ("succeeded", 1)
    assert swap.accepted() == len(swap.pairs) + 1
    assert next_run(swap, number=3, on_unknown_submit="hold").error is None
    assert swap.row()["status"] == "reused"


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_taken_over_by_another_account_or_with_reuse_never(
    task: Callable[..., LightTask], connect: Any, kind: str
) -> None:
    swap = task(kind=kind)
    swap.attempt()

    next_run(swap, reuse="never")
    assert swap.accepted() == 2 * len(swap.pairs)

    connect(swap.sandbox, account_name="another")
    next_run(swap, number=3, reuse="succeeded")
    assert swap.accepted() == 3 * len(swap.pairs)


def test_a_plan_gives_jobs_that_are_taken_over_their_tasks_and_counts_them(
    task: Callable[..., LightTask], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    swap = task(kind="batch", wait_for_completion=False)
    swap.attempt()
    manifest = tmp_path / "pairs.csv"
    lines = [f"{pair['pair_id']},{pair['source_img']},{pair['reference_img']}" for pair in swap.pairs]
    new = f"new,{swap.sandbox.image('new.jpg')},{swap.sandbox.image('scene.jpg')}"
    manifest.write_text("\n".join(["pair_id,source_img,reference_img", *lines, new]) + "\n")

    def plan(**arguments: Any) -> Any:
        operator = GoEnhancePlanOperator(
            task_id="plan", manifest=str(manifest), pairs_per_task=2, **arguments
        )
        return operator.execute({"ti": LightTaskInstance("plan", run_id="run-2")})

    caplog.set_level("INFO")
    assert plan(check_only=True) == []
    said = caplog.text
    assert "would submit, and pay for, 1 pair in 2 tasks of up to 2; 3 earlier jobs are adopted" in said

    assert [batch["batch"] for batch in plan()] == [0, 1]
    said = caplog.text
    assert "4 rows added, of which 0 reuse earlier pictures, 3 adopt earlier jobs and 0 are held" in said
    assert [batch["batch"] for batch in plan()] == [0, 1]

    swap.ti = LightTaskInstance("swap", run_id="run-2")
    statuses = sorted(row["status"] for row in swap.rows().values())
    assert statuses == ["planned", "submitted", "submitted", "submitted"]


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_reuses_nothing_pays_once_the_jobs_of_the_run_before_have_ended(
    task: Callable[..., LightTask], kind: str, deferrable: bool
) -> None:
    swap = task(kind=kind, deferrable=deferrable, wait_for_completion=False)
    swap.sandbox.put_faults(job_seconds=1)
    swap.attempt()
    before = {entry["img_uuid"] for entry in swap.sandbox.submissions()}

    ending = next_run(swap, reuse="never", wait_for_completion=True)

    assert ending.error is None
    assert {row["status"] for row in swap.rows().values()} == {"succeeded"}
    assert before.isdisjoint({row["img_uuid"] for row in swap.rows().values()})
    assert swap.accepted() == 2 * len(swap.pairs)


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_while_the_jobs_of_the_run_before_do_not_end_such_a_run_is_held_and_a_retry_looks_again(
    task: Callable[..., LightTask], kind: str, deferrable: bool
) -> None:
    swap = task(kind=kind, deferrable=deferrable, wait_for_completion=False)
    swap.let_no_job_end()
    swap.attempt()
    accepted = swap.accepted()

    ending = next_run(swap, reuse="never", wait_for_completion=True, timeout=0.3)

    assert ending.error is not None
    assert not is_final(ending.error)
    assert "checks again" in ending.message
    assert {(row["status"], row["error_code"]) for row in swap.rows().values()} == {("held", "in_flight")}
    assert swap.accepted() == accepted

    swap.let_jobs_end()
    swap.arguments["timeout"] = 120
    assert swap.attempt().error is None
    assert {row["status"] for row in swap.rows().values()} == {"succeeded"}
    assert swap.accepted() == accepted + len(swap.pairs)
