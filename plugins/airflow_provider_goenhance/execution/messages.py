# SPDX-License-Identifier: Apache-2.0
"""
Messages for a person on call: the state of a pair, what was paid for it, and what each next step does.

What a retry, a clear and a new run do is not described here a second time: it is the result of the functions that
decide it, :func:`airflow_provider_goenhance.results.recovery.decide` and the lookups of
:mod:`airflow_provider_goenhance.results.reuse`, put into words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..exceptions import ErrorCode
from ..manifest.labels import labels_line
from ..results.recovery import Action, after_clear, after_retry, retry_can_help
from ..results.reuse import holds, job_of, picture_of, rejection
from ..results.states import Status

if TYPE_CHECKING:
    from ..exceptions import GoEnhanceError
    from ..results.recovery import Policies
    from ..results.run_summary import RunSummary
    from ..results.swap import Swap


#: How much of a row's reason a message shows, characters. GoEnhance's own answer, at its end, may be long.
LONGEST_REASON = 800
#: Pairs that a message names for each state.
NAMED_PAIRS = 3


def pluralize(count: int, noun: str, plural: str | None = None) -> str:
    """Return a count with its noun: ``1 pair``, ``2 pairs``."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def counts_line(run_id: str, counts: Mapping[Status, int] | Mapping[str, int]) -> str:
    """
    Return the line that sums up a run: the figures add up to the number of its pairs.

    Other programs read it: its form is fixed. States in which no finished run has rows are only named if there are any.
    """
    shown = [Status.SUCCEEDED, Status.REUSED, Status.FAILED, Status.REJECTED, Status.HELD, Status.UNKNOWN]
    shown += [status for status in Status if status not in shown and counts.get(status)]
    by_status = " ".join(f"{status}={counts.get(status, 0)}" for status in shown)
    return f"run {run_id}: pairs={sum(counts.values())} {by_status}"


def succeeded_line(summary: RunSummary) -> str:
    """Return how many pictures a run has, and how many of them are suspicious."""
    kept = summary.counts[Status.SUCCEEDED] + summary.counts[Status.REUSED]
    total = sum(summary.suspicious.values())
    if not total:
        return f"succeeded {kept:,}"
    return f"succeeded {kept:,}, of which {total:,} suspicious ({suspicions(summary.suspicious)})"


def suspicions(counts: Mapping[str, int]) -> str:
    """Return how many pictures are suspicious in which way: ``7 unchanged, 5 blurred``."""
    most_first = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {code}" for code, count in most_first if count)


def paid_for(swap: Swap) -> str:
    """Return one sentence on what was paid for a pair."""
    own = f"{pluralize(swap.attempts, 'submit')} of its own may have been paid for."
    if swap.status is Status.REUSED:
        if swap.attempts:
            return f"The picture of another run is reused. {own}"
        return "Nothing was paid: an earlier run's picture is reused."
    if swap.adopted_job:
        if swap.attempts:
            return f"Job {swap.img_uuid} was paid for by another run. {own}"
        return f"Job {swap.img_uuid} was paid for by an earlier run; nothing was paid by this one."
    if swap.img_uuid:
        others = swap.attempts - 1
        more = f", and {pluralize(others, 'earlier submit')} may have been" if others > 0 else ""
        return f"Job {swap.img_uuid} was paid for{more}."
    if swap.attempts:
        return f"{pluralize(swap.attempts, 'submit')} may have been paid for."
    return "Nothing was paid."


def describe(swap: Swap) -> str:
    """Return what happened to a pair: its labels, its status, the reason, and what was paid."""
    unsent = swap.status is Status.PLANNED
    reason = swap.error_message or ("It was not sent." if unsent else "No reason was recorded.")
    if len(reason) > LONGEST_REASON:
        reason = f"{reason[:LONGEST_REASON]}... (the row has the rest)."
    if swap.rejected_by_reviewer:
        reason = f"Its picture {rejection(swap)}."
    labels = labels_line(swap.labels)
    pair = f"{swap.label}, {labels}," if labels else swap.label
    return f"{pair} is {swap.status}: {reason} {paid_for(swap)}"


def row_log(log: Any, swap: Swap) -> Any:
    """Return a logger for messages about a row: a structured one adds what the row is found by in a log store."""
    if not hasattr(log, "bind"):
        return log
    keys = {
        "pair_id": swap.pair_id,
        "img_uuid": swap.img_uuid,
        "status": str(swap.status),
        "error_code": swap.error_code,
    }
    return log.bind(**{name: value for name, value in keys.items() if value})


def describe_with_next_steps(swap: Swap, policies: Policies) -> str:
    """Return what happened to a pair, and what a retry, a clear and a new run do with it."""
    return f"{describe(swap)} {next_steps(swap, policies)}"


def next_steps(swap: Swap, policies: Policies) -> str:
    """Return one sentence on what a retry, a clear and a new run do with a pair."""
    if swap.status is Status.REJECTED:
        return "A retry or clear never sends it; correct it and start a new run."
    retry = _words(after_retry(swap, policies), swap, policies)
    clear = _words(after_clear(swap, policies), swap, policies)
    by_new_run = new_run(swap, policies)
    if retry == clear == by_new_run:
        return f"A retry, clear or new run {retry}."
    if clear == by_new_run:
        return f"A retry {retry}; a clear or new run {clear}."
    both = f"A retry or clear {retry}" if retry == clear else f"A retry {retry}; a clear {clear}"
    return f"{both}; a new run {by_new_run}."


def _words(action: Action, swap: Swap, policies: Policies) -> str:
    """Return what an attempt does with a pair, as the end of a sentence."""
    if action is Action.WAIT:
        return "polls the same job again and pays nothing"
    if action is Action.SUBMIT:
        by_policy = swap.status is Status.UNKNOWN and policies.on_unknown_submit == "resubmit"
        return _submits(swap) + (" (on_unknown_submit='resubmit')" if by_policy else "")
    if action is Action.LOOK:
        return _looks(swap, policies)
    if swap.status is Status.UNKNOWN:
        return "leaves it as it is (on_unknown_submit='hold')"
    if swap.status is Status.SUBMITTING:
        return "leaves it to the attempt that is submitting it, or marks it unknown if that attempt has ended"
    return "leaves it as it is and pays nothing"


def _looks(swap: Swap, policies: Policies) -> str:
    """Return what an attempt or a new run does with a held pair, as the end of a sentence."""
    if swap.error_code == ErrorCode.IN_FLIGHT:
        return "checks again, and then adopts the other job or submits the pair"
    if swap.error_code == ErrorCode.PICTURE_REJECTED:
        return _after_rejection(policies, "holds it until the rejection is undone")
    if swap.error_code == ErrorCode.ERASED:
        return "holds it, because the pair was erased"
    if swap.error_code == ErrorCode.PICTURE_DELETED:
        return "holds it, because its picture was deleted (unless reuse='never')"
    if swap.error_code != ErrorCode.UNKNOWN_SUBMIT:
        return "submits the pair if it may be sent at that time"
    if policies.on_unknown_submit == "resubmit":
        return "submits the pair and may pay twice (on_unknown_submit='resubmit')"
    return "holds it until the earlier submit is settled"


def _after_rejection(policies: Policies, otherwise: str) -> str:
    """Return what becomes of a pair whose picture a reviewer has rejected, as the end of a sentence."""
    if policies.reuse == "never":
        return "submits the pair and pays for it again (reuse='never')"
    return f"{otherwise} (reuse='never' pays for a new picture)"


def _submits(swap: Swap) -> str:
    if swap.status in {Status.UNKNOWN, Status.SUBMITTING}:
        return "submits the pair again and may pay twice"
    return "submits the pair and pays for it" + (" again" if swap.attempts or swap.img_uuid else "")


def _ended_by_a_person(swap: Swap, policies: Policies) -> str:
    """Return the same for a pair that somebody has erased, rejected or deleted; empty if nobody has."""
    if swap.erased_at:
        return "holds the pair, because it was erased"
    if swap.picture_deleted_at:
        return "holds the pair, because its picture was deleted (unless reuse='never')"
    if swap.error_code == ErrorCode.CONSENT_EXPIRED:
        return "rejects the pair unless the manifest has a later consent_expires"
    if swap.rejected_by_reviewer:
        return _after_rejection(policies, "holds the pair, because its picture was rejected")
    return ""


def new_run(swap: Swap, policies: Policies) -> str:
    """Return what a new run does with the pair of a row, as the end of a sentence."""
    if said := _ended_by_a_person(swap, policies):
        return said
    if swap.status is Status.REUSED or picture_of([swap]):
        return "reuses the picture and pays nothing (unless reuse='never')"
    if job_of([swap]):
        return "adopts the same job and pays nothing (unless reuse='never')"
    if swap.status is Status.HELD:
        return _looks(swap, policies)
    if swap.status is Status.SUBMITTING:
        return "adopts its job, or holds the pair if the outcome stays unknown"
    if holds(swap):
        if policies.on_unknown_submit == "resubmit":
            return _words(Action.SUBMIT, swap, policies)
        return "holds the pair until that submit is settled"
    return _submits(swap)


def with_next_step(
    error: GoEnhanceError, swaps: Sequence[Swap], policies: Policies, max_tries: int | None = None
) -> GoEnhanceError:
    """
    Return the same error, its message completed with the state of the rows, what was paid and what to do next.

    :param swaps: the rows of the task as they are now
    :param max_tries: the task instance's ``max_tries``, by which a retry recognizes a clear before it
    """

    def next_of(swap: Swap) -> Action:
        return after_retry(swap, policies, max_tries) if error.retryable else after_clear(swap, policies)

    if error.maybe_accepted:
        # The rows hold back what has no known outcome, so a retry is safe where it can do the rest.
        error.retryable = any(retry_can_help(swap, policies, max_tries) for swap in swaps)
    step = "A retry" if error.retryable else "Once that is fixed, a clear"
    if len(swaps) == 1:
        (swap,) = swaps
        words = _words(next_of(swap), swap, policies)
        rows = f"{capitalize(swap.label)} is {swap.status}. {paid_for(swap)} {step} {words}."
    else:
        actions = Counter(next_of(swap) for swap in swaps)
        rows = f"{_states(swaps)}. {_all_paid_for(swaps)} {step} {all_actions(actions)}."
    error.message = f"{error.message} {rows}"
    error.args = (error.message,)
    return error


def _states(swaps: Sequence[Swap]) -> str:
    by_status = {status: [swap.label for swap in swaps if swap.status is status] for status in Status}
    states = "; ".join(
        f"{len(labels)} {status} ({_names(labels)})" for status, labels in by_status.items() if labels
    )
    return pluralize(len(swaps), "row") + (f": {states}" if states else "")


def _names(labels: Sequence[str]) -> str:
    return ", ".join(labels[:NAMED_PAIRS]) + (", ..." if len(labels) > NAMED_PAIRS else "")


def _all_paid_for(swaps: Sequence[Swap]) -> str:
    attempts = sum(swap.attempts for swap in swaps)
    return f"{pluralize(attempts, 'submit')} may have been paid for." if attempts else "Nothing was paid."


def all_actions(actions: Counter[Action]) -> str:
    """Return what an attempt does with many rows, as the end of a sentence."""
    parts = [
        f"submits {pluralize(actions[Action.SUBMIT], 'pair')}" if actions[Action.SUBMIT] else "",
        f"checks {pluralize(actions[Action.LOOK], 'held pair')}" if actions[Action.LOOK] else "",
        f"waits for {pluralize(actions[Action.WAIT], 'job')}" if actions[Action.WAIT] else "",
        f"leaves {pluralize(actions[Action.LEAVE], 'row')} unchanged" if actions[Action.LEAVE] else "",
    ]
    *first, last = list(filter(None, parts)) or ["has nothing to do"]
    return f"{', '.join(first)} and {last}" if first else last


def capitalize(sentence: str) -> str:
    """Return a sentence with its first letter capitalized and the rest unchanged."""
    return sentence[:1].upper() + sentence[1:]
