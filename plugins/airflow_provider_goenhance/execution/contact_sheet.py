# SPDX-License-Identifier: Apache-2.0
"""Make the contact sheet of a run and store it beside the pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..manifest.labels import labels_line
from ..pictures.contact_sheet import MOST_ROWS, SheetRow, fetch_inputs, make_contact_sheet
from ..pictures.names import folder_for, sheet_name_for
from ..pictures.storage import keep_bytes
from ..results.states import Status
from .messages import suspicions
from .task_loop import TaskLoop

if TYPE_CHECKING:
    from ..results.ledger import RunKey
    from ..results.run_rows import RunRows
    from ..results.run_summary import RunSummary
    from ..results.swap import Swap

_GOOD = frozenset({Status.SUCCEEDED, Status.REUSED, Status.SUBMITTED})
#: Rows whose inputs are not fetched: what was refused, and what has no result yet to compare them with.
_WITHOUT_INPUTS = frozenset({Status.REJECTED, Status.SUBMITTED})
#: Rows that went wrong on the sheet of a large run, which shows pictures too.
MOST_FAILURES = MOST_ROWS // 2
#: Rows with a suspicious picture on it, at most.
MOST_SUSPICIOUS = MOST_ROWS // 4


def rows_to_show(rows: Callable[..., RunRows], summary: RunSummary) -> list[Swap]:
    """
    Return the rows of a run that the sheet shows: all of a small run, or the first ones of each kind.

    Those are failures, then suspicious pictures, then others.

    :param rows: makes a selection of the run's rows
    """
    if summary.rows <= MOST_ROWS:
        return rows().page(MOST_ROWS)
    bad = frozenset(Status) - _GOOD
    good = summary.rows - sum(summary.counts[status] for status in bad)
    shown: list[Swap] = []
    if good < summary.rows:
        shown = rows(statuses=bad).page(max(MOST_FAILURES, MOST_ROWS - good))
    if summary.suspicious:
        shown += rows(statuses=_GOOD, is_suspicious=True).page(MOST_SUSPICIOUS)
    return [*shown, *(rows(statuses=_GOOD, is_suspicious=False).page(MOST_ROWS - len(shown)) if good else ())]


def keep_contact_sheet(
    swaps: Sequence[Swap],
    summary: RunSummary,
    key: RunKey,
    task_id: str,
    storage: str,
    *,
    conn_id: str | None = None,
    page: str | None = None,
) -> str:
    """
    Make the sheet of a run, store it beside the pictures, and return its URI.

    :param swaps: the rows to show, from :func:`rows_to_show`
    :param summary: the whole run in figures
    :param task_id: the report task, which names the sheet
    :param page: address of the results page of the run
    :raises CollectError: when the storage cannot be used
    """
    rows = [
        SheetRow(
            pair_id=swap.pair_id,
            status=swap.status,
            good=swap.status in _GOOD,
            with_inputs=swap.status not in _WITHOUT_INPUTS and swap.erased_at is None,
            source_img=swap.source_img,
            reference_img=swap.reference_img,
            result_uri=swap.result_uri,
            img_uuid=swap.img_uuid,
            reason=swap.error_message,
            labels=labels_line(swap.labels),
            thumbnail=swap.thumbnail_uri,
            source_thumbnail=swap.source_thumbnail_uri,
            reference_thumbnail=swap.reference_thumbnail_uri,
            suspicion=swap.suspicion,
        )
        for swap in swaps
    ]
    inputs = TaskLoop().run(lambda: fetch_inputs(rows, conn_id=conn_id))
    sheet = make_contact_sheet(
        f"Face swaps of {key.run_id}",
        run_facts(summary),
        rows,
        inputs,
        conn_id=conn_id,
        total=summary.rows,
        page=page,
    )
    name = f"{folder_for(key.run_id)}/{sheet_name_for(key.dag_id, task_id)}"
    return keep_bytes(sheet, storage, name, conn_id=conn_id)


def run_facts(summary: RunSummary) -> dict[str, str]:
    """Return the summary of a run: counts, durations, costs."""
    facts = {str(status): f"{count:,}" for status, count in summary.counts.items() if count}
    if summary.suspicious:
        facts["suspicious"] = suspicions(summary.suspicious)
    if summary.median_seconds is not None:
        facts["median seconds per job"] = str(summary.median_seconds)
        facts["slowest"] = str(summary.slowest_seconds)
    if summary.cost:
        facts["credits"] = f"{summary.cost:,}"
    facts["submits that may have been paid for"] = f"{summary.attempts:,}"
    return facts
