# SPDX-License-Identifier: Apache-2.0
"""The transitions of a row whose submit had an unknown outcome, once somebody knows better."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ..exceptions import ErrorCode
from .states import Status
from .transition_rules import AsReadUnlessPlanned, FromRow, FromStep, Plus, Rule, TextFromStep


class Resolution(enum.StrEnum):
    """What is known of a submit whose outcome was unknown, as stored in the ``resolution`` column."""

    NOT_BILLED = "not_billed"  #: It was not accepted: the pair may be sent.
    BILLED = "billed"  #: It was accepted as a job whose UUID is known: the picture can be collected.
    #: It will not be found out: the row is given up, and a new run may send the pair.
    WRITTEN_OFF = ErrorCode.WRITTEN_OFF.value


def _settle(status: Status, resolution: Resolution, writes: Mapping[str, Any]) -> Rule:
    return Rule(
        from_status=frozenset({Status.UNKNOWN}),
        # A row that was sent again since it was read, and is unknown again, is about another submit. A submit that was
        # not billed does not count in `attempts`: then the time of the claim differs.
        guards={
            "attempts": FromStep("attempts"),
            "claimed_at": AsReadUnlessPlanned("claimed_at"),
        },
        writes={
            **writes,
            "status": status,
            "resolution": resolution,
            "resolved_by": TextFromStep("by"),
            "resolved_at": FromStep("at"),
            "resolution_note": TextFromStep("note"),
        },
    )


@dataclass(frozen=True, slots=True)
class NotBilled:
    """
    Return an unknown row to ``planned``: its POST was not accepted, and the pair may be sent.

    :param attempts: the row's ``attempts`` as read
    :param claimed_at: its ``claimed_at`` as read
    :param by: who says so
    :param at: when
    :param message: the sentence about it, for the row
    :param note: what it is based on
    """

    rule: ClassVar[Rule] = _settle(
        Status.PLANNED,
        Resolution.NOT_BILLED,
        {
            "attempts": Plus(-1),
            "error_code": None,
            "error_message": TextFromStep("message"),
            "finished_at": None,
        },
    )

    swap_id: str
    attempts: int
    claimed_at: dt.datetime | None
    by: str
    at: dt.datetime
    message: str
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Billed:
    """
    Record the job that an unknown row became: it is waited for and collected like any other.

    :param img_uuid: the job's UUID, from the vendor's console
    """

    rule: ClassVar[Rule] = _settle(
        Status.SUBMITTED,
        Resolution.BILLED,
        {
            "img_uuid": FromStep("img_uuid"),
            "submitted_at": FromRow("claimed_at"),
            "error_code": None,
            "error_message": None,
            "finished_at": None,
        },
    )

    swap_id: str
    attempts: int
    claimed_at: dt.datetime | None
    by: str
    at: dt.datetime
    img_uuid: str
    note: str | None = None


@dataclass(frozen=True, slots=True)
class WrittenOff:
    """
    Fail an unknown row without a job: it may have been paid for, and holds its pair no longer.

    Its ``attempts`` still count the POST that may have been accepted.
    """

    rule: ClassVar[Rule] = _settle(
        Status.FAILED,
        Resolution.WRITTEN_OFF,
        {"error_code": ErrorCode.WRITTEN_OFF, "error_message": TextFromStep("message")},
    )

    swap_id: str
    attempts: int
    claimed_at: dt.datetime | None
    by: str
    at: dt.datetime
    message: str
    note: str | None = None


ResolutionStep = NotBilled | Billed | WrittenOff
