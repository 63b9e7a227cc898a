# SPDX-License-Identifier: Apache-2.0
"""What becomes of a pair, for every combination of two earlier rows, the row itself, and what was asked for by name."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any

import pytest

from airflow_provider_goenhance.results.reuse import (
    Decision,
    NextStep,
    holding,
    job_of,
    next_step,
    picture_of,
)
from airflow_provider_goenhance.results.states import OnUnknownSubmit, Status
from airflow_provider_goenhance.results.swap import Swap

NIGHT = dt.datetime(2026, 11, 20, 2, tzinfo=dt.UTC)
GONE = "file:///gone.jpg"


def row(number: int, status: str, img_uuid: str | None = None, **values: Any) -> Swap:
    at = NIGHT + dt.timedelta(days=number)
    sent = (
        img_uuid is not None
        or status in {"unknown", "submitting"}
        or values.get("error_code") == "written_off"
    )
    fields = {
        "attempts": int(sent),
        "claimed_at": at if sent else None,
        "submitted_at": at if img_uuid else None,
    }
    return Swap(
        swap_id=f"row-{number}",
        dag_id="dag",
        run_id=f"night-{number}",
        task_id="swap",
        pair_id="p1",
        source_img="https://example.com/face.jpg",
        reference_img="https://example.com/scene.jpg",
        pair_fingerprint="f" * 64,
        status=Status(status),
        img_uuid=img_uuid and f"{img_uuid}-{number}",
        account="account",
        planned_at=at,
        **{**fields, **values},
    )


#: What another row of the pair may be: its status, its job, and what else it says.
KINDS: dict[str, tuple[str, str | None, dict[str, Any]]] = {
    "planned": ("planned", None, {}),
    "held": ("held", None, {"error_code": "budget_reached"}),
    "rejected": ("rejected", None, {"error_code": "bad_date"}),
    "consent expired": ("failed", None, {"error_code": "consent_expired"}),
    "declined": ("failed", None, {"error_code": "bad_request"}),
    "written off": ("failed", None, {"error_code": "written_off"}),
    "job failed": ("failed", "job", {"error_code": "job_failed"}),
    "job not found": ("failed", "job", {"error_code": "job_not_found"}),
    "timed out": ("failed", "job", {"error_code": "job_timed_out"}),
    "not kept": ("failed", "job", {"error_code": "not_kept"}),
    "submitting": ("submitting", None, {}),
    "submitted": ("submitted", "job", {}),
    "unknown": ("unknown", None, {"error_code": "submit_outcome_unknown"}),
    "kept": ("succeeded", "job", {"result_uri": "file:///kept.jpg"}),
    "approved": ("succeeded", "job", {"result_uri": "file:///kept.jpg", "review": "approved"}),
    "suspicious": ("succeeded", "job", {"result_uri": "file:///kept.jpg", "quality": "no_face"}),
    "refused by a reviewer": ("succeeded", "job", {"result_uri": "file:///kept.jpg", "review": "rejected"}),
    "gone from storage": ("succeeded", "job", {"result_uri": GONE}),
    "deleted": ("succeeded", "job", {"picture_deleted_at": NIGHT}),
    "erased": ("succeeded", "job", {"picture_deleted_at": NIGHT, "erased_at": NIGHT}),
}
#: Nothing of these can be had, and nobody has said that they must not be paid for.
SPENT = {
    "planned",
    "held",
    "rejected",
    "consent expired",
    "declined",
    "written off",
    "job failed",
    "job not found",
}
#: The latest job of the pair is known to have no picture: what was before it does not count any more.
ENDED = {"job failed", "job not found"}
#: A person, or retention, has said that there shall be no picture.
FORBIDDING = {"refused by a reviewer", "deleted"}

#: The row that is due: new, sent in vain, of unknown outcome, or kept and cleared with ``on_clear="resubmit"``.
SELVES: dict[str, tuple[str, str | None, dict[str, Any]]] = {
    "new": ("planned", None, {}),
    "freed": ("held", None, {"error_code": "unknown_submit"}),
    "sent in vain": ("failed", "own", {"error_code": "job_failed"}),
    "itself unknown": ("unknown", None, {}),
    "itself kept": ("succeeded", "own", {"result_uri": "file:///own.jpg"}),
}
NAMED: list[dict[str, Any]] = [
    dict(zip(("reuse", "pay_again", "on_unknown_submit"), values, strict=True))
    for values in itertools.product((True, False), (False, True), ("hold", "resubmit"))
]
UNASKED: dict[str, Any] = {"reuse": True, "pay_again": False, "on_unknown_submit": "hold"}


def decided(
    kinds: tuple[str, ...],
    itself: str,
    *,
    reuse: bool = True,
    pay_again: bool = False,
    on_unknown_submit: OnUnknownSubmit = "hold",
) -> tuple[Decision, list[Swap], Swap]:
    """Return what is decided, given the other rows in the order of their nights."""
    others = [row(number, *KINDS[kind][:2], **KINDS[kind][2]) for number, kind in enumerate(kinds, 1)]
    due = row(9, *SELVES[itself][:2], **SELVES[itself][2])
    claimed = [other for other in others if other.attempts]
    # The pair was claimed last by the row that is being sent, by the row itself, or by the latest one that was sent.
    sending = [other for other in others if other.status is Status.SUBMITTING]
    claimers = sending or ([due] if due.attempts else claimed)
    holder = claimers[-1] if claimers else None
    earlier = [other for other in others if other.status is not Status.SUBMITTING]
    there = [other for other in others if other.result_uri != GONE]
    decision = next_step(
        due,
        earlier,
        holder=holder,
        picture=picture_of(there),
        reuse=reuse,
        pay_again=pay_again,
        on_unknown_submit=on_unknown_submit,
    )
    return decision, others, due


COMBINATIONS = [kinds for number in (0, 1, 2) for kinds in itertools.product(KINDS, repeat=number)]


def unsettled(kinds: tuple[str, ...]) -> set[str]:
    """Return what is left to be had of a pair, or forbidden: the rest was followed by a job without a picture."""
    last_end = max((place for place, kind in enumerate(kinds) if kind in ENDED), default=-1)
    later = {kind for kind in kinds[last_end + 1 :] if kind not in SPENT}
    return later | {
        kind for kind in kinds if kind in FORBIDDING or kind in {"erased", "kept", "approved", "suspicious"}
    }


@pytest.mark.parametrize("itself", SELVES)
def test_nothing_is_paid_for_a_second_time_unless_somebody_asked_for_it_by_name(itself: str) -> None:
    for kinds in COMBINATIONS:
        decision, _, _ = decided(kinds, itself, **UNASKED)
        if decision.step is NextStep.SUBMIT:
            assert not unsettled(kinds), (kinds, decision)


@pytest.mark.parametrize("itself", SELVES)
@pytest.mark.parametrize("named", NAMED, ids=str)
def test_each_decision_is_possible_and_each_held_row_has_its_reason(
    itself: str, named: dict[str, Any]
) -> None:
    for kinds in COMBINATIONS if itself == "new" else COMBINATIONS[: 1 + len(KINDS)]:
        decision, others, due = decided(kinds, itself, **named)
        other = decision.other
        match decision.step:
            case NextStep.REUSE:
                assert other is not None, kinds
                assert other.result_uri not in {None, GONE}, kinds
                assert not other.rejected_by_reviewer, kinds
                assert named["reuse"], kinds
                assert not named["pay_again"], kinds
            case NextStep.ADOPT:
                assert other is not None, kinds
                assert other.img_uuid not in {None, due.img_uuid}, kinds
                assert job_of([other]) is other, kinds
                assert named["reuse"], kinds
                assert not named["pay_again"], kinds
            case NextStep.HOLD:
                held = holding(due, decision)
                assert held.status is Status.HELD, kinds
                assert held.error_code in {
                    "unknown_submit",
                    "picture_rejected",
                    "picture_deleted",
                    "erased",
                }, kinds
                assert other in others, kinds
                assert held.error_message, kinds
                assert other is not None, kinds
                # The name of an erased pair's run is personal data, too: it is not written down again.
                assert decision.code == "erased" or other.run_id in held.error_message, kinds
            case NextStep.WAIT_FOR_SUBMIT:
                assert other is not None, kinds
                assert other.status is Status.SUBMITTING, kinds
            case NextStep.WAIT_FOR_JOB:
                assert other is not None, kinds
                assert other.status is Status.SUBMITTED, kinds
        if "erased" in kinds:
            assert decision.step is NextStep.HOLD, kinds
            assert decision.code == "erased", kinds


@pytest.mark.parametrize("named", [each for each in NAMED if each != UNASKED], ids=str)
def test_each_name_allows_what_it_names_and_nothing_else(named: dict[str, Any]) -> None:
    for kinds in COMBINATIONS:
        decision, others, _ = decided(kinds, "new", **named)
        if decision.step is not NextStep.SUBMIT:
            continue
        by_name = named["pay_again"] or not named["reuse"]
        left = unsettled(kinds)
        if named["on_unknown_submit"] == "hold" and not by_name:
            raise AssertionError("not a name")
        if named["on_unknown_submit"] == "hold":
            assert "unknown" not in left or others[-1].img_uuid, (kinds, decision)
        if not by_name:
            assert not left - {"unknown"}, (kinds, decision)
        # Of one pair one job at a time, whatever is asked for.
        latest = next((other for other in reversed(others) if other.attempts), None)
        assert latest is None or latest.status not in {Status.SUBMITTING, Status.SUBMITTED}, kinds


@pytest.mark.parametrize("latest", ["timed out", "not kept", "submitted", "gone from storage"])
def test_what_was_paid_for_last_is_used_whatever_was_before_it(latest: str) -> None:
    for before in KINDS:
        decision, others, _ = decided((before, latest), "new")
        if before == "erased":
            assert decision.step is NextStep.HOLD
        elif before in {"kept", "approved", "suspicious"}:
            assert (decision.step, decision.other) == (NextStep.REUSE, others[0]), before
        else:
            assert (decision.step, decision.other) == (NextStep.ADOPT, others[1]), before
