# SPDX-License-Identifier: Apache-2.0
"""Where a task keeps its rows: the results table, or Airflow's task state store for a single pair."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from .states import Status

if TYPE_CHECKING:
    from .ledger import Ledger
    from .swap import Swap
    from .transitions import ClaimOwner, Outcome, Transition

#: Seconds after which a claim of *another* task instance counts as abandoned. Longer than any submit can take.
FOREIGN_CLAIM_SECONDS = 1800.0


class Writer(Protocol):
    """Commits the steps of rows."""

    def write_all(self, requests: Sequence[Sequence[Transition]]) -> list[Future[list[bool]]]:
        """Commit several slots' steps; see :meth:`.group_commit.GroupCommit.write_all`."""


class SwapStore(Protocol):
    """The rows that one task works on."""

    def load(self) -> list[Swap]:
        """Return the rows as they are now."""

    def mark_abandoned(self, owner: ClaimOwner, task_key: str) -> int:
        """Make rows ``unknown`` that an ended execution of this task left in ``submitting``; return how many."""

    def mark_killed(self, owner: ClaimOwner) -> int:
        """Make rows ``unknown`` that this very execution, which is being killed, has in ``submitting``."""

    def writer(self, owner: ClaimOwner) -> AbstractContextManager[Writer]:
        """Open the writer for a round of submits."""

    def record_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        """Record what became of jobs."""


def abandoned_rows(swaps: Sequence[Swap], owner: ClaimOwner, task_key: str) -> list[Swap]:
    """
    Return the rows whose submit no execution is working on any more.

    :param task_key: common prefix of the claim owners of this task instance's executions
    """
    horizon = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=FOREIGN_CLAIM_SECONDS)
    return [
        swap
        for swap in swaps
        if swap.status is Status.SUBMITTING
        and swap.claimed_by != owner.name
        and (
            (swap.claimed_by or "").startswith(task_key)
            or swap.claimed_at is None
            or swap.claimed_at < horizon
        )
    ]


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
        self.ledger = ledger
        self.load = load

    def mark_abandoned(self, owner: ClaimOwner, task_key: str) -> int:
        """Make rows ``unknown`` that an ended execution of this task left in ``submitting``; return how many."""
        return self.ledger.mark_abandoned(abandoned_rows(self.load(), owner, task_key))

    def mark_killed(self, owner: ClaimOwner) -> int:
        """Make rows ``unknown`` that this very execution, which is being killed, has in ``submitting``."""
        return self.ledger.mark_abandoned(claimed_rows(self.load(), owner))

    def writer(self, owner: ClaimOwner) -> AbstractContextManager[Writer]:
        """Open a group commit."""
        from .group_commit import GroupCommit

        return GroupCommit(self.ledger.database, owner)

    def record_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        """Record what became of jobs."""
        self.ledger.record_outcomes(outcomes)
