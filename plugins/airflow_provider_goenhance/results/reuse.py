# SPDX-License-Identifier: Apache-2.0
"""
Decide what becomes of a pair that other rows have claimed or paid for: the same for a plan and for a submit.

The order is: be held if the pair was erased, reuse a kept picture, be held if the picture was deleted, adopt a job, be
held for an unknown submit, be held if a reviewer rejected the picture, submit. Of each pair of an account one job at a
time is in flight.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..exceptions import ErrorCode
from .erasure_transitions import EMPTIED, HASHED
from .inspection_transitions import INSPECTED
from .recovery import JOB_NOT_FOUND, job_itself_failed
from .review_transitions import REVIEWED
from .states import OnUnknownSubmit, Status
from .swap import Swap

#: The columns of another row that a decision of a plan needs, and what a row takes over from it.
DECIDING = frozenset(
    {
        "swap_id",
        "dag_id",
        "run_id",
        "task_id",
        "row_number",
        "pair_id",
        "source_img",
        "reference_img",
        "pair_fingerprint",
        "status",
        "img_uuid",
        "account",
        "error_code",
        "result_uri",
        "result_sha256",
        "result_mark",
        "additional_result_uris",
        "planned_at",
        "claimed_at",
        "submitted_at",
        *INSPECTED,
        *REVIEWED,
        "picture_deleted_at",
        "erased_at",
    }
)


class NextStep(enum.Enum):
    """What becomes of a row whose pair other rows may have claimed or paid for."""

    REUSE = "reuse"  #: Use an earlier picture; nothing is paid.
    ADOPT = "adopt"  #: Wait for another row's job; nothing is paid.
    #: Send nothing: an earlier submit may have been paid for, or its picture was deleted on purpose or rejected.
    HOLD = "hold"
    WAIT_FOR_SUBMIT = "wait for submit"  #: Look again: another row is being submitted.
    WAIT_FOR_JOB = "wait for job"  #: Submit once another row's job has ended: of one pair, one job at a time.
    SUBMIT = "submit"  #: Send its POST, which is paid.


@dataclass(frozen=True, slots=True)
class Decision:
    """
    What becomes of a row, and why.

    :param step: what to do
    :param other: the row whose picture, job or submit decides it
    :param claims_seen: how often the pair had been claimed when this was decided, see :mod:`.pair_keys`
    :param code: why it is held
    """

    step: NextStep
    other: Swap | None = None
    claims_seen: int = 0
    code: ErrorCode = ErrorCode.UNKNOWN_SUBMIT


#: Nearly all rows of a first run, of which nothing need be looked at.
_NOTHING_EARLIER = Decision(NextStep.SUBMIT)


def next_step(
    row: Swap,
    earlier: Sequence[Swap],
    *,
    holder: Swap | None = None,
    picture: Swap | None = None,
    reuse: bool = True,
    on_unknown_submit: OnUnknownSubmit = "hold",
    pay_again: bool = False,
) -> Decision:
    """
    Return what becomes of a row that is due to be submitted.

    :param row: the row; one that was sent before is due because it shall be sent again
    :param earlier: the rows of the same pair and account, in the order they were planned
    :param holder: the row that claimed the pair last
    :param picture: the row with a kept picture that is still in storage
    :param reuse: whether pictures and jobs of other tasks and runs serve; those of the same task always do
    :param on_unknown_submit: what happens to a pair whose latest submit may have been accepted
    :param pay_again: whether a person asked for another job, whatever others have paid for
    """
    holder = None if holder is None or holder.swap_id == row.swap_id else holder
    if holder is None and not earlier:
        return _NOTHING_EARLIER
    others = _others(row, earlier, holder)
    if unsent := _without_submit(row, others, picture, reuse, pay_again):
        return unsent
    if holder is not None and holder.status is Status.SUBMITTING:
        return Decision(NextStep.WAIT_FOR_SUBMIT, holder)
    unknown = _unknown(holder, others)
    if unknown is not None and on_unknown_submit == "hold":
        return Decision(NextStep.HOLD, unknown)
    if _has_another_job(holder, row):
        return Decision(NextStep.WAIT_FOR_JOB, holder)
    if reuse and not pay_again and (rejected := rejected_picture(others)):
        return Decision(NextStep.HOLD, rejected, code=ErrorCode.PICTURE_REJECTED)
    return Decision(NextStep.SUBMIT, holder)


def _unknown(holder: Swap | None, others: Sequence[Swap]) -> Swap | None:
    """Return the submit that may have been accepted; the last claim decides, whatever the clocks of two workers say."""
    return holder if holder is not None and holds(holder) else unknown_submit(others)


def _has_another_job(holder: Swap | None, row: Swap) -> bool:
    return holder is not None and holder.status is Status.SUBMITTED and holder.img_uuid != row.img_uuid


def _others(row: Swap, earlier: Sequence[Swap], holder: Swap | None) -> list[Swap]:
    """Return the other rows of a row's pair, the one that claimed it last at the end."""
    ids = {row.swap_id} if holder is None else {row.swap_id, holder.swap_id}
    others = [swap for swap in earlier if swap.swap_id not in ids]
    # One that reuses a picture has neither a job nor a picture of its own.
    return others if holder is None or holder.status is Status.REUSED else [*others, holder]


def _without_submit(
    row: Swap, others: Sequence[Swap], picture: Swap | None, reuse: bool, pay_again: bool
) -> Decision | None:
    """Return the decision about a pair that is not sent, whatever is in flight; ``None`` if there is none."""
    kept_back = _kept_back(row, others, picture, by_name=pay_again or not reuse)
    return kept_back or (None if pay_again else _at_no_cost(row, others, picture, reuse))


def _kept_back(row: Swap, others: Sequence[Swap], picture: Swap | None, *, by_name: bool) -> Decision | None:
    """
    Return the decision to hold a pair whose picture was deleted on purpose, ``None`` if it was not.

    :param by_name: whether a person asked to pay for it again. That does not count for a pair that was erased
    """
    if erased := next((swap for swap in reversed(others) if swap.erased_at), None):
        return Decision(NextStep.HOLD, erased, code=ErrorCode.ERASED)
    if picture is not None or by_name:
        return None
    deleted = next((swap for swap in reversed(others) if swap.picture_deleted_at), None)
    if deleted is None or _was_paid_for_since(row, others):
        return None
    return Decision(NextStep.HOLD, deleted, code=ErrorCode.PICTURE_DELETED)


def _was_paid_for_since(row: Swap, others: Sequence[Swap]) -> bool:
    """Return whether somebody has paid for a pair again since its picture was deleted: that job is adopted."""
    job = job_of(others)
    gone = {row.img_uuid} | {swap.img_uuid for swap in others if swap.picture_deleted_at}
    return job is not None and job.img_uuid not in gone


def _at_no_cost(row: Swap, others: Sequence[Swap], picture: Swap | None, reuse: bool) -> Decision | None:
    """Return the decision to use what others have paid for, ``None`` if there is nothing."""
    usable = [swap for swap in others if reuse or task_of(swap) == task_of(row)]
    if picture in usable:
        return Decision(NextStep.REUSE, picture)
    job = job_of(usable)
    # A job that this row has waited for in vain is not adopted once more.
    if job is not None and job.img_uuid != row.img_uuid:
        return Decision(NextStep.ADOPT, job)
    return None


def task_of(swap: Swap) -> tuple[str, str, str | None]:
    """Return the task that a row belongs to, all its mapped instances together."""
    return swap.dag_id, swap.run_id, swap.task_id


def by_pair(swaps: Iterable[Swap]) -> dict[str, list[Swap]]:
    """Group rows by their pair's fingerprint; the order within a pair is kept."""
    groups: dict[str, list[Swap]] = {}
    for swap in swaps:
        groups.setdefault(swap.pair_fingerprint, []).append(swap)
    return groups


def picture_of(earlier: Sequence[Swap]) -> Swap | None:
    """
    Return the latest row whose picture was kept, and not rejected by a reviewer.

    The caller checks that it is still in storage.
    """
    kept = (swap for swap in reversed(earlier) if swap.status is Status.SUCCEEDED and swap.result_uri)
    return next((swap for swap in kept if not swap.rejected_by_reviewer), None)


def rejected_picture(earlier: Sequence[Swap]) -> Swap | None:
    """Return the latest row whose picture a reviewer has rejected: nobody pays for another one unasked."""
    return next((swap for swap in reversed(earlier) if swap.rejected_by_reviewer), None)


def job_of(earlier: Sequence[Swap]) -> Swap | None:
    """
    Return the row whose job a new run adopts instead of paying for another.

    That is the pair's latest job, unless GoEnhance failed it or does not know it, or a reviewer rejected its picture.
    It is adopted again and again, however many runs did not get its picture: it is paid for, and nothing but
    GoEnhance's own word ends it.

    :param earlier: the rows of one pair and account, in the order they were planned
    """
    latest = next((swap for swap in reversed(earlier) if swap.img_uuid), None)
    if latest is None or latest.picture_deleted_at or _shows_rejected_picture(latest, earlier):
        return None
    if latest.status is Status.FAILED:
        return None if job_itself_failed(latest) or latest.error_code == JOB_NOT_FOUND else latest
    return latest if latest.status in {Status.SUBMITTED, Status.SUCCEEDED} else None


def _shows_rejected_picture(swap: Swap, others: Sequence[Swap]) -> bool:
    return any(other.rejected_by_reviewer and other.img_uuid == swap.img_uuid for other in others)


def unknown_submit(earlier: Sequence[Swap]) -> Swap | None:
    """Return the row with the pair's latest submit, if its outcome is unknown."""
    submits = [swap for swap in earlier if swap.img_uuid or swap.status is Status.UNKNOWN]
    # Reversed, because `max` returns the first of equals.
    latest = max(reversed(submits), key=_submitted_at, default=None)
    return latest if latest is not None and holds(latest) else None


def holds(swap: Swap) -> bool:
    """
    Return whether a row holds its pair: its submit may have been paid for.

    A settled row is no longer ``unknown``. A ``resolution`` on one that is came with an earlier submit.
    """
    return swap.status is Status.UNKNOWN


def _submitted_at(swap: Swap) -> dt.datetime:
    # A row that adopted a job has the time of the submit that the job came from.
    moment = swap.submitted_at if swap.img_uuid else swap.claimed_at
    return moment or swap.planned_at or dt.datetime.min.replace(tzinfo=dt.UTC)


def reusing(row: Swap, earlier: Swap) -> Swap:
    """Return a planned row as one that reuses an earlier picture."""
    return row.changed(
        status=Status.REUSED,
        img_uuid=earlier.img_uuid,
        account=earlier.account,
        result_uri=earlier.result_uri,
        result_sha256=earlier.result_sha256,
        result_mark=earlier.result_mark,
        additional_result_uris=earlier.additional_result_uris,
        # Of the same picture: it is as suspicious as it was, its thumbnails are not made again, and a review counts.
        **{name: getattr(earlier, name) for name in (*INSPECTED, *REVIEWED)},
        reused_from=earlier.swap_id,
        cost=0,
        claimed_by=None,
        finished_at=dt.datetime.now(dt.UTC),
    )


def holding(row: Swap, decision: Decision) -> Swap:
    """Return a row as one that is not sent, because of another row of the same pair."""
    held = decision.step is NextStep.HOLD
    return row.changed(
        status=Status.HELD,
        error_code=decision.code if held else ErrorCode.IN_FLIGHT,
        error_message=_why_held(decision),
        finished_at=dt.datetime.now(dt.UTC),
        **_without_names(decision),
    )


def _without_names(decision: Decision) -> dict[str, Any]:
    """
    Return the columns of a row whose pair was erased: what the manifest still says of it is not written down again.

    The row is named as the erased one is, and found in its manifest by its row number.
    """
    erased = decision.other
    if decision.code is not ErrorCode.ERASED or erased is None:
        return {}
    names = {name: getattr(erased, name) for name in HASHED}
    return {
        **dict.fromkeys(EMPTIED),
        "staged_uris": (),
        "additional_result_uris": (),
        **names,
        "erased_at": erased.erased_at,
    }


def _why_held(decision: Decision) -> str:
    other = decision.other
    where = f"run {other.run_id} of Dag {other.dag_id}" if other else "another run"
    if decision.code is ErrorCode.PICTURE_REJECTED and other is not None:
        return (
            f"Not sent: the picture that {where} has of this pair {rejection(other)}. Undo that on the results page "
            "and clear the task of this row to reuse the picture, or start a run of this row with reuse='never' to pay "
            "for a new one."
        )
    if decision.code is ErrorCode.ERASED:
        return (
            f"Not sent: the pair was erased{_on(other.erased_at if other else None)}. It is not sent again, not even "
            "with reuse='never'. If it may be: give the picture a source_key, which names a new pair."
        )
    if decision.code is ErrorCode.PICTURE_DELETED:
        return (
            f"Not sent: the picture of {where} was deleted{_on(other.picture_deleted_at if other else None)}, as "
            "keep_pictures_days says. reuse='never' pays for the pair again."
        )
    if decision.step is NextStep.HOLD:
        moment = (other.claimed_at or other.planned_at) if other else None
        when = f" at {moment.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S} UTC" if moment else ""
        return (
            f"Not sent: {where} submitted the same pair{when} with an unknown outcome, and may have paid for it. "
            "Compare with the vendor's console, settle that submit with `airflow goenhance resolve`, then clear the "
            "task of this row. on_unknown_submit='resubmit' sends the pair, which may then be paid for twice."
        )
    doing = (
        f"has the job {other.img_uuid} of the same pair running"
        if other and other.img_uuid
        else "is submitting the same pair"
    )
    return f"Not sent: {where} {doing}. A retry or clear checks again."


def rejection(swap: Swap) -> str:
    """Return who rejected a row's picture, when and why, as the end of a sentence."""
    when = f" on {swap.reviewed_at.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC" if swap.reviewed_at else ""
    why = f" ({swap.review_note})" if swap.review_note else ""
    return f"was rejected by {swap.reviewed_by or 'a reviewer'}{when}{why}"


def _on(moment: dt.datetime | None) -> str:
    return f" on {moment.astimezone(dt.UTC):%Y-%m-%d}" if moment else ""


def adopting(row: Swap, earlier: Swap) -> Swap:
    """Return a planned row as one that waits for an earlier row's job, without a submit or cost of its own."""
    return row.changed(
        status=Status.SUBMITTED,
        img_uuid=earlier.img_uuid,
        account=earlier.account,
        reused_from=earlier.swap_id,
        cost=0,
        claimed_by=None,
        submitted_at=earlier.submitted_at,
    )
