# SPDX-License-Identifier: Apache-2.0
"""
What a person on call is told: the state of a pair, what was paid for it, and what each next step will do.

It says in words what :func:`airflow_provider_goenhance.results.recovery.decide` does; the tests hold the two together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..exceptions import GoEnhanceError
from ..results.recovery import JOB_NOT_FOUND, job_itself_failed
from ..results.reuse import job_of
from ..results.states import Status

if TYPE_CHECKING:
    from ..results.recovery import Policies
    from ..results.swap import Swap

#: Pairs that a message names for each state.
NAMED = 3


def pluralize(count: int, noun: str, plural: str | None = None) -> str:
    """Return a count with its noun: ``1 pair``, ``2 pairs``."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def paid_for(swap: Swap) -> str:
    """Say in one sentence what was paid for a pair."""
    if swap.status is Status.REUSED:
        return "Nothing was paid: an earlier picture serves."
    if swap.adopted_job:
        return f"Job {swap.img_uuid} was paid for by an earlier run; nothing was paid by this one."
    if swap.img_uuid:
        others = swap.attempts - 1
        more = f", and {pluralize(others, 'earlier submit')} may have been" if others > 0 else ""
        return f"Job {swap.img_uuid} was paid for{more}."
    if swap.attempts:
        return f"{pluralize(swap.attempts, 'submit')} may have been paid for."
    return "Nothing was paid."


def next_steps(swap: Swap, policies: Policies) -> str:
    """Say what a retry, a clear and a new run do with a pair that did not succeed."""
    if swap.status is Status.REJECTED:
        return "A retry or clear never sends it; correct it and start a new run."
    if swap.status in {Status.PLANNED, Status.SUBMITTING}:
        return "A retry, a clear or a new run goes on with it."
    retry, clear = _retry(swap, policies), _clear(swap, policies)
    both = f"A retry or clear {retry}" if retry == clear else f"A retry {retry}; a clear {clear}"
    return f"{both}; a new run {_new_run(swap)}."


def _retry(swap: Swap, policies: Policies) -> str:
    if swap.status is Status.UNKNOWN:
        return (
            "sends it again, and may pay twice (on_unknown_submit='resubmit')"
            if policies.on_unknown_submit == "resubmit"
            else "leaves it as it is (on_unknown_submit='hold')"
        )
    if job_itself_failed(swap):
        left = policies.failed_job_resubmits >= swap.attempts + bool(swap.reused_from)
        return "submits it, and pays for it, again" if left else "leaves it as it is and pays nothing"
    if swap.error_code == JOB_NOT_FOUND and swap.adopted_job:
        return "submits the pair, and pays for it"
    if swap.img_uuid:
        return "asks about the same job again and pays nothing"
    return "leaves it as it is and pays nothing"


def _new_run(swap: Swap) -> str:
    if job_of([swap]):
        return "takes over the same job and pays nothing (unless reuse='never')"
    return "submits the pair anew" + (", and pays for it again" if swap.attempts or swap.img_uuid else "")


def _clear(swap: Swap, policies: Policies) -> str:
    if policies.on_clear == "resubmit" and not swap.adopted_job:
        return "submits it, and pays for it, anew (on_clear='resubmit')"
    if swap.status is Status.FAILED and not swap.attempts and not swap.img_uuid:
        return "submits it anew"
    return _retry(swap, policies)


def rows_left(swaps: Sequence[Swap]) -> str:
    """Say in which states the rows of a task are left, and what was paid for them."""
    if len(swaps) == 1:
        return f"{_capital(swaps[0].label)} is left {swaps[0].status.value}. {paid_for(swaps[0])}"
    by_status: dict[str, list[Swap]] = {}
    for swap in swaps:
        by_status.setdefault(swap.status.value, []).append(swap)
    states = "; ".join(f"{len(rows)} {status} ({_names(rows)})" for status, rows in sorted(by_status.items()))
    attempts = sum(swap.attempts for swap in swaps)
    paid = f"{pluralize(attempts, 'submit')} may have been paid for" if attempts else "nothing was paid"
    return f"The {len(swaps)} rows of this task are left: {states}; {paid}."


def _names(rows: Sequence[Swap]) -> str:
    return ", ".join(swap.label for swap in rows[:NAMED]) + (", ..." if len(rows) > NAMED else "")


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def explained(error: GoEnhanceError, swaps: Sequence[Swap]) -> GoEnhanceError:
    """Return the same error, its message completed with the state the rows are left in and what to do."""
    steps = "A retry or clear" if error.retryable else "It is not retried; once that is mended, a clear"
    error.message = (
        f"{error.message} {rows_left(swaps)} {steps} sends what is planned and goes on with what is submitted, paying "
        "for nothing twice; a new run takes over the pictures and jobs that are paid for, and pays for the rest."
    )
    error.args = (error.message,)
    return error
