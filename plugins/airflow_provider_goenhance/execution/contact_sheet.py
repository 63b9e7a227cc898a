# SPDX-License-Identifier: Apache-2.0
"""Make the contact sheet of a run and store it beside the pictures."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..manifest.labels import labels_line
from ..pictures.contact_sheet import SheetRow, fetch_inputs, make_contact_sheet
from ..pictures.names import folder_for, sheet_name_for
from ..pictures.storage import keep_bytes
from ..results.states import Status
from .task_loop import TaskLoop

if TYPE_CHECKING:
    from ..results.ledger import RunKey
    from ..results.swap import Swap

_GOOD = frozenset({Status.SUCCEEDED, Status.REUSED, Status.SUBMITTED})


def keep_contact_sheet(
    swaps: Sequence[Swap], key: RunKey, task_id: str, storage: str, *, conn_id: str | None = None
) -> str:
    """
    Make the sheet of a run, store it beside the pictures, and return its URI.

    :param swaps: all rows of the run
    :param task_id: the report task, which names the sheet
    :raises CollectError: when the storage cannot be used
    """
    rows = [
        SheetRow(
            pair_id=swap.pair_id,
            status=swap.status,
            good=swap.status in _GOOD,
            sent=swap.status is not Status.REJECTED,
            source_img=swap.source_img,
            reference_img=swap.reference_img,
            result_uri=swap.result_uri,
            img_uuid=swap.img_uuid,
            reason=swap.error_message,
            labels=labels_line(swap.labels),
        )
        for swap in swaps
    ]
    inputs = TaskLoop().run(lambda: fetch_inputs(rows))
    sheet = make_contact_sheet(f"Face swaps of {key.run_id}", run_facts(swaps), rows, inputs, conn_id=conn_id)
    name = f"{folder_for(key.run_id)}/{sheet_name_for(key.dag_id, task_id)}"
    return keep_bytes(sheet, storage, name, conn_id=conn_id)


def run_facts(swaps: Sequence[Swap]) -> dict[str, str]:
    """Return the summary of a run: counts, durations, costs."""
    facts = {
        str(status): str(count) for status in Status if (count := sum(s.status is status for s in swaps))
    }
    seconds = sorted(
        _seconds(swap) for swap in swaps if swap.status is Status.SUCCEEDED and _seconds(swap) >= 0
    )
    if seconds:
        facts["median seconds per job"] = f"{seconds[len(seconds) // 2]:.0f}"
        facts["slowest"] = f"{seconds[-1]:.0f}"
    costs = [swap.cost for swap in swaps if swap.cost is not None]
    if any(costs):
        facts["credits"] = str(sum(costs))
    facts["submits that may have been paid for"] = str(sum(swap.attempts for swap in swaps))
    return facts


def _seconds(swap: Swap) -> float:
    if swap.submitted_at is None or swap.finished_at is None:
        return -1.0
    return (swap.finished_at - swap.submitted_at) / dt.timedelta(seconds=1)
