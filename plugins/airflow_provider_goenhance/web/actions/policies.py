# SPDX-License-Identifier: Apache-2.0
"""The policies with which a task ran, from the rendered fields that Airflow keeps: they decide what a clear pays."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from ...execution.what_follows import TaskInstance
from ...results.plan import RunKey
from ...results.recovery import Policies

log = logging.getLogger(__name__)


def policies_of_run(key: RunKey, tasks: Sequence[TaskInstance]) -> Callable[[TaskInstance], Policies]:
    """Return the function that returns a task instance's policies: the defaults where Airflow kept none."""
    found = {
        TaskInstance(task_id, map_index): policies_from(fields)
        for task_id, map_index, fields in rendered_fields(key, sorted({task.task_id for task in tasks}))
    }
    return lambda task: found.get(task, Policies())


def forgotten_policies(key: RunKey, tasks: Sequence[TaskInstance]) -> int:
    """Return of how many task instances Airflow has kept no rendered fields, so that their policies are not known."""
    known = {
        TaskInstance(task_id, map_index)
        for task_id, map_index, _ in rendered_fields(key, sorted({task.task_id for task in tasks}))
    }
    return len(set(tasks) - known)


def policies_from(fields: object) -> Policies:
    """Return the policies in the rendered fields of a swap task; the defaults for what cannot be read."""
    read = fields if isinstance(fields, dict) else {}
    try:
        return Policies(
            str(read.get("on_unknown_submit") or "hold"),  # type: ignore[arg-type]
            str(read.get("on_clear") or "reattach"),  # type: ignore[arg-type]
            int(read.get("failed_job_resubmits") or 0),
            str(read.get("reuse") or "succeeded"),  # type: ignore[arg-type]
        )
    except (ValueError, TypeError):
        return Policies()


def rendered_fields(key: RunKey, task_ids: Sequence[str]) -> list[tuple[str, int, Any]]:
    """Return the rendered arguments of the instances of tasks, with task and map index."""
    import sqlalchemy as sa
    from airflow.models.renderedtifields import RenderedTaskInstanceFields as Rendered
    from airflow.utils.session import create_session

    query = sa.select(Rendered.task_id, Rendered.map_index, Rendered.rendered_fields).where(
        Rendered.dag_id == key.dag_id, Rendered.run_id == key.run_id, Rendered.task_id.in_(task_ids)
    )
    try:
        with create_session() as session:
            return [tuple(row) for row in session.execute(query)]
    except Exception as error:  # noqa: BLE001  a preview with the defaults is better than none
        log.warning(
            "The rendered fields of run %s of Dag %s could not be read: %s", key.run_id, key.dag_id, error
        )
        return []
