# SPDX-License-Identifier: Apache-2.0
"""The transitions of a row that has moved on before the answer to its POST came: the job was paid for all the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .states import Status
from .transition_rules import ACCEPTED, Append, FromStep, Rule


@dataclass(frozen=True, slots=True)
class FormerJob:
    """Keep the UUID of a job that was paid for, but whose row another attempt has taken meanwhile."""

    rule: ClassVar[Rule] = Rule(
        from_status=frozenset(Status),
        writes={"former_uuids": Append(FromStep("img_uuid"))},
    )

    swap_id: str
    img_uuid: str


@dataclass(frozen=True, slots=True)
class AcceptedAfterAll:
    """
    Record the job of a row whose submit a person, or the balance, has settled as not accepted, or as written off.

    The answer came later, and it is certain: the pair must not be sent again. Only while nobody has done anything else
    with the row.
    """

    rule: ClassVar[Rule] = Rule(
        from_status=FromStep("from_status"),
        guards={
            "claimed_by": FromStep("claimed_by"),
            "attempts": FromStep("attempts"),
            "img_uuid": None,
        },
        writes={**ACCEPTED, "attempts": FromStep("attempts_after")},
    )

    swap_id: str
    from_status: Status
    attempts: int
    claimed_by: str
    img_uuid: str
    cost: int | None = None

    @property
    def attempts_after(self) -> int:
        """Return how many submits may have been accepted: one that was not billed was no longer counted."""
        return self.attempts + (self.from_status is Status.PLANNED)
