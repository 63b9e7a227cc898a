# SPDX-License-Identifier: Apache-2.0
"""Bring home what was submitted earlier: in another task, another run, or another Dag."""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator, conf

from ..exceptions import CollectError
from ..retry_policy import DEFAULT_RETRY_POLICY, final_where_no_policy
from ..settings import default_storage
from .base import FRAMEWORK_GRACE
from .templated import flag, number, text

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.definitions.retry_policy import RetryPolicy

    from ..api.account import Account
    from ..api.polling import WaitOutcome
    from ..results.ledger import Ledger
    from ..results.swap import Swap


class GoEnhanceCollectOperator(BaseOperator):
    """
    Finish rows of the results table that wait: jobs still under way, and pictures that could not be had before.

    Nothing is submitted here, so nothing is paid. What is kept already is not fetched again, and two of these at once
    do no harm.

    :param run_id: collect only the rows of this run (templated); default: of any run
    :param dag_id: the Dag of that run (templated); default: this one
    :param older_than: collect only rows submitted at least so many seconds ago (default 0: all) (templated)
    :param wait_for_completion: wait for jobs that still run; ``False`` (default) takes what is done and leaves the rest
    :param deferrable: wait in the triggerer; default: ``[operators] default_deferrable``
    :param timeout: seconds to wait (default 3600) (templated)
    :param poll_interval: seconds between two checks of one job (default 5, the vendor's advice)
    :param storage: as for the swap operators (templated)
    :param marking: write the disclosure mark into the pictures (default ``True``)
    :param sidecar: keep a JSON file beside each picture (default ``False``)
    :return: how many rows are in each state now, of those that waited
    :raises GoEnhanceError: when the account cannot be used, or pictures of paid jobs could not be kept
    """

    template_fields: Sequence[str] = (
        "goenhance_conn_id",
        "results_conn_id",
        "storage",
        "storage_conn_id",
        "run_id",
        "dag_id_of_run",
        "older_than",
        "wait_for_completion",
        "timeout",
    )
    ui_color = "#e8f0fe"

    def __init__(
        self,
        *,
        run_id: str | None = None,
        dag_id: str | None = None,
        older_than: float | str = 0,
        goenhance_conn_id: str = "goenhance_default",
        results_conn_id: str = "goenhance_results",
        storage: str | None = None,
        storage_conn_id: str | None = None,
        wait_for_completion: bool | str = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        timeout: float | str = 3600.0,
        poll_interval: float = 5.0,
        marking: bool = True,
        sidecar: bool = False,
        retry_policy: RetryPolicy | None = DEFAULT_RETRY_POLICY,
        **kwargs: Any,
    ) -> None:
        if retry_policy is not None:  # Airflow below 3.3 does not know the argument
            kwargs["retry_policy"] = retry_policy
        super().__init__(**kwargs)
        self.run_id = run_id
        # BaseOperator has a dag_id of its own: the Dag it belongs to.
        self.dag_id_of_run = dag_id
        self.older_than = older_than
        self.goenhance_conn_id = goenhance_conn_id
        self.results_conn_id = results_conn_id
        self.storage = storage
        self.storage_conn_id = storage_conn_id
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.timeout = timeout
        self.poll_interval = poll_interval
        self.marking = marking
        self.sidecar = sidecar

    def execute(self, context: Context) -> dict[str, int]:
        """Collect what is done; wait for the rest if asked to."""
        with final_where_no_policy():
            account, ledger = self._open()
            waiting = self._waiting(ledger, account, context)
            self.log.info("%d rows wait to be collected.", len(waiting))
            wait = flag(self.wait_for_completion, "wait_for_completion")
            deadline = time.time() + (number(self.timeout, "timeout") if wait else 0.0)
            if waiting and wait and self.deferrable:
                self._defer(waiting, deadline)
            return self._collect(
                account, ledger, waiting, self._ask(account, waiting, deadline), give_up=wait
            )

    def execute_complete(self, context: Context, swap_ids: list[str], event: Any = None) -> dict[str, int]:
        """
        Collect after the trigger has seen the jobs finish.

        :param swap_ids: the rows waited for
        :param event: what the trigger sent
        """
        from ..triggers.events import outcome_of

        with final_where_no_policy():
            account, ledger = self._open()
            waited = outcome_of(event)
            waiting = [swap for swap in ledger.by_ids(swap_ids) if swap.img_uuid and not swap.result_uri]
            return self._collect(account, ledger, waiting, waited, give_up=True)

    def _open(self) -> tuple[Account, Ledger]:
        from ..hooks.goenhance import GoEnhanceHook
        from ..hooks.results import open_results
        from ..results.ledger import Ledger

        account = GoEnhanceHook(str(self.goenhance_conn_id)).account()
        return account, Ledger(open_results(str(self.results_conn_id)))

    def _waiting(self, ledger: Ledger, account: Account, context: Context) -> list[Swap]:
        from ..results.ledger import RunKey

        run_id = text(self.run_id)
        key = RunKey(text(self.dag_id_of_run) or context["ti"].dag_id, run_id) if run_id else None
        age = number(self.older_than, "older_than")
        before = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=age) if age else None
        # Only what this account paid for: another one's jobs cannot be asked about with its token.
        return ledger.waiting(key=key, older_than=before, account=account.fingerprint)

    def _ask(self, account: Account, waiting: Sequence[Swap], deadline: float) -> WaitOutcome:
        from .flow import wait_round

        uuids = [str(swap.img_uuid) for swap in waiting]
        return wait_round(account, uuids, deadline=deadline, poll_interval=float(self.poll_interval))

    def _defer(self, waiting: Sequence[Swap], deadline: float) -> None:
        from ..triggers.face_swap import GoEnhanceJobsTrigger

        self.defer(
            trigger=GoEnhanceJobsTrigger(
                goenhance_conn_id=str(self.goenhance_conn_id),
                img_uuids=[str(swap.img_uuid) for swap in waiting],
                deadline=deadline,
                poll_interval=float(self.poll_interval),
            ),
            method_name="execute_complete",
            kwargs={"swap_ids": [swap.swap_id for swap in waiting]},
            timeout=dt.timedelta(seconds=number(self.timeout, "timeout") + FRAMEWORK_GRACE),
        )

    def _collect(
        self, account: Account, ledger: Ledger, waiting: list[Swap], waited: WaitOutcome, *, give_up: bool
    ) -> dict[str, int]:
        from ..results.stores import TableStore
        from .flow import Keeping, bring_home

        if not give_up:
            waiting = [swap for swap in waiting if swap.img_uuid not in waited.running]
        ids = [swap.swap_id for swap in waiting]
        store = TableStore(ledger, lambda: ledger.by_ids(ids))
        # A picture is kept in the folder of the run that paid for it, whoever brings it home.
        for run_id, rows in groupby(
            sorted(waiting, key=lambda swap: swap.run_id), key=lambda swap: swap.run_id
        ):
            keeping = Keeping(
                storage=text(self.storage) or default_storage(),
                run_id=run_id,
                conn_id=text(self.storage_conn_id),
                marking=self.marking,
                sidecar=self.sidecar,
            )
            bring_home(account, store, list(rows), waited, keeping)
        return self._conclude(ledger.by_ids(ids), len(waited.running))

    def _conclude(self, swaps: Sequence[Swap], running: int) -> dict[str, int]:
        from ..results.decide import job_itself_failed

        counts = Counter(swap.status.value for swap in swaps)
        self.log.info("Collected: %s; %d jobs still run.", dict(counts) or "nothing", running)
        lost = [swap for swap in swaps if swap.status.value == "failed" and not job_itself_failed(swap)]
        for swap in lost:
            self.log.warning("%s, job %s: %s", swap.named, swap.img_uuid, swap.error_message)
        if lost:
            raise CollectError(
                f"{len(lost)} of {len(swaps)} paid jobs could not be brought home; the first: {lost[0].named}, job "
                f"{lost[0].img_uuid}: {lost[0].error_message} A retry tries these again and pays nothing."
            )
        return dict(counts)
