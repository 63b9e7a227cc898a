# SPDX-License-Identifier: Apache-2.0
"""How long a task waits for each of its jobs, over all hand-overs between worker and triggerer."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..results.swap import Swap

#: The trigger hands jobs that have ended over to the task at most this often, in seconds: a resume costs the worker a
#: second or two, and the links of a job live for hours.
HAND_OVER_AFTER = 120.0
#: The longest time between two hand-overs, where they turned out to be of no use.
LONGEST_HAND_OVER = 1920.0
#: The most rounds of submits whose deadlines are kept apart.
MOST_ROUNDS = 20


@dataclass(slots=True)
class WaitPlan:
    """
    The deadlines of a task's jobs. Each round of submits has one; the trigger carries them from resume to resume.

    :param rounds: for each round when its submits ended and its deadline, seconds since the epoch, the oldest first
    :param ahead_until: until when jobs of other tasks are waited for, whose end lets rows of this task be sent
    :param until: when the present wait ends: at the first deadline
    :param hand_over_after: seconds after which the trigger hands over what has ended
    :param doubts: ``img_uuid`` -> how often GoEnhance has said "job not found", and since when
    """

    rounds: list[tuple[float, float]] = field(default_factory=list)
    ahead_until: float | None = None
    until: float = 0.0
    hand_over_after: float = field(default_factory=lambda: HAND_OVER_AFTER)
    doubts: dict[str, tuple[int, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, carried: Mapping[str, Any]) -> WaitPlan:
        """Return the plan that a trigger has carried."""
        ahead = carried.get("ahead_until")
        return cls(
            [(float(submitted), float(deadline)) for submitted, deadline in carried.get("rounds") or ()],
            None if ahead is None else float(ahead),
            float(carried.get("until") or 0.0),
            float(carried.get("hand_over_after") or HAND_OVER_AFTER),
        )

    def to_carry(self) -> dict[str, Any]:
        """Return the plan as a trigger carries it; the doubts have an argument of their own."""
        return {
            "rounds": [list(each) for each in self.rounds],
            "ahead_until": self.ahead_until,
            "until": self.until,
            "hand_over_after": self.hand_over_after,
        }

    def begin_round(self, timeout: float) -> None:
        """
        Begin to wait for the jobs of a round of submits that has just ended.

        :param timeout: seconds to wait for them
        """
        now = time.time()
        self.rounds = [each for each in self.rounds if each[1] > now]
        self.rounds.append((now, now + timeout))
        if len(self.rounds) > MOST_ROUNDS:
            # The two that are closest to each other in time wait until the later deadline.
            gaps = [later[0] - sooner[0] for sooner, later in zip(self.rounds, self.rounds[1:], strict=False)]
            del self.rounds[gaps.index(min(gaps))]
        self.hand_over_after = HAND_OVER_AFTER

    @property
    def since(self) -> float | None:
        """Return since when the latest jobs are waited for: how often all are polled depends on it."""
        return self.rounds[-1][0] if self.rounds else None

    def deadline_of(self, swap: Swap) -> float:
        """Return until when a row's job is waited for."""
        last = self.rounds[-1][1] if self.rounds else time.time()
        # A job that was adopted has the time of a submit that is long past.
        if swap.submitted_at is None or swap.adopted_job:
            return last
        submitted = swap.submitted_at.timestamp()
        return next((deadline for until, deadline in self.rounds if submitted <= until), last)

    def begin_wait(self, swaps: Iterable[Swap]) -> float:
        """Return when a wait for the jobs of rows has to end: at the first deadline of one, or of the jobs ahead."""
        deadlines = {self.deadline_of(swap) for swap in swaps}
        self.until = min(deadlines | ({self.ahead_until} if self.ahead_until is not None else set()))
        return self.until

    def overdue(self, swaps: Iterable[Swap], *, finished: bool) -> list[Swap]:
        """
        Return the rows whose jobs are not waited for any longer.

        :param finished: whether the wait has ended, by whichever machine's clock
        """
        now = max(time.time(), self.until if finished else 0.0)
        return [swap for swap in swaps if self.deadline_of(swap) <= now]

    def ahead_is_overdue(self, *, finished: bool) -> bool:
        """Return whether jobs of other tasks are not waited for any longer."""
        now = max(time.time(), self.until if finished else 0.0)
        return self.ahead_until is not None and self.ahead_until <= now

    def wait_ahead(self, ahead: Sequence[Swap], timeout: float) -> None:
        """Wait for the jobs of other tasks too, for as long as for one's own."""
        if not ahead:
            self.ahead_until = None
        elif self.ahead_until is None or self.ahead_until <= time.time():
            self.ahead_until = time.time() + timeout

    def note_hand_over(self, *, useful: bool) -> None:
        """Make hand-overs rarer that were of no use, such as one for a job that GoEnhance reports as running again."""
        self.hand_over_after = HAND_OVER_AFTER if useful else min(LONGEST_HAND_OVER, 2 * self.hand_over_after)
