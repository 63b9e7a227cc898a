# SPDX-License-Identifier: Apache-2.0
"""What a task that collects has found so far, over all hand-overs between worker and triggerer."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..redaction import excerpt
from ..results.recovery import job_itself_failed

if TYPE_CHECKING:
    from ..results.swap import Swap

log = logging.getLogger(__name__)

#: Pairs with a suspicious picture that are carried.
NAMED_SUSPICIOUS = 20


@dataclass(frozen=True, slots=True)
class FoundRows:
    """
    What a task has found so far, which the trigger carries.

    :param window: from when to when the rows were submitted, seconds since the epoch
    :param counts: rows by state
    :param lost: pictures that could not be kept
    :param first_lost: the first of them, and why
    :param first_code: its error code
    :param suspicious: kept pictures that are suspicious, by their quality
    :param first_suspicious: pair and quality of the first of them
    """

    window: tuple[float | None, float | None]
    counts: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    first_lost: str = ""
    first_code: str | None = None
    suspicious: dict[str, int] = field(default_factory=dict)
    first_suspicious: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    def of(cls, carried: Mapping[str, Any]) -> FoundRows:
        """Return what a trigger has carried."""
        oldest, newest = carried.get("window") or (None, None)
        return cls(
            (oldest, newest),
            dict(carried.get("counts") or {}),
            int(carried.get("lost") or 0),
            str(carried.get("first_lost") or ""),
            carried.get("first_code"),
            dict(carried.get("suspicious") or {}),
            [(str(pair_id), str(code)) for pair_id, code in carried.get("first_suspicious") or ()],
        )

    def to_carry(self) -> dict[str, Any]:
        """Return it as a trigger carries it."""
        return {**asdict(self), "window": list(self.window), "first_lost": excerpt(self.first_lost)}

    def with_rows(self, swaps: Sequence[Swap], tried: Collection[str]) -> FoundRows:
        """
        Return it with some more rows, whose failures are logged.

        :param tried: ``swap_id`` of those that were to be collected
        """
        failed = [swap for swap in swaps if swap.status == "failed" and swap.swap_id in tried]
        for swap in failed:
            log.warning("%s, job %s: %s", swap.label, swap.img_uuid, swap.error_message)
        lost = [swap for swap in failed if not job_itself_failed(swap)]
        suspicious = [(swap.pair_id, swap.suspicion) for swap in swaps if swap.suspicion]
        found = replace(
            self,
            counts=dict(Counter(self.counts) + Counter(str(swap.status) for swap in swaps)),
            lost=self.lost + len(lost),
            suspicious=dict(Counter(self.suspicious) + Counter(code for _, code in suspicious)),
            first_suspicious=[*self.first_suspicious, *suspicious][:NAMED_SUSPICIOUS],
        )
        if not lost or self.lost:
            return found
        first = lost[0]
        return replace(
            found,
            first_lost=f"{first.label}, job {first.img_uuid}: {first.error_message}",
            first_code=first.error_code,
        )
