# SPDX-License-Identifier: Apache-2.0
"""Keep a task within the jobs that its account may have under way, where the connection limits them."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..exceptions import JobLimitReachedError, ResultsTableError
from ..results.job_counts import JobCounts, job_holder
from ..results.states import Status
from .messages import pluralize

if TYPE_CHECKING:
    from ..api.account import Account
    from ..api.models import Credits
    from ..results.ledger import Ledger
    from ..results.stores import SwapStore
    from ..results.swap import Swap

log = logging.getLogger(__name__)

#: Seconds between two looks for room: in the worker, and of a task that is deferred meanwhile.
LOOK_EVERY, LOOK_EVERY_DEFERRED = 2.0, 30.0
#: Seconds between two log lines of a task that waits for room.
SAY_EVERY = 30.0
#: Seconds for which the jobs of a task are counted beyond the deadline of its wait.
COUNT_MARGIN = 60.0
#: The shortest time that a round of submits may go on, seconds.
SHORTEST_ROUND = 60.0


class JobLimit:
    """
    The share of one task in the jobs that its account may have under way.

    Without ``max_jobs`` in the connection, or without a results table, it does nothing.

    :param account: the account
    :param store: the rows of the task
    :param task_key: name of the task instance within its run
    :param timeout: seconds to wait for the jobs of one round
    :param claim_seconds: how long after its claim a row's POST may be under way
    :param read_credits: asks GoEnhance for the balance, and for the limit that it reports
    """

    def __init__(
        self,
        account: Account,
        store: SwapStore,
        task_key: str,
        *,
        timeout: float,
        claim_seconds: float,
        read_credits: Callable[[], Credits],
    ) -> None:
        self._account = account
        self._store = store
        self._task_key = task_key
        self._timeout = timeout
        self._claim_seconds = claim_seconds
        self._read_credits = read_credits
        self._limit: int | None = None
        self._said = 0.0
        self._counts: JobCounts | None = None
        if store.ledger is not None and account.max_jobs is not None:
            self._counts = JobCounts(store.ledger.database, account.fingerprint)
        #: Rows that were left out of the latest round for lack of room.
        self.left_out: list[Swap] = []

    @property
    def applies(self) -> bool:
        """Whether the jobs are limited."""
        return self._counts is not None

    def fitting(self, due: list[Swap]) -> tuple[list[Swap], float | None]:
        """
        Return the rows for which there is room, counted, and until when they may be claimed, by ``time.monotonic``.

        :param due: rows that may be sent
        :raises GoEnhanceError: when the limit is the one that GoEnhance reports, and cannot be read
        """
        if self._counts is None or not due:
            return due, None
        limit = self._known_limit()
        under_way = self._under_way(self._store.load())
        seconds = max(self._timeout, SHORTEST_ROUND)
        until = time.monotonic() + seconds
        room = self._counts.reserve(
            job_holder(due[0].dag_id, due[0].run_id, self._task_key),
            jobs=under_way,
            more=len(due),
            limit=limit,
            # As long as the last POST that begins by then, and then its job.
            seconds=seconds + self._claim_seconds + self._timeout,
        )
        if 0 < room < len(due):
            log.info(
                "Submitting %d of %s now: the account may have %s in progress, and this task has %d (max_jobs).",
                room,
                pluralize(len(due), "pair"),
                pluralize(limit, "job"),
                under_way,
            )
        return due[:room], until

    def record(self, swaps: Sequence[Swap]) -> None:
        """Count the jobs that the task has under way: before a wait, so that others know of them, and at its end."""
        if self._counts is None or not swaps:
            return
        try:
            self._counts.record(
                job_holder(swaps[0].dag_id, swaps[0].run_id, self._task_key),
                jobs=self._under_way(swaps),
                more=len(self.left_out),
                seconds=self._timeout + COUNT_MARGIN,
            )
        except ResultsTableError as error:
            log.warning("%s What was counted for the jobs of this task expires by itself.", error)

    def conclude(self, swaps: Sequence[Swap]) -> None:
        """Count the jobs that still run when an execution ends; it does not wait for room any more."""
        self.left_out = []
        self.record(swaps)

    def say_that_it_waits(self) -> None:
        """Log now and then that rows wait."""
        now = time.monotonic()
        if not self._said or now - self._said >= SAY_EVERY:
            self._said = now
            log.info(
                "%s: %s may have %s in progress (max_jobs).",
                pluralize(len(self.left_out), "pair waits", "pairs wait"),
                self._account,
                pluralize(self._limit or 0, "job"),
            )

    def error(self) -> JobLimitReachedError | None:
        """Return the error of a task that does not wait, and has rows left for which there was no room."""
        if not self.left_out:
            return None
        return JobLimitReachedError(
            f"{self._account} may have {pluralize(self._limit or 0, 'job')} in progress (max_jobs), and "
            f"{pluralize(len(self.left_out), 'pair')} did not fit: not sent, and nothing paid for them. A task "
            "with wait_for_completion waits until they fit."
        )

    def _known_limit(self) -> int:
        if self._limit is None:
            self._limit = self._read_limit()
        return self._limit

    def _read_limit(self) -> int:
        if isinstance(self._account.max_jobs, int):
            return self._account.max_jobs
        reported = self._read_credits().queue_limit
        if not reported or reported < 1:
            raise ValueError(
                f"max_jobs of {self._account} is 'queue_limit', but GoEnhance reports no queueLimit for the account "
                f"(got {reported!r}). Nothing was sent. Set max_jobs to a number, or leave it blank."
            )
        log.info(
            "GoEnhance reports a queueLimit of %d: at most that many jobs are kept in progress.", reported
        )
        return reported

    def _under_way(self, swaps: Sequence[Swap]) -> int:
        """Return how many jobs of the task may be under way; one that it adopted is counted for its own task."""
        unknown_since = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=self._timeout)

        def may_run(swap: Swap) -> bool:
            if swap.account != self._account.fingerprint:
                return False
            if swap.status is Status.UNKNOWN:
                return swap.claimed_at is not None and swap.claimed_at > unknown_since
            return swap.status in {Status.SUBMITTING, Status.SUBMITTED} and not swap.adopted_job

        return sum(map(may_run, swaps))


def release_collected(
    ledger: Ledger, account: Account, before: Sequence[Swap], after: Sequence[Swap]
) -> None:
    """
    Count the jobs no longer that were collected for tasks which did not wait for them.

    :param before: the rows before they were collected
    :param after: the same rows now
    """
    if account.max_jobs is None:
        return
    running = {swap.swap_id for swap in after if swap.status is Status.SUBMITTED}
    ended = Counter(
        job_holder(swap.dag_id, swap.run_id, swap.claimed_by.rsplit("try ", 1)[0])
        for swap in before
        if swap.status is Status.SUBMITTED
        and swap.swap_id not in running
        and swap.claimed_by
        and not swap.adopted_job
    )
    if ended:
        JobCounts(ledger.database, account.fingerprint).release(ended)
