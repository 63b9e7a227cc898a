# SPDX-License-Identifier: Apache-2.0
"""Read the rows of a run in bounded memory: all of them as a stream, the first few, or page by page."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ..exceptions import ErrorCode
from .database import ResultsDatabase
from .plan import RunKey
from .states import Status
from .swap import Swap

#: Rows that are changed at a time.
PAGE_ROWS = 1000


@dataclass(frozen=True, slots=True)
class Place:
    """
    Where a row stands in its run, in the manifest's order; rows without a number are last.

    :param row_number: its row in the manifest
    :param pair_id: decides between rows of the same number, which several manifests of one run may have
    :param swap_id: decides between rows that are alike in both
    """

    row_number: int | None
    pair_id: str
    swap_id: str

    @classmethod
    def of(cls, swap: Swap) -> Place:
        """Return the place of a row."""
        return cls(swap.row_number, swap.pair_id, swap.swap_id)


class RunRows:
    """
    Some rows of a run, in the manifest's order. However many there are, only a few are in memory at a time.

    :param key: the run
    :param task_id: only rows of this task
    :param batch: only rows of this batch
    :param map_index: only rows of this mapped task
    :param statuses: only rows in one of these states
    :param error_codes: only rows with one of these error codes
    :param over_budget: only rows that a budget holds back, or with ``False`` none of them
    :param counted: without the rows that a later plan of the run no longer held
    """

    def __init__(
        self,
        database: ResultsDatabase,
        key: RunKey,
        *,
        task_id: str | None = None,
        batch: int | None = None,
        map_index: int | None = None,
        statuses: Collection[Status] | None = None,
        error_codes: Collection[str] | None = None,
        over_budget: bool | None = None,
        counted: bool = False,
    ) -> None:
        self._database = database
        self._table = database.swaps
        c = self._table.c
        self._where: list[sa.ColumnElement[bool]] = [c.dag_id == key.dag_id, c.run_id == key.run_id]
        equal = {"task_id": task_id, "batch": batch, "map_index": map_index}
        if map_index is not None and batch is None:
            # A planned batch has its task's number, and an index; rows that a task planned itself have no batch.
            self._where.append(sa.or_(c.batch == map_index, c.batch.is_(None)))
        self._where += [c[name] == value for name, value in equal.items() if value is not None]
        if statuses is not None:
            self._where.append(c.status.in_(list(statuses)))
        if error_codes is not None:
            self._where.append(c.error_code.in_(list(error_codes)))
        if over_budget is not None:
            # The code may be NULL, so that the negation of this would leave rows out.
            code = sa.func.coalesce(c.error_code, "")
            held = sa.and_(c.status == Status.HELD, code == ErrorCode.BUDGET_REACHED)
            self._where.append(held if over_budget else sa.not_(held))
        if counted:
            self._where.append(c.superseded_at.is_(None))

    @property
    def database(self) -> ResultsDatabase:
        """The database that holds them."""
        return self._database

    def select(self, *columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
        """Return a query over these rows, for aggregates."""
        return sa.select(*columns).select_from(self._table).where(*self._where)

    def __iter__(self) -> Iterator[Swap]:
        """Yield all rows. Reading survives a connection that is cut: it goes on after the last row."""
        for numbered in (True, False):
            for row in self._database.stream(lambda last: self._query(numbered, last)):  # noqa: B023  used at once
                yield Swap.from_row(row)

    def page(self, limit: int, after: Place | None = None) -> list[Swap]:
        """
        Return the first rows, or the first ones after a place.

        :param limit: maximum number of rows
        """
        found: list[dict[str, Any]] = []
        last = None if after is None else {name: getattr(after, name) for name in Place.__slots__}
        for numbered in (True, False) if after is None or after.row_number is not None else (False,):
            here = last if last and (last["row_number"] is not None) is numbered else None
            if len(found) < limit:
                found += self._database.read(self._query(numbered, here).limit(limit - len(found)))
        return [Swap.from_row(row) for row in found]

    def pages(self, limit: int = PAGE_ROWS) -> Iterator[list[Swap]]:
        """Yield all rows in pages. The rows of a page may be changed before the next one is read."""
        after = None
        while page := self.page(limit, after):
            after = Place.of(page[-1])
            yield page

    def count(self) -> int:
        """Return how many rows there are."""
        return int(self._database.read(self.select(sa.func.count().label("n")))[0]["n"])

    def exists(self) -> bool:
        """Return whether there is any row."""
        return bool(self._database.read(self.select(self._table.c.swap_id).limit(1)))

    def some_results(self) -> list[str]:
        """Return the addresses of a few kept pictures: of the first and the last one of each task."""
        c = self._table.c
        ends = (sa.func.min(c.result_uri).label("first"), sa.func.max(c.result_uri).label("last"))
        query = self.select(*ends).where(c.result_uri.is_not(None)).group_by(c.task_id)
        return sorted({uri for row in self._database.read(query) for uri in row.values()})

    def _query(self, numbered: bool, last: dict[str, Any] | None) -> sa.Select[Any]:
        """
        Return the query for the rows with or without a number, which databases sort to different ends.

        :param last: the row after which it begins
        """
        c = self._table.c
        query = sa.select(self._table).where(*self._where)
        if numbered:
            query = query.where(c.row_number.is_not(None)).order_by(c.row_number, c.pair_id, c.swap_id)
        else:
            query = query.where(c.row_number.is_(None)).order_by(c.pair_id, c.swap_id)
        if last is None:
            return query
        after = sa.or_(
            c.pair_id > last["pair_id"],
            sa.and_(c.pair_id == last["pair_id"], c.swap_id > last["swap_id"]),
        )
        if not numbered:
            return query.where(after)
        number = last["row_number"]
        # Not a comparison of tuples, for which MariaDB uses no index.
        return query.where(c.row_number >= number, sa.or_(c.row_number > number, after))
