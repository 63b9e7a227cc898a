# SPDX-License-Identifier: Apache-2.0
"""What became of a job, and when a row takes that down."""

from __future__ import annotations

import dataclasses
import datetime as dt
from dataclasses import dataclass
from typing import Any

from .recovery import job_itself_failed
from .states import Status
from .swap import Swap
from .transitions import storable

#: What a row says whose claimant ended in the middle of its submit.
ABANDONED = (
    "The worker ended between sending this submit and storing its job: it may have been accepted and paid for. Compare "
    "with the vendor's console, then run it again with on_unknown_submit='resubmit' if it was not."
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What became of one job.

    :param status: ``succeeded`` or ``failed``
    :param result_uri: where the picture is kept
    :param finished_at: when the job ended, default: now
    """

    swap_id: str
    img_uuid: str
    status: Status
    error_code: str | None = None
    error_message: str | None = None
    result_uri: str | None = None
    result_sha256: str | None = None
    finished_at: dt.datetime | None = None

    def to_row(self, now: dt.datetime) -> dict[str, Any]:
        """Return the columns it fills."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {
            **values,
            "status": self.status.value,
            "error_message": storable(self.error_message),
            "finished_at": self.finished_at or now,
        }


def may_be_recorded(row: Swap, outcome: Outcome) -> bool:
    """
    Tell whether a row takes an outcome of its job: never a worse one after a better one.

    :meth:`.ledger.Ledger.record_outcomes` says the same in SQL.
    """
    if outcome.status is Status.SUCCEEDED:
        return row.status in {Status.SUBMITTED, Status.SUCCEEDED, Status.FAILED} and not row.result_uri
    return row.status is Status.SUBMITTED or (row.status is Status.FAILED and not job_itself_failed(row))
