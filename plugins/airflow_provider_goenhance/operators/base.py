# SPDX-License-Identifier: Apache-2.0
"""What the single and the batch operator share: their arguments, the deferral, and the end of a killed task."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import BaseOperator, conf

from ..links import SwappedPicturesLink
from ..retry_policy import DEFAULT_RETRY_POLICY, fail_fast_without_retry_policy
from ..settings import default_storage
from .arguments import choice, flag, number, text, whole

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.definitions.retry_policy import RetryPolicy

    from ..api.account import Account
    from ..execution.attempt import Attempt
    from ..results.ledger import Ledger, RunKey
    from ..results.recovery import Policies
    from ..results.states import OnClear, OnUnknownSubmit, Reuse
    from ..results.stores import SwapStore
    from ..results.swap import Swap


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
    :param reuse: ``succeeded`` (default) lets an earlier run's kept picture of the same pair and account serve, and
        takes over its job where that was paid for and not brought home; ``never`` pays for every pair; needs a results
        table (templated)
    :param marking: write the disclosure mark (IPTC digital source type) into the pictures (default ``True``)
    :param sidecar: keep a JSON file with inputs, UUID, times and hash beside each picture (default ``False``)
    :param signing_conn_id: sign a C2PA claim into each picture with the certificate of this connection (templated);
        needs the extra ``c2pa``; see :mod:`airflow_provider_goenhance.hooks.signing`
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
        "signing_conn_id",
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
        signing_conn_id: str | None = None,
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
        self.signing_conn_id = signing_conn_id
        self._attempt: Attempt | None = None
        self._ledger: Ledger | None = None

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
        with fail_fast_without_retry_policy():
            try:
                return self._carry_on(self._prepare(context), context, first_look=True)
            finally:
                self._close()

    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """
        Go on after the trigger has seen the jobs finish.

        :param event: what the trigger sent; checked, so that a broken one is never taken for a success
        """
        with fail_fast_without_retry_policy():
            try:
                attempt = self._prepare(context)
                attempt.take_event(event)
                return self._carry_on(attempt, context, first_look=False)
            finally:
                self._close()

    def on_kill(self) -> None:
        """Stop submitting, mark the submits under way as unknown, and say what goes on without this task."""
        if self._attempt is not None:
            self._attempt.end()

    def _carry_on(self, attempt: Attempt, context: Context, *, first_look: bool) -> Any:
        def waits_elsewhere(waiting: Sequence[Swap], deadline: float) -> None:
            self._defer(waiting, deadline)

        def submitted(swaps: Sequence[Swap]) -> None:
            self.push_uuids(context, swaps)

        swaps = attempt.rounds(
            wait=flag(self.wait_for_completion, "wait_for_completion"),
            first_look=first_look,
            submitted=submitted,
            defer=waits_elsewhere if self.deferrable else None,
        )
        return self.conclude(swaps)

    def _prepare(self, context: Context) -> Attempt:
        from ..execution.attempt import Attempt
        from ..hooks.goenhance import GoEnhanceHook
        from ..hooks.signing import signing_credentials
        from ..pictures.collector import StorageOptions
        from ..results.transitions import ClaimOwner

        policies = self._policies()  # a wrong word must be found before anything is sent
        timeout = number(self.timeout, "timeout")
        credentials = signing_credentials(text(self.signing_conn_id))
        account = GoEnhanceHook(str(self.goenhance_conn_id)).account()
        ti = context["ti"]
        task_key = f"{self.task_id}[{self.map_index_of(context)}] "
        self._attempt = Attempt(
            account=account,
            store=self.open_store(context, account),
            owner=ClaimOwner(
                name=f"{task_key}try {ti.try_number} {uuid.uuid4().hex[:12]}",
                account=account.fingerprint,
                max_tries=ti.max_tries,
            ),
            task_key=task_key,
            policies=policies,
            storage_options=StorageOptions(
                storage=text(self.storage) or default_storage(),
                run_id=ti.run_id,
                conn_id=text(self.storage_conn_id),
                marking=self.marking,
                sidecar=self.sidecar,
                credentials=credentials,
            ),
            poll_interval=float(self.poll_interval),
            timeout=timeout,
        )
        return self._attempt

    def open_ledger(self) -> Ledger:
        """Open the results table for as long as the task runs."""
        from ..hooks.results import open_results
        from ..results.ledger import Ledger

        self._ledger = Ledger(open_results(str(self.results_conn_id)))
        return self._ledger

    def _close(self) -> None:
        if self._ledger is not None:
            self._ledger.database.close()

    def _defer(self, waiting: Sequence[Swap], deadline: float) -> None:
        from ..triggers.deferral import wait_in_triggerer

        self.defer(
            **wait_in_triggerer(
                str(self.goenhance_conn_id),
                [str(swap.img_uuid) for swap in waiting],
                deadline=deadline,
                poll_interval=float(self.poll_interval),
            )
        )

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

    def _policies(self) -> Policies:
        from ..results.recovery import Policies

        choice(self.reuse, "reuse", ("succeeded", "never"))
        return Policies(
            choice(self.on_unknown_submit, "on_unknown_submit", ("hold", "resubmit")),  # type: ignore[arg-type]
            choice(self.on_clear, "on_clear", ("reattach", "resubmit")),  # type: ignore[arg-type]
            whole(self.failed_job_resubmits, "failed_job_resubmits"),
        )
