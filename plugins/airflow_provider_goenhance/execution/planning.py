# SPDX-License-Identifier: Apache-2.0
"""From pairs to rows: ids, what earlier runs have that serves again, and batches."""

from __future__ import annotations

import dataclasses
import datetime as dt
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from ..results.reuse import adopting, by_pair, job_of, may_have_been_paid, picture_of, reusing
from ..results.states import Status
from ..results.swap import Swap, pair_fingerprint, swap_id_for
from .messages import pluralize

if TYPE_CHECKING:
    from ..manifest.model import Manifest, Pair, RejectedRow
    from ..results.ledger import Ledger, RunKey

log = logging.getLogger(__name__)

#: Storage look-ups at once, when it is checked that earlier pictures are still there.
STORAGE_THREADS = 16
#: Pairs that a warning names.
NAMED_PAIRS = 10


def rows_of(manifest: Manifest, key: RunKey, task_id: str, *, map_index: int | None = None) -> list[Swap]:
    """
    Return the rows that a manifest's pairs become: ``planned``, and ``rejected`` with the reason.

    :param task_id: the task that will swap them
    :param map_index: its map index, where that is known already
    """
    rows = [_planned(pair, manifest, key, task_id, map_index) for pair in manifest.pairs]
    return rows + [_rejected(row, manifest, key, task_id, map_index) for row in manifest.rejected]


def _planned(pair: Pair, manifest: Manifest, key: RunKey, task_id: str, map_index: int | None) -> Swap:
    fingerprint = pair_fingerprint(pair.source_img, pair.reference_img)
    return Swap(
        swap_id=swap_id_for(key.dag_id, key.run_id, task_id, pair.pair_id, fingerprint),
        dag_id=key.dag_id,
        run_id=key.run_id,
        task_id=task_id,
        map_index=map_index,
        manifest=manifest.location,
        row_number=pair.row_number,
        pair_id=pair.pair_id,
        source_img=pair.source_img,
        reference_img=pair.reference_img,
        pair_fingerprint=fingerprint,
        consent_ref=pair.consent_ref,
        status=Status.PLANNED,
    )


def _rejected(row: RejectedRow, manifest: Manifest, key: RunKey, task_id: str, map_index: int | None) -> Swap:
    fingerprint = pair_fingerprint(row.source_img, row.reference_img)
    # The row number belongs to the key here: several bad rows may have the same, or no, pair_id.
    scope = f"{task_id}#rejected-{row.row_number}-{row.code}"
    return Swap(
        swap_id=swap_id_for(key.dag_id, key.run_id, scope, row.pair_id, fingerprint),
        dag_id=key.dag_id,
        run_id=key.run_id,
        task_id=task_id,
        map_index=map_index,
        manifest=manifest.location,
        row_number=row.row_number,
        pair_id=row.pair_id[:250],
        source_img=row.source_img,
        reference_img=row.reference_img,
        pair_fingerprint=fingerprint,
        status=Status.REJECTED,
        error_code=row.code,
        error_message=f"Row {row.row_number}: {row.reason}. Never sent.",
        finished_at=dt.datetime.now(dt.UTC),
    )


def with_earlier(
    rows: Sequence[Swap], ledger: Ledger, account: str, *, storage_conn_id: str | None = None
) -> list[Swap]:
    """
    Let serve what an earlier run has paid for: its picture, or else its job, which is then waited for here.

    :param account: fingerprint of the account that would pay
    """
    planned = {row.pair_fingerprint for row in rows if row.status is Status.PLANNED}
    of_pair = by_pair(ledger.earlier(planned, account))
    pictures = _still_there(
        [swap for rows_ in of_pair.values() if (swap := picture_of(rows_))], storage_conn_id
    )
    jobs = {fingerprint: job for fingerprint, rows_ in of_pair.items() if (job := job_of(rows_))}

    def served(row: Swap) -> Swap:
        if row.status is not Status.PLANNED:
            return row
        if picture := pictures.get(row.pair_fingerprint):
            return reusing(row, picture)
        job = jobs.get(row.pair_fingerprint)
        return adopting(row, job) if job else row

    found = [served(row) for row in rows]
    _warn_of_unknown([row for row in found if may_have_been_paid(of_pair.get(row.pair_fingerprint, []))])
    return found


def _warn_of_unknown(rows: Sequence[Swap]) -> None:
    again = [row for row in rows if row.status is Status.PLANNED]
    if again:
        log.warning(
            "%s submitted again though an earlier run's submit may have been accepted and paid for, because nobody "
            "knows that job's UUID: %s%s.",
            pluralize(len(again), "pair is", "pairs are"),
            ", ".join(row.label for row in again[:NAMED_PAIRS]),
            ", ..." if len(again) > NAMED_PAIRS else "",
        )


def _still_there(earlier: Sequence[Swap], storage_conn_id: str | None) -> dict[str, Swap]:
    """Return, by pair, the rows whose picture is in storage."""
    from ..pictures.storage import picture_exists

    def exists(swap: Swap) -> bool:
        try:
            return picture_exists(str(swap.result_uri), storage_conn_id)
        except Exception as error:  # noqa: BLE001  a storage in trouble must neither make us pay again nor end the run
            log.warning("Could not look for %s: %s. It is taken to be there still.", swap.result_uri, error)
            return True

    with ThreadPoolExecutor(STORAGE_THREADS) as pool:
        there = list(pool.map(exists, earlier))
    gone = sum(not found for found in there)
    if gone:
        log.warning(
            "%s no longer in storage; where GoEnhance still has the job it is fetched again, which costs nothing.",
            pluralize(gone, "earlier picture is", "earlier pictures are"),
        )
    return {swap.pair_fingerprint: swap for swap, found in zip(earlier, there, strict=True) if found}


def is_work(row: Swap) -> bool:
    """Tell whether a new row needs a task: to be submitted, or because it waits for an earlier run's job."""
    return row.status in {Status.PLANNED, Status.SUBMITTED}


def into_batches(rows: Sequence[Swap], pairs_per_task: int, *, first_batch: int = 0) -> list[Swap]:
    """
    Give each row that is to be swapped or waited for its batch, which is also the map index of its task.

    :param pairs_per_task: rows in one batch
    :param first_batch: number of the first batch, above those that the run has already
    """
    numbered: list[Swap] = []
    placed = 0
    for row in rows:
        if is_work(row):
            batch = first_batch + placed // pairs_per_task
            numbered.append(dataclasses.replace(row, batch=batch, map_index=batch))
            placed += 1
        else:
            numbered.append(row)
    return numbered
