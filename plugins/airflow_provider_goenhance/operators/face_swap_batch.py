# SPDX-License-Identifier: Apache-2.0
"""Many pairs in one task."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..exceptions import BatchFailedError, GoEnhanceError
from .base import FaceSwapOperatorBase

if TYPE_CHECKING:
    from airflow.sdk import Context

    from ..api.account import Account
    from ..results.ledger import Ledger, RunKey
    from ..results.stores import SwapStore
    from ..results.swap import Swap

#: Failures that a message names one by one.
NAMED_FAILURES = 5


class GoEnhanceFaceSwapBatchOperator(FaceSwapOperatorBase):
    """
    Swap many pairs in one task, concurrently.

    Give it ``pairs``, or the number of a ``batch`` that :class:`.plan.GoEnhancePlanOperator` planned for this task.

    :param pairs: dicts with ``source_img`` (the face), ``reference_img`` (the target) and optionally ``pair_id`` and
        ``consent_ref``; or a JSON text of such (templated)
    :param batch: number of a planned batch (templated)
    :param label: name of the mapped task in the UI (templated); default: made from batch or pairs
    :param allowed_failure_share: the task fails when more than this share of its pairs went wrong, 0 to 1
        (default 0: any). Bad pairs never keep the good ones from being swapped (templated)
    :return: a list of ``{"pair_id": str, "img_uuid": str | None, "status": str}``, in the order of the manifest
    :raises BatchFailedError: when too many pairs went wrong
    :raises GoEnhanceError: when the account or the service did not let the batch go on
    """

    template_fields: Sequence[str] = (
        "pairs",
        "batch",
        "label_text",
        "allowed_failure_share",
        *FaceSwapOperatorBase.shared_template_fields,
    )
    template_fields_renderers = {"pairs": "json"}  # noqa: RUF012  Airflow declares it so

    def __init__(
        self,
        *,
        pairs: Sequence[Mapping[str, Any]] | str | None = None,
        batch: int | None = None,
        label: str | None = None,
        allowed_failure_share: float = 0.0,
        results_conn_id: str = "goenhance_results",
        **kwargs: Any,
    ) -> None:
        super().__init__(results_conn_id=results_conn_id, **kwargs)
        self.pairs = pairs
        self.batch = batch
        self.label_text = label
        self.allowed_failure_share = allowed_failure_share

    @property
    def label(self) -> str:
        """What a mapped task is called in the UI."""
        if self.label_text:
            return str(self.label_text)
        return f"batch {self.batch}" if self.batch is not None else f"{len(self._records())} pairs"

    def open_store(self, context: Context, account: Account) -> SwapStore:
        """Return this task's rows, planning them first if they came as ``pairs``."""
        from ..hooks.results import open_results
        from ..results.ledger import Ledger
        from ..results.stores import TableStore

        if (self.pairs is None) == (self.batch is None):
            raise ValueError("GoEnhanceFaceSwapBatchOperator takes either `pairs` or `batch`.")
        ledger = Ledger(open_results(str(self.results_conn_id)))
        key = self.run_key(context)
        if self.batch is not None:
            batch = int(self.batch)
            return TableStore(ledger, lambda: ledger.of_run(key, task_id=self.task_id, batch=batch))
        ids = self._plan(ledger, key, account, context)
        return TableStore(ledger, lambda: ledger.by_ids(ids))

    def _records(self) -> list[Mapping[str, Any]]:
        pairs = self.pairs
        if isinstance(pairs, str):
            try:
                pairs = json.loads(pairs)
            except ValueError:
                raise ValueError("`pairs` is neither a list nor a JSON text of one.") from None
        if not isinstance(pairs, list | tuple) or not all(isinstance(pair, Mapping) for pair in pairs):
            raise ValueError("`pairs` must be a list of dicts with `source_img` and `reference_img`.")
        return list(pairs)

    def _plan(self, ledger: Ledger, key: RunKey, account: Account, context: Context) -> list[str]:
        from ..manifest.records import check_pairs
        from .planning import rows_of, with_reused

        manifest = check_pairs(self._records(), location=f"pairs of task {self.task_id}")
        rows = rows_of(manifest, key, self.task_id, map_index=self.map_index_of(context))
        if self.reuse == "succeeded":
            rows = with_reused(rows, ledger, account.fingerprint, storage_conn_id=self.storage_conn_id)
        ledger.plan(key, rows)
        return [row.swap_id for row in rows]

    def push_uuids(self, context: Context, swaps: Sequence[Swap]) -> None:
        """Push ``{pair_id: img_uuid}`` under the key ``img_uuids``."""
        uuids = {swap.pair_id: swap.img_uuid for swap in swaps if swap.img_uuid}
        context["ti"].xcom_push(key="img_uuids", value=uuids)

    def conclude(self, swaps: Sequence[Swap]) -> list[dict[str, str | None]]:
        """Return ids and states, or raise if too many pairs went wrong."""
        counts = Counter(swap.status.value for swap in swaps)
        self.log.info(
            "%d pairs: %s.", len(swaps), ", ".join(f"{count} {status}" for status, count in counts.items())
        )
        bad = [swap for swap in swaps if swap.status.value in {"failed", "unknown", "rejected", "planned"}]
        for swap in bad:
            self.log.warning("%s is %s: %s", swap.named, swap.status.value, swap.error_message)
        self._raise_if_too_many(bad, swaps)
        return [
            {"pair_id": swap.pair_id, "img_uuid": swap.img_uuid, "status": swap.status.value}
            for swap in swaps
        ]

    def _raise_if_too_many(self, bad: Sequence[Swap], swaps: Sequence[Swap]) -> None:
        allowed = float(self.allowed_failure_share)
        if not bad or len(bad) <= allowed * len(swaps):
            return
        named = "; ".join(
            f"{swap.named} is {swap.status.value}: {swap.error_message}" for swap in bad[:NAMED_FAILURES]
        )
        more = f"; and {len(bad) - NAMED_FAILURES} more" if len(bad) > NAMED_FAILURES else ""
        message = (
            f"{len(bad)} of {len(swaps)} pairs went wrong, more than the allowed share of {allowed:g}. {named}{more}. "
            "Nothing is sent again by a retry. A new run reuses the swaps that succeeded and pays only for the others."
        )
        raise _verdict(bad)(message)


def _verdict(bad: Sequence[Swap]) -> type[GoEnhanceError]:
    """Return the class of the verdict: a retry is worth it only if some job can still be brought home."""
    from ..exceptions import CollectError
    from ..results.decide import job_itself_failed

    to_fetch = any(
        swap.status.value == "failed" and swap.img_uuid and not job_itself_failed(swap) for swap in bad
    )
    return CollectError if to_fetch else BatchFailedError
