# SPDX-License-Identifier: Apache-2.0
"""Plan the rows of a run: ids, and reuse of earlier pictures and jobs."""

from __future__ import annotations

import dataclasses
import datetime as dt
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..results.states import OnUnknownSubmit, Status
from ..results.swap import Swap, new_swap, pair_fingerprint, swap_id_for
from .input_versions import with_versions
from .messages import pluralize
from .pair_decisions import decide_pairs, decided
from .plan_notes import NAMED_PAIRS, PlanNotes
from .reused_marks import with_marked_pictures

if TYPE_CHECKING:
    from ..inputs.versions import LookUp
    from ..manifest.model import Manifest, Pair, RejectedRow
    from ..results.ledger import Ledger, RunKey

log = logging.getLogger(__name__)

#: Length of the column; only a rejected pair_id can be longer.
MAX_PAIR_ID = 250


def plan_rows(
    manifest: Manifest,
    key: RunKey,
    task_id: str,
    *,
    map_index: int | None = None,
    known_in: Ledger | None = None,
    account: str = "",
    reuse: bool = True,
    on_unknown_submit: OnUnknownSubmit = "hold",
    storage_conn_id: str | None = None,
    marking: bool = False,
    notes: PlanNotes | None = None,
    look_up: LookUp | None = None,
    planned_before: bool = True,
) -> list[Swap]:
    """
    Return the rows for the pairs of a manifest: ``rejected`` with the reason, or ``planned``.

    With a results table, a pair that an earlier run has paid for is ``reused`` if its picture is still in storage, and
    otherwise ``submitted`` with the earlier job, which is then collected here. A pair whose latest submit may have been
    accepted is ``held``.

    :param task_id: the task that will swap them
    :param map_index: its map index, if known already
    :param known_in: the results table, with the earlier runs and maybe rows of this one; ``None`` if there is none
    :param account: fingerprint of the account that would pay
    :param reuse: whether earlier pictures and jobs serve
    :param on_unknown_submit: what happens to a pair whose latest submit may have been accepted
    :param storage_conn_id: Airflow connection of the storage
    :param marking: whether a reused picture without the mark is replaced by a marked copy
    :param look_up: says what private pictures there are; a row whose picture is not there is ``rejected``
    :param planned_before: whether the run may have rows from an earlier plan
    :param notes: collects the warnings about pairs, to be logged by the caller; default: they are logged here
    """
    planned = [_planned(pair, manifest, key, task_id) for pair in manifest.pairs]
    rows = with_versions(planned, look_up, known_in) if look_up is not None else planned
    rows += [_rejected(row, manifest, key, task_id) for row in manifest.rejected]
    rows = [dataclasses.replace(row, map_index=map_index) for row in rows] if map_index is not None else rows
    if known_in is None:
        return rows
    found = notes or PlanNotes(storage_conn_id)
    rows = known_in.with_known_ids(key, task_id, rows) if planned_before else rows
    found.warn_of_new_links(rows, known_in, key, task_id)
    rows = _with_earlier(
        rows,
        known_in,
        account,
        found,
        reuse=reuse,
        on_unknown_submit=on_unknown_submit,
        storage_conn_id=storage_conn_id,
    )
    rows = with_marked_pictures(rows, storage_conn_id) if marking else rows
    if notes is None:
        found.log()
    return rows


def _planned(pair: Pair, manifest: Manifest, key: RunKey, task_id: str) -> Swap:
    return _row(
        pair,
        manifest,
        key,
        task_id,
        scope=task_id,
        status=Status.PLANNED,
    )


def _rejected(row: RejectedRow, manifest: Manifest, key: RunKey, task_id: str) -> Swap:
    return _row(
        row,
        manifest,
        key,
        task_id,
        # The row number is part of the key here: several bad rows may have the same pair_id, or none.
        scope=f"{task_id}#rejected-{row.row_number}-{row.code}",
        status=Status.REJECTED,
        error_code=row.code,
        error_message=f"{row.reason}. Never sent.",
        finished_at=dt.datetime.now(dt.UTC),
    )


def _row(
    row: Pair | RejectedRow, manifest: Manifest, key: RunKey, task_id: str, *, scope: str, **columns: Any
) -> Swap:
    fingerprint = pair_fingerprint(
        row.source_img, row.reference_img, source_key=row.source_key, reference_key=row.reference_key
    )
    return new_swap(
        swap_id=swap_id_for(key.dag_id, key.run_id, scope, row.pair_id, fingerprint),
        dag_id=key.dag_id,
        run_id=key.run_id,
        task_id=task_id,
        manifest=manifest.location,
        row_number=row.row_number,
        pair_id=row.pair_id[:MAX_PAIR_ID],
        source_img=row.source_img,
        reference_img=row.reference_img,
        pair_fingerprint=fingerprint,
        consent_ref=row.consent_ref,
        source_key=row.source_key,
        reference_key=row.reference_key,
        labels=row.labels,
        consent_expires=row.consent_expires,
        manifest_sha256=manifest.sha256,
        **columns,
    )


def settle_expired_claims(ledger: Ledger) -> None:
    """Settle and name the rows of any run whose execution was killed in the middle of a submit."""
    left = ledger.settle_expired_claims()
    if left:
        log.warning(
            "%s in progress when its execution was killed, some time ago: marked unknown, because each may have been "
            "accepted and paid for: %s%s. Compare with the vendor's console.",
            pluralize(len(left), "submit was", "submits were"),
            ", ".join(f"{swap.label} of run {swap.run_id}" for swap in left[:NAMED_PAIRS]),
            ", ..." if len(left) > NAMED_PAIRS else "",
        )


def _with_earlier(
    rows: Sequence[Swap],
    ledger: Ledger,
    account: str,
    notes: PlanNotes,
    *,
    reuse: bool,
    on_unknown_submit: OnUnknownSubmit,
    storage_conn_id: str | None,
) -> list[Swap]:
    """Return the rows, with earlier pictures and jobs attached, and held where a submit has an unknown outcome."""
    planned = [row for row in rows if row.status is Status.PLANNED]
    decisions = decide_pairs(
        planned,
        ledger,
        account,
        reuse=reuse,
        on_unknown_submit=on_unknown_submit,
        storage_conn_id=storage_conn_id,
        planning=True,
        kept=notes.kept,
    )
    found = [decided(row, decisions[row.swap_id]) if row.status is Status.PLANNED else row for row in rows]
    notes.note_held(found)
    return found
