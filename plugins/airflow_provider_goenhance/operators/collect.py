# SPDX-License-Identifier: Apache-2.0
"""Bring home what was submitted earlier: in another task, another run, or another Dag."""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator, conf

from ..exceptions import CollectError
from ..retry_policy import DEFAULT_RETRY_POLICY, fail_fast_without_retry_policy
from ..settings import default_storage
from .arguments import flag, number, text

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.definitions.retry_policy import RetryPolicy

    from ..api.account import Account
    from ..api.polling import WaitOutcome
    from ..pictures.c2pa_signing import SigningCredentials
    from ..results.ledger import Ledger
    from ..results.swap import Swap


class GoEnhanceCollectOperator(BaseOperator):
    """
    Finish rows of the results table that wait: jobs still under way, and pictures that could not be had before.

    Nothing is submitted here, so nothing is paid. What is kept already is not fetched again, and two of these at once
    do no harm. Without ``run_id`` and ``dag_id`` it takes the rows of all Dags.

    :param run_id: collect only the rows of this run (templated)
    :param dag_id: collect only the rows of this Dag (templated); default: of any, with ``run_id`` of this one
    :param older_than: collect only rows submitted at least so many seconds ago (default 0: all) (templated)
    :param newer_than: leave rows submitted more than so many seconds ago (default 0: none is left), so that a picture
        that GoEnhance has lost does not fail this task for ever (templated)
    :param goenhance_conn_id: connection of the account; rows of another one are left alone (templated)
    :param results_conn_id: connection of the results table (templated)
    :param storage: folder or ``ObjectStoragePath`` URL where pictures are kept, as for the swap operators (templated)
    :param storage_conn_id: Airflow connection of the storage (templated)
    :param wait_for_completion: wait for jobs that still run; ``False`` (default) takes what is done and leaves the rest
        (templated)
    :param deferrable: wait in the triggerer; default: ``[operators] default_deferrable``
    :param timeout: seconds to wait (default 3600) (templated)
    :param poll_interval: seconds between two checks of one job (default 5, the vendor's advice)
    :param marking: write the disclosure mark into the pictures (default ``True``)
    :param sidecar: keep a JSON file beside each picture (default ``False``)
    :param signing_conn_id: sign a C2PA claim with the certificate of this connection (templated)
    :return: how many rows are in each state now, of those that waited
    :raises CollectError: when pictures of paid jobs could not be brought home; each row says why, and keeps its UUID
    :raises GoEnhanceError: when the account cannot be used
    :raises ValueError: when an argument is not what it must be, or the results table does not know the run
    """

    template_fields: Sequence[str] = (
        "goenhance_conn_id",
        "results_conn_id",
        "storage",
        "storage_conn_id",
        "run_id",
        "dag_id_of_run",
        "older_than",
        "newer_than",
        "wait_for_completion",
        "timeout",
        "signing_conn_id",
    )
    ui_color = "#e8f0fe"

    def __init__(
        self,
        *,
        run_id: str | None = None,
        dag_id: str | None = None,
        older_than: float | str = 0,
        newer_than: float | str = 0,
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
        signing_conn_id: str | None = None,
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
        self.newer_than = newer_than
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
        self.signing_conn_id = signing_conn_id

    def execute(self, context: Context) -> dict[str, int]:
        """Collect what is done; wait for the rest if asked to."""
        from ..execution.messages import pluralize

        with fail_fast_without_retry_policy(), self._opened() as (account, ledger):
            credentials = self._credentials()
            wait = flag(self.wait_for_completion, "wait_for_completion")
            deadline = time.time() + (number(self.timeout, "timeout") if wait else 0.0)
            waiting = self._waiting(ledger, account, context)
            self.log.info("%s to be collected.", pluralize(len(waiting), "row waits", "rows wait"))
            if waiting and wait and self.deferrable:
                self._defer(waiting, deadline)
            waited = self._ask(account, waiting, deadline)
            return self._collect(account, ledger, waiting, waited, credentials, give_up=wait)

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, int]:
        """
        Collect after the trigger has seen the jobs finish.

        The rows are looked up anew, so that nothing but the event travels through the metadata database. One that was
        submitted since is asked about too, and left as it is if its job still runs.

        :param event: what the trigger sent
        """
        from ..execution.events import outcome_of

        with fail_fast_without_retry_policy(), self._opened() as (account, ledger):
            credentials = self._credentials()
            waited = outcome_of(event)
            waiting = self._waiting(ledger, account, context)
            return self._collect(account, ledger, waiting, waited, credentials, give_up=True)

    @contextmanager
    def _opened(self) -> Iterator[tuple[Account, Ledger]]:
        from ..hooks.goenhance import GoEnhanceHook
        from ..hooks.results import open_results
        from ..results.ledger import Ledger

        account = GoEnhanceHook(str(self.goenhance_conn_id)).account()
        database = open_results(str(self.results_conn_id))
        try:
            yield account, Ledger(database)
        finally:
            database.close()

    def _credentials(self) -> SigningCredentials | None:
        from ..hooks.signing import signing_credentials

        return signing_credentials(text(self.signing_conn_id))

    def _waiting(self, ledger: Ledger, account: Account, context: Context) -> list[Swap]:
        """Return the rows to collect: those that this account paid for, for another one's cannot be asked about."""
        from ..execution.messages import pluralize
        from ..results.ledger import RunKey

        run_id, dag_id = text(self.run_id), text(self.dag_id_of_run)
        key = RunKey(dag_id or context["ti"].dag_id, run_id) if run_id else None
        oldest, newest = self._moment_before("newer_than"), self._moment_before("older_than")
        found = [
            swap
            for swap in ledger.waiting(key=key, older_than=newest)
            if (not dag_id or swap.dag_id == dag_id)
            and not (oldest and swap.submitted_at and swap.submitted_at < oldest)
        ]
        if key and not found and not ledger.of_run(key):
            raise ValueError(
                f"The results table of connection {self.results_conn_id!r} has no rows of run {key.run_id!r} of Dag "
                f"{key.dag_id!r}: name the Dag that submitted them as dag_id."
            )
        own = [swap for swap in found if swap.account == account.fingerprint]
        foreign = [swap for swap in found if swap.account != account.fingerprint]
        if foreign:
            self.log.warning(
                "%s that another account paid for (%s), and left alone. Collect with that account's connection, or "
                "clear the tasks that submitted them: those ask whatever the account. An account_name on a connection "
                "keeps it the same account when its token changes.",
                pluralize(len(foreign), "more row waits", "more rows wait"),
                ", ".join(sorted({str(swap.account) for swap in foreign})),
            )
        return own

    def _moment_before(self, name: str) -> dt.datetime | None:
        seconds = number(getattr(self, name), name)
        return dt.datetime.now(dt.UTC) - dt.timedelta(seconds=seconds) if seconds else None

    def _ask(self, account: Account, waiting: Sequence[Swap], deadline: float) -> WaitOutcome:
        from ..execution.wait import wait_round

        uuids = [str(swap.img_uuid) for swap in waiting]
        return wait_round(account, uuids, deadline=deadline, poll_interval=float(self.poll_interval))

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

    def _collect(
        self,
        account: Account,
        ledger: Ledger,
        waiting: Sequence[Swap],
        waited: WaitOutcome,
        credentials: SigningCredentials | None,
        *,
        give_up: bool,
    ) -> dict[str, int]:
        """
        Bring home what is done.

        :param give_up: whether the time to wait is over for what still runs; else those rows stay as they are
        """
        from ..execution.collect import collect_jobs
        from ..pictures.collector import StorageOptions
        from ..results.stores import TableStore

        ids = [swap.swap_id for swap in waiting]
        store = TableStore(ledger, lambda: ledger.by_ids(ids))
        tried = [swap for swap in waiting if give_up or swap.img_uuid not in waited.running]
        # A picture is kept in the folder of the run that paid for it, whoever brings it home.
        for run_id, rows in groupby(sorted(tried, key=_run_of), key=_run_of):
            storage_options = StorageOptions(
                storage=text(self.storage) or default_storage(),
                run_id=run_id,
                conn_id=text(self.storage_conn_id),
                marking=self.marking,
                sidecar=self.sidecar,
                credentials=credentials,
            )
            collect_jobs(account, store, list(rows), waited, storage_options)
        return self._conclude(store.load(), {swap.swap_id for swap in tried})

    def _conclude(self, swaps: Sequence[Swap], tried: Collection[str]) -> dict[str, int]:
        from ..execution.messages import pluralize
        from ..results.recovery import job_itself_failed

        counts = Counter(swap.status.value for swap in swaps)
        self.log.info("The rows that waited are now: %s.", dict(counts) or "none")
        failed = [swap for swap in swaps if swap.status.value == "failed" and swap.swap_id in tried]
        for swap in failed:
            self.log.warning("%s, job %s: %s", swap.label, swap.img_uuid, swap.error_message)
        lost = [swap for swap in failed if not job_itself_failed(swap)]
        if lost:
            raise CollectError(
                f"{len(lost)} of {pluralize(len(swaps), 'paid job')} could not be brought home; the first: "
                f"{lost[0].label}, job {lost[0].img_uuid}: {lost[0].error_message} A retry tries these again and pays "
                "nothing.",
                error_code=lost[0].error_code or CollectError.error_code,
            )
        return dict(counts)


def _run_of(swap: Swap) -> str:
    return swap.run_id
