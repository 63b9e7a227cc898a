# SPDX-License-Identifier: Apache-2.0
"""The transition of a row that is not sent because a budget has no room for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..exceptions import ErrorCode
from .states import Status
from .transition_rules import NOW, Rule, TextFromStep


@dataclass(frozen=True, slots=True)
class OverBudget:
    """Hold a row that nobody has sent: a budget has no room for it. One that has paid for a job keeps its state."""

    rule: ClassVar[Rule] = Rule(
        from_status=frozenset({Status.PLANNED, Status.HELD}),
        writes={
            "status": Status.HELD,
            "error_code": ErrorCode.BUDGET_REACHED,
            "error_message": TextFromStep("message"),
            "finished_at": NOW,
        },
    )

    swap_id: str
    message: str
