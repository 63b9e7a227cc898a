# SPDX-License-Identifier: Apache-2.0
"""List the runs that have rows, the latest first, by looks into the index: one for each run, however large it is."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from .database import ResultsDatabase
from .plan import RunKey

_LONG_AGO = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class RunEntry:
    """
    A run that has rows.

    :param planned_at: when its first rows were planned
    """

    key: RunKey
    planned_at: dt.datetime

    @property
    def place(self) -> tuple[dt.datetime, str, str]:
        """Return the key that sorts runs."""
        return (self.planned_at, self.key.dag_id, self.key.run_id)


def dags_with_rows(database: ResultsDatabase) -> list[str]:
    """Return the ids of the Dags that have rows."""
    c = database.swaps.c

    def work(connection: sa.Connection) -> list[str]:
        found: list[str] = []
        while True:
            further = (c.dag_id > found[-1],) if found else ()
            following = connection.scalar(sa.select(sa.func.min(c.dag_id)).where(*further))
            if following is None:
                return found
            found.append(following)

    return database.run_read(work)


def runs_of(database: ResultsDatabase, dag_ids: Iterable[str]) -> list[RunEntry]:
    """Return the runs of some Dags that have rows, the latest first."""
    found = [
        RunEntry(RunKey(dag_id, row["run_id"]), row["planned_at"] or _LONG_AGO)
        for dag_id in dag_ids
        for row in database.read(_runs_query(database.swaps, dag_id))
    ]
    return sorted(found, key=lambda entry: entry.place, reverse=True)


def _runs_query(swaps: sa.Table, dag_id: str) -> sa.Select[tuple[str, dt.datetime | None]]:
    """Return the query that goes from one run of a Dag to the next in the index, and reads one row of each."""
    c = swaps.c
    of_dag = c.dag_id == dag_id
    runs = sa.select(sa.func.min(c.run_id).label("run_id")).where(of_dag).cte("runs", recursive=True)
    following = sa.select(sa.func.min(c.run_id)).where(of_dag, c.run_id > runs.c.run_id).scalar_subquery()
    runs = runs.union_all(sa.select(following).where(runs.c.run_id.is_not(None)))
    first = sa.select(c.planned_at).where(of_dag, c.run_id == runs.c.run_id)
    # In the order of the index: without it, PostgreSQL may read the table to find the first row of a run.
    planned_at = first.order_by(c.task_id, c.batch).limit(1).scalar_subquery()
    return sa.select(runs.c.run_id, planned_at.label("planned_at")).where(runs.c.run_id.is_not(None))
