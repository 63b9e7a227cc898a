# SPDX-License-Identifier: Apache-2.0
"""What the single and the batch operator share: the rounds, the deferral, and what a person on call is told."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowFailException, BaseOperator, conf

from ..exceptions import GoEnhanceError, TokenRefusedError
from ..links import SwappedPicturesLink
from ..retry_policy import face_swap_retry_policy
from ..settings import default_storage
from .templated import flag

if TYPE_CHECKING:
    from airflow.sdk import Context

    from ..api.account import Account
    from ..api.polling import WaitOutcome
    from ..results.decide import Policies
    from ..results.ledger import RunKey
    from ..results.states import OnClear, OnUnknownSubmit, Reuse
    from ..results.stores import SwapStore
    from ..results.submitting import SubmitReport
    from ..results.swap import Swap
    from ..results.transitions import Claimant

#: Seconds that Airflow's own time-out of a deferral comes after ours, so that ours is the one that speaks.
FRAMEWORK_GRACE = 120.0


class FaceSwapOperatorBase(BaseOperator):
    """
    Submits pairs, waits for their jobs, brings the pictures home.

    :param goenhance_conn_id: connection whose password is the API token (templated)
    :param results_conn_id: connection of the results table (templated)
    :param storage: folder or ``ObjectStoragePath`` URL where pictures are kept (templated); default:
        ``[goenhance] storage``, else ``goenhance_swaps`` in the Airflow home
    :param storage_conn_id: Airflow connection of the storage (templated)
    :param wait_for_completion: wait for the jobs and collect their pictures; else leave the rows ``submitted``
    :param deferrable: wait in the triggerer, without a worker slot; default: ``[operators] default_deferrable``
    :param poll_interval: seconds between two checks of one job (default 5, the vendor's advice)
    :param timeout: seconds to wait for the jobs of one attempt (default 3600)
    :param on_unknown_submit: ``hold`` (default) leaves a submit whose outcome is unknown for a person;
        ``resubmit`` sends it again with the next attempt, and may pay twice
    :param on_clear: ``reattach`` (default) makes a cleared task go on with the jobs it has; ``resubmit`` makes it
        submit, and pay, all its pairs anew
    :param failed_job_resubmits: how often a job that GoEnhance failed is submitted again, and paid again (default 0)
    :param reuse: ``succeeded`` (default) lets an earlier run's kept picture of the same pair and account serve;
        ``never`` pays for every pair; needs a results table
    :param marking: write the disclosure mark (IPTC digital source type) into the pictures (default ``True``)
    :param sidecar: keep a JSON file with inputs, UUID, times and hash beside each picture (default ``False``)
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
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 5.0,
        timeout: float = 3600.0,
        on_unknown_submit: OnUnknownSubmit = "hold",
        on_clear: OnClear = "reattach",
        failed_job_resubmits: int = 0,
        reuse: Reuse = "succeeded",
        marking: bool = True,
        sidecar: bool = False,
        **kwargs: Any,
    ) -> None:
        policy = face_swap_retry_policy()
        if policy is not None:
            kwargs.setdefault("retry_policy", policy)
        kwargs.setdefault("map_index_template", "{{ task.label }}")
        super().__init__(**kwargs)
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
        """
        return self._typed(lambda: self._advance(context, first_look=True))

    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """
        Go on after the trigger has seen the jobs finish.

        :param event: what the trigger sent; checked, so that a broken one is never taken for a success
        """
        from ..triggers.events import outcome_of

        def complete() -> Any:
            waited = outcome_of(event)
            account, store = self._prepare(context)
            self._bring_home(account, store, self._waiting(store, context, first_look=True), waited, context)
            return self._advance(context, first_look=False, prepared=(account, store))

        return self._typed(complete)

    def on_kill(self) -> None:
        """Mark the submits under way as unknown, and say what goes on without this task."""
        if self._store is None or self._claimant is None:
            return
        killed = self._store.abandon(self._claimant)
        waiting = [swap.img_uuid for swap in self._store.load() if swap.status.value == "submitted"]
        self.log.warning(
            "Killed. %d submits were under way and are marked unknown; %d jobs go on at GoEnhance, and bill. "
            "A retry or clear re-attaches to those and pays nothing.",
            killed,
            len(waiting),
        )

    def _advance(
        self, context: Context, *, first_look: bool, prepared: tuple[Account, SwapStore] | None = None
    ) -> Any:
        account, store = prepared or self._prepare(context)
        while True:
            stopped_by = self._submit(account, store, context, first_look=first_look)
            waiting = self._waiting(store, context, first_look=first_look)
            if not waiting or not flag(self.wait_for_completion):
                if stopped_by is not None:
                    raise self._explained(stopped_by, store.load())
                return self.conclude(store.load())
            deadline = time.time() + float(self.timeout)
            if self.deferrable:
                self._defer(waiting, deadline)
            waited = self._wait(account, waiting, deadline)
            self._bring_home(account, store, waiting, waited, context)
            first_look = False

    def _prepare(self, context: Context) -> tuple[Account, SwapStore]:
        from ..hooks.goenhance import GoEnhanceHook
        from ..results.transitions import Claimant

        account = GoEnhanceHook(self.goenhance_conn_id).account()
        ti = context["ti"]
        self._claimant = Claimant(
            name=f"{self._task_key(context)}try {ti.try_number} {uuid.uuid4().hex[:12]}",
            account=account.fingerprint,
            max_tries=ti.max_tries,
        )
        self._store = self.open_store(context, account)
        return account, self._store

    def _submit(
        self, account: Account, store: SwapStore, context: Context, *, first_look: bool
    ) -> GoEnhanceError | None:
        """Submit what is to be submitted; return why not everything was, if so."""
        from ..results.decide import Action
        from .flow import submit_round

        assert self._claimant is not None  # noqa: S101  set by _prepare, for the type checker
        settled = store.settle(self._claimant, self._task_key(context))
        if settled:
            self.log.warning(
                "%d submits were under way when an earlier attempt ended: marked unknown, because each may have been "
                "accepted and paid for. on_unknown_submit is %r.",
                settled,
                self.on_unknown_submit,
            )
        due = self._rows(store, Action.SUBMIT, first_look)
        if not due:
            return None
        self.log.info("Submitting %d pairs through %s.", len(due), account)
        report = submit_round(account, store, self._claimant, due)
        self._log_report(report)
        self.push_uuids(context, store.load())
        if isinstance(report.stopped_by, TokenRefusedError):
            raise self._explained(report.stopped_by, store.load())
        return report.stopped_by

    def _rows(self, store: SwapStore, action: Any, first_look: bool) -> list[Swap]:
        from ..results.decide import decide

        policies = self._policies()
        max_tries = self._claimant.max_tries if self._claimant else None
        return [
            swap
            for swap in store.load()
            if decide(swap, policies, max_tries=max_tries, first_look=first_look) is action
        ]

    def _waiting(self, store: SwapStore, context: Context, *, first_look: bool) -> list[Swap]:
        from ..results.decide import Action

        waiting = self._rows(store, Action.WAIT, first_look)
        foreign = [swap for swap in waiting if self._claimant and swap.account != self._claimant.account]
        if foreign:
            self.log.warning(
                "%d jobs were submitted with another account than the one connection %r names now (%s was %s). "
                "They are asked about all the same; if GoEnhance does not know them, switch the connection back "
                "and clear.",
                len(foreign),
                self.goenhance_conn_id,
                foreign[0].named,
                foreign[0].account,
            )
        return waiting

    def _defer(self, waiting: Sequence[Swap], deadline: float) -> None:
        import datetime as dt

        from ..triggers.face_swap import GoEnhanceJobsTrigger

        self.log.info("Waiting for %d jobs in the triggerer.", len(waiting))
        self.defer(
            trigger=GoEnhanceJobsTrigger(
                goenhance_conn_id=self.goenhance_conn_id,
                img_uuids=[str(swap.img_uuid) for swap in waiting],
                deadline=deadline,
                poll_interval=float(self.poll_interval),
            ),
            method_name="execute_complete",
            timeout=dt.timedelta(seconds=float(self.timeout) + FRAMEWORK_GRACE),
        )

    def _wait(self, account: Account, waiting: Sequence[Swap], deadline: float) -> WaitOutcome:
        from .flow import wait_round

        self.log.info("Waiting for %d jobs in this worker.", len(waiting))
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
            storage=self.storage or default_storage(),
            run_id=self.run_key(context).run_id,
            conn_id=self.storage_conn_id,
            marking=self.marking,
            sidecar=self.sidecar,
        )
        bring_home(account, store, waiting, waited, keeping)

    # -- small things -------------------------------------------------------------------------------------------

    @property
    def label(self) -> str:
        """What a mapped task is called in the UI."""
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

        return Policies(self.on_unknown_submit, self.on_clear, int(self.failed_job_resubmits))

    def _log_report(self, report: SubmitReport) -> None:
        parts = [f"{len(report.submitted)} submitted"]
        parts += [f"{report.declined} declined"] if report.declined else []
        parts += [f"{report.unknown} with unknown outcome"] if report.unknown else []
        parts += [f"{report.taken_elsewhere} taken by another attempt"] if report.taken_elsewhere else []
        self.log.info("%s.", ", ".join(parts))

    def _explained(self, error: GoEnhanceError, swaps: Sequence[Swap]) -> GoEnhanceError:
        """Return the same error, its message completed with the state the rows are left in."""
        counts = Counter(swap.status.value for swap in swaps)
        state = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
        paid = sum(swap.attempts for swap in swaps)
        error.message = (
            f"{error.message} The rows of this task are left {state}; {paid} submits may have been paid for. "
            "A retry or clear goes on with the planned ones and re-attaches to the submitted ones without paying."
        )
        error.args = (error.message,)
        return error

    def _typed(self, work: Any) -> Any:
        """Keep Airflow below 3.3 from retrying what cannot get better: it has no retry policies."""
        try:
            return work()
        except GoEnhanceError as error:
            if error.retryable or face_swap_retry_policy() is not None:
                raise
            raise AirflowFailException(str(error)) from error
