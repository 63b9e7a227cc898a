# SPDX-License-Identifier: Apache-2.0
"""The transitions of a row whose job has ended, or will not be waited for."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, cast

from ..exceptions import JobFailedError
from .states import Status
from .transition_rules import FromStep, Rule, TextFromStep

if TYPE_CHECKING:
    from .swap import Swap


def _outcome_rule(from_status: frozenset[Status], *, unless: Mapping[str, Any]) -> Rule:
    return Rule(
        from_status=from_status,
        # Never overwrite a stored picture.
        guards={"img_uuid": FromStep("img_uuid"), "result_uri": None},
        unless=unless,
        writes={
            "status": FromStep("status"),
            "error_code": FromStep("error_code"),
            "error_message": TextFromStep("error_message"),
            "result_uri": FromStep("result_uri"),
            "result_sha256": FromStep("result_sha256"),
            "result_mark": FromStep("result_mark"),
            "additional_result_uris": FromStep("additional_result_uris"),
            "finished_at": FromStep("finished_at", or_now=True),
        },
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    Record the outcome of a job. A late report never downgrades a row.

    :param status: ``succeeded`` or ``failed``
    :param result_uri: where the first picture is kept
    :param additional_result_uris: where further pictures of the same job are kept, in the vendor's order
    :param finished_at: when the job ended, default: now
    :param result_mark: how the first picture discloses its origin; ``None`` if not all of the pictures do
    """

    success_rule: ClassVar[Rule] = _outcome_rule(
        frozenset({Status.SUBMITTED, Status.SUCCEEDED, Status.FAILED}), unless={}
    )
    #: A success does not become a failure, and a job that GoEnhance failed does not become one that timed out.
    failure_rule: ClassVar[Rule] = _outcome_rule(
        frozenset({Status.SUBMITTED, Status.FAILED}), unless={"error_code": JobFailedError.error_code}
    )

    swap_id: str
    img_uuid: str
    status: Status
    error_code: str | None = None
    error_message: str | None = None
    result_uri: str | None = None
    result_sha256: str | None = None
    finished_at: dt.datetime | None = None
    additional_result_uris: tuple[str, ...] = field(default=())
    result_mark: str | None = None

    @property
    def rule(self) -> Rule:
        """Return the rule for its status."""
        return self.success_rule if self.status is Status.SUCCEEDED else self.failure_rule


@dataclass(frozen=True, slots=True)
class WaitedAgain:
    """
    Return a row to ``submitted`` whose job is waited for again: its wait timed out, or its picture was not kept.

    The rows that a task waits for are then those that are ``submitted``, which a trigger can read. A job that GoEnhance
    failed is not waited for.
    """

    rule: ClassVar[Rule] = Rule(
        from_status=frozenset({Status.SUCCEEDED, Status.FAILED}),
        guards={"img_uuid": FromStep("img_uuid"), "result_uri": None},
        unless={"error_code": JobFailedError.error_code},
        writes={"status": Status.SUBMITTED, "error_code": None, "error_message": None, "finished_at": None},
    )

    swap_id: str
    img_uuid: str

    @classmethod
    def of(cls, swap: Swap) -> WaitedAgain:
        """Return the step for a row as it was read."""
        return cls(swap.swap_id, str(swap.img_uuid))

    @staticmethod
    def after(swap: Swap) -> Swap:
        """Return the row after the step."""
        return dataclasses.replace(swap, **cast("dict[str, Any]", WaitedAgain.rule.writes))
