# SPDX-License-Identifier: Apache-2.0
"""Log the rejected rows of a run, keep them beside its pictures, and refuse a run that has no others."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..exceptions import BatchFailedError
from ..manifest.rejected import rejected_csv
from ..pictures.names import folder_for
from ..pictures.storage import keep_bytes
from ..results.states import Status
from .messages import pluralize

if TYPE_CHECKING:
    from ..manifest.model import Manifest
    from ..results.ledger import RunKey
    from ..results.swap import Swap

log = logging.getLogger(__name__)

#: Rejected rows that the log lists one by one; all are in the results table.
NAMED_ROWS = 50


def log_rejected(manifest: Manifest) -> None:
    """Log how many rows of a manifest can be swapped, and why the others cannot."""
    log.info(
        "%s: %s to swap, %s rejected.",
        manifest.location,
        pluralize(len(manifest.pairs), "pair"),
        pluralize(len(manifest.rejected), "row"),
    )
    for row in manifest.rejected[:NAMED_ROWS]:
        log.warning("Row %d is rejected: %s.", row.row_number, row.reason)
    if len(manifest.rejected) > NAMED_ROWS:
        log.warning("... and %d more, all in the results table.", len(manifest.rejected) - NAMED_ROWS)


def keep_rejected(
    manifests: Sequence[Manifest], key: RunKey, task_id: str, storage: str, *, conn_id: str | None = None
) -> str | None:
    """
    Store ``<storage>/<run>/<Dag and task>/rejected.csv``, and return its URI; ``None`` if no row is rejected.

    Dags on one schedule have runs of the same name, which share a folder: hence one more for each Dag and task.

    :param task_id: the task that plans
    :raises CollectError: when the storage cannot be used
    """
    if not any(manifest.rejected for manifest in manifests):
        return None
    name = f"{folder_for(key.run_id)}/{folder_for(f'{key.dag_id}.{task_id}')}/rejected.csv"
    return keep_bytes(rejected_csv(manifests), storage, name, conn_id=conn_id)


def refuse_if_all_rejected(rows: Sequence[Swap], manifests: Sequence[Manifest]) -> None:
    """
    Raise if no row of a run can be swapped.

    :raises BatchFailedError: when all are rejected
    """
    if any(row.status is not Status.REJECTED for row in rows):
        return
    locations = ", ".join(manifest.location for manifest in manifests)
    raise BatchFailedError(
        f"None of the {pluralize(len(rows), 'row')} of {locations} can be swapped; "
        f"{rows[0].label} is rejected: {rows[0].error_message} Nothing was sent or paid. Correct the manifest, "
        "then start a new run, or clear this task to read the manifest again."
    )
