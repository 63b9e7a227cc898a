# SPDX-License-Identifier: Apache-2.0
"""The transition of a row whose picture a person approves or rejects, or whose review is undone."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import ClassVar

from .states import Review, Status
from .transition_rules import AsReadUnlessPlanned, FromStep, Rule, TextFromStep

#: What a review writes; a row that reuses the picture has the same.
REVIEWED = ("review", "reviewed_by", "reviewed_at", "review_note")


@dataclass(frozen=True, slots=True)
class Reviewed:
    """
    Record what a person said about the picture of a job; the row keeps its state and its picture.

    A row that still waits for the job takes it too: the picture will be the same one.

    :param img_uuid: the job as read: a row that was sent again since has another picture
    :param review: ``None`` undoes an earlier review
    :param by: who says so; ``None`` to undo
    :param at: when; ``None`` to undo
    :param note: what the person said besides
    :param seen_review: the row's ``review`` as read: of two people who review a picture at once, one is refused
    :param seen_reviewed_at: its ``reviewed_at`` as read
    """

    rule: ClassVar[Rule] = Rule(
        from_status=frozenset({Status.SUBMITTED, Status.SUCCEEDED, Status.REUSED, Status.FAILED}),
        guards={
            "img_uuid": FromStep("img_uuid"),
            "review": AsReadUnlessPlanned("seen_review"),
            "reviewed_at": AsReadUnlessPlanned("seen_reviewed_at"),
        },
        writes={
            "review": FromStep("review"),
            "reviewed_by": TextFromStep("by"),
            "reviewed_at": FromStep("at"),
            "review_note": TextFromStep("note"),
        },
    )

    swap_id: str
    img_uuid: str
    review: Review | None
    by: str | None = None
    at: dt.datetime | None = None
    note: str | None = None
    seen_review: str | None = None
    seen_reviewed_at: dt.datetime | None = None
