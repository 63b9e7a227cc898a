# SPDX-License-Identifier: Apache-2.0
"""The results of a round of submits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..exceptions import GoEnhanceError
    from ..results.swap import Swap


@dataclass(slots=True)
class SubmitReport:
    """
    The results of a round of submits.

    :param submitted: ``swap_id`` -> ``img_uuid`` of the jobs accepted now
    :param declined: number of pairs that GoEnhance refused
    :param unknown: number of pairs whose submit has no known outcome
    :param cost: credits for the jobs accepted now, as far as they are known
    :param taken_elsewhere: number of rows that another attempt, or whose pairs another row, had claimed meanwhile
    :param changed: number of rows whose pictures were overwritten, and that are other pairs now
    :param over_budget: the rows for which a budget had no room
    :param left_out: the rows for whose jobs the account has no room now
    :param left: rows that were to be sent again, that GoEnhance refused, and that are as they were before
    :param postponed: why a picture could not be prepared now; its row is planned, and a retry prepares it
    :param stopped_by: why the remaining pairs were not sent, ``None`` if all were
    """

    submitted: dict[str, str] = field(default_factory=dict)
    declined: int = 0
    unknown: int = 0
    cost: int | None = None
    taken_elsewhere: int = 0
    changed: int = 0
    over_budget: list[Swap] = field(default_factory=list)
    left_out: list[Swap] = field(default_factory=list)
    left: list[Swap] = field(default_factory=list)
    postponed: GoEnhanceError | None = None
    stopped_by: GoEnhanceError | None = None

    @property
    def sentence(self) -> str:
        """Return how many rows became what, as a sentence without its end."""
        parts = [f"{len(self.submitted)} submitted"]
        parts += [f"{self.declined} declined"] if self.declined else []
        parts += [f"{self.unknown} with unknown outcome"] if self.unknown else []
        parts += [f"{len(self.over_budget)} held for the budget"] if self.over_budget else []
        parts += [f"{self.taken_elsewhere} taken by another attempt or run"] if self.taken_elsewhere else []
        return ", ".join(parts)
