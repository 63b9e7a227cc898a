# SPDX-License-Identifier: Apache-2.0
"""From a manifest to planned rows and the batches to map over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from ..exceptions import BatchFailedError
from ..retry_policy import face_swap_retry_policy
from .templated import flag

if TYPE_CHECKING:
    from airflow.sdk import Context

    from ..hooks.goenhance import GoEnhanceHook
    from ..manifest.model import Manifest
    from ..results.ledger import Ledger, RunKey
    from ..results.states import Reuse
    from ..results.swap import Swap

#: Rejected rows that the log names one by one; all are in the results table.
NAMED_ROWS = 50
MAX_TASKS = 1000


class GoEnhancePlanOperator(BaseOperator):
    """
    Read a manifest, write a ``planned`` row for each pair, and return the batches to map the swap task over.

    Planning is repeatable: rows that are there already stay as they stand, so a retry or a clear of this task never
    makes a second swap out of one pair. Rows of pairs that were added to the manifest since form new batches.

    :param manifest: path or ``ObjectStoragePath`` URL of the manifest (templated)
    :param manifest_conn_id: Airflow connection of the manifest's storage (templated)
    :param swap_task_id: the batch operator that will swap the rows (default ``swap``)
    :param pairs_per_task: pairs in one mapped task; 0 (default) chooses well (templated)
    :param limit: plan only so many pairs, 0 (default) for all (templated)
    :param check_only: a dry run: read and check everything, log the plan, write and submit nothing (templated)
    :param reuse: ``succeeded`` (default) or ``never``, see the swap operators (templated)
    :param check_account: ask for the credit balance before anything is submitted, so that a refused token or an
        empty account fails here, at once (default ``True``)
    :return: a list of ``{"batch": int, "label": str}`` for ``expand_kwargs``
    :raises ManifestError: when the manifest cannot be used
    :raises BatchFailedError: when none of its rows can be swapped
    :raises GoEnhanceError: when the account cannot be used
    """

    template_fields: Sequence[str] = (
        "manifest",
        "manifest_conn_id",
        "goenhance_conn_id",
        "results_conn_id",
        "storage_conn_id",
        "pairs_per_task",
        "limit",
        "check_only",
        "reuse",
    )
    ui_color = "#e6f4ea"

    def __init__(
        self,
        *,
        manifest: str,
        manifest_conn_id: str | None = None,
        swap_task_id: str = "swap",
        pairs_per_task: int = 0,
        limit: int = 0,
        check_only: bool = False,
        reuse: Reuse = "succeeded",
        goenhance_conn_id: str = "goenhance_default",
        results_conn_id: str = "goenhance_results",
        storage_conn_id: str | None = None,
        check_account: bool = True,
        **kwargs: Any,
    ) -> None:
        policy = face_swap_retry_policy()
        if policy is not None:
            kwargs.setdefault("retry_policy", policy)
        super().__init__(**kwargs)
        self.manifest = manifest
        self.manifest_conn_id = manifest_conn_id
        self.swap_task_id = swap_task_id
        self.pairs_per_task = pairs_per_task
        self.limit = limit
        self.check_only = check_only
        self.reuse = reuse
        self.goenhance_conn_id = goenhance_conn_id
        self.results_conn_id = results_conn_id
        self.storage_conn_id = storage_conn_id
        self.check_account = check_account

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Plan the run."""
        from ..hooks.goenhance import GoEnhanceHook
        from ..hooks.results import open_results
        from ..manifest.read import read_manifest
        from ..results.ledger import Ledger, RunKey
        from .planning import rows_of, with_reused

        manifest = read_manifest(
            str(self.manifest), conn_id=self.manifest_conn_id, limit=int(self.limit) or None
        )
        self._log_rejected(manifest)
        ti = context["ti"]
        key = RunKey(ti.dag_id, ti.run_id)
        ledger = Ledger(open_results(str(self.results_conn_id)))
        hook = GoEnhanceHook(self.goenhance_conn_id)
        rows = rows_of(manifest, key, self.swap_task_id)
        if self.reuse == "succeeded":
            account = hook.account()
            rows = with_reused(rows, ledger, account.fingerprint, storage_conn_id=self.storage_conn_id)
        if flag(self.check_only):
            return self._log_plan(rows)
        batches = self._write(ledger, key, rows)
        if not any(row.status.value != "rejected" for row in rows):
            raise BatchFailedError(
                f"None of the {len(rows)} rows of {manifest.location} can be swapped; "
                f"the first: {rows[0].error_message}"
            )
        if batches and self.check_account:
            self._check_account(hook, ledger, key)
        return batches

    def _log_rejected(self, manifest: Manifest) -> None:
        self.log.info(
            "%s: %d pairs to swap, %d rows rejected.",
            manifest.location,
            len(manifest.pairs),
            len(manifest.rejected),
        )
        for row in manifest.rejected[:NAMED_ROWS]:
            self.log.warning("Row %d is rejected: %s.", row.row_number, row.reason)
        if len(manifest.rejected) > NAMED_ROWS:
            self.log.warning(
                "... and %d more, all in the results table.", len(manifest.rejected) - NAMED_ROWS
            )

    def _log_plan(self, rows: Sequence[Swap]) -> list[dict[str, Any]]:
        counts = Counter(row.status.value for row in rows)
        size = self._size(counts["planned"])
        self.log.info(
            "Dry run, nothing is written or submitted. This run would submit, and pay for, %d pairs in %d tasks of up "
            "to %d; %d earlier pictures serve again; %d rows are rejected.",
            counts["planned"],
            -(-counts["planned"] // size),
            size,
            counts["reused"],
            counts["rejected"],
        )
        return []

    def _size(self, pairs: int) -> int:
        from ..manifest.chunk import choose_pairs_per_task

        asked = int(self.pairs_per_task)
        size = choose_pairs_per_task(pairs, asked, MAX_TASKS)
        if asked and size != asked:
            self.log.warning(
                "%d pairs a task would map more than %d tasks; taking %d.", asked, MAX_TASKS, size
            )
        return size

    def _write(self, ledger: Ledger, key: RunKey, rows: list[Swap]) -> list[dict[str, Any]]:
        """Write the rows that are new, and return all batches of the run, old ones first."""
        from ..results.states import Status
        from .planning import into_batches

        known = {swap.swap_id: swap for swap in ledger.of_run(key, task_id=self.swap_task_id)}
        new = [row for row in rows if row.swap_id not in known]
        first = 1 + max((swap.batch for swap in known.values() if swap.batch is not None), default=-1)
        size = self._size(sum(row.status is Status.PLANNED for row in new))
        batched = into_batches(new, size, first_batch=first)
        result = ledger.plan(
            key, [*batched, *(row for row in rows if row.swap_id in known)], task_id=self.swap_task_id
        )
        self.log.info(
            "Results table: %d rows added, %d known already, %d withdrawn.",
            result.added,
            result.known,
            result.withdrawn,
        )
        return self._batches([*known.values(), *batched])

    def _batches(self, rows: Sequence[Swap]) -> list[dict[str, Any]]:
        from ..manifest.chunk import batch_label

        in_batches = sorted(
            (row for row in rows if row.batch is not None),
            key=lambda row: (row.batch or 0, row.row_number or 0),
        )
        batches = []
        for number, group in groupby(in_batches, key=lambda row: row.batch or 0):
            members = list(group)
            batches.append({"batch": number, "label": batch_label(members[0], members[-1], number)})
        return batches

    def _check_account(self, hook: GoEnhanceHook, ledger: Ledger, key: RunKey) -> None:
        from ..exceptions import GoEnhanceError, OutOfCreditsError
        from ..results.states import Status

        try:
            credits_ = hook.get_credits()
        except GoEnhanceError as error:
            planned = ledger.counts(key, task_id=self.swap_task_id)[Status.PLANNED]
            error.message += (
                f" The {planned} rows of this run that are not sent yet stay planned: nothing is lost."
            )
            error.args = (error.message,)
            raise
        self.log.info("The account has %d credits left.", credits_.count)
        if credits_.count <= 0:
            raise OutOfCreditsError(
                f"The GoEnhance account of {hook.account()} has {credits_.count} credits left, so nothing is "
                "submitted. The rows of this run stay planned: top up, then clear this task."
            )
