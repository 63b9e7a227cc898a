# SPDX-License-Identifier: Apache-2.0
"""Writing the rows of a run: what is new is added, what is there stays as it stands."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ..exceptions import ErrorCode
from .database import IN_LIST
from .states import Status
from .swap import Swap, clean

INSERT_ROWS = 1000
#: The code of a row that left its manifest before it was sent.
WITHDRAWN = ErrorCode.WITHDRAWN
_FREE_TEXT = ("manifest", "pair_id", "source_img", "reference_img", "consent_ref", "error_message")


@dataclass(frozen=True, slots=True)
class RunKey:
    """One run of one Dag."""

    dag_id: str
    run_id: str


@dataclass(frozen=True, slots=True)
class PlanResult:
    """
    What planning came to.

    :param added: rows that are new
    :param known: rows that an earlier attempt had planned already, left as they stand
    :param withdrawn: rows planned earlier and not sent yet that the manifest no longer holds
    :param restored: rows withdrawn earlier that the manifest holds again, planned as before
    """

    added: int
    known: int
    withdrawn: int
    restored: int


class Plan:
    """
    The plan of one task's rows, within one transaction.

    :param swaps: the results table
    :param task_id: the task whose rows they all are, ``None`` to add rows and touch no others
    """

    def __init__(self, connection: sa.Connection, swaps: sa.Table, key: RunKey, task_id: str | None) -> None:
        self._connection = connection
        self._swaps = swaps
        self._key = key
        self._task_id = task_id
        self._now = dt.datetime.now(dt.UTC)

    def write(self, wanted: Mapping[str, Swap]) -> PlanResult:
        """Write the rows, by their ids."""
        existing = self._existing(wanted)
        new = [swap for swap_id, swap in wanted.items() if swap_id not in existing]
        # Some at a time: a million rows as dicts, all at once, would be gigabytes.
        for start in range(0, len(new), INSERT_ROWS):
            rows = [self._row(swap) for swap in new[start : start + INSERT_ROWS]]
            self._connection.execute(sa.insert(self._swaps), rows)
        known = [swap_id for swap_id in wanted if swap_id in existing]
        gone = [swap_id for swap_id in existing if swap_id not in wanted]
        return PlanResult(
            added=len(new), known=len(known), withdrawn=self._withdraw(gone), restored=self._restore(known)
        )

    def _row(self, swap: Swap) -> dict[str, Any]:
        row = swap.to_row()
        row["planned_at"] = swap.planned_at or self._now
        # A rejected row may hold anything that stood in the manifest, and must not fail the others.
        for name in _FREE_TEXT:
            row[name] = clean(row[name]) if row[name] else row[name]
        return row

    def _existing(self, wanted: Mapping[str, Swap]) -> set[str]:
        c = self._swaps.c
        if self._task_id is not None:
            of_task = (
                c.dag_id == self._key.dag_id,
                c.run_id == self._key.run_id,
                c.task_id == self._task_id,
            )
            return set(self._connection.execute(sa.select(c.swap_id).where(*of_task)).scalars())
        found: set[str] = set()
        ids = list(wanted)
        for start in range(0, len(ids), IN_LIST):
            query = sa.select(c.swap_id).where(c.swap_id.in_(ids[start : start + IN_LIST]))
            found.update(self._connection.execute(query).scalars())
        return found

    def _withdraw(self, ids: list[str]) -> int:
        return self._update(
            ids,
            self._swaps.c.status == Status.PLANNED.value,
            status=Status.REJECTED.value,
            error_code=WITHDRAWN,
            error_message="The manifest no longer held this row when the run was planned again. Never sent.",
            finished_at=self._now,
        )

    def _restore(self, ids: list[str]) -> int:
        return self._update(
            ids,
            self._swaps.c.error_code == WITHDRAWN,
            status=Status.PLANNED.value,
            error_code=None,
            error_message=None,
            finished_at=None,
        )

    def _update(self, ids: list[str], where: sa.ColumnElement[bool], **values: Any) -> int:
        if self._task_id is None:
            return 0
        changed = 0
        for start in range(0, len(ids), IN_LIST):
            some = self._swaps.c.swap_id.in_(ids[start : start + IN_LIST])
            statement = sa.update(self._swaps).where(some, where).values(**values)
            changed += self._connection.execute(statement).rowcount
        return changed
