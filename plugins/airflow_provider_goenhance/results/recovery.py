# SPDX-License-Identifier: Apache-2.0
"""What an attempt does with a row it finds: the whole of recovery, as one pure function."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ..exceptions import ErrorCode, JobFailedError
from .states import OnClear, OnUnknownSubmit, Status
from .swap import Swap

#: The code of a job that GoEnhance says it does not know: its picture will never be had.
JOB_NOT_FOUND = ErrorCode.JOB_NOT_FOUND


class Action(enum.Enum):
    """What to do next with a row."""

    SUBMIT = "submit"
    WAIT = "wait"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class Policies:
    """
    The choices that may cost money, each made by name. The defaults never pay twice.

    :param on_unknown_submit: a submit whose outcome is unknown is held for a person, or sent again
    :param on_clear: a cleared task re-attaches to the jobs it has, or submits all its pairs anew
    :param failed_job_resubmits: how often a job that GoEnhance failed is submitted again (default 0)
    """

    on_unknown_submit: OnUnknownSubmit = "hold"
    on_clear: OnClear = "reattach"
    failed_job_resubmits: int = 0

    def __post_init__(self) -> None:
        if self.on_unknown_submit not in {"hold", "resubmit"}:
            raise ValueError(f"on_unknown_submit is 'hold' or 'resubmit', not {self.on_unknown_submit!r}")
        if self.on_clear not in {"reattach", "resubmit"}:
            raise ValueError(f"on_clear is 'reattach' or 'resubmit', not {self.on_clear!r}")
        if self.failed_job_resubmits < 0:
            raise ValueError("failed_job_resubmits is 0 or more")


def was_cleared(swap: Swap, max_tries: int | None) -> bool:
    """
    Tell whether a person cleared the task since this row was claimed.

    Airflow raises ``max_tries`` on a clear and leaves it alone on a retry.
    """
    return swap.max_tries is not None and max_tries is not None and max_tries > swap.max_tries


def decide(
    swap: Swap, policies: Policies, *, max_tries: int | None = None, first_look: bool = True
) -> Action:
    """
    Return what an attempt does with a row.

    A row in ``submitting`` must have been settled first: see :meth:`.stores.SwapStore.settle`.

    :param max_tries: the task instance's ``max_tries``, ``None`` outside a task
    :param first_look: whether the attempt has just begun; what it was left with later in the same attempt (an
        unknown outcome, a picture it could not collect) is for the next attempt, or it would never end
    """
    cleared = was_cleared(swap, max_tries)
    if swap.status in {Status.REJECTED, Status.REUSED, Status.SUBMITTING}:
        return Action.LEAVE
    if swap.status is Status.PLANNED or (cleared and policies.on_clear == "resubmit"):
        return Action.SUBMIT
    if swap.status is Status.SUBMITTED:
        return Action.WAIT
    if swap.status is Status.FAILED and job_itself_failed(swap):
        # The first job was this row's own submit, or that of the row it was taken over from.
        submits = swap.attempts + bool(swap.reused_from)
        return Action.SUBMIT if 0 < submits <= policies.failed_job_resubmits else Action.LEAVE
    if swap.error_code == JOB_NOT_FOUND and swap.adopted_job:
        # What an earlier run paid for is gone, and this one has paid for nothing yet.
        return Action.SUBMIT
    return _decide_at_first_look(swap, policies, cleared) if first_look else Action.LEAVE


def _decide_at_first_look(swap: Swap, policies: Policies, cleared: bool) -> Action:
    if swap.status is Status.UNKNOWN:
        return Action.SUBMIT if policies.on_unknown_submit == "resubmit" else Action.LEAVE
    if swap.img_uuid and not swap.result_uri:
        # Paid for, and not brought home: timed out, not collected, or not known to GoEnhance at the time.
        return Action.WAIT
    if swap.status is Status.FAILED and cleared and swap.attempts == 0:
        # Declined before anything was paid, and a person asked for another try.
        return Action.SUBMIT
    return Action.LEAVE


def job_itself_failed(swap: Swap) -> bool:
    """Tell whether GoEnhance reported the job as failed, rather than that we could not bring it home."""
    return swap.error_code == JobFailedError.error_code
