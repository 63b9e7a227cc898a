# SPDX-License-Identifier: Apache-2.0
"""The transitions of rows whose run is planned again, with a manifest that may have changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ..exceptions import ErrorCode
from .states import Status
from .swap import clean
from .transition_rules import NOW, FromStep, Rule

if TYPE_CHECKING:
    from .swap import Swap

#: The error code of a row that left its manifest before it was sent.
WITHDRAWN = ErrorCode.WITHDRAWN


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Reject a row that left its manifest before it was sent."""

    rule: ClassVar[Rule] = Rule(
        from_status=frozenset({Status.PLANNED, Status.HELD}),
        writes={
            "status": Status.REJECTED,
            "error_code": WITHDRAWN,
            "error_message": "The manifest no longer held this row when the run was planned again. Never sent.",
            "finished_at": NOW,
            "superseded_at": NOW,
        },
    )

    swap_id: str


@dataclass(frozen=True, slots=True)
class Restored:
    """Plan a withdrawn row again, because its manifest holds it again."""

    rule: ClassVar[Rule] = Rule(
        from_status=frozenset({Status.REJECTED}),
        guards={"error_code": WITHDRAWN},
        writes={
            "status": Status.PLANNED,
            "error_code": None,
            "error_message": None,
            "finished_at": None,
            "superseded_at": None,
        },
    )

    swap_id: str


@dataclass(frozen=True, slots=True)
class Superseded:
    """Count a rejected row no more: its manifest was corrected, and a later plan of the run does not hold it."""

    rule: ClassVar[Rule] = Rule(
        from_status=frozenset({Status.REJECTED}),
        guards={"superseded_at": None},
        writes={"superseded_at": NOW},
    )

    swap_id: str


@dataclass(frozen=True, slots=True)
class Reinstated:
    """Count a rejected row again: its manifest holds it again, as bad as before."""

    rule: ClassVar[Rule] = Rule(
        from_status=frozenset({Status.REJECTED}),
        unless={"error_code": WITHDRAWN},
        writes={"superseded_at": None},
    )

    swap_id: str


@dataclass(frozen=True, slots=True)
class Readmitted:
    """
    Plan a row again that the check of its pictures had rejected: they may be there by now.

    The plan checks them again after this step, and rejects the row again if they are not.
    """

    rule: ClassVar[Rule] = Rule(
        from_status=frozenset({Status.REJECTED}),
        guards={"attempts": 0, "erased_at": None},
        unless={"error_code": WITHDRAWN},
        writes={
            "status": Status.PLANNED,
            "error_code": None,
            "error_message": None,
            "input_warnings": None,
            "finished_at": None,
            "superseded_at": None,
        },
    )

    swap_id: str


@dataclass(frozen=True, slots=True)
class Relinked:
    """
    Give a row tonight's links to its two pictures: the ones that it was planned with may have expired.

    Not while its POST is under way. The pictures are the same, see :mod:`..url_identity`.
    """

    rule: ClassVar[Rule] = Rule(
        from_status=frozenset(Status) - {Status.SUBMITTING},
        # What was erased stays erased, whatever the manifest still holds.
        guards={"erased_at": None},
        writes={"source_img": FromStep("source_img"), "reference_img": FromStep("reference_img")},
    )

    swap_id: str
    source_img: str
    reference_img: str

    @classmethod
    def of(cls, swap: Swap) -> Relinked:
        """Return the step for a row as it is planned now."""
        return cls(swap.swap_id, clean(swap.source_img), clean(swap.reference_img))

    @property
    def links(self) -> tuple[str, str]:
        """Return both links."""
        return self.source_img, self.reference_img


#: The steps that say the same of every row.
Repeated = Withdrawn | Restored | Superseded | Reinstated | Readmitted
PlanStep = Repeated | Relinked
