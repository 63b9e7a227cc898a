# SPDX-License-Identifier: Apache-2.0
"""Many pairs in one task."""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..exceptions import BatchFailedError
from ..settings import max_xcom_pairs
from .arguments import as_written, display_name, number, text, whole
from .budget import raise_if_over_budget
from .suspicious import judge_rows
from .swap_base import GOOD, FaceSwapOperatorBase

if TYPE_CHECKING:
    from airflow.sdk import Context

    from ..api.account import Account
    from ..results.ledger import Ledger, RunKey
    from ..results.recovery import Policies
    from ..results.stores import SwapStore
    from ..results.swap import Swap
    from ..results.waiting_jobs import RowsOf

#: Failures that a message lists one by one.
NAMED_FAILURES = 5
#: Pictures that the log lists one by one.
NAMED_PICTURES = 20


class GoEnhanceFaceSwapBatchOperator(FaceSwapOperatorBase):
    """
    Swap many pairs in one task, concurrently.

    Pass ``pairs``, or the number of a ``batch`` that :class:`.plan.GoEnhancePlanOperator` planned for this task. Map
    it with ``expand_kwargs`` over what the plan returns, or with ``expand(pairs=...)`` over lists of pairs. Further
    arguments: see :class:`.swap_base.FaceSwapOperatorBase`.

    :param pairs: dicts with ``source_img`` (the face), ``reference_img`` (the target) and optionally ``pair_id``,
        ``consent_ref``, ``source_key``, ``reference_key`` and
        ``consent_expires``; or a JSON text of such a list (templated)
    :param batch: number of a planned batch (templated)
    :param label: name of the mapped task in the UI; default: derived from batch or pairs
    :param allowed_failure_share: the task fails when more than this share of its pairs failed, 0 to 1
        (default 0: any). It applies to the last try: while tries are left, a row that a retry can correct fails
        the try. Bad pairs never stop the others from being swapped (templated)
    :return: a list of ``{"pair_id": str, "img_uuid": str | None, "status": str}``, in the order of the manifest; for
        more than ``[goenhance] max_xcom_pairs`` (1,000) pairs ``{"pairs": int, "counts": dict, "rows": dict}``: how
        many are in each state, and where the rows are
    :raises BatchFailedError: when too many pairs failed
    :raises BudgetReachedError: when a budget is reached, with ``on_budget_reached="fail"``
    :raises GoEnhanceError: when the account or the service stopped the batch
    """

    template_fields: Sequence[str] = (
        "pairs",
        "batch",
        "allowed_failure_share",
        *FaceSwapOperatorBase.shared_template_fields,
    )
    template_fields_renderers = {"pairs": "json"}  # noqa: RUF012  Airflow declares it so

    def __init__(
        self,
        *,
        pairs: Sequence[Mapping[str, Any]] | str | None = None,
        batch: int | str | None = None,
        label: str | None = None,
        allowed_failure_share: float | str = 0.0,
        results_conn_id: str = "goenhance_results",
        **kwargs: Any,
    ) -> None:
        super().__init__(results_conn_id=results_conn_id, **kwargs)
        self.pairs = pairs
        self._written_pairs = pairs
        self.batch = batch
        self.label_text = label
        self.allowed_failure_share = allowed_failure_share
        self._trouble = ""

    @property
    def label(self) -> str:
        """
        The name of a mapped task in the UI; Airflow reads it again once the task has ended.

        It then says how many pairs went wrong, which the task's state does not: the allowed share decides that.
        """
        from ..execution.messages import pluralize

        if self.label_text:
            name = display_name(str(self.label_text), "pair")
        elif text(self.batch) is not None:
            name = f"batch {self.batch}"
        else:
            name = pluralize(len(self.pairs), "pair") if isinstance(self.pairs, list | tuple) else "pairs"
        return f"{name}: {self._trouble}" if self._trouble else name

    def open_store(self, context: Context, account: Account) -> SwapStore:
        """Return this task's rows, planned first if they were passed as ``pairs``."""
        from ..results.stores import TableStore
        from ..results.waiting_jobs import has_rows

        planned = text(self.batch) is not None
        if (self.pairs is None) is not planned:
            raise ValueError(f"Task {self.task_id!r} needs either `pairs` or `batch`, not both or neither.")
        self._allowed_failure_share()
        # Before the results table is opened, so that a wrong argument is reported as such.
        records = [] if planned else self._records(context)
        ledger = self.open_ledger()
        key = self.run_key(context)
        if not planned:
            ids = self._plan(records, ledger, key, account, context)
            return TableStore(ledger, lambda: ledger.by_ids(ids))
        batch = whole(self.batch, "batch")
        store = TableStore(
            ledger, lambda: ledger.of_run(key, task_id=self.task_id, batch=batch, counted=True)
        )
        if not has_rows(ledger.database, self.rows_of_task(context)):
            self._skip_if_withdrawn(ledger, key, batch)
            raise ValueError(
                f"The results table of connection {self.results_conn_id!r} has no rows of batch {batch} for task "
                f"{self.task_id!r} in this run. The plan task must use it as swap_task_id, with the same "
                "results_conn_id."
            )
        return store

    def _skip_if_withdrawn(self, ledger: Ledger, key: RunKey, batch: int) -> None:
        """Skip the task of a batch whose rows have all left the manifest; it keeps its place in the map."""
        from airflow.providers.common.compat.sdk import AirflowSkipException

        gone = ledger.of_run(key, task_id=self.task_id, batch=batch)
        if gone:
            raise AirflowSkipException(
                f"The manifest no longer holds the pairs of batch {batch} ({gone[0].label} and "
                f"{len(gone) - 1} more). Nothing was sent or paid for them."
            )

    def _records(self, context: Context) -> list[Mapping[str, Any]]:
        written = self._written_pairs
        # A template for the whole list may well be evaluated, one for an id in it may not.
        pairs = as_written(
            written, self.pairs, None if isinstance(written, str) else self.text_renderer(context)
        )
        if isinstance(pairs, str):
            try:
                pairs = json.loads(pairs)
            except ValueError:
                raise ValueError(_not_json(pairs)) from None
        if not isinstance(pairs, list | tuple) or not all(isinstance(pair, Mapping) for pair in pairs):
            raise ValueError("`pairs` must be a list of dicts with `source_img` and `reference_img`.")
        return list(pairs)

    def _plan(
        self,
        records: Sequence[Mapping[str, Any]],
        ledger: Ledger,
        key: RunKey,
        account: Account,
        context: Context,
    ) -> list[str]:
        from ..execution.planning import plan_rows, settle_expired_claims
        from ..hooks.input_stores import open_versions
        from ..manifest.validate import check_pairs

        if not self.map_index_of(context):
            settle_expired_claims(ledger)
        manifest = check_pairs(records, location=f"pairs of task {self.task_id}")
        policies = self._policies()
        rows = plan_rows(
            manifest,
            key,
            self.task_id,
            map_index=self.map_index_of(context),
            known_in=ledger,
            account=account.fingerprint,
            reuse=policies.reuse == "succeeded",
            on_unknown_submit=policies.on_unknown_submit,
            storage_conn_id=text(self.storage_conn_id),
            marking=self.marking,
            look_up=open_versions().look_up,
        )
        ledger.plan(key, rows)
        ledger.supersede_rejected(key, self.task_id, self.map_index_of(context), rows)
        return [row.swap_id for row in rows]

    def rows_of_task(self, context: Context) -> RowsOf:
        """Return where the task's rows are in the results table."""
        from ..results.waiting_jobs import RowsOf

        ti = context["ti"]
        batch = None if text(self.batch) is None else whole(self.batch, "batch")
        map_index = self.map_index_of(context)
        return RowsOf(
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            task_id=self.task_id,
            batch=batch,
            map_index=None if batch is not None else -1 if map_index is None else map_index,
        )

    def push_img_uuids(self, context: Context, swaps: Sequence[Swap]) -> None:
        """Push ``{pair_id: img_uuid}`` under the key ``img_uuids``; for many pairs, counts and where the rows are."""
        self._rows: RowsOf = self.rows_of_task(context)
        context["ti"].xcom_push(
            key="img_uuids",
            value=self._summary(swaps)
            if len(swaps) > max_xcom_pairs()
            else {swap.pair_id: swap.img_uuid for swap in swaps if swap.img_uuid},
        )

    def _summary(self, swaps: Sequence[Swap]) -> dict[str, Any]:
        """Return the counts of the rows, and where they are."""
        return {
            "pairs": len(swaps),
            "counts": dict(sorted(Counter(swap.status.value for swap in swaps).items())),
            "rows": {"results_conn_id": str(self.results_conn_id), **self._rows.to_dict()},
        }

    def conclude(
        self, swaps: Sequence[Swap], *, tries_left: bool = False
    ) -> list[dict[str, str | None]] | dict[str, Any]:
        """
        Return ids and states, or counts for many pairs.

        :raises BatchFailedError: when too many pairs failed, or a retry can still correct one
        """
        from ..execution.endings import trouble
        from ..execution.messages import describe_with_next_steps, pluralize, row_log

        counts = Counter(swap.status for swap in swaps)
        self.log.info(
            "%s: %s.",
            pluralize(len(swaps), "pair"),
            ", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "nothing to do",
        )
        policies = self._policies()
        # What is held on purpose, for a budget or because its content was deleted, is no failure.
        sent = [swap for swap in swaps if not (swap.over_budget or swap.gone_by_choice)]
        bad = [swap for swap in sent if swap.status not in GOOD]
        self._trouble = trouble(Counter(swap.status for swap in bad))
        self._log_pictures(swaps)
        for swap in bad:
            row_log(self.log, swap).warning("%s", describe_with_next_steps(swap, policies))
        if tries_left:
            self._raise_if_retry_helps(bad, swaps, policies)
        self._raise_if_too_many(bad, sent, policies)
        raise_if_over_budget(self, swaps)
        judge_rows(self, swaps, self._ti)
        if len(swaps) > max_xcom_pairs():
            return self._summary(swaps)
        return [
            {"pair_id": swap.pair_id, "img_uuid": swap.img_uuid, "status": swap.status.value}
            for swap in swaps
        ]

    def _log_pictures(self, swaps: Sequence[Swap]) -> None:
        """Log the first jobs with their pictures; the results page has them all."""
        kept = [swap for swap in swaps if swap.result_uri]
        for swap in kept[:NAMED_PICTURES]:
            self.log.info("%s, job %s: %s", swap.label, swap.img_uuid, swap.result_uri)
        if len(kept) > NAMED_PICTURES:
            self.log.info("... and %d more pictures, all on the results page.", len(kept) - NAMED_PICTURES)

    def _allowed_failure_share(self) -> float:
        return number(self.allowed_failure_share, "allowed_failure_share", most=1)

    def _raise_if_retry_helps(self, bad: Sequence[Swap], swaps: Sequence[Swap], policies: Policies) -> None:
        """Fail this try while a retry can correct a row: the allowed share judges what is left after the last one."""
        from ..execution.messages import pluralize
        from ..results.recovery import retry_can_help

        fixable = [swap for swap in bad if retry_can_help(swap, policies)]
        if not fixable:
            return
        error = BatchFailedError(
            f"{len(fixable)} of {pluralize(len(swaps), 'pair')} did not succeed, and a retry can still correct that. "
            "allowed_failure_share applies to the last try. " + _named(fixable, policies)
        )
        error.retryable = True
        raise error

    def _raise_if_too_many(self, bad: Sequence[Swap], swaps: Sequence[Swap], policies: Policies) -> None:
        from ..execution.messages import pluralize
        from ..results.recovery import retry_can_help

        allowed = self._allowed_failure_share()
        if within_share(len(bad), len(swaps), allowed):
            return
        error = BatchFailedError(
            f"{len(bad)} of {pluralize(len(swaps), 'pair')} did not succeed, more than the allowed share of "
            f"{allowed:g}. {_named(bad, policies)}"
        )
        error.retryable = any(retry_can_help(swap, policies) for swap in bad)
        raise error


def _not_json(pairs: str) -> str:
    said = "`pairs` must be a list or the JSON text of one; "
    try:
        printed = isinstance(ast.literal_eval(pairs), list | tuple | dict)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        printed = False
    if printed:
        return (
            f"{said}got a list as Python prints it, which is what a template renders. Pass the task's output itself "
            "(pairs=task.output), or add the tojson filter to the template ({{ ti.xcom_pull('task') | tojson }})."
        )
    return f"{said}the text is not JSON."


def _named(bad: Sequence[Swap], policies: Policies) -> str:
    from ..execution.messages import describe_with_next_steps

    named = " ".join(describe_with_next_steps(swap, policies) for swap in bad[:NAMED_FAILURES])
    more = len(bad) - NAMED_FAILURES
    return named + (f" And {more} more, listed in the log." if more > 0 else "")


def within_share(bad: int, all_: int, allowed: float) -> bool:
    """Return whether this many failures are allowed; 0.29 allows 29 of 100 despite floating point."""
    return bad <= allowed * all_ + 1e-9
