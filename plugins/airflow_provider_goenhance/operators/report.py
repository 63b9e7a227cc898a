# SPDX-License-Identifier: Apache-2.0
"""The end of a run: what became of each pair, and whether that is good enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from ..exceptions import BatchFailedError
from ..retry_policy import face_swap_retry_policy
from .templated import flag

if TYPE_CHECKING:
    from airflow.sdk import Context

    from ..results.ledger import Ledger, RunKey
    from ..results.states import Status
    from ..results.swap import Swap

NAMED_FAILURES = 20


class GoEnhanceReportOperator(BaseOperator):
    """
    Count the rows of the run, log every one that went wrong with its reason, and give the run its verdict.

    Give it ``trigger_rule="all_done"``: a report is wanted most when something failed.

    :param swap_task_id: the batch operator whose rows are reported (default ``swap``)
    :param allowed_failure_share: the run fails when more than this share of its pairs went wrong, 0 to 1
        (default 0: any) (templated)
    :param expect_rows: fail when nothing was planned at all; ``False`` for a dry run (templated)
    :param expect_finished: fail while rows are still ``submitted``; ``False`` for a run that only submits (templated)
    :return: the counts by state, and ``pairs`` in all
    :raises BatchFailedError: when too much went wrong, or the run ended before all rows were sent
    """

    template_fields: Sequence[str] = (
        "results_conn_id",
        "allowed_failure_share",
        "expect_rows",
        "expect_finished",
    )
    ui_color = "#fef7e0"

    def __init__(
        self,
        *,
        swap_task_id: str = "swap",
        results_conn_id: str = "goenhance_results",
        allowed_failure_share: float = 0.0,
        expect_rows: bool = True,
        expect_finished: bool = True,
        **kwargs: Any,
    ) -> None:
        policy = face_swap_retry_policy()
        if policy is not None:
            kwargs.setdefault("retry_policy", policy)
        super().__init__(**kwargs)
        self.swap_task_id = swap_task_id
        self.results_conn_id = results_conn_id
        self.allowed_failure_share = allowed_failure_share
        self.expect_rows = expect_rows
        self.expect_finished = expect_finished

    def execute(self, context: Context) -> dict[str, int]:
        """Report the run."""
        from ..hooks.results import open_results
        from ..results.ledger import Ledger, RunKey

        ti = context["ti"]
        key = RunKey(ti.dag_id, ti.run_id)
        ledger = Ledger(open_results(str(self.results_conn_id)))
        self._settle(ledger, key)
        counts = ledger.counts(key, task_id=self.swap_task_id)
        self._log_what_went_wrong(ledger, key)
        self.log.info("%s", counts_line(key.run_id, counts))
        self._give_verdict(counts)
        return {"pairs": sum(counts.values()), **{status.value: count for status, count in counts.items()}}

    def _settle(self, ledger: Ledger, key: RunKey) -> None:
        """No swap task of the run is alive any more: what is still in ``submitting`` will never be reported on."""
        from ..results.states import Status

        left = ledger.of_run(key, task_id=self.swap_task_id, statuses=[Status.SUBMITTING])
        if left:
            ledger.settle_abandoned(left)

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

    def _give_verdict(self, counts: dict[Status, int]) -> None:
        from ..results.states import Status

        pairs = sum(counts.values())
        if not pairs and flag(self.expect_rows):
            raise BatchFailedError("This run has no rows at all: see the log of the task that plans it.")
        if counts[Status.PLANNED]:
            raise BatchFailedError(
                f"{counts[Status.PLANNED]} of {pairs} pairs were never sent, because their swap tasks failed first; "
                "nothing was paid for those. Mend the cause named there, then clear the failed tasks."
            )
        if counts[Status.SUBMITTED] and flag(self.expect_finished):
            raise BatchFailedError(
                f"{counts[Status.SUBMITTED]} of {pairs} pairs are paid for and still under way. Clear their swap tasks "
                "to wait for them and collect the pictures; that pays nothing."
            )
        wrong = counts[Status.FAILED] + counts[Status.UNKNOWN] + counts[Status.REJECTED]
        allowed = float(self.allowed_failure_share)
        if wrong > allowed * pairs:
            raise BatchFailedError(
                f"{wrong} of {pairs} pairs went wrong ({counts[Status.FAILED]} failed, "
                f"{counts[Status.UNKNOWN]} unknown, {counts[Status.REJECTED]} rejected), more than the allowed share "
                f"of {allowed:g}. Their reasons are "
                "above and in the results table. A new run reuses what succeeded and pays only for the others."
            )


def counts_line(run_id: str, counts: dict[Status, int]) -> str:
    """Return the one line that sums up a run."""
    by_name = {status.value: count for status, count in counts.items()}
    shown = ("succeeded", "reused", "failed", "rejected", "unknown")
    return f"run {run_id}: pairs={sum(by_name.values())} " + " ".join(
        f"{name}={by_name[name]}" for name in shown
    )


def _line(swap: Swap) -> str:
    job = f", job {swap.img_uuid}" if swap.img_uuid else ""
    paid = f", {swap.attempts} submits may have been paid for" if swap.attempts else ", nothing paid"
    return f"{swap.named} is {swap.status.value}{job}{paid}: {swap.error_message or 'no reason recorded'}"
