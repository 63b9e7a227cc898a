# SPDX-License-Identifier: Apache-2.0
"""The transitions of planned rows by what was found out about their pictures before anything was sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .states import Status
from .transition_rules import NOW, FromStep, Rule, TextFromStep


@dataclass(frozen=True, slots=True)
class InputChecked:
    """
    Note what the check of a row's pictures found.

    :param warnings: what it warns of, ``None`` for nothing
    :param notes: what will be done to the pictures before they are sent, ``None`` for nothing
    """

    rule: ClassVar[Rule] = Rule(
        from_status=frozenset({Status.PLANNED}),
        writes={"input_warnings": FromStep("warnings"), "input_notes": FromStep("notes")},
    )

    swap_id: str
    warnings: str | None
    notes: str | None = None


@dataclass(frozen=True, slots=True)
class InputRejected:
    """Reject a row that was never sent: one of its pictures cannot be used."""

    rule: ClassVar[Rule] = Rule(
        from_status=frozenset({Status.PLANNED}),
        # A row that may have been paid for is decided by what became of its submits.
        guards={"attempts": 0},
        writes={
            "status": Status.REJECTED,
            "error_code": FromStep("code"),
            "error_message": TextFromStep("message"),
            "input_warnings": FromStep("warnings"),
            "finished_at": NOW,
        },
    )

    swap_id: str
    code: str
    message: str
    warnings: str | None


PreflightStep = InputChecked | InputRejected
