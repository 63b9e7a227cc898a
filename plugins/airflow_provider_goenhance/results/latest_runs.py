# SPDX-License-Identifier: Apache-2.0
"""Find the runs whose rows were planned last, of all Dags or of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from .plan import RunKey

if TYPE_CHECKING:
    from .database import ResultsDatabase


def latest_runs(database: ResultsDatabase, *, dag_id: str | None = None, limit: int) -> list[RunKey]:
    """
    Return the runs whose rows were planned last, the latest first.

    :param dag_id: only runs of this Dag
    :param limit: maximum number of runs
    """
    c = database.swaps.c
    query = sa.select(c.dag_id, c.run_id).group_by(c.dag_id, c.run_id)
    if dag_id is not None:
        query = query.where(c.dag_id == dag_id)
    query = query.order_by(sa.func.max(c.planned_at).desc(), c.dag_id, c.run_id).limit(limit)
    return [RunKey(row["dag_id"], row["run_id"]) for row in database.read(query)]
