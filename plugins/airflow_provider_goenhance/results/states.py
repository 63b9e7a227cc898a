# SPDX-License-Identifier: Apache-2.0
"""The states of a row, which of them are final, and the policies that may move it on."""

from __future__ import annotations

import enum
from typing import Literal


class Status(enum.StrEnum):
    """State of one swap, as stored in the ``status`` column."""

    PLANNED = "planned"
    SUBMITTING = "submitting"
    SUBMITTED = "submitted"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"
    REJECTED = "rejected"
    REUSED = "reused"


TERMINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.UNKNOWN, Status.REJECTED, Status.REUSED})

#: What a submit whose outcome is not known becomes: left alone for a person, or sent (and maybe paid) again.
OnUnknownSubmit = Literal["hold", "resubmit"]
#: What a cleared task does with jobs it submitted before: wait for those, or submit (and pay) anew.
OnClear = Literal["reattach", "resubmit"]
#: Whether an earlier run's picture, or unfinished job, of the same pair and account serves instead of a new, paid swap.
Reuse = Literal["never", "succeeded"]
