# SPDX-License-Identifier: Apache-2.0
"""The transitions of rows whose input pictures are prepared before they are claimed, and tidied up afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from .states import Status
from .swap import pair_fingerprint
from .transition_rules import NOW, FromOwner, FromStep, Rule, TextFromStep

if TYPE_CHECKING:
    from .swap import Swap


@dataclass(frozen=True, slots=True)
class InputsFailed:
    """
    Fail a row whose pictures cannot be sent: nothing was paid, and a clear tries it again.

    :param from_status: its state as it was read: a row that failed before, and whose task was cleared, takes it too
    :param attempts: its ``attempts`` as read
    """

    rule: ClassVar[Rule] = Rule(
        from_status=FromStep("from_status"),
        guards={"attempts": FromStep("attempts")},
        writes={
            "status": Status.FAILED,
            # What distinguishes a clear from a retry later, see `recovery.was_cleared`.
            "claimed_by": FromOwner("name"),
            "max_tries": FromOwner("max_tries"),
            "error_code": FromStep("error_code"),
            "error_message": TextFromStep("message"),
            "finished_at": NOW,
        },
        taken_if={"status": Status.FAILED, "error_code": FromStep("error_code")},
    )

    swap_id: str
    from_status: Status
    attempts: int
    error_code: str
    message: str

    @classmethod
    def of(cls, swap: Swap, error_code: str, message: str) -> InputsFailed:
        """Return the step for a row as it was read."""
        return cls(swap.swap_id, swap.status, swap.attempts, error_code, message)


@dataclass(frozen=True, slots=True)
class InputsChanged:
    """
    Make a row that was never sent the pair that its pictures are now: one of them was overwritten since it was planned.

    What other rows have paid for this pair is looked up before it is sent.

    :param from_status: its state as it was read: ``failed`` for one that was declined, and whose task was cleared
    """

    rule: ClassVar[Rule] = Rule(
        from_status=FromStep("from_status"),
        guards={"attempts": 0},
        writes={
            "source_version": FromStep("source_version"),
            "reference_version": FromStep("reference_version"),
            "pair_fingerprint": FromStep("pair_fingerprint"),
        },
        taken_if={"pair_fingerprint": FromStep("pair_fingerprint")},
    )

    swap_id: str
    from_status: Status
    source_version: str | None
    reference_version: str | None
    pair_fingerprint: str

    @classmethod
    def of(cls, swap: Swap, source_version: str | None, reference_version: str | None) -> InputsChanged:
        """Return the step for a row whose pictures have these versions now."""
        fingerprint = pair_fingerprint(
            swap.source_img,
            swap.reference_img,
            source_key=swap.source_key,
            reference_key=swap.reference_key,
            source_version=source_version,
            reference_version=reference_version,
        )
        return cls(swap.swap_id, swap.status, source_version, reference_version, fingerprint)


@dataclass(frozen=True, slots=True)
class InputsStaged:
    """Note the copies that were made of a row's pictures, and what was changed in them, before its POST names them."""

    rule: ClassVar[Rule] = Rule(
        from_status=frozenset(Status) - {Status.SUBMITTING},
        writes={"staged_uris": FromStep("staged_uris"), "input_notes": FromStep("input_notes")},
        taken_if={"staged_uris": FromStep("staged_uris"), "input_notes": FromStep("input_notes")},
    )

    swap_id: str
    staged_uris: tuple[str, ...]
    input_notes: str | None = None


#: The steps of inputs, which a claim owner takes through the group commit.
InputStep = InputsFailed | InputsChanged | InputsStaged
