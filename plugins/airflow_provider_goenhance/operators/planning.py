# SPDX-License-Identifier: Apache-2.0
"""From pairs to rows: ids, earlier pictures that serve again, and batches."""

from __future__ import annotations

import dataclasses
import datetime as dt
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from ..results.states import Status
from ..results.swap import Swap, pair_fingerprint, swap_id_for

if TYPE_CHECKING:
    from ..manifest.model import Manifest, Pair, RejectedRow
    from ..results.ledger import Ledger, RunKey

log = logging.getLogger(__name__)

#: Storage look-ups at once, when it is checked that earlier pictures are still there.
STORAGE_THREADS = 16


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


def with_reused(
    rows: Sequence[Swap], ledger: Ledger, account: str, *, storage_conn_id: str | None = None
) -> list[Swap]:
    """
    Let an earlier run's picture serve where there is one: same pair, same account, succeeded, and still kept.

    :param account: fingerprint of the account that would pay
    """
    wanted = {row.pair_fingerprint for row in rows if row.status is Status.PLANNED}
    kept = _still_there(ledger.reusable(wanted, account), storage_conn_id)
    return [
        _reused(row, kept[row.pair_fingerprint])
        if row.status is Status.PLANNED and row.pair_fingerprint in kept
        else row
        for row in rows
    ]


def _still_there(earlier: dict[str, Swap], storage_conn_id: str | None) -> dict[str, Swap]:
    from ..collect.store import picture_exists

    def exists(swap: Swap) -> bool:
        try:
            return bool(swap.result_uri) and picture_exists(str(swap.result_uri), storage_conn_id)
        except Exception as error:  # noqa: BLE001  a storage in trouble must neither make us pay again nor end the run
            log.warning("Could not look for %s: %s. It is taken to be there still.", swap.result_uri, error)
            return True

    with ThreadPoolExecutor(STORAGE_THREADS) as pool:
        there = list(pool.map(exists, earlier.values()))
    gone = sum(not found for found in there)
    if gone:
        log.warning("%d earlier pictures are no longer in storage: their pairs are submitted anew.", gone)
    return {
        fingerprint: swap for (fingerprint, swap), found in zip(earlier.items(), there, strict=True) if found
    }


def _reused(row: Swap, earlier: Swap) -> Swap:
    return dataclasses.replace(
        row,
        status=Status.REUSED,
        img_uuid=earlier.img_uuid,
        account=earlier.account,
        result_uri=earlier.result_uri,
        result_sha256=earlier.result_sha256,
        reused_from=earlier.swap_id,
        cost=0,
        finished_at=dt.datetime.now(dt.UTC),
    )


def into_batches(rows: Sequence[Swap], pairs_per_task: int, *, first_batch: int = 0) -> list[Swap]:
    """
    Give each planned row its batch, which is also the map index of its task.

    :param pairs_per_task: rows in one batch
    :param first_batch: number of the first batch, above those that the run has already
    """
    numbered: list[Swap] = []
    planned = 0
    for row in rows:
        if row.status is Status.PLANNED:
            batch = first_batch + planned // pairs_per_task
            numbered.append(dataclasses.replace(row, batch=batch, map_index=batch))
            planned += 1
        else:
            numbered.append(row)
    return numbered
