# SPDX-License-Identifier: Apache-2.0
"""What the single and the batch operator share: the rounds, the deferral, and the end of a killed task."""

from __future__ import annotations

import datetime as dt
import threading
import time
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import BaseOperator, conf

from ..exceptions import GoEnhanceError, TokenRefusedError
from ..links import SwappedPicturesLink
from ..retry_policy import DEFAULT_RETRY_POLICY, final_where_no_policy
from ..settings import default_storage
from .templated import choice, flag, number, text, whole

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.definitions.retry_policy import RetryPolicy

    from ..api.account import Account
    from ..api.polling import WaitOutcome
    from ..results.decide import Action, Policies
    from ..results.ledger import Ledger, RunKey
    from ..results.states import OnClear, OnUnknownSubmit, Reuse
    from ..results.stores import SwapStore
    from ..results.submitting import SubmitReport
    from ..results.swap import Swap
    from ..results.transitions import Claimant

#: Seconds that Airflow's own time-out of a deferral comes after ours, so that ours is the one that speaks.
FRAMEWORK_GRACE = 120.0
#: Seconds that a killed task spends on marking its rows; Airflow ends it for good a little later.
KILL_GRACE = 3.0


class FaceSwapOperatorBase(BaseOperator):
    """
    Submits pairs, waits for their jobs, brings the pictures home.

    Mapped with ``partial(...).expand(...)`` or ``expand_kwargs(...)`` it keeps its defaults, ``retry_policy`` and
    ``map_index_template`` included; a Dag sets them only to change them.

    :param goenhance_conn_id: connection whose password is the API token (templated)
    :param results_conn_id: connection of the results table (templated)
    :param storage: folder or ``ObjectStoragePath`` URL where pictures are kept (templated); default:
        ``[goenhance] storage``, else ``goenhance_swaps`` in the Airflow home
    :param storage_conn_id: Airflow connection of the storage (templated)
    :param wait_for_completion: wait for the jobs and collect their pictures; else leave the rows ``submitted``. A
        retry or clear then asks once about the jobs it finds, and collects those that are done (templated)
    :param deferrable: wait in the triggerer, without a worker slot; default: ``[operators] default_deferrable``
    :param poll_interval: seconds between two checks of one job (default 5, the vendor's advice)
    :param timeout: seconds to wait for the jobs of one round of submits (default 3600) (templated)
    :param on_unknown_submit: ``hold`` (default) leaves a submit whose outcome is unknown for a person; ``resubmit``
        sends it again with the next attempt, and may pay twice (templated)
    :param on_clear: ``reattach`` (default) makes a cleared task go on with the jobs it has; ``resubmit`` makes it
        submit, and pay, all its pairs anew (templated)
    :param failed_job_resubmits: how often a job that GoEnhance failed is submitted again, and paid again (default 0)
        (templated)
    :param reuse: ``succeeded`` (default) lets an earlier run's kept picture of the same pair and account serve;
        ``never`` pays for every pair; needs a results table (templated)
    :param marking: write the disclosure mark (IPTC digital source type) into the pictures (default ``True``)
    :param sidecar: keep a JSON file with inputs, UUID, times and hash beside each picture (default ``False``)
    :param retry_policy: default: faults that only a person can mend are not retried, see
        :func:`airflow_provider_goenhance.retry_policy.face_swap_retry_policy`
    :param map_index_template: default: a mapped task is named by its pair or batch
    """

    ui_color = "#e8f0fe"
    operator_extra_links = (SwappedPicturesLink(),)
    shared_template_fields: ClassVar[tuple[str, ...]] = (
        "goenhance_conn_id",
        "results_conn_id",
        "storage",
        "storage_conn_id",
        "wait_for_completion",
        "timeout",
        "on_unknown_submit",
        "on_clear",
        "failed_job_resubmits",
        "reuse",
    )

    def __init__(
        self,
        *,
        goenhance_conn_id: str = "goenhance_default",
        results_conn_id: str | None = None,
        storage: str | None = None,
        storage_conn_id: str | None = None,
        wait_for_completion: bool | str = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 5.0,
        timeout: float | str = 3600.0,
        on_unknown_submit: OnUnknownSubmit | str = "hold",
        on_clear: OnClear | str = "reattach",
        failed_job_resubmits: int | str = 0,
        reuse: Reuse | str = "succeeded",
        marking: bool = True,
        sidecar: bool = False,
        retry_policy: RetryPolicy | None = DEFAULT_RETRY_POLICY,
        map_index_template: str | None = "{{ task.label }}",
        **kwargs: Any,
    ) -> None:
        if retry_policy is not None:  # Airflow below 3.3 does not know the argument
            kwargs["retry_policy"] = retry_policy
        super().__init__(map_index_template=map_index_template, **kwargs)
        self.goenhance_conn_id = goenhance_conn_id
        self.results_conn_id = results_conn_id
        self.storage = storage
        self.storage_conn_id = storage_conn_id
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.on_unknown_submit = on_unknown_submit
        self.on_clear = on_clear
        self.failed_job_resubmits = failed_job_resubmits
        self.reuse = reuse
        self.marking = marking
        self.sidecar = sidecar
        self._claimant: Claimant | None = None
        self._store: SwapStore | None = None
        self._ledger: Ledger | None = None
        self._ended: threading.Event | None = None  # made by execute: a Dag is copied, and an Event cannot be

    # -- what the two operators differ in -----------------------------------------------------------------------

    def open_store(self, context: Context, account: Account) -> SwapStore:
        """Return where this task's rows are, planning them first where that is this task's to do."""
        raise NotImplementedError

    def push_uuids(self, context: Context, swaps: Sequence[Swap]) -> None:
        """Push the UUIDs to XCom as soon as they are known."""
        raise NotImplementedError

    def conclude(self, swaps: Sequence[Swap]) -> Any:
        """Return the task's value, or raise what its rows amount to."""
        raise NotImplementedError

    # -- the task -----------------------------------------------------------------------------------------------

    def execute(self, context: Context) -> Any:
        """
        Submit, wait, collect.

        :raises GoEnhanceError: of the class that fits; the message says what was paid and what a retry will do
        :raises ValueError: when an argument is not what it must be; nothing was sent then
        :raises ResultsTableError: when the results table cannot be used
        """
        with final_where_no_policy():
            try:
                account, store = self._prepare(context)
                return self._carry_on(account, store, context)
            finally:
                self._close()

    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """
        Go on after the trigger has seen the jobs finish.

        :param event: what the trigger sent; checked, so that a broken one is never taken for a success
        """
        with final_where_no_policy():
            try:
                account, store = self._prepare(context)
                return self._carry_on(account, store, context, event=event, resumed=True)
            finally:
                self._close()

    def on_kill(self) -> None:
        """Stop submitting, mark the submits under way as unknown, and say what goes on without this task."""
        if self._store is None or self._claimant is None or self._ended is None:
            return
        self._ended.set()
        # In a thread of its own: Airflow calls this in a signal handler, and the lock that the database driver or the
        # task state store wants may be held by the very code that the signal interrupted.
        marking = threading.Thread(target=self._mark_killed, args=(self._store, self._claimant), daemon=True)
        marking.start()
        marking.join(KILL_GRACE)

    def _mark_killed(self, store: SwapStore, who: Claimant) -> None:
        from .fate import counted

        killed = store.abandon(who)
        going_on = [swap for swap in store.load() if swap.status.value == "submitted"]
        self.log.warning(
            "Killed. %s under way: marked unknown, because each may have been accepted and paid for. %s at GoEnhance "
            "and paid for: a retry or clear re-attaches to those and pays nothing.",
            counted(killed, "submit"),
            counted(len(going_on), "job goes on", "jobs go on"),
        )

    def _carry_on(
        self, account: Account, store: SwapStore, context: Context, *, event: Any = None, resumed: bool = False
    ) -> Any:
        from .fate import explained

        try:
            if resumed:
                self._take_event(account, store, context, event)
            stopped_by = self._rounds(account, store, context, first_look=not resumed)
        except GoEnhanceError as error:
            raise explained(error, store.load()) from None
        if stopped_by is not None:
            raise explained(stopped_by, store.load())
        return self.conclude(store.load())

    def _take_event(self, account: Account, store: SwapStore, context: Context, event: Any) -> None:
        from ..triggers.events import outcome_of

        waited = outcome_of(event)
        self._bring_home(account, store, self._waiting(store, first_look=True), waited, context)

    def _rounds(
        self, account: Account, store: SwapStore, context: Context, *, first_look: bool
    ) -> GoEnhanceError | None:
        """Submit and wait until nothing is left to do; return why not everything was submitted, if so."""
        while True:
            stopped_by = self._submit(account, store, context, first_look=first_look)
            waiting = self._waiting(store, first_look=first_look)
            if not flag(self.wait_for_completion, "wait_for_completion"):
                self._collect_what_is_done(account, store, waiting, context)
                return stopped_by
            if not waiting:
                return stopped_by
            deadline = time.time() + number(self.timeout, "timeout")
            if self.deferrable:
                self._defer(waiting, deadline)
            waited = self._wait(account, waiting, deadline)
            self._bring_home(account, store, waiting, waited, context)
            first_look = False

    def _collect_what_is_done(
        self, account: Account, store: SwapStore, waiting: Sequence[Swap], context: Context
    ) -> None:
        """Ask once about the jobs of earlier attempts: not waiting is no reason to leave a finished picture."""
        who = self._claimant.name if self._claimant else None
        earlier = [swap for swap in waiting if swap.claimed_by != who]
        if not earlier:
            return
        waited = self._wait(account, earlier, time.time())
        finished = [swap for swap in earlier if swap.img_uuid not in waited.running]
        self._bring_home(account, store, finished, waited, context)

    def _prepare(self, context: Context) -> tuple[Account, SwapStore]:
        from ..hooks.goenhance import GoEnhanceHook
        from ..results.transitions import Claimant

        self._policies()  # a wrong word must be found before anything is sent
        account = GoEnhanceHook(self.goenhance_conn_id).account()
        ti = context["ti"]
        self._claimant = Claimant(
            name=f"{self._task_key(context)}try {ti.try_number} {uuid.uuid4().hex[:12]}",
            account=account.fingerprint,
            max_tries=ti.max_tries,
        )
        self._ended = threading.Event()
        self._store = self.open_store(context, account)
        return account, self._store

    def open_ledger(self) -> Ledger:
        """Open the results table for as long as the task runs."""
        from ..hooks.results import open_results
        from ..results.ledger import Ledger

        self._ledger = Ledger(open_results(str(self.results_conn_id)))
        return self._ledger

    def _close(self) -> None:
        if self._ledger is not None:
            self._ledger.database.close()

    def _submit(
        self, account: Account, store: SwapStore, context: Context, *, first_look: bool
    ) -> GoEnhanceError | None:
        """Submit what is to be submitted; return why not everything was, if so."""
        from ..results.decide import Action
        from .fate import counted
        from .flow import submit_round

        assert self._claimant is not None  # noqa: S101  set by _prepare, for the type checker
        settled = store.settle(self._claimant, self._task_key(context))
        if settled:
            self.log.warning(
                "%s under way when an earlier attempt ended: marked unknown, because each may have been accepted and "
                "paid for. on_unknown_submit is %r.",
                counted(settled, "submit was", "submits were"),
                self.on_unknown_submit,
            )
        due = self._rows(store, Action.SUBMIT, first_look)
        stopped_by = None
        if due:
            self.log.info("Submitting %s through %s.", counted(len(due), "pair"), account)
            report = submit_round(account, store, self._claimant, due, ended=self._ended)
            self._log_report(report)
            stopped_by = report.stopped_by
        # Also when nothing was submitted now: Airflow forgets the XCom of an earlier attempt.
        self.push_uuids(context, store.load())
        if isinstance(stopped_by, TokenRefusedError):
            raise stopped_by
        return stopped_by

    def _rows(self, store: SwapStore, action: Action, first_look: bool) -> list[Swap]:
        from ..results.decide import decide

        policies = self._policies()
        max_tries = self._claimant.max_tries if self._claimant else None
        return [
            swap
            for swap in store.load()
            if decide(swap, policies, max_tries=max_tries, first_look=first_look) is action
        ]

    def _waiting(self, store: SwapStore, *, first_look: bool) -> list[Swap]:
        from ..results.decide import Action

        waiting = self._rows(store, Action.WAIT, first_look)
        foreign = [swap for swap in waiting if self._claimant and swap.account != self._claimant.account]
        if foreign:
            self.log.warning(
                "Connection %r names another account now than the one that submitted %d of the jobs (the first: %s, "
                "by account %s). They are asked about all the same; if GoEnhance does not know them, switch the "
                "connection back and clear.",
                self.goenhance_conn_id,
                len(foreign),
                foreign[0].named,
                foreign[0].account,
            )
        return waiting

    def _defer(self, waiting: Sequence[Swap], deadline: float) -> None:
        from ..triggers.face_swap import GoEnhanceJobsTrigger
        from .fate import counted

        self.log.info("Waiting for %s in the triggerer.", counted(len(waiting), "job"))
        self.defer(
            trigger=GoEnhanceJobsTrigger(
                goenhance_conn_id=str(self.goenhance_conn_id),
                img_uuids=[str(swap.img_uuid) for swap in waiting],
                deadline=deadline,
                poll_interval=float(self.poll_interval),
            ),
            method_name="execute_complete",
            timeout=dt.timedelta(seconds=number(self.timeout, "timeout") + FRAMEWORK_GRACE),
        )

    def _wait(self, account: Account, waiting: Sequence[Swap], deadline: float) -> WaitOutcome:
        from .fate import counted
        from .flow import wait_round

        self.log.info("Asking about %s in this worker.", counted(len(waiting), "job"))
        return wait_round(
            account,
            [str(swap.img_uuid) for swap in waiting],
            deadline=deadline,
            poll_interval=float(self.poll_interval),
        )

    def _bring_home(
        self,
        account: Account,
        store: SwapStore,
        waiting: Sequence[Swap],
        waited: WaitOutcome,
        context: Context,
    ) -> None:
        from .flow import Keeping, bring_home

        keeping = Keeping(
            storage=text(self.storage) or default_storage(),
            run_id=self.run_key(context).run_id,
            conn_id=text(self.storage_conn_id),
            marking=self.marking,
            sidecar=self.sidecar,
        )
        bring_home(account, store, waiting, waited, keeping)

    # -- small things -------------------------------------------------------------------------------------------

    @property
    def label(self) -> str:
        """What a mapped task is called in the UI. Must not raise: Airflow asks for it after a failure too."""
        raise NotImplementedError

    def run_key(self, context: Context) -> RunKey:
        """Return the run this task belongs to."""
        from ..results.ledger import RunKey

        ti = context["ti"]
        return RunKey(ti.dag_id, ti.run_id)

    @staticmethod
    def map_index_of(context: Context) -> int | None:
        """Return the task's map index, ``None`` if it is not mapped."""
        index = context["ti"].map_index
        return index if index is not None and index >= 0 else None

    def _task_key(self, context: Context) -> str:
        return f"{self.task_id}[{self.map_index_of(context)}] "

    def _policies(self) -> Policies:
        from ..results.decide import Policies

        choice(self.reuse, "reuse", ("succeeded", "never"))
        return Policies(
            choice(self.on_unknown_submit, "on_unknown_submit", ("hold", "resubmit")),  # type: ignore[arg-type]
            choice(self.on_clear, "on_clear", ("reattach", "resubmit")),  # type: ignore[arg-type]
            whole(self.failed_job_resubmits, "failed_job_resubmits"),
        )

    def _log_report(self, report: SubmitReport) -> None:
        parts = [f"{len(report.submitted)} submitted"]
        parts += [f"{report.declined} declined"] if report.declined else []
        parts += [f"{report.unknown} with unknown outcome"] if report.unknown else []
        parts += [f"{report.taken_elsewhere} taken by another attempt"] if report.taken_elsewhere else []
        self.log.info("%s.", ", ".join(parts))
