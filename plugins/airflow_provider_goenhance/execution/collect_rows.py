# SPDX-License-Identifier: Apache-2.0
"""Collect rows that other tasks have submitted, of any run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..results.stores import TableStore
from .collect import collect_jobs
from .job_limit import release_collected
from .staged_copies import remove_copies_of_tasks
from .task_loop import TaskLoop
from .wait import wait_and_collect, wait_round

if TYPE_CHECKING:
    from ..api.account import Account
    from ..api.wait_outcome import WaitOutcome
    from ..pictures.collector import StorageOptions
    from ..results.ledger import Ledger
    from ..results.swap import Swap


class RowsToCollect:
    """
    The rows that are collected.

    :param waiting: the rows, of any run
    :param storage_options: returns how the pictures of a run are stored
    :param poll_interval: seconds between two checks of one job
    """

    def __init__(
        self,
        account: Account,
        ledger: Ledger,
        waiting: Sequence[Swap],
        storage_options: Callable[[str], StorageOptions],
        poll_interval: float,
    ) -> None:
        self._account = account
        self._ledger = ledger
        self._waiting = waiting
        self._storage_options = storage_options
        self._poll_interval = poll_interval
        self._collected: set[str] = set()
        self._loop = TaskLoop()
        ids = [swap.swap_id for swap in waiting]
        self._store = TableStore(ledger, lambda: ledger.by_ids(ids))

    def ask(self, img_uuids: Sequence[str]) -> WaitOutcome:
        """Poll jobs once."""
        return wait_round(
            self._account,
            img_uuids,
            deadline=time.time(),
            poll_interval=self._poll_interval,
            loop=self._loop,
        )

    def wait_and_collect(self, deadline: float) -> WaitOutcome:
        """Wait in the worker, and collect what has ended meanwhile."""
        found = wait_and_collect(
            self._account,
            self._store,
            self._waiting,
            self._storage_options,
            deadline=deadline,
            poll_interval=self._poll_interval,
            loop=self._loop,
        )
        self._collected = found.tried
        return found.outcome

    def collect(self, waited: WaitOutcome, *, give_up: bool) -> tuple[list[Swap], set[str]]:
        """
        Record what the wait found, and collect the pictures of finished jobs that are not collected yet.

        :param give_up: whether jobs that still run have timed out; else their rows stay as they are
        :return: the rows as they are then, and which of them were tried
        """
        running = set(waited.running)
        tried = [swap for swap in self._waiting if give_up or swap.img_uuid not in running]
        due = [swap for swap in tried if swap.swap_id not in self._collected]
        if due:
            # A picture is stored in the folder of the run that paid for it, whichever run collects it.
            by_run = {run_id: self._storage_options(run_id) for run_id in {swap.run_id for swap in due}}
            collect_jobs(
                self._account,
                self._store,
                due,
                waited,
                by_run[due[0].run_id],
                by_run=by_run,
                loop=self._loop,
            )
        swaps = self._store.load()
        release_collected(self._ledger, self._account, tried, swaps)
        remove_copies_of_tasks(self._ledger, swaps)
        return swaps, {swap.swap_id for swap in tried}
