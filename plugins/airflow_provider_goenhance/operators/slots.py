# SPDX-License-Identifier: Apache-2.0
"""How many of a Dag's swap tasks may run at once, as far as a task can know it."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import conf


def slots_of(dag: Any, task_id: str) -> int | None:
    """
    Return how many mapped tasks of a run may be in progress at once, ``None`` if nothing limits them.

    Pools and the tasks of other Dags are left out: only the metadata database knows of them.

    :param dag: the Dag of the task
    :param task_id: the mapped task
    """
    task = getattr(dag, "task_dict", {}).get(task_id)
    limits = (
        getattr(task, "max_active_tis_per_dagrun", None),
        getattr(task, "max_active_tis_per_dag", None),
        getattr(dag, "max_active_tasks", None),
        conf.getint("core", "parallelism", fallback=0),
    )
    return min((int(limit) for limit in limits if limit), default=None)
