# SPDX-License-Identifier: Apache-2.0
"""Recovery: decide what an attempt does with each row that it finds, in one pure function."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ..exceptions import ErrorCode, JobFailedError
from .states import OnClear, OnUnknownSubmit, Reuse, Status
from .swap import Swap

#: The error code of a job that GoEnhance does not know: there will be no picture.
JOB_NOT_FOUND = ErrorCode.JOB_NOT_FOUND


class Action(enum.Enum):
    """What to do next with a row."""

    SUBMIT = "submit"  #: Send its POST, which is paid.
    LOOK = "look"  #: Look whether it may be sent now; it was held.
    WAIT = "wait"  #: Wait for its job and collect the picture, which costs nothing.
    LEAVE = "leave"  #: Leave it unchanged.


@dataclass(frozen=True, slots=True)
class Policies:
    """
    The choices that may cost money. The defaults never pay twice.

    :param on_unknown_submit: hold a submit whose outcome is unknown for a person, or send it again
    :param on_clear: re-attach a cleared task to the jobs it has, or submit all its pairs again
    :param failed_job_resubmits: how often a job that GoEnhance failed is submitted again (default 0)
    :param reuse: use earlier pictures and jobs of the same pair and account, or pay for every pair
    """

    on_unknown_submit: OnUnknownSubmit = "hold"
    on_clear: OnClear = "reattach"
    failed_job_resubmits: int = 0
    reuse: Reuse = "succeeded"

    def __post_init__(self) -> None:
        if self.on_unknown_submit not in {"hold", "resubmit"}:
            raise ValueError(
                f"on_unknown_submit must be 'hold' or 'resubmit'; got {self.on_unknown_submit!r}."
            )
        if self.on_clear not in {"reattach", "resubmit"}:
            raise ValueError(f"on_clear must be 'reattach' or 'resubmit'; got {self.on_clear!r}.")
        if self.failed_job_resubmits < 0:
            raise ValueError(f"failed_job_resubmits must be 0 or more; got {self.failed_job_resubmits!r}.")


def was_cleared(swap: Swap, max_tries: int | None) -> bool:
    """
    Return whether a person cleared the task since this row was claimed.

    Airflow raises ``max_tries`` on a clear, but not on a retry.
    """
    return swap.max_tries is not None and max_tries is not None and max_tries > swap.max_tries


def decide(
    swap: Swap, policies: Policies, *, max_tries: int | None = None, first_look: bool = True
) -> Action:
    """
    Return what an attempt does with a row.

    Mark abandoned rows first, see :meth:`.stores.SwapStore.mark_abandoned`: a row in ``submitting`` is left alone.

    :param max_tries: the task instance's ``max_tries``, ``None`` outside a task
    :param first_look: whether the attempt has just begun; what goes wrong later in the same attempt (an unknown
        outcome, a picture that cannot be collected) is left to the next attempt, or this one would never end
    """
    cleared = was_cleared(swap, max_tries)
    if _is_left(swap):
        return Action.LEAVE
    if swap.status is Status.HELD:
        return Action.LOOK if first_look else Action.LEAVE
    if swap.status is Status.PLANNED or (cleared and policies.on_clear == "resubmit"):
        return Action.SUBMIT
    if swap.status is Status.SUBMITTED:
        return Action.WAIT
    if swap.status is Status.FAILED and job_itself_failed(swap):
        # The first job was this row's own submit, or that of the row whose job it adopted.
        submits = swap.attempts + bool(swap.reused_from)
        return Action.SUBMIT if 0 < submits <= policies.failed_job_resubmits else Action.LEAVE
    if swap.error_code == JOB_NOT_FOUND and swap.adopted_job:
        # The job that an earlier run paid for is gone, and this run has paid for nothing yet.
        return Action.SUBMIT
    return _decide_at_first_look(swap, policies, cleared) if first_look else Action.LEAVE


def _is_left(swap: Swap) -> bool:
    """Return whether no attempt ever does anything with a row."""
    return swap.erased_at is not None or swap.status in {Status.REJECTED, Status.REUSED, Status.SUBMITTING}


def _decide_at_first_look(swap: Swap, policies: Policies, cleared: bool) -> Action:
    if swap.status is Status.UNKNOWN:
        return Action.SUBMIT if policies.on_unknown_submit == "resubmit" else Action.LEAVE
    if swap.picture_deleted_at:
        # It would come back, for as long as GoEnhance has it.
        return Action.LEAVE
    if swap.img_uuid and not swap.result_uri:
        # Paid for, without a kept picture: timed out, not collected, or not known to GoEnhance at the time.
        return Action.WAIT
    if swap.error_code == ErrorCode.CONSENT_EXPIRED:
        # The row keeps its date: a new run reads that of the manifest.
        return Action.LEAVE
    if swap.status is Status.FAILED and cleared and swap.attempts == 0:
        # Declined before anything was paid, and a person asked for another attempt.
        return Action.SUBMIT
    return Action.LEAVE


def after_retry(swap: Swap, policies: Policies, max_tries: int | None = None) -> Action:
    """
    Return what a retry does with a row as it is now.

    :param max_tries: the task instance's ``max_tries``; default: that of the row's last claim
    """
    return decide(swap, policies, max_tries=swap.max_tries if max_tries is None else max_tries)


def retry_can_help(swap: Swap, policies: Policies, max_tries: int | None = None) -> bool:
    """
    Return whether a retry submits a row or polls its job again; one still ``submitting`` is settled first.

    A held row that waits for another task's job may be free then; one that waits for a person is not.

    :param max_tries: see :func:`after_retry`
    """
    if swap.status is Status.HELD:
        return swap.error_code == ErrorCode.IN_FLIGHT
    return swap.status is Status.SUBMITTING or after_retry(swap, policies, max_tries) is not Action.LEAVE


def after_clear(swap: Swap, policies: Policies) -> Action:
    """Return what a clear does with a row as it is now."""
    return decide(swap, policies, max_tries=None if swap.max_tries is None else swap.max_tries + 1)


def job_itself_failed(swap: Swap) -> bool:
    """Return whether GoEnhance reported the job as failed; else the failure is on our side, or a timeout."""
    return swap.error_code == JobFailedError.error_code
