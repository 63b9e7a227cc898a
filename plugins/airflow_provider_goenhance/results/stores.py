# SPDX-License-Identifier: Apache-2.0
"""Where a task keeps its rows: the results table, or Airflow's task state store for a single pair."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from .clock import CLAIM_SECONDS_0_1_0
from .states import Status

if TYPE_CHECKING:
    from .inspection_transitions import Inspected
    from .ledger import Ledger
    from .outcome_transitions import Outcome
    from .swap import Swap
    from .transitions import ClaimOwner, Transition


#: For each step of a slot whether its row is now where the step puts it, or the error that the steps ended in.
Written = list[bool] | BaseException


class Writer(Protocol):
    """Commits the steps of rows."""

    def write_all(self, requests: Sequence[Sequence[Transition]]) -> Future[list[Written]]:
        """Commit several slots' steps; see :meth:`.group_commit.GroupCommit.write_all`."""


class SwapStore(Protocol):
    """
    The rows that one task works on.

    :ivar ledger: the results table, ``None`` where the rows are elsewhere: other tasks' rows are not known then
    """

    ledger: Ledger | None

    def load(self) -> list[Swap]:
        """Return the rows as they are now."""

    def mark_abandoned(self, owner: ClaimOwner, task_key: str) -> int:
        """Make rows ``unknown`` that an ended execution of this task left in ``submitting``; return how many."""

    def mark_killed(self, owner: ClaimOwner) -> int:
        """Make rows ``unknown`` that this very execution, which is being killed, has in ``submitting``."""

    def writer(self, owner: ClaimOwner) -> AbstractContextManager[Writer]:
        """Open the writer for a round of submits."""

    def record_outcomes(self, outcomes: Sequence[Outcome], account: str | None = None, /) -> None:
        """Record what became of jobs; see :meth:`.ledger.Ledger.record_outcomes`."""

    def record_inspections(self, inspections: Sequence[Inspected], /) -> None:
        """Record what looks at kept pictures have found."""

    def hold_for_budget(self, swap_ids: Sequence[str], message: str) -> None:
        """Hold rows for which a budget has no room."""

    def record_price(self, account: str, price: int) -> None:
        """Record the credits that an account was charged for one swap."""


def abandoned_rows(
    swaps: Sequence[Swap], owner: ClaimOwner, task_key: str, now: dt.datetime | None = None
) -> list[Swap]:
    """
    Return the rows whose submit no execution is working on any more.

    :param task_key: common prefix of the claim owners of this task instance's executions
    :param now: the time by the clock that the claims expire by; ``None`` also returns rows of other tasks whose claim
        may not have expired yet
    """

    def is_own(swap: Swap) -> bool:
        return bool(task_key) and (swap.claimed_by or "").startswith(task_key)

    return [
        swap
        for swap in swaps
        if swap.status is Status.SUBMITTING
        and swap.claimed_by != owner.name
        and (is_own(swap) or now is None or has_expired(swap, now))
    ]


def has_expired(swap: Swap, now: dt.datetime) -> bool:
    """Return whether the claim of a row has expired: no execution will report on it any more."""
    if swap.claim_expires_at is None and swap.claimed_at is not None:
        return swap.claimed_at + dt.timedelta(seconds=CLAIM_SECONDS_0_1_0) < now
    return swap.claim_expires_at is None or swap.claim_expires_at < now


def claimed_rows(swaps: Sequence[Swap], owner: ClaimOwner) -> list[Swap]:
    """Return the rows that an execution has in ``submitting``."""
    return [swap for swap in swaps if swap.status is Status.SUBMITTING and swap.claimed_by == owner.name]


class TableStore:
    """
    Rows in the results table.

    :param ledger: the results table
    :param load: returns this task's rows
    """

    def __init__(self, ledger: Ledger, load: Callable[[], list[Swap]]) -> None:
        self.ledger: Ledger | None = ledger
        self._ledger = ledger
        self.load = load

    def mark_abandoned(self, owner: ClaimOwner, task_key: str) -> int:
        """Make rows ``unknown`` that an ended execution of this task left in ``submitting``; return how many."""
        rows = abandoned_rows(self.load(), owner, task_key)
        return (
            self._ledger.mark_abandoned(abandoned_rows(rows, owner, task_key, self._ledger.now()))
            if rows
            else 0
        )

    def mark_killed(self, owner: ClaimOwner) -> int:
        """Make rows ``unknown`` that this very execution, which is being killed, has in ``submitting``."""
        return self._ledger.mark_abandoned(claimed_rows(self.load(), owner))

    def writer(self, owner: ClaimOwner) -> AbstractContextManager[Writer]:
        """Open a group commit."""
        from .group_commit import GroupCommit

        return GroupCommit(self._ledger.database, owner)

    def record_outcomes(self, outcomes: Sequence[Outcome], account: str | None = None, /) -> None:
        """Record what became of jobs."""
        self._ledger.record_outcomes(outcomes, account)

    def record_inspections(self, inspections: Sequence[Inspected], /) -> None:
        """Record what looks at kept pictures have found."""
        self._ledger.take(inspections)

    def hold_for_budget(self, swap_ids: Sequence[str], message: str) -> None:
        """Hold rows for which a budget has no room."""
        self._ledger.hold_for_budget(swap_ids, message)

    def record_price(self, account: str, price: int) -> None:
        """Record the credits that an account was charged for one swap."""
        from .prices import store_price

        store_price(self._ledger.database, account, price)
