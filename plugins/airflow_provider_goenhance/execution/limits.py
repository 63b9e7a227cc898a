# SPDX-License-Identifier: Apache-2.0
"""What a round of submits asks before it claims a row, and the answers where no account is shared."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ..api.limiter import Limiter
    from ..exceptions import GoEnhanceError, RateLimitedError

#: One more claimed row for this many concurrent POSTs: it waits for its commit while they are under way.
SPARE_SLOT_FOR = 3


def slots_for(concurrency: int) -> int:
    """
    Return how many rows are claimed at once, which is also how many a killed worker can leave ``unknown``.

    A slot that waits for its commit has no POST under way: a few extra slots keep the concurrency fully used.
    """
    return concurrency + concurrency // SPARE_SLOT_FOR


class Limits(Protocol):
    """
    What a round of submits asks before it claims a row.

    :ivar rows_left: rows that the round has not taken yet
    :ivar limiter: the limiter for the client, ``None`` for its own
    :ivar stop: ends the round, with the reason
    """

    rows_left: int
    limiter: Limiter | None
    stop: Callable[[GoEnhanceError], None]

    def admit_now(self) -> bool:
        """Return whether a row may be claimed at once; each that is admitted leaves again."""

    async def admit(self) -> bool:
        """Wait until a row may be claimed; return false when none will be."""

    def leave(self) -> None:
        """Note that an admitted row has its answer, or was not sent."""

    def claimed(self, seconds: float) -> None:
        """Note how long the commit of a claim took."""

    def refused(self, error: RateLimitedError, attempt: int) -> bool:
        """Slow down after a 429; return whether the row is sent again by this round."""

    def close(self) -> None:
        """Admit no further rows."""


class TaskLimits:
    """The limits of a task that has no results table: those of its client."""

    limiter: Limiter | None = None

    def __init__(self) -> None:
        self.rows_left = 0
        self.stop: Callable[[GoEnhanceError], None] = ignore

    def admit_now(self) -> bool:
        """Return true: the client's limiter makes the POST wait."""
        return True

    async def admit(self) -> bool:
        """Return true."""
        return True

    def leave(self) -> None:
        """Do nothing."""

    def claimed(self, seconds: float) -> None:
        """Do nothing."""

    def refused(self, error: RateLimitedError, attempt: int) -> bool:
        """Return false: the client has tried again itself."""
        return False

    def close(self) -> None:
        """Do nothing."""


def ignore(_reason: GoEnhanceError) -> None:
    """Take no notice: no round has begun."""
