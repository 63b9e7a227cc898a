# SPDX-License-Identifier: Apache-2.0
"""Add rows to a run, and leave the existing ones unchanged."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from .bounds import fit
from .key_lists import among
from .plan_transitions import Relinked
from .swap import Swap
from .transition_sql import update

#: Rows in one INSERT.
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


class AddedRows:
    """
    Adds a few rows to a run within one transaction, and changes no others; see :mod:`.staged_plan` for whole runs.

    :param swaps: the results table
    """

    def __init__(self, connection: sa.Connection, swaps: sa.Table) -> None:
        self._connection = connection
        self._swaps = swaps
        self._now = dt.datetime.now(dt.UTC)

    def write(self, wanted: Mapping[str, Swap]) -> PlanResult:
        """Write rows, given by their primary keys."""
        existing = self._existing(list(wanted))
        new = [swap for swap_id, swap in wanted.items() if swap_id not in existing]
        for start in range(0, len(new), INSERT_ROWS):
            rows = [self._row(swap) for swap in new[start : start + INSERT_ROWS]]
            self._connection.execute(sa.insert(self._swaps), rows)
        known = [swap for swap_id, swap in wanted.items() if swap_id in existing]
        return PlanResult(
            added=len(new), known=len(known), withdrawn=0, restored=0, relinked=self._relink(known, existing)
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

    def _existing(self, ids: list[str]) -> dict[str, _Links]:
        """Return the links of the rows that exist already, by primary key."""
        c = self._swaps.c
        found: dict[str, _Links] = {}
        for condition in among(self._connection.dialect.name, c.swap_id, ids):
            query = sa.select(c.swap_id, c.source_img, c.reference_img).where(condition)
            found |= {row[0]: (row[1], row[2]) for row in self._connection.execute(query)}
        return found
