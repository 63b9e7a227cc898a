# SPDX-License-Identifier: Apache-2.0
"""Collect what was submitted earlier: in another task, another run, or another Dag."""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import TYPE_CHECKING, Any

from ..exceptions import CollectError
from .arguments import flag, seconds, text
from .base import JobOperatorBase

if TYPE_CHECKING:
    from airflow.sdk import Context

    from ..api.account import Account
    from ..api.polling import WaitOutcome
    from ..pictures.c2pa_signing import SigningCredentials
    from ..results.ledger import Ledger
    from ..results.swap import Swap


class GoEnhanceCollectOperator(JobOperatorBase):
    """
    Finish the ``submitted`` rows of the results table, and those whose picture could not be collected before.

    Nothing is submitted, so nothing is paid. Stored pictures are not fetched again, and two of these tasks at once do
    no harm. Without ``run_id`` and ``dag_id`` it takes the rows of all Dags. Further arguments: see
    :class:`.base.JobOperatorBase`.

    :param run_id: collect only the rows of this run (templated)
    :param dag_id: collect only the rows of this Dag (templated); default: of any, with ``run_id`` of this one
    :param older_than: collect only rows submitted at least this many seconds ago (default 0: all) (templated)
    :param newer_than: leave rows submitted more than this many seconds ago (default 0: none), so that a picture that
        GoEnhance has lost does not fail this task again and again (templated)
    :param goenhance_conn_id: connection of the account; rows of other accounts are left alone (templated)
    :param wait_for_completion: wait for jobs that still run; ``False`` (default) collects what is finished and leaves
        the rest (templated)
    :return: how many of the rows that waited are now in each state
    :raises CollectError: when pictures of paid jobs could not be downloaded or stored; each row has the reason, and
        keeps its ``img_uuid``
    :raises GoEnhanceError: when the account cannot be used
    :raises ValueError: when an argument is not valid, or the results table does not know the run
    """

    template_fields: Sequence[str] = (
        *JobOperatorBase.shared_template_fields,
        "run_id",
        "dag_id_of_run",
        "older_than",
        "newer_than",
    )

    def __init__(
        self,
        *,
        run_id: str | None = None,
        dag_id: str | None = None,
        older_than: float | str = 0,
        newer_than: float | str = 0,
        wait_for_completion: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(wait_for_completion=wait_for_completion, **kwargs)
        self.run_id = run_id
        # BaseOperator has a dag_id of its own: the Dag it belongs to.
        self.dag_id_of_run = dag_id
        self.older_than = older_than
        self.newer_than = newer_than

    def run_task(self, context: Context) -> dict[str, int]:
        """Collect what is finished; wait for the rest if asked to."""
        from ..execution.messages import pluralize

        with self._opened() as (account, ledger):
            credentials = self.signing_credentials()
            wait = flag(self.wait_for_completion, "wait_for_completion")
            deadline = time.time() + (seconds(self.timeout, "timeout") if wait else 0.0)
            waiting = self._waiting(ledger, account, context)
            self.log.info("%s to be collected.", pluralize(len(waiting), "row waits", "rows wait"))
            if waiting and wait and self.deferrable:
                self.defer_until_finished(waiting, deadline, context=context)
            waited = self._wait(account, waiting, deadline)
            return self._collect(account, ledger, waiting, waited, credentials, give_up=wait)

    def resume_task(self, context: Context, event: Any) -> dict[str, int]:
        """
        Collect after the trigger has seen the jobs finish.

        The rows are read again, so that only the event is stored in the metadata database. A row that was submitted in
        the meantime is checked too, and left as it is if its job still runs.

        :param event: what the trigger sent
        """
        from ..execution.events import outcome_of
        from ..triggers.deferral import execution_timed_out, has_time_left

        in_time = has_time_left(self, context)
        with self._opened() as (account, ledger):
            credentials = self.signing_credentials()
            waited = outcome_of(event)
            waiting = self._waiting(ledger, account, context)
            collected = self._collect(account, ledger, waiting, waited, credentials, give_up=in_time)
        if waited.running and not in_time:
            raise execution_timed_out(self)
        return collected

    @contextmanager
    def _opened(self) -> Iterator[tuple[Account, Ledger]]:
        from ..hooks.results import open_ledger

        account = self.account()
        with open_ledger(str(self.results_conn_id)) as ledger:
            yield account, ledger

    def _waiting(self, ledger: Ledger, account: Account, context: Context) -> list[Swap]:
        """Return the rows to collect: those of this account. GoEnhance does not answer for another one's jobs."""
        from ..results.ledger import RunKey
        from ..results.run_rows import RunRows

        run_id, dag_id = text(self.run_id), text(self.dag_id_of_run)
        key = RunKey(dag_id or context["ti"].dag_id, run_id) if run_id else None
        oldest, newest = self._time_before("newer_than"), self._time_before("older_than")
        found = [
            swap
            for swap in ledger.waiting(key=key, older_than=newest)
            if (not dag_id or swap.dag_id == dag_id)
            and not (oldest and swap.submitted_at and swap.submitted_at < oldest)
        ]
        if key and not found and not RunRows(ledger.database, key).exists():
            raise ValueError(
                f"The results table of connection {self.results_conn_id!r} has no rows of run {key.run_id!r} of Dag "
                f"{key.dag_id!r}. Pass the Dag that submitted them as dag_id."
            )
        self._warn_about_other_accounts(found, account)
        return [swap for swap in found if swap.account == account.fingerprint]

    def _warn_about_other_accounts(self, found: Sequence[Swap], account: Account) -> None:
        from ..execution.messages import pluralize

        foreign = [swap for swap in found if swap.account != account.fingerprint]
        if foreign:
            self.log.warning(
                "%s that another account paid for (%s); they are left alone. Collect them with that account's "
                "connection, or clear the tasks that submitted them. Set account_name on a connection to keep it the "
                "same account when its token changes.",
                pluralize(len(foreign), "more row waits", "more rows wait"),
                ", ".join(sorted({str(swap.account) for swap in foreign})),
            )

    def _time_before(self, name: str) -> dt.datetime | None:
        age = seconds(getattr(self, name), name)
        return dt.datetime.now(dt.UTC) - dt.timedelta(seconds=age) if age else None

    def _wait(self, account: Account, waiting: Sequence[Swap], deadline: float) -> WaitOutcome:
        from ..execution.wait import wait_round

        img_uuids = [str(swap.img_uuid) for swap in waiting]
        return wait_round(
            account, img_uuids, deadline=deadline, poll_interval=seconds(self.poll_interval, "poll_interval")
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
        Record what the wait found, and collect the pictures of finished jobs.

        :param give_up: whether jobs that still run have timed out; else their rows stay as they are
        """
        from ..execution.collect import collect_jobs
        from ..execution.job_limit import release_collected
        from ..results.stores import TableStore

        ids = [swap.swap_id for swap in waiting]
        store = TableStore(ledger, lambda: ledger.by_ids(ids))
        tried = [swap for swap in waiting if give_up or swap.img_uuid not in waited.running]
        # A picture is stored in the folder of the run that paid for it, whichever run collects it.
        for run_id, rows in groupby(sorted(tried, key=_run_of), key=_run_of):
            collect_jobs(account, store, list(rows), waited, self.storage_options(run_id, credentials))
        swaps = store.load()
        release_collected(ledger, account, tried, swaps)
        return self._conclude(swaps, {swap.swap_id for swap in tried})

    def _conclude(self, swaps: Sequence[Swap], tried: Collection[str]) -> dict[str, int]:
        from ..execution.messages import pluralize
        from ..results.recovery import job_itself_failed

        counts = Counter(str(swap.status) for swap in swaps)
        self.log.info("State of the rows that waited: %s.", dict(counts) or "none")
        failed = [swap for swap in swaps if swap.status == "failed" and swap.swap_id in tried]
        for swap in failed:
            self.log.warning("%s, job %s: %s", swap.label, swap.img_uuid, swap.error_message)
        lost = [swap for swap in failed if not job_itself_failed(swap)]
        if lost:
            raise CollectError(
                f"{len(lost)} of {pluralize(len(swaps), 'paid job')} could not be downloaded or stored; the first: "
                f"{lost[0].label}, job {lost[0].img_uuid}: {lost[0].error_message} A retry collects them again and "
                "pays nothing.",
                error_code=lost[0].error_code or CollectError.error_code,
            )
        return dict(counts)


def _run_of(swap: Swap) -> str:
    return swap.run_id
