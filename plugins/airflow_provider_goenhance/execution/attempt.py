# SPDX-License-Identifier: Apache-2.0
"""One execution of a face swap task, without Airflow: submit, wait, collect, until nothing is left to do."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..api.account import Account
from ..api.polling import WaitOutcome
from ..exceptions import AuthenticationError, GoEnhanceError
from ..results.recovery import Action, Policies, decide
from ..results.stores import SwapStore
from ..results.swap import Swap
from ..results.transitions import ClaimOwner
from .collect import StorageOptions, bring_home
from .events import outcome_of
from .messages import pluralize, with_next_step
from .submit import SubmitReport, submit_round
from .wait import wait_round

log = logging.getLogger(__name__)

#: Seconds that a killed task spends on marking its rows; Airflow ends it for good a little later.
KILL_GRACE = 3.0


@dataclass
class Attempt:
    """
    What one execution of one attempt works with.

    :param account: where and as whom GoEnhance is asked
    :param store: the rows of the task
    :param owner: this execution, unlike every other
    :param task_key: what the claims of all executions of this task instance begin with
    :param policies: the choices that may cost money
    :param storage_options: where pictures go
    :param poll_interval: seconds between two checks of one job
    :param timeout: seconds to wait for the jobs of one round
    """

    account: Account
    store: SwapStore
    owner: ClaimOwner
    task_key: str
    policies: Policies
    storage_options: StorageOptions
    poll_interval: float
    timeout: float
    _ended: threading.Event = field(default_factory=threading.Event)

    def rounds(
        self,
        *,
        wait: bool,
        first_look: bool,
        submitted: Callable[[Sequence[Swap]], None],
        defer: Callable[[Sequence[Swap], float], None] | None,
    ) -> None:
        """
        Submit and wait until nothing is left to do.

        :param wait: else leave the jobs, once those of earlier attempts that are done have been collected
        :param first_look: whether the attempt has just begun
        :param submitted: told of the rows after each round of submits
        :param defer: leaves the wait to the triggerer, and does not return; ``None`` waits here
        :raises GoEnhanceError: what ended the rounds, with the state the rows are left in
        """
        try:
            stopped_by = self._rounds(wait, first_look, submitted, defer)
        except GoEnhanceError as error:
            raise with_next_step(error, self.store.load(), self.policies) from None
        if stopped_by is not None:
            raise with_next_step(stopped_by, self.store.load(), self.policies)

    def _rounds(
        self,
        wait: bool,
        first_look: bool,
        submitted: Callable[[Sequence[Swap]], None],
        defer: Callable[[Sequence[Swap], float], None] | None,
    ) -> GoEnhanceError | None:
        while True:
            stopped_by = self._submit(first_look)
            # Also when nothing was submitted now: Airflow forgets the XCom of an earlier attempt.
            submitted(self.store.load())
            if isinstance(stopped_by, AuthenticationError):
                return stopped_by  # with this token no job can be asked about either
            waiting = self._waiting(first_look)
            if not wait:
                self._collect_what_is_done(waiting)
            if not wait or not waiting:
                return stopped_by
            deadline = time.time() + self.timeout
            if defer is not None:
                log.info("Waiting for %s in the triggerer.", pluralize(len(waiting), "job"))
                defer(waiting, deadline)
            log.info("Waiting for %s in this worker.", pluralize(len(waiting), "job"))
            self._bring_home(waiting, self._ask(waiting, deadline))
            first_look = False

    def take_event(self, event: Any) -> None:
        """
        Bring home what the trigger has waited for.

        :raises GoEnhanceError: what the event stands for, with the state the rows are left in
        """
        try:
            waited = outcome_of(event)
            self._bring_home(self._waiting(first_look=True), waited)
        except GoEnhanceError as error:
            raise with_next_step(error, self.store.load(), self.policies) from None

    def end(self) -> None:
        """
        Stop submitting, and mark what is under way: the task is being killed.

        The marking has a thread of its own. Airflow calls this in a signal handler, and the lock that the database or
        the task state store wants may be held by the very code that the signal interrupted.
        """
        self._ended.set()
        marking = threading.Thread(target=self._mark_killed, daemon=True)
        marking.start()
        marking.join(KILL_GRACE)

    def _mark_killed(self) -> None:
        killed = self.store.mark_killed(self.owner)
        going_on = [swap for swap in self.store.load() if swap.status.value == "submitted"]
        log.warning(
            "Killed. %s under way: marked unknown, because each may have been accepted and paid for. %s at GoEnhance "
            "and paid for: a retry or clear re-attaches and pays nothing.",
            pluralize(killed, "submit was", "submits were"),
            pluralize(len(going_on), "job goes on", "jobs go on"),
        )

    def _submit(self, first_look: bool) -> GoEnhanceError | None:
        """Submit what is to be submitted; return why not everything was, if so."""
        settled = self.store.mark_abandoned(self.owner, self.task_key)
        if settled:
            log.warning(
                "%s under way when an earlier attempt ended: marked unknown, because each may have been accepted and "
                "paid for. on_unknown_submit is %r.",
                pluralize(settled, "submit was", "submits were"),
                self.policies.on_unknown_submit,
            )
        due = self._rows(Action.SUBMIT, first_look)
        if not due:
            return None
        log.info("Submitting %s through %s.", pluralize(len(due), "pair"), self.account)
        report = submit_round(self.account, self.store, self.owner, due, ended=self._ended)
        _log_report(report)
        return report.stopped_by

    def _rows(self, action: Action, first_look: bool) -> list[Swap]:
        def next_of(swap: Swap) -> Action:
            return decide(swap, self.policies, max_tries=self.owner.max_tries, first_look=first_look)

        return [swap for swap in self.store.load() if next_of(swap) is action]

    def _waiting(self, first_look: bool) -> list[Swap]:
        waiting = self._rows(Action.WAIT, first_look)
        foreign = [swap for swap in waiting if swap.account != self.owner.account]
        if foreign:
            log.warning(
                "%s names another account now than the one that submitted %s (the first: %s, by account %s). They are "
                "asked about all the same; if GoEnhance does not know them, switch the connection back and clear.",
                self.account,
                pluralize(len(foreign), "job"),
                foreign[0].label,
                foreign[0].account,
            )
        return waiting

    def _collect_what_is_done(self, waiting: Sequence[Swap]) -> None:
        """Ask once about the jobs of earlier attempts: not waiting is no reason to leave a finished picture."""
        earlier = [swap for swap in waiting if swap.claimed_by != self.owner.name]
        if earlier:
            waited = self._ask(earlier, time.time())
            self._bring_home([swap for swap in earlier if swap.img_uuid not in waited.running], waited)

    def _ask(self, waiting: Sequence[Swap], deadline: float) -> WaitOutcome:
        return wait_round(
            self.account,
            [str(swap.img_uuid) for swap in waiting],
            deadline=deadline,
            poll_interval=self.poll_interval,
        )

    def _bring_home(self, waiting: Sequence[Swap], waited: WaitOutcome) -> None:
        bring_home(self.account, self.store, waiting, waited, self.storage_options)


def _log_report(report: SubmitReport) -> None:
    parts = [f"{len(report.submitted)} submitted"]
    parts += [f"{report.declined} declined"] if report.declined else []
    parts += [f"{report.unknown} with unknown outcome"] if report.unknown else []
    parts += [f"{report.taken_elsewhere} taken by another attempt"] if report.taken_elsewhere else []
    log.info("%s.", ", ".join(parts))
