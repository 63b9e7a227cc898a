# SPDX-License-Identifier: Apache-2.0
"""The transition of a row that was claimed to be sent once more, and was not sent after all."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar

from .inspection_transitions import INSPECTED
from .review_transitions import REVIEWED
from .states import Status
from .transition_rules import FromOwner, FromStep, Rule, TextFromStep

if TYPE_CHECKING:
    from .swap import Swap

#: What a claim overwrites, and the row gets back as it was.
_KEPT = (
    "status",
    "attempts",
    "img_uuid",
    "cost",
    "account",
    "error_code",
    "result_uri",
    "result_sha256",
    "result_mark",
    "additional_result_uris",
    *INSPECTED,
    *REVIEWED,
    "picture_deleted_at",
    "max_tries",
    "claimed_at",
    "submitted_at",
    "finished_at",
    "reserved_cost",
    "reserved_day",
)


@dataclass(frozen=True, slots=True)
class NotSentAgain:
    """
    Put a claimed row back to what it was before: its POST was certainly not accepted, but an earlier one may have been.

    An unknown submit stays unknown, and a job or picture that was paid for stays on its row: no later run may pay for
    the pair because a resubmit was refused.
    """

    rule: ClassVar[Rule] = Rule(
        from_status=frozenset({Status.SUBMITTING, Status.UNKNOWN}),
        # A row that is unknown again has its earlier count of submits: a transaction that runs twice changes it once.
        guards={"claimed_by": FromOwner("name"), "attempts": FromStep("attempts_claimed")},
        writes={**{name: FromStep(name) for name in _KEPT}, "error_message": TextFromStep("message")},
        taken_if={
            "status": FromStep("status"),
            "claimed_by": FromOwner("name"),
            "attempts": FromStep("attempts"),
        },
    )

    swap_id: str
    status: Status
    attempts: int
    message: str | None
    img_uuid: str | None = None
    cost: int | None = None
    account: str | None = None
    error_code: str | None = None
    result_uri: str | None = None
    result_sha256: str | None = None
    result_mark: str | None = None
    additional_result_uris: tuple[str, ...] = ()
    quality: str | None = None
    quality_score: float | None = None
    quality_figures: str | None = None
    thumbnail_uri: str | None = None
    source_thumbnail_uri: str | None = None
    reference_thumbnail_uri: str | None = None
    review: str | None = None
    reviewed_by: str | None = None
    reviewed_at: dt.datetime | None = None
    review_note: str | None = None
    picture_deleted_at: dt.datetime | None = None
    max_tries: int | None = None
    claimed_at: dt.datetime | None = None
    submitted_at: dt.datetime | None = None
    finished_at: dt.datetime | None = None
    reserved_cost: int | None = None
    reserved_day: str | None = None

    @classmethod
    def of(cls, swap: Swap, why: str) -> NotSentAgain:
        """
        Return the step for a row as it was read before its claim.

        :param why: why it was not sent
        """
        before = swap.error_message
        message = f"{before.split(_AGAIN)[0]}{_AGAIN}{why}" if before else None
        kept = {field.name: getattr(swap, field.name) for field in fields(cls) if field.name in _KEPT}
        return cls(swap_id=swap.swap_id, message=message, **kept)

    @property
    def attempts_claimed(self) -> int:
        """Return the row's ``attempts`` while it is claimed."""
        return self.attempts + 1


_AGAIN = " It was to be sent again, and was not: "


def was_sent_before(swap: Swap) -> bool:
    """Return whether a row that is due has a job, or a submit that may have become one."""
    return swap.status is not Status.PLANNED and bool(swap.attempts or swap.img_uuid)
