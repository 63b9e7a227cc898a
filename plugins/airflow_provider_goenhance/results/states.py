# SPDX-License-Identifier: Apache-2.0
"""The states of a row, and the policies that decide what happens to it next."""

from __future__ import annotations

import enum
from typing import Literal


class Status(enum.StrEnum):
    """State of one swap, as stored in the ``status`` column."""

    PLANNED = "planned"  #: Waits to be submitted; nothing was paid.
    SUBMITTING = "submitting"  #: Claimed by one attempt, whose POST may be under way.
    SUBMITTED = "submitted"  #: GoEnhance accepted it as a job, which was paid for and is waited for.
    SUCCEEDED = "succeeded"  #: Its picture is kept.
    FAILED = "failed"  #: It was declined, its job failed or timed out, or its picture was not kept.
    UNKNOWN = "unknown"  #: Its POST may have been accepted and paid for; no answer says so.
    REJECTED = "rejected"  #: The manifest's row cannot be used; it is never sent.
    REUSED = "reused"  #: An earlier run's picture serves; nothing was paid.
    #: Not sent, because an earlier submit of the pair may have been paid for, its picture was deleted on purpose or
    #: rejected by a reviewer, or a budget is reached; nothing was paid.
    HELD = "held"


class Review(enum.StrEnum):
    """What a person said about a picture, as stored in the ``review`` column."""

    APPROVED = "approved"  #: The picture is good.
    REJECTED = "rejected"  #: The picture is kept, but no other run uses it, and its pair is held.


TERMINAL = frozenset(
    {Status.SUCCEEDED, Status.FAILED, Status.UNKNOWN, Status.REJECTED, Status.REUSED, Status.HELD}
)

#: What happens to a submit whose outcome is unknown: it is left for a person, or sent (and maybe paid for) again.
OnUnknownSubmit = Literal["hold", "resubmit"]
#: What a cleared task does with the jobs that it submitted before: wait for them, or submit (and pay for) new ones.
OnClear = Literal["reattach", "resubmit"]
#: Whether pairs for which a budget has no room are left for later, or fail the task.
OnBudgetReached = Literal["hold", "fail"]
#: What follows from a kept picture that is suspicious.
OnSuspicious = Literal["keep", "review", "fail"]
#: Whether an earlier run's picture or job of the same pair and account serves instead of a new, paid swap.
Reuse = Literal["never", "succeeded"]
