# SPDX-License-Identifier: Apache-2.0
"""The end of a run: what became of each pair, and whether that is good enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import Asset, BaseOperator

from ..exceptions import BatchFailedError
from ..links import ContactSheetLink
from ..retry_policy import DEFAULT_RETRY_POLICY, fail_fast_without_retry_policy
from ..settings import default_storage
from .arguments import flag, number, text
from .face_swap_batch import within_share

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.definitions.retry_policy import RetryPolicy

    from ..results.ledger import Ledger, RunKey
    from ..results.states import Status
    from ..results.swap import Swap

NAMED_FAILURES = 20


class GoEnhanceReportOperator(BaseOperator):
    """
    Count the rows of the run, log every one that went wrong with its reason, and give the run its verdict.

    Give it ``trigger_rule="all_done"``: a report is wanted most when something failed. Assets among its ``outlets``
    carry the counts in the event's ``extra``, so that other Dags can be scheduled on a finished run.

    :param swap_task_id: the batch operator whose rows are reported (default ``swap``)
    :param allowed_failure_share: the run fails when more than this share of its pairs went wrong, 0 to 1
        (default 0: any) (templated)
    :param expect_rows: fail when nothing was planned at all; ``False`` for a dry run (templated)
    :param contact_sheet: keep an HTML page with source, reference and result of each pair beside the pictures
        (default ``True``); it never fails the run. Its address is pushed to XCom as ``contact_sheet`` (templated)
    :param storage: where the pictures are kept, as for the swap operators (templated)
    :param storage_conn_id: Airflow connection of the storage (templated)
    :param expect_finished: fail while rows are still ``submitted``; ``False`` for a run that only submits (templated)
    :return: the counts by state, and ``pairs`` in all
    :raises BatchFailedError: when too much went wrong, the run ended before all rows were sent, or a task before the
        swaps failed, whatever the rows say
    """

    template_fields: Sequence[str] = (
        "results_conn_id",
        "allowed_failure_share",
        "expect_rows",
        "expect_finished",
        "contact_sheet",
        "storage",
        "storage_conn_id",
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
        contact_sheet: bool | str = True,
        storage: str | None = None,
        storage_conn_id: str | None = None,
        retry_policy: RetryPolicy | None = DEFAULT_RETRY_POLICY,
        **kwargs: Any,
    ) -> None:
        if retry_policy is not None:  # Airflow below 3.3 does not know the argument
            kwargs["retry_policy"] = retry_policy
        super().__init__(**kwargs)
        self.swap_task_id = swap_task_id
        self.results_conn_id = results_conn_id
        self.allowed_failure_share = allowed_failure_share
        self.expect_rows = expect_rows
        self.expect_finished = expect_finished
        self.contact_sheet = contact_sheet
        self.storage = storage
        self.storage_conn_id = storage_conn_id

    def execute(self, context: Context) -> dict[str, int]:
        """Report the run."""
        from ..execution.messages import counts_line
        from ..hooks.results import open_results
        from ..results.ledger import Ledger, RunKey

        ti = context["ti"]
        key = RunKey(ti.dag_id, ti.run_id)
        with fail_fast_without_retry_policy():
            database = open_results(str(self.results_conn_id))
            try:
                ledger = Ledger(database)
                self._settle(ledger, key)
                counts = ledger.counts(key, task_id=self.swap_task_id)
                self._log_what_went_wrong(ledger, key)
                if flag(self.contact_sheet, "contact_sheet"):
                    self._keep_contact_sheet(ti, key, ledger.of_run(key, task_id=self.swap_task_id))
            finally:
                database.close()
            self.log.info("%s", counts_line(key.run_id, counts))
            self._give_verdict(counts, self._never_began(ti))
        summary = {"pairs": sum(counts.values()), **{status.value: count for status, count in counts.items()}}
        self._tell_assets(context, {**summary, "run_id": key.run_id, "dag_id": key.dag_id})
        return summary

    def _keep_contact_sheet(self, ti: Any, key: RunKey, swaps: Sequence[Swap]) -> None:
        from ..execution.contact_sheet import keep_contact_sheet

        if not swaps:
            return
        storage = text(self.storage) or default_storage()
        try:
            uri = keep_contact_sheet(
                swaps,
                key,
                self.task_id,
                storage,
                conn_id=text(self.storage_conn_id),
            )
        except Exception as error:  # noqa: BLE001  a page about swaps that were paid for must not change their verdict
            self.log.warning("There is no contact sheet: %s", error)
        else:
            self.log.info("Contact sheet: %s", uri)
            ti.xcom_push(key="contact_sheet", value=uri)

    def _tell_assets(self, context: Context, facts: dict[str, Any]) -> None:
        for outlet in self.outlets:
            if isinstance(outlet, Asset):
                context["outlet_events"][outlet].extra = facts

    def _never_began(self, ti: Any) -> list[str]:
        """Return the tasks before this one that never ran, because one before them failed."""
        if not self.upstream_task_ids:
            return []
        found = ti.get_task_states(
            dag_id=ti.dag_id, task_ids=sorted(self.upstream_task_ids), run_ids=[ti.run_id]
        )
        states = found.get(ti.run_id) or {}
        return sorted(task for task, state in states.items() if state == "upstream_failed")

    def _settle(self, ledger: Ledger, key: RunKey) -> None:
        """No swap task of the run is alive any more: what is still in ``submitting`` will never be reported on."""
        from ..results.states import Status

        left = ledger.of_run(key, task_id=self.swap_task_id, statuses=[Status.SUBMITTING])
        if left:
            ledger.mark_abandoned(left)

    def _log_what_went_wrong(self, ledger: Ledger, key: RunKey) -> None:
        from ..results.states import Status

        wrong = ledger.of_run(
            key,
            task_id=self.swap_task_id,
            statuses=[Status.UNKNOWN, Status.FAILED, Status.REJECTED, Status.PLANNED],
        )
        for swap in wrong[:NAMED_FAILURES]:
            self.log.warning("%s", _line(swap))
        if len(wrong) > NAMED_FAILURES:
            self.log.warning("... and %d more, all in the results table.", len(wrong) - NAMED_FAILURES)

    def _give_verdict(self, counts: dict[Status, int], never_began: Sequence[str] = ()) -> None:
        from ..execution.messages import pluralize
        from ..results.states import Status

        pairs = sum(counts.values())
        planned, submitted = counts[Status.PLANNED], counts[Status.SUBMITTED]
        wrong = counts[Status.FAILED] + counts[Status.UNKNOWN] + counts[Status.REJECTED]
        allowed = number(self.allowed_failure_share, "allowed_failure_share", most=1)
        if planned:
            raise BatchFailedError(
                f"{planned} of {pluralize(pairs, 'pair')} {'was' if planned == 1 else 'were'} never sent, because "
                "a task failed first. Nothing was paid for them. Fix the cause, then clear the failed tasks."
            )
        if never_began:
            raise BatchFailedError(
                f"{', '.join(never_began)} never began, because a task before failed: see its log. This run has "
                f"{pluralize(pairs, 'row')}; mend the cause, then clear that task."
            )
        if not pairs and flag(self.expect_rows, "expect_rows"):
            raise BatchFailedError(
                f"This run has no rows of task {self.swap_task_id!r} at all: see the log of the task that plans it."
            )
        if submitted and flag(self.expect_finished, "expect_finished"):
            raise BatchFailedError(
                f"{submitted} of {pluralize(pairs, 'pair')} {'is' if submitted == 1 else 'are'} paid for and still "
                "under way. Clear the swap tasks to wait for them and collect the pictures; that pays nothing."
            )
        if not within_share(wrong, pairs, allowed):
            raise BatchFailedError(
                f"{wrong} of {pluralize(pairs, 'pair')} went wrong ({counts[Status.FAILED]} failed, "
                f"{counts[Status.UNKNOWN]} unknown, {counts[Status.REJECTED]} rejected), more than the allowed share "
                f"of {allowed:g}. Their reasons are above and in the results table. A retry changes nothing; a clear "
                "of the swap tasks fetches what was paid for and not kept, and sends again what was declined; a new "
                "run takes over the pictures and jobs that are paid for, and pays for the others."
            )


def _line(swap: Swap) -> str:
    from ..execution.messages import paid_for

    return f"{swap.label} is {swap.status.value}: {swap.error_message or 'no reason was recorded.'} {paid_for(swap)}"
