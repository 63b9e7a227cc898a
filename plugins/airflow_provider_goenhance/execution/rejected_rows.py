# SPDX-License-Identifier: Apache-2.0
"""Keep the rejected rows of a run beside its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..manifest.rejected import rejected_csv
from ..pictures.names import folder_for
from ..pictures.storage import keep_bytes

if TYPE_CHECKING:
    from ..manifest.model import Manifest
    from ..results.ledger import RunKey


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
