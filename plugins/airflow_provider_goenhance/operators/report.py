# SPDX-License-Identifier: Apache-2.0
"""Report a run: count its rows, log the failures, and fail the run if there are too many."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import Asset

from ..exceptions import BatchFailedError, BudgetReachedError, GoEnhanceError
from ..lineage import LineageMixin, RowsToTrace
from ..links import ContactSheetLink, rows_url
from ..retry_policy import RetryPolicyMixin
from ..settings import default_storage
from .arguments import choice, flag, number, seconds, text
from .face_swap_batch import within_share
from .suspicious import LISTED, judge_suspicious, on_suspicious_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from ..results.ledger import Ledger, RunKey
    from ..results.run_rows import RunRows
    from ..results.run_summary import RunSummary
    from ..results.states import OnBudgetReached, OnSuspicious, Status

#: XCom key of the report, as :func:`..execution.run_report.run_report` returns it.
REPORT_KEY = "report"
#: Rows that the log names.
NAMED_FAILURES = 20


class GoEnhanceReportOperator(LineageMixin, RetryPolicyMixin):
    """
    Count the rows of the run, log each failure with its reason, and fail if there are too many.

    If pairs did not get a picture, ``failures.csv`` is stored beside the pictures: their rows as they stood in the
    manifest, with the reasons. It can be fed back as a manifest, and its address is pushed to XCom as ``failures_csv``.

    Set ``trigger_rule="all_done"``, so that the report also runs after a failure. Assets among its ``outlets`` get the
    counts in the event's ``extra``, so that other Dags can be scheduled on a finished run. A run without rows, such as
    a dry run, sends no event. The counts, the credits and the addresses of page and files are pushed to XCom as
    ``report``, also when the run fails: see :mod:`..notifications.report`.

    :param swap_task_id: task id of the batch operator whose rows are reported (default ``swap``)
    :param results_conn_id: connection of the results table (templated)
    :param allowed_failure_share: the run fails when more than this share of its pairs failed, 0 to 1
        (default 0: any) (templated)
    :param expect_rows: fail when nothing was planned at all; ``False`` for a dry run (templated)
    :param contact_sheet: store an HTML page with source, reference and result of each pair beside the pictures
        (default ``True``); it never fails the run. Its address is pushed to XCom as ``contact_sheet`` (templated)
    :param storage: where the pictures are stored, as for the swap operators (templated)
    :param storage_conn_id: Airflow connection of the storage (templated)
    :param on_budget_reached: ``hold`` (default): rows that a budget held back fail nothing; ``fail`` fails the run
        (templated)
    :param on_suspicious: what follows from kept pictures that are suspicious. ``keep`` (default): the log counts them.
        ``review``: XCom ``to_review`` names them too. ``fail`` fails the run until a person has approved them; nothing
        is paid again (templated)
    :param expect_finished: fail while rows are still ``submitted``; ``False`` for a run that only submits (templated)
    :param goenhance_conn_id: connection of the account (templated)
    :param check_account: read the credit balance, and log what it says about the submits, if the plan has read it too
        (default ``True``); it never fails the run
    :param settle_by_credits: return the run's unknown submits to ``planned`` if the balance shows that none of them was
        accepted (default ``False``) (templated)
    :param job_timeout: how long a job may run, seconds: it may be charged for when it ends (default 3600) (templated)
    :return: the counts by state, and the total as ``pairs``
    :raises BatchFailedError: when too many pairs failed, the run ended before all rows were sent, or a task upstream
        of the swaps failed
    :raises SuspiciousPictureError: when pictures are suspicious, with ``on_suspicious="fail"``
    """

    template_fields: Sequence[str] = (
        "results_conn_id",
        "allowed_failure_share",
        "expect_rows",
        "expect_finished",
        "on_budget_reached",
        "on_suspicious",
        "contact_sheet",
        "storage",
        "storage_conn_id",
        "goenhance_conn_id",
        "settle_by_credits",
        "job_timeout",
    )
    operator_extra_links = (ContactSheetLink(),)
    ui_color = "#fef7e0"

    def __init__(
        self,
        *,
        swap_task_id: str = "swap",
        results_conn_id: str = "goenhance_results",
        allowed_failure_share: float | str = 0.0,
        expect_rows: bool | str = True,
        expect_finished: bool | str = True,
        on_budget_reached: OnBudgetReached | str = "hold",
        on_suspicious: OnSuspicious | str = "keep",
        contact_sheet: bool | str = True,
        storage: str | None = None,
        storage_conn_id: str | None = None,
        goenhance_conn_id: str = "goenhance_default",
        check_account: bool = True,
        settle_by_credits: bool | str = False,
        job_timeout: float | str = 3600.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.swap_task_id = swap_task_id
        self.results_conn_id = results_conn_id
        self.allowed_failure_share = allowed_failure_share
        self.expect_rows = expect_rows
        self.expect_finished = expect_finished
        self.on_budget_reached = on_budget_reached
        self.on_suspicious = on_suspicious
        self.contact_sheet = contact_sheet
        self.storage = storage
        self.storage_conn_id = storage_conn_id
        self.goenhance_conn_id = goenhance_conn_id
        self.check_account = check_account
        self.settle_by_credits = settle_by_credits
        self.job_timeout = job_timeout

    def rows_to_trace(self, ti: Any) -> RowsToTrace:
        """Return the rows of the run, for the task's lineage."""
        return RowsToTrace(
            str(self.results_conn_id),
            ti.dag_id,
            ti.run_id,
            role="report",
            selection={"task_id": self.swap_task_id},
        )

    def run_task(self, context: Context) -> dict[str, int]:
        """Report the run."""
        from ..execution.messages import counts_line, pluralize, succeeded_line
        from ..execution.meter import show_run
        from ..execution.preflight import precision_line
        from ..hooks.results import open_ledger
        from ..results.ledger import RunKey
        from ..results.run_rows import RunRows

        on_budget_reached = choice(self.on_budget_reached, "on_budget_reached", ("hold", "fail"))
        on_suspicious = on_suspicious_of(self.on_suspicious)
        ti = context["ti"]
        key = RunKey(ti.dag_id, ti.run_id)
        with open_ledger(str(self.results_conn_id)) as ledger:
            rows = partial(RunRows, ledger.database, key, task_id=self.swap_task_id, counted=True)
            summary = self._summarize(ledger, rows)
            counts, over_budget = summary.counts, summary.over_budget
            over = rows(over_budget=True).page(1) if over_budget else []
            suspicious = self._suspicious(rows, summary)
            show_run(summary)
            self._log_failures(rows, summary)
            if sentence := precision_line(rows()):
                self.log.info("%s", sentence)
            if self.check_account:
                self._compare_with_balance(ledger, key)
            files = {"failures_csv": self._keep_failures(ti, rows, key, summary) if summary.rows else None}
            if flag(self.contact_sheet, "contact_sheet"):
                files["contact_sheet"] = self._store_contact_sheet(ti, key, rows, summary)
        self.log.info("Results page: %s", rows_url(key.dag_id, key.run_id))
        self.log.info("%s", counts_line(key.run_id, counts))
        self.log.info("%s", succeeded_line(summary))
        held = f"{pluralize(over_budget, 'row is', 'rows are')} held for a budget."
        if over:
            self.log.info("%s %s", held, over[0].error_message)
        if summary.gone:
            self.log.info(
                "%s held because the pair was erased or its picture deleted: no failures.",
                pluralize(summary.gone, "row is", "rows are"),
            )
        with self._pushing_report(ti, key, summary, files):
            self._raise_if_failed(counts, self._never_started(ti), summary.held_back)
            if over and on_budget_reached == "fail":
                raise BudgetReachedError(f"{held} {over[0].error_message} on_budget_reached is 'fail'.")
            judge_suspicious(on_suspicious, summary.suspicious, suspicious, ti)
        facts = {"pairs": summary.rows, **{str(status): count for status, count in counts.items()}}
        if not summary.rows:
            # A dry run: no Dag may be scheduled on it. Airflow sends an event for each outlet of a task that succeeds.
            self.outlets = [outlet for outlet in self.outlets if not isinstance(outlet, Asset)]
        self._update_assets(context, {**facts, "run_id": key.run_id, "dag_id": key.dag_id})
        return facts

    @staticmethod
    def _suspicious(rows: Callable[..., RunRows], summary: RunSummary) -> list[tuple[str, str]]:
        """Return pair and quality of the first rows with a suspicious picture."""
        if not summary.suspicious:
            return []
        return [(swap.pair_id, swap.suspicion) for swap in rows(is_suspicious=True).page(LISTED)]

    @contextmanager
    def _pushing_report(
        self, ti: Any, key: RunKey, summary: RunSummary, files: Mapping[str, str | None]
    ) -> Iterator[None]:
        """Push the report of the run for notifiers and callbacks, whether the body raises or not."""
        from ..execution.run_report import run_report

        page = rows_url(key.dag_id, key.run_id, task_id=self.swap_task_id)
        try:
            yield
        except GoEnhanceError as error:
            ti.xcom_push(key=REPORT_KEY, value=run_report(key, summary, page=page, error=str(error), **files))
            raise
        if summary.rows:
            ti.xcom_push(key=REPORT_KEY, value=run_report(key, summary, page=page, **files))

    def _compare_with_balance(self, ledger: Ledger, key: RunKey) -> None:
        from ..hooks.account import AccountClient
        from .credit_check import compare_with_balance

        compare_with_balance(
            AccountClient(str(self.goenhance_conn_id)),
            ledger,
            key,
            job_seconds=seconds(self.job_timeout, "job_timeout"),
            settle=flag(self.settle_by_credits, "settle_by_credits"),
        )

    def _keep_failures(
        self, ti: Any, rows: Callable[..., RunRows], key: RunKey, summary: RunSummary
    ) -> str | None:
        """Store ``failures.csv``; a storage that cannot be used must not fail swaps that were paid for."""
        from ..execution.failures import STATUSES, keep_failures
        from ..results.states import Review

        storage = text(self.storage) or default_storage()
        try:
            there = summary.rejected_pictures or any(summary.counts[status] for status in STATUSES)
            failures = rows(statuses=STATUSES, or_reviews=[Review.REJECTED]) if there else ()
            uri = keep_failures(failures, key, self.task_id, storage, conn_id=text(self.storage_conn_id))
        except Exception as error:  # noqa: BLE001
            self.log.warning("The failures could not be stored as failures.csv: %s", error)
            return None
        if uri:
            self.log.info("Failures, to be fed back as a manifest: %s", uri)
            ti.xcom_push(key="failures_csv", value=uri)
        return uri

    def _store_contact_sheet(
        self, ti: Any, key: RunKey, rows: Callable[..., RunRows], summary: RunSummary
    ) -> str | None:
        from ..execution.contact_sheet import keep_contact_sheet, rows_to_show

        if not summary.rows:
            return None
        storage = text(self.storage) or default_storage()
        try:
            uri = keep_contact_sheet(
                rows_to_show(rows, summary),
                summary,
                key,
                self.task_id,
                storage,
                conn_id=text(self.storage_conn_id),
                page=rows_url(key.dag_id, key.run_id),
            )
        except Exception as error:  # noqa: BLE001  a missing page must not fail swaps that were paid for
            self.log.warning("The contact sheet could not be stored: %s", error)
            return None
        self.log.info("Contact sheet: %s", uri)
        ti.xcom_push(key="contact_sheet", value=uri)
        return uri

    def _update_assets(self, context: Context, facts: dict[str, Any]) -> None:
        for outlet in self.outlets:
            if isinstance(outlet, Asset):
                context["outlet_events"][outlet].extra = facts

    def _never_started(self, ti: Any) -> list[str]:
        """Return the direct upstream tasks that never ran, because one upstream of them failed."""
        if not self.upstream_task_ids:
            return []
        found = ti.get_task_states(
            dag_id=ti.dag_id, task_ids=sorted(self.upstream_task_ids), run_ids=[ti.run_id]
        )
        states = found.get(ti.run_id) or {}
        return sorted(task for task, state in states.items() if state == "upstream_failed")

    def _summarize(self, ledger: Ledger, rows: Callable[..., RunRows]) -> RunSummary:
        """
        Return the run in figures.

        Rows still in ``submitting`` are settled before: no swap task of the run is alive, so nothing else will.
        """
        from ..results.run_summary import summarize
        from ..results.states import Status

        summary = summarize(rows())
        if not summary.counts[Status.SUBMITTING]:
            return summary
        for left in rows(statuses=[Status.SUBMITTING]).pages():
            ledger.mark_abandoned(left)
        return summarize(rows())

    def _log_failures(self, rows: Callable[..., RunRows], summary: RunSummary) -> None:
        """Log the first rows that did not succeed; those that are held back on purpose have a line of their own."""
        from ..execution.messages import describe, row_log
        from ..results.states import Status

        statuses = (Status.UNKNOWN, Status.FAILED, Status.REJECTED, Status.PLANNED, Status.HELD)
        failures = sum(summary.counts[status] for status in statuses) - summary.held_back
        if not failures:
            return
        for swap in rows(statuses=statuses, over_budget=False, gone=False).page(NAMED_FAILURES):
            row_log(self.log, swap).warning("%s", describe(swap))
        if failures > NAMED_FAILURES:
            self.log.warning("... and %d more, all in the results table.", failures - NAMED_FAILURES)

    def _raise_if_failed(
        self, counts: Mapping[Status, int], never_started: Sequence[str] = (), held_back: int = 0
    ) -> None:
        from ..execution.endings import advice, trouble
        from ..execution.messages import pluralize
        from ..results.states import Status

        pairs = sum(counts.values())
        planned, submitted = counts[Status.PLANNED], counts[Status.SUBMITTED]
        # A row that is held on purpose is no failure; any other one is: a person must act.
        held = counts[Status.HELD] - held_back
        failures = counts[Status.FAILED] + counts[Status.UNKNOWN] + counts[Status.REJECTED] + held
        allowed = number(self.allowed_failure_share, "allowed_failure_share", most=1)
        if planned:
            raise BatchFailedError(
                f"{planned} of {pluralize(pairs, 'pair')} {'was' if planned == 1 else 'were'} never sent, because "
                "a task failed first. Nothing was paid for them. Fix the cause, then clear the failed tasks."
            )
        if never_started:
            raise BatchFailedError(
                f"{', '.join(never_started)} never started, because an upstream task failed. This run has "
                f"{pluralize(pairs, 'row')}. See the log of that task, fix the cause, then clear it."
            )
        if not pairs and flag(self.expect_rows, "expect_rows"):
            raise BatchFailedError(
                f"This run has no rows of task {self.swap_task_id!r}. See the log of the plan task."
            )
        if submitted and flag(self.expect_finished, "expect_finished"):
            raise BatchFailedError(
                f"{submitted} of {pluralize(pairs, 'pair')} {'is' if submitted == 1 else 'are'} paid for and still "
                "running. Clear the swap tasks to wait for the jobs and collect the pictures; that pays nothing."
            )
        if not within_share(failures, pairs - held_back, allowed):
            bad = {**counts, Status.HELD: held}
            raise BatchFailedError(
                "\n".join(
                    [
                        f"{failures} of {pluralize(pairs - held_back, 'pair')} did not succeed ({trouble(bad)}), "
                        f"more than the allowed share of {allowed:g}. The reasons are above.",
                        *advice(bad),
                        "A retry of this task changes nothing.",
                    ]
                )
            )
