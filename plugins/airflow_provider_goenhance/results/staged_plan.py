# SPDX-License-Identifier: Apache-2.0
"""Write the rows that a plan wants, of one task of a run: set by set, however many there are."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from .columns import UtcDateTime
from .plan import PlanResult, RunKey
from .plan_transitions import Readmitted, Reinstated, Relinked, Restored, Superseded, Withdrawn
from .staged_rows import StagedRows, drop_staging_table
from .states import Status
from .swap import Swap
from .transition_sql import update_from, update_where


@dataclass(frozen=True, slots=True)
class StagedPlan:
    """
    Plans the rows of one task of a run, in one transaction.

    :param swaps: the results table
    :param key: the run
    :param task_id: the task that all rows belong to
    :param rows: the rows that the run shall have
    :param pairs_per_task: new rows in one batch, of those with a place
    """

    swaps: sa.Table
    key: RunKey
    task_id: str
    rows: StagedRows
    pairs_per_task: int = 1

    def write(self, connection: sa.Connection) -> PlanResult:
        """Add the rows that are missing, and take the steps of those that came, left or changed."""
        stage = self.rows.load(connection)
        c = self.swaps.c
        last_batch = connection.execute(sa.select(sa.func.max(c.batch)).where(*self._of_task())).scalar_one()
        any_row = connection.execute(sa.select(c.swap_id).where(*self._of_task()).limit(1)).first()
        withdrawn = restored = superseded = relinked = 0
        if any_row:
            if connection.dialect.name == "postgresql":
                # No autovacuum looks at a temporary table, and without figures a join may take hours.
                connection.exec_driver_sql(f"ANALYZE {stage.name} (swap_id)")
            wanted = sa.exists().where(stage.c.swap_id == self.swaps.c.swap_id)
            known, gone = (*self._of_task(), wanted), (*self._of_task(), ~wanted)
            update_where(connection, self.swaps, Reinstated, *known)
            # Before others are withdrawn, which are rejected then.
            superseded = update_where(connection, self.swaps, Superseded, *gone)
            withdrawn = update_where(connection, self.swaps, Withdrawn, *gone)
            restored = update_where(connection, self.swaps, Restored, *known)
            # A row that the manifest rejects has an id of its own, and is wanted as rejected.
            sendable = wanted.where(stage.c.status == Status.PLANNED)
            restored += update_where(connection, self.swaps, Readmitted, *self._of_task(), sendable)
            relinked = update_from(connection, self.swaps, Relinked, stage)
        added = connection.execute(
            self.insert(stage, connection.dialect.name),
            {
                "plan_first": 0 if last_batch is None else last_batch + 1,
                "plan_size": self.pairs_per_task,
                "plan_now": dt.datetime.now(dt.UTC),
            },
            # Otherwise an INSERT has none with psycopg.
            execution_options={"preserve_rowcount": True},
        ).rowcount
        wanted_rows = connection.execute(sa.select(sa.func.count()).select_from(stage)).scalar_one()
        drop_staging_table(connection)
        return PlanResult(
            added=added,
            known=wanted_rows - added,
            withdrawn=withdrawn,
            restored=restored,
            superseded=superseded,
            relinked=relinked,
        )

    def _of_task(self) -> tuple[sa.ColumnElement[bool], ...]:
        c = self.swaps.c
        return c.dag_id == self.key.dag_id, c.run_id == self.key.run_id, c.task_id == self.task_id

    def count(self, connection: sa.Connection) -> int:
        """Return how many rows the task has."""
        query = sa.select(sa.func.count()).select_from(self.swaps).where(*self._of_task())
        return int(connection.execute(query).scalar_one())

    def insert(self, stage: sa.Table, dialect: str) -> Any:
        """Return the statement that adds the rows of the temporary table which the run does not have yet."""
        first, size = (sa.bindparam(name, type_=sa.Integer) for name in ("plan_first", "plan_size"))
        # Without a place, NULL.
        batch = first + (stage.c.place - stage.c.place % size) / size
        now = sa.bindparam("plan_now", type_=UtcDateTime)
        values: dict[str, Any] = {name: stage.c[name] for name in Swap.names()}
        values["planned_at"] = sa.func.coalesce(stage.c.planned_at, now)
        for name in ("batch", "map_index"):
            values[name] = sa.func.coalesce(stage.c[name], sa.cast(batch, sa.Integer))
        rows = sa.select(*values.values()).where(stage.c.known == 0)
        if dialect in {"postgresql", "sqlite"}:
            # Another planner of this run may have added a row.
            kind: Any = {"postgresql": postgresql, "sqlite": sqlite}[dialect]
            rows = rows.order_by(stage.c.place) if dialect == "sqlite" else rows
            return kind.insert(self.swaps).from_select(list(values), rows).on_conflict_do_nothing()
        missing = ~sa.exists().where(self.swaps.c.swap_id == stage.c.swap_id)
        return sa.insert(self.swaps).from_select(list(values), rows.where(missing))
