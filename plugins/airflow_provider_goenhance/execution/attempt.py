# SPDX-License-Identifier: Apache-2.0
"""Run one execution of a face swap task, without Airflow: submit, wait, collect, until nothing is left to do."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..api.account import Account
from ..api.client import open_client
from ..api.models import Credits
from ..exceptions import AuthenticationError, GoEnhanceError, TaskEndedError
from ..pictures.collector import StorageOptions
from ..results.recovery import Action, Policies, decide
from ..results.stores import SwapStore, abandoned_rows
from ..results.swap import Swap
from ..results.transitions import ClaimOwner
from .job_limit import LOOK_EVERY, LOOK_EVERY_DEFERRED, JobLimit
from .job_wait import JobWait
from .messages import pluralize, with_next_step
from .meter import count_submits
from .one_in_flight import OneInFlight
from .orderly_end import OrderlyEnd
from .spans import span
from .staged_copies import remove_staged_copies
from .submit_report import SubmitReport
from .submit_round import submit_round
from .task_loop import TaskLoop

if TYPE_CHECKING:
    from ..api.wait_outcome import WaitOutcome
    from ..inputs.prepare import InputPreparer
    from ..results.input_transitions import InputsStaged
    from .wait_plan import WaitPlan

log = logging.getLogger(__name__)

#: Hands a wait to the triggerer, and does not return: for the jobs of rows of the task, and of other tasks, until the
#: time, with the deadlines of all jobs (``None`` where the rows are not in a results table).
Defer = Callable[[Sequence[Swap], Sequence[Swap], float, "WaitPlan | None"], None]


@dataclass
class Attempt:
    """
    One execution of one attempt of a task.

    The rows are loaded once at the start, and again only after a step that changes them.

    :param account: account that is billed and polled
    :param store: the rows of the task
    :param owner: this execution, unlike every other
    :param policies: the choices that may cost money
    :param storage_options: how pictures are downloaded, marked and stored
    :param poll_interval: seconds between two checks of one job
    :param timeout: seconds to wait for the jobs of one round
    :param preparer: makes the links of private pictures; ``None`` sends all addresses as they are
    """

    account: Account
    store: SwapStore
    owner: ClaimOwner
    policies: Policies
    storage_options: StorageOptions
    poll_interval: float
    timeout: float
    preparer: InputPreparer | None = None
    _loop: TaskLoop = field(default_factory=TaskLoop)
    # The rows as the event was taken: they need not be loaded once more.
    _loaded: list[Swap] | None = None

    def __post_init__(self) -> None:
        self._end = OrderlyEnd(self.store, self.owner, self._loop)
        self._wait = JobWait(
            self.account,
            self.store,
            self.owner,
            self.storage_options,
            self.poll_interval,
            self.timeout,
            self._loop,
        )
        self._pairs = OneInFlight(
            store=self.store,
            owner=self.owner,
            policies=self.policies,
            storage_options=self.storage_options,
            loop=self._loop,
            send=self._send,
            ask=self._wait.ask,
        )
        self._jobs = JobLimit(
            self.account,
            self.store,
            self.owner.task_key,
            timeout=self.timeout,
            claim_seconds=self.owner.claim_seconds,
            read_credits=self._read_credits,
        )

    def rounds(
        self,
        *,
        wait: bool,
        first_look: bool,
        submitted: Callable[[Sequence[Swap]], None],
        defer: Defer | None,
    ) -> list[Swap]:
        """
        Submit and wait until nothing is left to do, and return the rows.

        :param wait: if false, leave the jobs running, and collect only jobs of earlier attempts that are done
        :param first_look: whether the attempt has just begun
        :param submitted: called with the rows after each round of submits
        :param defer: hands the wait to the triggerer and does not return; ``None`` waits here
        :raises GoEnhanceError: the error that ended the rounds, with the state of the rows
        """
        defer = None if self._wait.in_worker else defer
        try:
            swaps, stopped_by = self._rounds(wait, first_look, submitted, defer)
        except GoEnhanceError as error:
            swaps = self.store.load()
            self._jobs.conclude(swaps)
            raise with_next_step(error, swaps, self.policies, self.owner.max_tries) from None
        self._jobs.conclude(swaps)
        self._remove_staged_copies(swaps)
        if stopped_by is not None:
            raise with_next_step(stopped_by, swaps, self.policies, self.owner.max_tries)
        return swaps

    def _rounds(
        self,
        wait: bool,
        first_look: bool,
        submitted: Callable[[Sequence[Swap]], None],
        defer: Defer | None,
    ) -> tuple[list[Swap], GoEnhanceError | None]:
        swaps, self._loaded = self._loaded or self.store.load(), None
        if self._jobs.applies and not wait:
            # Jobs that have ended meanwhile make room.
            swaps = self._collect_finished(swaps, self._waiting(swaps, first_look))
        while True:
            before = {swap.img_uuid for swap in self._rows(swaps, Action.WAIT, first_look)}
            swaps, stopped_by = self._submit(swaps, first_look)
            # Also when nothing was submitted now: Airflow clears the XCom of an earlier attempt.
            submitted(swaps)
            if isinstance(stopped_by, AuthenticationError | TaskEndedError):
                return swaps, stopped_by  # no job can be polled with this token, or by a task that is to end
            waiting = self._waiting(swaps, first_look)
            if not wait:
                swaps = self._collect_finished(self._pairs.hold_rows_behind(swaps), waiting)
                return swaps, stopped_by or self._jobs.error()
            first_look = False
            ahead = self._pairs.jobs_ahead
            if waiting or ahead:
                swaps = self._wait_for_jobs(swaps, self._wait.begin(waiting, ahead, before), ahead, defer)
            elif stopped_by is not None or not self._jobs.left_out:
                return swaps, stopped_by
            else:
                self._wait_for_room(swaps, defer)
                swaps = self.store.load()

    def _wait_for_jobs(
        self, swaps: Sequence[Swap], waiting: Sequence[Swap], ahead: Sequence[Swap], defer: Defer | None
    ) -> list[Swap]:
        """Wait for jobs, collect those that have ended, and return all rows as they are then."""
        self._jobs.record(swaps)
        jobs = pluralize(len({swap.img_uuid for swap in [*waiting, *ahead]}), "job")
        if defer is not None:
            log.info("Waiting for %s in the triggerer.", jobs)
            plan = self._wait.plan if self.store.ledger is not None else None
            defer(waiting, ahead, self._wait.plan.begin_wait(waiting), plan)
        log.info("Waiting for %s in this worker.", jobs)
        # The place of a job that has ended is for the rows that were left out.
        look = LOOK_EVERY_DEFERRED if self._jobs.left_out else None
        with span("wait", jobs=len(waiting) + len(ahead)) as waited:
            found = self._wait.here(waiting, ahead, hand_over_after=look)
            waited.set(collected=len(found.tried), running=len(found.outcome.running))
        swaps = self._wait.settle(waiting, found.outcome, tried=found.tried)
        return self._hold_rows_behind(swaps, found.outcome)

    def _hold_rows_behind(self, swaps: list[Swap], waited: WaitOutcome) -> list[Swap]:
        """Hold the rows behind jobs of other tasks that were waited for long enough, and return the rows."""
        if not self._wait.behind_is_overdue(waited):
            return swaps
        due = self._rows(swaps, Action.SUBMIT, first_look=False)
        return self.store.load() if self._pairs.hold_rows_behind_running_jobs(due) else swaps

    def _wait_for_room(self, swaps: Sequence[Swap], defer: Defer | None) -> None:
        """Wait a little, because other tasks have as many jobs under way as the account may have."""
        self._jobs.record(swaps)
        self._jobs.say_that_it_waits()
        if defer is not None:
            # Not in the worker: the tasks that are waited for may need its place to go on.
            plan = self._wait.plan if self.store.ledger is not None else None
            defer([], [], time.time() + LOOK_EVERY_DEFERRED, plan)
        self._loop.run(lambda: asyncio.sleep(LOOK_EVERY))

    def take_event(self, event: Any, *, leave_running: bool = False) -> None:
        """
        Collect the jobs that the trigger has waited for.

        :param leave_running: leave rows ``submitted`` whose jobs still run, instead of recording that their wait ended
        :raises GoEnhanceError: the error that the event stands for, with the state of the rows
        """
        try:
            resumed = self._wait.resumed(event)
            self._loaded = self.store.load()
            # With a results table, the rows that are waited for are `submitted`.
            by_status = resumed.carried is not None and self.store.ledger is not None
            waiting = self._waiting(self._loaded, first_look=not by_status)
            if self._wait.has_to_be_here(resumed, waiting) and not leave_running:
                return
            waited = self._wait.outcome(resumed, waiting)
            swaps = self._wait.settle(waiting, waited, leave_running=leave_running)
            if leave_running:
                self._jobs.conclude(swaps)
            else:
                swaps = self._hold_rows_behind(swaps, waited)
            self._loaded = swaps
        except GoEnhanceError as error:
            raise with_next_step(error, self.store.load(), self.policies, self.owner.max_tries) from None

    def end(self) -> None:
        """Send nothing more, and mark the submits without an answer; see :meth:`.orderly_end.OrderlyEnd.begin`."""
        self._end.begin()

    def _submit(self, swaps: list[Swap], first_look: bool) -> tuple[list[Swap], GoEnhanceError | None]:
        """Submit the rows that are due. Return all rows as they are then, and the error that stopped it, if any."""
        swaps = self._settle(swaps)
        self._jobs.left_out = []
        due = [*self._rows(swaps, Action.SUBMIT, first_look), *self._rows(swaps, Action.LOOK, first_look)]
        if not due:
            return swaps, None
        stopped_by = self._pairs.submit(due)
        return self.store.load(), stopped_by

    def _send(self, due: list[Swap], claims_seen: Mapping[str, int]) -> SubmitReport:
        fitting, until = self._jobs.fitting(due)
        if not fitting:
            self._jobs.left_out = due
            return SubmitReport(left_out=due)
        log.info("Submitting %s through %s.", pluralize(len(fitting), "pair"), self.account)
        with span("submit", pairs=len(fitting)) as submitted:
            report = self._submit_round(fitting, claims_seen, until)
            submitted.set(
                accepted=len(report.submitted),
                declined=report.declined,
                unknown=report.unknown,
                credits=report.cost or 0,
            )
        count_submits(report)
        report.left_out += due[len(fitting) :]
        self._jobs.left_out = report.left_out
        log.info("%s.", report.sentence)
        return report

    def _submit_round(
        self, fitting: list[Swap], claims_seen: Mapping[str, int], until: float | None
    ) -> SubmitReport:
        try:
            return submit_round(
                self.account,
                self.store,
                self.owner,
                fitting,
                loop=self._loop,
                claims_seen=claims_seen,
                until=until,
                preparer=self.preparer,
            )
        except Exception:
            raise
        except BaseException:  # a timeout of the task, for example; the answers that came since are committed
            self.end()
            raise

    def _settle(self, swaps: list[Swap]) -> list[Swap]:
        """Mark submits that an earlier attempt left in progress as unknown, and return the rows."""
        if not abandoned_rows(swaps, self.owner, self.owner.task_key):
            return swaps
        settled = self.store.mark_abandoned(self.owner, self.owner.task_key)
        if settled:
            log.warning(
                "%s in progress when an earlier attempt ended: marked unknown, because each may have been accepted "
                "and paid for. on_unknown_submit is %r.",
                pluralize(settled, "submit was", "submits were"),
                self.policies.on_unknown_submit,
            )
        return self.store.load()

    def _rows(self, swaps: Sequence[Swap], action: Action, first_look: bool) -> list[Swap]:
        def next_of(swap: Swap) -> Action:
            return decide(swap, self.policies, max_tries=self.owner.max_tries, first_look=first_look)

        return [swap for swap in swaps if next_of(swap) is action]

    def _waiting(self, swaps: Sequence[Swap], first_look: bool) -> list[Swap]:
        waiting = self._rows(swaps, Action.WAIT, first_look)
        foreign = [swap for swap in waiting if swap.account != self.owner.account]
        if foreign:
            log.warning(
                "%s is not the account that submitted %s (the first: %s, by account %s). They are polled "
                "anyway. If GoEnhance does not know them, switch the connection back and clear.",
                self.account,
                pluralize(len(foreign), "job"),
                foreign[0].label,
                foreign[0].account,
            )
        return waiting

    def _collect_finished(self, swaps: list[Swap], waiting: Sequence[Swap]) -> list[Swap]:
        """Poll the jobs of earlier attempts once: a finished picture is collected even where nothing waits for it."""
        earlier = [swap for swap in waiting if swap.claimed_by != self.owner.name]
        if not earlier:
            return swaps
        return self._wait.settle(earlier, self._wait.ask(earlier), leave_running=True)

    def _remove_staged_copies(self, swaps: Sequence[Swap]) -> None:
        def take(steps: list[InputsStaged]) -> None:
            with self.store.writer(self.owner) as writer:
                writer.write_all([[step] for step in steps]).result()

        remove_staged_copies(swaps, take)

    def _read_credits(self) -> Credits:
        async def read() -> Credits:
            async with open_client(self.account) as client:
                return await client.get_credits()

        return self._loop.run(read)
