# SPDX-License-Identifier: Apache-2.0
"""The outcomes that are recorded for jobs without a picture."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from ..exceptions import CollectError, ErrorCode, GoEnhanceError, JobFailedError, JobTimedOutError
from ..redaction import excerpt, redact_urls
from ..results.ledger import Outcome
from ..results.recovery import JOB_NOT_FOUND
from ..results.states import Status

if TYPE_CHECKING:
    from ..api.polling import WaitOutcome
    from ..results.swap import Swap


def outcome_of_wait(swap: Swap, waited: WaitOutcome, running: AbstractSet[str]) -> Outcome | None:
    """
    Return what a wait has found out about a row's job; ``None`` for a job that has succeeded.

    :param running: the jobs of ``waited`` that still run, as a set: a list would be searched for each row
    """
    img_uuid = str(swap.img_uuid)
    if img_uuid in waited.failed:
        return failed_job(swap, waited.failed[img_uuid])
    if img_uuid in waited.declined:
        return _failure(
            swap,
            JOB_NOT_FOUND,
            f"GoEnhance does not know the job, although it was paid for: {waited.declined[img_uuid]}",
        )
    if img_uuid in running:
        trouble = f" The last poll failed: {waited.last_error}" if waited.last_error else ""
        if doubt := waited.doubt(img_uuid):
            trouble += f" {doubt}"
        return _failure(
            swap,
            JobTimedOutError.error_code,
            "Still running at GoEnhance when the timeout was reached; it continues there and has "
            f"been paid for.{trouble}",
        )
    return None


def failures_of_wait(swaps: Sequence[Swap], waited: WaitOutcome) -> list[Outcome]:
    """Return the outcomes of jobs that GoEnhance has failed, or does not know; not of those that still run."""
    running = set(waited.running)
    ended = (swap for swap in swaps if swap.img_uuid not in running)
    return [outcome for swap in ended if (outcome := outcome_of_wait(swap, waited, running))]


def failed_job(swap: Swap, reason: str) -> Outcome:
    """Return the outcome of a job that GoEnhance has failed."""
    said = (
        f"GoEnhance reports that the job failed: {reason}"
        if reason
        else "GoEnhance reports that the job failed."
    )
    return _failure(swap, JobFailedError.error_code, said)


def picture_not_stored(swap: Swap, error: Exception) -> Outcome:
    """Return the outcome of a job whose picture could not be collected."""
    code: str = ErrorCode.COLLECT_FAILED
    if isinstance(error, GoEnhanceError):
        code = error.error_code if isinstance(error, CollectError) else code
        why = str(error)
    else:
        # Not one of ours, so its text may contain the link.
        why = f"{type(error).__name__}: {excerpt(redact_urls(str(error)))}".rstrip(": ")
    return _failure(
        swap, code, f"The job succeeded at GoEnhance and was paid for, but its picture was not stored: {why}"
    )


def _failure(swap: Swap, code: str, message: str) -> Outcome:
    return Outcome(swap.swap_id, str(swap.img_uuid), Status.FAILED, error_code=code, error_message=message)
