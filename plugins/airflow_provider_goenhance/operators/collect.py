# SPDX-License-Identifier: Apache-2.0
"""Collect what was submitted earlier: in another task, another run, or another Dag."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from ..exceptions import CollectError
from .arguments import flag, seconds, text
from .base import JobOperatorBase
from .suspicious import judge_suspicious, on_suspicious_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from ..api.account import Account
    from ..execution.collect_rows import RowsToCollect
    from ..execution.events import Resumed
    from ..execution.found_rows import FoundRows
    from ..execution.wait_plan import WaitPlan
    from ..lineage import RowsToTrace
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
    :raises SuspiciousPictureError: when pictures are suspicious, with ``on_suspicious="fail"``
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

    def rows_to_trace(self, ti: Any) -> RowsToTrace | None:
        """Return the rows of the run that is collected, for the task's lineage; ``None`` for those of any run."""
        from ..lineage import RowsToTrace

        if not (run_id := text(self.run_id)):
            return None
        return RowsToTrace(str(self.results_conn_id), text(self.dag_id_of_run) or ti.dag_id, run_id)

    def run_task(self, context: Context) -> dict[str, int]:
        """Collect what is finished; wait for the rest if asked to."""
        from ..execution.found_rows import FoundRows
        from ..execution.messages import pluralize
        from ..execution.wait_plan import WaitPlan
        from ..results.outcome_transitions import WaitedAgain

        with self._opened() as (account, ledger):
            wait = flag(self.wait_for_completion, "wait_for_completion")
            deadline = time.time() + (seconds(self.timeout, "timeout") if wait else 0.0)
            found = FoundRows(window=self._window())
            waiting = self._waiting(ledger, account, context, found)
            self.log.info("%s to be collected.", pluralize(len(waiting), "row waits", "rows wait"))
            rows = self._rows(account, ledger, waiting)
            if waiting and wait and self.deferrable:
                # What the trigger waits for are the rows that are `submitted`.
                ledger.take([WaitedAgain.of(swap) for swap in waiting if swap.status != "submitted"])
                self._wait_on(context, account, WaitPlan(until=deadline), found)
            waited = rows.wait_and_collect(deadline)
            return self._conclude(found.with_rows(*rows.collect(waited, give_up=wait)), context)

    def resume_task(self, context: Context, event: Any) -> dict[str, int]:
        """
        Collect after the trigger has seen jobs finish, and wait for the others until the deadline.

        The rows are read again, so that only the event is stored in the metadata database. A row that was submitted in
        the meantime is checked too, and left as it is if its job still runs.

        :param event: what the trigger sent
        """
        from ..execution.events import resumed_by
        from ..execution.found_rows import FoundRows
        from ..execution.wait_plan import WaitPlan
        from ..results.transient_errors import OutOfReachError
        from ..triggers.deferral import has_time_left

        in_time = has_time_left(self, context)
        resumed = resumed_by(event)
        plan = WaitPlan.of(resumed.carried or {})
        found = FoundRows.of(resumed.carried or {})
        try:
            return self._resume(context, resumed, plan, found, in_time=in_time)
        except OutOfReachError as error:
            if not (resumed.outcome.handed_over and in_time and plan.until > time.time()):
                raise
            self.log.warning("%s What has ended is collected with the next hand-over.", error)
            self._wait_on(context, self.account(), plan, found)

    def _resume(
        self, context: Context, resumed: Resumed, plan: WaitPlan, found: FoundRows, *, in_time: bool
    ) -> dict[str, int]:
        from ..triggers.deferral import execution_timed_out

        with self._opened() as (account, ledger):
            waiting = self._waiting(ledger, account, context, found, again=resumed.carried is not None)
            rows = self._rows(account, ledger, waiting)
            if resumed.unreadable and in_time:
                self.log.warning("The task waits in the worker, not in the triggerer: %s", resumed.unreadable)
                waited = rows.wait_and_collect(plan.until)
            else:
                waited = resumed.complete([str(swap.img_uuid) for swap in waiting], rows.ask)
            goes_on = waited.handed_over and in_time and plan.until > time.time()
            swaps, tried = rows.collect(waited, give_up=in_time and not goes_on)
            if goes_on:
                ended = [swap for swap in swaps if swap.status != "submitted"]
                plan.note_hand_over(useful=bool(ended))
                plan.doubts = waited.doubts
                self._wait_on(context, account, plan, found.with_rows(ended, tried))
        if waited.running and not in_time:
            found.with_rows(swaps, tried)
            raise execution_timed_out(self)
        return self._conclude(found.with_rows(swaps, tried), context)

    def _wait_on(self, context: Context, account: Account, plan: WaitPlan, found: FoundRows) -> NoReturn:
        """Wait in the triggerer, and carry what was found so far."""
        from ..results.waiting_jobs import RowsOf

        run_id, dag_id = text(self.run_id), text(self.dag_id_of_run)
        self.defer_until_finished(
            plan.until,
            rows=RowsOf(
                dag_id=dag_id or (context["ti"].dag_id if run_id else None),
                run_id=run_id,
                account=account.fingerprint,
                submitted_after=found.window[0],
                submitted_before=found.window[1],
            ),
            plan=plan,
            carried=found.to_carry(),
            context=context,
        )

    def _rows(self, account: Account, ledger: Ledger, waiting: Sequence[Swap]) -> RowsToCollect:
        from ..execution.collect_rows import RowsToCollect

        credentials = self.signing_credentials()
        return RowsToCollect(
            account,
            ledger,
            waiting,
            lambda run_id: self.storage_options(run_id, credentials),
            seconds(self.poll_interval, "poll_interval"),
        )

    @contextmanager
    def _opened(self) -> Iterator[tuple[Account, Ledger]]:
        from ..hooks.results import open_ledger

        account = self.account()
        with open_ledger(str(self.results_conn_id)) as ledger:
            yield account, ledger

    def _waiting(
        self, ledger: Ledger, account: Account, context: Context, found: FoundRows, *, again: bool = False
    ) -> list[Swap]:
        """
        Return the rows to collect: those of this account. GoEnhance does not answer for another one's jobs.

        :param again: only those that the trigger has waited for
        """
        from ..results.ledger import RunKey
        from ..results.run_rows import RunRows

        run_id, dag_id = text(self.run_id), text(self.dag_id_of_run)
        key = RunKey(dag_id or context["ti"].dag_id, run_id) if run_id else None
        oldest, newest = (_moment(seconds) for seconds in found.window)

        def is_meant(swap: Swap) -> bool:
            if dag_id and swap.dag_id != dag_id:
                return False
            return not (oldest and swap.submitted_at and swap.submitted_at < oldest)

        rows = [swap for swap in ledger.waiting(key=key, older_than=newest) if is_meant(swap)]
        if again:
            rows = [swap for swap in rows if swap.status == "submitted"]
        elif key and not rows and not RunRows(ledger.database, key).exists():
            raise ValueError(
                f"The results table of connection {self.results_conn_id!r} has no rows of run {key.run_id!r} of Dag "
                f"{key.dag_id!r}. Pass the Dag that submitted them as dag_id."
            )
        self._warn_about_other_accounts(rows, account)
        return [swap for swap in rows if swap.account == account.fingerprint]

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

    def _window(self) -> tuple[float | None, float | None]:
        """Return from when to when the rows were submitted, seconds since the epoch; ``None`` is any time."""
        oldest, newest = seconds(self.newer_than, "newer_than"), seconds(self.older_than, "older_than")
        now = time.time()
        return now - oldest if oldest else None, now - newest if newest else None

    def _conclude(self, found: FoundRows, context: Context) -> dict[str, int]:
        from ..execution.messages import pluralize

        self.log.info("State of the rows that waited: %s.", found.counts or "none")
        if found.lost:
            raise CollectError(
                f"{found.lost} of {pluralize(sum(found.counts.values()), 'paid job')} could not be downloaded or "
                f"stored; the first: {found.first_lost} A retry collects them again and pays nothing.",
                error_code=found.first_code or CollectError.error_code,
            )
        judge_suspicious(
            on_suspicious_of(self.on_suspicious), found.suspicious, found.first_suspicious, context["ti"]
        )
        return found.counts


def _moment(seconds: float | None) -> dt.datetime | None:
    return None if seconds is None else dt.datetime.fromtimestamp(seconds, dt.UTC)
