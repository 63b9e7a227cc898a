# SPDX-License-Identifier: Apache-2.0
"""The budgets that runs were given, from the rendered arguments of their swap tasks that Airflow keeps."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from airflow.models.renderedtifields import RenderedTaskInstanceFields as Rendered
from airflow.utils.session import create_session

from ..results.plan import RunKey
from ..results.spending import Caps

log = logging.getLogger(__name__)


def caps_of_runs(tasks: Mapping[RunKey, Iterable[str]]) -> dict[RunKey, Caps]:
    """
    Return the budgets of runs; a run without one, or whose arguments Airflow has deleted, is left out.

    :param tasks: the swap tasks of each run; all mapped instances of one have the same budget, so one is read
    """
    task_ids = {task for names in tasks.values() for task in names}
    if not task_ids:
        return {}
    query = sa.select(Rendered.dag_id, Rendered.run_id, Rendered.task_id, Rendered.rendered_fields).where(
        Rendered.dag_id.in_({key.dag_id for key in tasks}),
        Rendered.run_id.in_({key.run_id for key in tasks}),
        Rendered.task_id.in_(task_ids),
        Rendered.map_index.in_((-1, 0)),
    )
    found: dict[RunKey, Caps] = {}
    try:
        with create_session() as session:
            for dag_id, run_id, task_id, fields in session.execute(query):
                key = RunKey(dag_id, run_id)
                if task_id in tasks.get(key, ()) and (caps := caps_in(fields)):
                    found[key] = caps
    except Exception as error:  # noqa: BLE001  the list is of use without budgets
        log.warning("The budgets of the runs could not be read from Airflow's database: %s", error)
    return found


def caps_in(fields: object) -> Caps | None:
    """Return the budget in the rendered arguments of a task; ``None`` if they have none that can be read."""
    read = fields if isinstance(fields, dict) else {}
    caps = Caps(_limit(read.get("max_pairs")), _limit(read.get("max_cost")))
    return caps or None


def _limit(value: Any) -> int | None:
    text = str(value).strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
