# SPDX-License-Identifier: Apache-2.0
"""The waits of one execution of a task: until when, where, and what becomes of the rows afterwards."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..api.wait_outcome import WaitOutcome
from ..results.outcome_transitions import WaitedAgain
from ..results.states import Status
from .collect import collect_jobs
from .events import resumed_by
from .messages import pluralize
from .progress import wait_line
from .wait import Collected, wait_and_collect, wait_round
from .wait_plan import WaitPlan

if TYPE_CHECKING:
    from typing import Any

    from ..api.account import Account
    from ..pictures.collector import StorageOptions
    from ..results.stores import SwapStore
    from ..results.swap import Swap
    from ..results.transitions import ClaimOwner
    from .events import Resumed
    from .task_loop import TaskLoop

log = logging.getLogger(__name__)


@dataclass(slots=True)
class JobWait:
    """
    Waits for the jobs of a task's rows.

    A row whose job is waited for is ``submitted``, and stays so until its job has ended or its deadline has passed, in
    however many pieces the wait is done.

    :param account: account that is polled
    :param store: the rows of the task
    :param owner: this execution
    :param storage_options: how pictures are stored
    :param poll_interval: seconds between two checks of one job
    :param timeout: seconds to wait for the jobs of one round of submits
    :param loop: the task's loop
    :ivar plan: the deadlines
    :ivar in_worker: whether this execution must wait in the worker, because the triggerer cannot read the rows
    """

    account: Account
    store: SwapStore
    owner: ClaimOwner
    storage_options: StorageOptions
    poll_interval: float
    timeout: float
    loop: TaskLoop
    plan: WaitPlan = field(default_factory=WaitPlan)
    in_worker: bool = False

    def begin(
        self, waiting: Sequence[Swap], ahead: Sequence[Swap], before: Collection[str | None]
    ) -> list[Swap]:
        """
        Begin, or go on, to wait for jobs, and return their rows as they are then.

        :param waiting: the rows whose jobs are waited for
        :param ahead: rows of other tasks whose jobs are waited for
        :param before: the jobs that were waited for before the latest round of submits
        """
        waiting = self._submitted(waiting)
        if not self.plan.rounds or any(swap.img_uuid not in before for swap in waiting):
            self.plan.begin_round(self.timeout)
        self.plan.wait_ahead(ahead, self.timeout)
        return waiting

    def _submitted(self, waiting: Sequence[Swap]) -> list[Swap]:
        """Make rows ``submitted`` again whose job an earlier attempt has given up on."""
        ledger = self.store.ledger
        again = [swap for swap in waiting if swap.status is not Status.SUBMITTED]
        if ledger is None or not again:
            return list(waiting)
        ledger.take([WaitedAgain.of(swap) for swap in again])
        ids = {swap.swap_id for swap in again}
        return [WaitedAgain.after(swap) if swap.swap_id in ids else swap for swap in waiting]

    def here(
        self, waiting: Sequence[Swap], ahead: Sequence[Swap], *, hand_over_after: float | None = None
    ) -> Collected:
        """
        Wait in the worker, and collect what has ended meanwhile.

        :param hand_over_after: end the wait after this many seconds, as soon as a job has ended by then
        """
        return wait_and_collect(
            self.account,
            self.store,
            waiting,
            lambda _: self.storage_options,
            ahead=[str(swap.img_uuid) for swap in ahead],
            deadline=self.plan.begin_wait(waiting),
            poll_interval=self.poll_interval,
            loop=self.loop,
            progress=self._line([*waiting, *ahead]),
            hand_over_after=hand_over_after,
            doubts=self.plan.doubts,
        )

    def ask(self, swaps: Sequence[Swap]) -> WaitOutcome:
        """Poll the jobs of rows once."""
        return self._ask([str(swap.img_uuid) for swap in swaps], self._line(swaps))

    def _ask(self, img_uuids: Sequence[str], line: Callable[[int, int, int, float], str]) -> WaitOutcome:
        return wait_round(
            self.account,
            img_uuids,
            deadline=time.time(),
            poll_interval=self.poll_interval,
            loop=self.loop,
            progress=line,
        )

    def resumed(self, event: Any) -> Resumed:
        """
        Return what the trigger has sent, and continue with the deadlines that it has carried.

        :raises GoEnhanceError: the error that the event stands for
        """
        resumed = resumed_by(event)
        if resumed.carried is not None:
            self.plan = WaitPlan.of(resumed.carried)
        return resumed

    def has_to_be_here(self, resumed: Resumed, waiting: Sequence[Swap]) -> bool:
        """
        Return whether the jobs have to be waited for in the worker, because the triggerer cannot read their rows.

        :param waiting: the rows whose jobs are waited for
        """
        why = resumed.unreadable
        if why is None and resumed.jobs == 0 and waiting:
            why = f"It found none of the {pluralize(len(waiting), 'row')} whose jobs are waited for."
        if why is None:
            return False
        log.warning(
            "The triggerer cannot read the rows of this task in the results table, so the task waits in the worker: %s "
            "Correct that, or set deferrable=False.",
            why,
        )
        self.in_worker = True
        return True

    def outcome(self, resumed: Resumed, waiting: Sequence[Swap]) -> WaitOutcome:
        """Return what has become of the jobs of rows, as far as the trigger knows it; else ask GoEnhance."""
        waited = resumed.complete(
            [str(swap.img_uuid) for swap in waiting], lambda uuids: self._ask(uuids, self._line(waiting))
        )
        if waited.handed_over:
            log.info("While it was deferred: %s. Still waiting for the others.", waited)
        return waited

    def settle(
        self,
        waiting: Sequence[Swap],
        waited: WaitOutcome,
        *,
        tried: Collection[str] = (),
        leave_running: bool = False,
    ) -> list[Swap]:
        """
        Collect the jobs that have ended, record those whose deadline has passed, and return all rows as they are then.

        :param waiting: the rows that were waited for
        :param waited: what has become of their jobs
        :param tried: rows that were collected during the wait
        :param leave_running: leave rows ``submitted`` whose jobs still run, whatever their deadline
        """
        running = set(waited.running)
        late = set() if leave_running else self._late(waiting, waited)
        due = [
            swap
            for swap in waiting
            if swap.swap_id not in tried and (swap.img_uuid not in running or swap.swap_id in late)
        ]
        collect_jobs(self.account, self.store, due, waited, self.storage_options, loop=self.loop)
        swaps = self.store.load()
        self._note_hand_over(waiting, waited, swaps)
        # Their jobs have ended, and yet GoEnhance reports them as running when they are collected.
        stuck = [swap for swap in swaps if swap.swap_id in late and swap.status is Status.SUBMITTED]
        if stuck:
            again = dataclasses.replace(waited, running=[str(swap.img_uuid) for swap in stuck])
            collect_jobs(self.account, self.store, stuck, again, self.storage_options, loop=self.loop)
            swaps = self.store.load()
        return swaps

    def _late(self, waiting: Sequence[Swap], waited: WaitOutcome) -> set[str]:
        """Return the rows whose jobs are not waited for any longer."""
        if not self.plan.rounds:
            # Deferred by an earlier release: the trigger has waited until the one deadline of all.
            running = set(waited.running)
            return {swap.swap_id for swap in waiting if swap.img_uuid in running and not waited.handed_over}
        return {swap.swap_id for swap in self.plan.overdue(waiting, finished=not waited.handed_over)}

    def _note_hand_over(self, waiting: Sequence[Swap], waited: WaitOutcome, swaps: Sequence[Swap]) -> None:
        self.plan.doubts = waited.doubts
        if waited.handed_over:
            ids = {swap.swap_id for swap in waiting}
            still = sum(swap.swap_id in ids and swap.status is Status.SUBMITTED for swap in swaps)
            # Without rows of its own, the task has waited for jobs of others, one of which has ended.
            self.plan.note_hand_over(useful=not ids or still < len(ids))

    def behind_is_overdue(self, waited: WaitOutcome) -> bool:
        """Return whether rows behind jobs of other tasks are not to wait any longer."""
        if not self.plan.rounds:
            return bool(waited.running) and not waited.handed_over
        return self.plan.ahead_is_overdue(finished=not waited.handed_over)

    def _line(self, waiting: Sequence[Swap]) -> Callable[[int, int, int, float], str]:
        """Return what renders the line about the progress of a wait, with what the jobs have cost."""
        price = self.owner.spending.price if self.owner.spending is not None else None
        costs = [swap.cost if swap.cost is not None else price for swap in waiting]
        known = [cost for cost in costs if cost is not None]
        cost = sum(known) if len(known) == len(costs) else None
        return lambda done, failed, total, seconds: wait_line(
            done, total, failed=failed, cost=cost, seconds=seconds
        )
