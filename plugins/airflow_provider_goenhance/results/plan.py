# SPDX-License-Identifier: Apache-2.0
"""Write the rows of a run: add the new ones, and leave the existing ones unchanged."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from .bounds import fit
from .database import IN_LIST
from .plan_transitions import Reinstated, Relinked, Repeated, Restored, Superseded, Withdrawn
from .swap import Swap
from .transition_sql import update, update_rows

#: Rows in one INSERT: a million rows as dicts, all at once, would take gigabytes.
INSERT_ROWS = 1000
_Links = tuple[str, str]


@dataclass(frozen=True, slots=True)
class RunKey:
    """One run of one Dag."""

    dag_id: str
    run_id: str


@dataclass(frozen=True, slots=True)
class PlanResult:
    """
    How many rows planning added and changed.

    :param added: new rows
    :param known: rows that an earlier attempt had planned already, left unchanged
    :param withdrawn: rows planned earlier, and not sent yet, that the manifest no longer holds
    :param restored: rows withdrawn earlier that the manifest holds again
    :param superseded: rows rejected earlier that the manifest no longer holds
    :param relinked: known rows whose links were replaced by those of the manifest as it is now
    """

    added: int
    known: int
    withdrawn: int
    restored: int
    superseded: int = 0
    relinked: int = 0


class Plan:
    """
    Plans one task's rows within one transaction.

    :param swaps: the results table
    :param task_id: the task that all rows belong to; ``None`` adds rows and changes no others
    """

    def __init__(self, connection: sa.Connection, swaps: sa.Table, key: RunKey, task_id: str | None) -> None:
        self._connection = connection
        self._swaps = swaps
        self._key = key
        self._task_id = task_id
        self._now = dt.datetime.now(dt.UTC)

    def write(self, wanted: Mapping[str, Swap]) -> PlanResult:
        """Write rows, given by their primary keys."""
        existing = self._existing(wanted)
        new = [swap for swap_id, swap in wanted.items() if swap_id not in existing]
        for start in range(0, len(new), INSERT_ROWS):
            rows = [self._row(swap) for swap in new[start : start + INSERT_ROWS]]
            self._connection.execute(sa.insert(self._swaps), rows)
        known = [swap_id for swap_id in wanted if swap_id in existing]
        gone = [swap_id for swap_id in existing if swap_id not in wanted]
        self._take(Reinstated, known)
        # Before others are withdrawn, which are rejected then.
        superseded = self._take(Superseded, gone)
        return PlanResult(
            superseded=superseded,
            added=len(new),
            known=len(known),
            withdrawn=self._take(Withdrawn, gone),
            restored=self._take(Restored, known),
            relinked=self._relink([wanted[swap_id] for swap_id in known], existing),
        )

    def _relink(self, known: list[Swap], existing: Mapping[str, _Links]) -> int:
        """Give known rows the links of the manifest as it is now: those of an earlier night may have expired."""
        steps = [step for swap in known if (step := Relinked.of(swap)).links != existing[swap.swap_id]]
        if steps:
            update(self._connection, self._swaps, steps)
        return len(steps)

    def _row(self, swap: Swap) -> dict[str, Any]:
        row = swap.to_row()
        row["planned_at"] = swap.planned_at or self._now
        # A rejected row may hold any text of the manifest, and must not fail the others.
        return {name: fit(value, self._swaps.c[name]) for name, value in row.items()}

    def _existing(self, wanted: Mapping[str, Swap]) -> dict[str, _Links]:
        """Return the links of the rows that exist already, by primary key."""
        c = self._swaps.c
        query = sa.select(c.swap_id, c.source_img, c.reference_img)
        if self._task_id is not None:
            of_task = (
                c.dag_id == self._key.dag_id,
                c.run_id == self._key.run_id,
                c.task_id == self._task_id,
            )
            return self._links(query.where(*of_task))
        found: dict[str, _Links] = {}
        ids = list(wanted)
        for start in range(0, len(ids), IN_LIST):
            found |= self._links(query.where(c.swap_id.in_(ids[start : start + IN_LIST])))
        return found

    def _links(self, query: sa.Select[Any]) -> dict[str, _Links]:
        return {row[0]: (row[1], row[2]) for row in self._connection.execute(query)}

    def _take(self, step: type[Repeated], ids: list[str]) -> int:
        return update_rows(self._connection, self._swaps, step, ids) if self._task_id is not None else 0
