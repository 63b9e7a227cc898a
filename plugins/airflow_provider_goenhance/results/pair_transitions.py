# SPDX-License-Identifier: Apache-2.0
"""The transitions of rows that are not sent, because of what another row of the same pair has, does or did."""

from __future__ import annotations

import dataclasses
import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

from .erasure_transitions import Erased
from .inspection_transitions import INSPECTED
from .review_transitions import REVIEWED
from .states import Status
from .transition_rules import NOW, Append, FromRow, FromStep, Rule, TextFromStep

if TYPE_CHECKING:
    from .swap import Swap


def _unsent(writes: dict[str, Any]) -> Rule:
    """Return a rule for a row that is as it was when the step was decided."""
    return Rule(
        from_status=FromStep("from_status"),
        guards={"attempts": FromStep("attempts")},
        # Nobody's claim any more: a clear treats it as it treats a row that was planned like this.
        writes={**writes, "claimed_by": None, "max_tries": None},
    )


@dataclass(frozen=True, slots=True)
class Reused:
    """Finish a row with an earlier row's picture."""

    rule: ClassVar[Rule] = _unsent(
        {
            # First, because MySQL reads a column that the statement has set before with its new value.
            "former_uuids": Append(FromRow("img_uuid")),
            "status": Status.REUSED,
            "img_uuid": FromStep("img_uuid"),
            "account": FromStep("account"),
            "result_uri": FromStep("result_uri"),
            "result_sha256": FromStep("result_sha256"),
            "result_mark": FromStep("result_mark"),
            "additional_result_uris": FromStep("additional_result_uris"),
            **{name: FromStep(name) for name in (*INSPECTED, *REVIEWED)},
            "reused_from": FromStep("reused_from"),
            "cost": 0,
            "error_code": None,
            "error_message": None,
            "finished_at": NOW,
        }
    )

    swap_id: str
    from_status: Status
    attempts: int
    img_uuid: str | None
    account: str | None
    result_uri: str | None
    result_sha256: str | None
    result_mark: str | None
    additional_result_uris: tuple[str, ...]
    reused_from: str | None
    quality: str | None
    quality_score: float | None
    quality_figures: str | None
    thumbnail_uri: str | None
    source_thumbnail_uri: str | None
    reference_thumbnail_uri: str | None
    review: str | None
    reviewed_by: str | None
    reviewed_at: dt.datetime | None
    review_note: str | None


@dataclass(frozen=True, slots=True)
class Adopted:
    """Let a row wait for another row's job."""

    rule: ClassVar[Rule] = _unsent(
        {
            # First, because MySQL reads a column that the statement has set before with its new value.
            "former_uuids": Append(FromRow("img_uuid")),
            "status": Status.SUBMITTED,
            "img_uuid": FromStep("img_uuid"),
            "account": FromStep("account"),
            "reused_from": FromStep("reused_from"),
            "cost": 0,
            "error_code": None,
            "error_message": None,
            "submitted_at": FromStep("submitted_at"),
            "finished_at": None,
        }
    )

    swap_id: str
    from_status: Status
    attempts: int
    img_uuid: str | None
    account: str | None
    reused_from: str | None
    submitted_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Held:
    """Hold a row: nothing is sent."""

    rule: ClassVar[Rule] = _unsent(
        {
            "status": Status.HELD,
            "error_code": FromStep("error_code"),
            "error_message": TextFromStep("error_message"),
            "finished_at": NOW,
        }
    )

    swap_id: str
    from_status: Status
    attempts: int
    error_code: str | None
    error_message: str | None


@dataclass(frozen=True, slots=True)
class Freed:
    """Plan a held row again: nothing holds its pair any more."""

    rule: ClassVar[Rule] = Rule(
        from_status=frozenset({Status.HELD}),
        guards={"attempts": FromStep("attempts")},
        writes={"status": Status.PLANNED, "error_code": None, "error_message": None, "finished_at": None},
    )

    swap_id: str
    attempts: int

    @classmethod
    def of(cls, swap: Swap) -> Freed:
        """Return the step for a row as it was read."""
        return cls(swap.swap_id, swap.attempts)

    @staticmethod
    def after(swap: Swap) -> Swap:
        """Return the row after the step."""
        return dataclasses.replace(swap, **cast("dict[str, Any]", Freed.rule.writes))


PairStep = Reused | Adopted | Held | Freed | Erased


def step_to(before: Swap, after: Swap) -> PairStep:
    """Return the step that makes a row what it was decided to be."""
    which = (before.swap_id, before.status, before.attempts)
    if after.status is Status.REUSED:
        return Reused(
            *which,
            after.img_uuid,
            after.account,
            after.result_uri,
            after.result_sha256,
            after.result_mark,
            after.additional_result_uris,
            after.reused_from,
            *(getattr(after, name) for name in (*INSPECTED, *REVIEWED)),
        )
    if after.status is Status.SUBMITTED:
        return Adopted(*which, after.img_uuid, after.account, after.reused_from, after.submitted_at)
    if after.erased_at is not None:
        # Planned while its pair was being erased: the row forgets what it is, like the others.
        names = (after.pair_id, after.source_img, after.reference_img)
        return Erased(*which, before.result_uri, *names, after.status, after.error_code)
    return Held(*which, after.error_code, after.error_message)
