# SPDX-License-Identifier: Apache-2.0
"""
Read the rows of a run in bounded memory: all of them as a stream, the first few, or page by page.

The order is one in which the index of the table has them: task by task, batch by batch, in a batch as the manifest has
them; last those that are in no batch. So the first rows of a million are found without sorting a million.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ..exceptions import ErrorCode
from ..quality_codes import SUSPICIOUS
from .database import ResultsDatabase
from .plan import RunKey
from .states import Review, Status
from .swap import GONE_BY_CHOICE, Swap

#: Rows that are changed at a time.
PAGE_ROWS = 1000
#: Stands for the number of a row without one.
_LAST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Place:
    """
    Where a row stands in its run.

    :param task_id: its task
    :param batch: its batch; rows without one are last
    :param row_number: its row in the manifest; rows without one are the last of their batch
    :param pair_id: decides between rows of the same number, which several manifests of one run may have
    :param swap_id: decides between rows that are alike in both
    """

    task_id: str | None
    batch: int | None
    row_number: int | None
    pair_id: str
    swap_id: str

    @classmethod
    def of(cls, swap: Swap) -> Place:
        """Return the place of a row."""
        return cls(swap.task_id, swap.batch, swap.row_number, swap.pair_id, swap.swap_id)


def _held(c: Any, codes: Collection[str], wanted: bool) -> sa.ColumnElement[bool]:
    """Return the condition for rows that are held for one of the reasons, or for all other rows."""
    # The code may be NULL, so that the negation of this would leave rows out.
    held = sa.and_(c.status == Status.HELD, sa.func.coalesce(c.error_code, "").in_(codes))
    return held if wanted else sa.not_(held)


class RunRows:
    """
    Some rows of a run. However many there are, only a few are in memory at a time.

    :param key: the run
    :param task_id: only rows of this task
    :param batch: only rows of this batch
    :param map_index: only rows of this mapped task
    :param statuses: only rows in one of these states
    :param error_codes: only rows with one of these error codes
    :param pair_ids: only rows of these pairs
    :param is_suspicious: only rows with a suspicious picture, or with ``False`` none of them
    :param over_budget: only rows that a budget holds back, or with ``False`` none of them
    :param gone: the same for rows that are held because the pair was erased, or its picture deleted
    :param counted: without the rows that a later plan of the run no longer held
    :param or_reviews: with ``statuses``: also rows whose pictures have one of these reviews
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
        pair_ids: Collection[str] | None = None,
        is_suspicious: bool | None = None,
        over_budget: bool | None = None,
        gone: bool | None = None,
        counted: bool = False,
        or_reviews: Collection[Review] = (),
    ) -> None:
        self._database = database
        self._table = database.swaps
        self._of_one_task = task_id is not None
        c = self._table.c
        self._where: list[sa.ColumnElement[bool]] = [c.dag_id == key.dag_id, c.run_id == key.run_id]
        equal = {"task_id": task_id, "batch": batch, "map_index": map_index}
        if map_index is not None and batch is None:
            # A planned batch has its task's number, and an index; rows that a task planned itself have no batch.
            self._where.append(sa.or_(c.batch == map_index, c.batch.is_(None)))
        self._where += [c[name] == value for name, value in equal.items() if value is not None]
        if statuses is not None:
            in_state = c.status.in_(list(statuses))
            reviewed = c.review.in_(list(or_reviews))
            self._where.append(sa.or_(in_state, reviewed) if or_reviews else in_state)
        if error_codes is not None:
            self._where.append(c.error_code.in_(list(error_codes)))
        if pair_ids is not None:
            self._where.append(c.pair_id.in_(list(pair_ids)))
        if is_suspicious is not None:
            self._where.append(suspicious(c) if is_suspicious else sa.not_(suspicious(c)))
        reasons = ((over_budget, {ErrorCode.BUDGET_REACHED}), (gone, GONE_BY_CHOICE))
        self._where += [_held(c, codes, wanted) for wanted, codes in reasons if wanted is not None]
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
        for batched in (True, False):

            def query(last: dict[str, Any] | None, batched: bool = batched) -> sa.Select[Any]:
                return self._query(batched, _place_of(last) if last else None)

            yield from map(Swap.from_row, self._database.stream(query))

    def page(self, limit: int, after: Place | None = None) -> list[Swap]:
        """
        Return the first rows, or the first ones after a place.

        :param limit: maximum number of rows
        """
        found: list[dict[str, Any]] = []
        for batched in (True, False) if after is None or after.batch is not None else (False,):
            here = after if after and (after.batch is not None) is batched else None
            if len(found) < limit:
                found += self._database.read(self._query(batched, here).limit(limit - len(found)))
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
        c = self._table.c
        # In the order of the index: without it, PostgreSQL may read all runs before this one.
        return bool(self._database.read(self.select(c.swap_id).order_by(c.task_id, c.batch).limit(1)))

    def some_results(self) -> list[str]:
        """Return the addresses of a few kept pictures: of the first and the last one of each task."""
        c = self._table.c
        ends = (sa.func.min(c.result_uri).label("first"), sa.func.max(c.result_uri).label("last"))
        query = self.select(*ends).where(c.result_uri.is_not(None)).group_by(c.task_id)
        return sorted({uri for row in self._database.read(query) for uri in row.values()})

    def _query(self, batched: bool, after: Place | None) -> sa.Select[Any]:
        """Return the query for the rows in batches, or in none, which databases sort to different ends."""
        order = self._order(batched)
        batch = self._table.c.batch
        query = sa.select(self._table).where(*self._where, batch.is_not(None) if batched else batch.is_(None))
        if after is not None:
            query = query.where(_beyond(after, *order.items()))
        return query.order_by(*order.values())

    def _order(self, batched: bool) -> dict[str, sa.ColumnElement[Any]]:
        """Return what rows are sorted by; for those in batches it begins with the columns of the index, as they are."""
        c = self._table.c
        task = {} if batched and self._of_one_task else {"task_id": c.task_id}
        others = {
            "row_number": sa.func.coalesce(c.row_number, _LAST),
            "pair_id": c.pair_id,
            "swap_id": c.swap_id,
        }
        if batched:
            return {**task, "batch": c.batch, **others}
        return {"task_id": sa.func.coalesce(c.task_id, ""), **others}


def suspicious(columns: Any) -> sa.ColumnElement[bool]:
    """Return the condition that a row has a suspicious picture, see :attr:`.swap.Swap.suspicion`."""
    # Both may be NULL, so that the negation of this would leave rows out.
    found = sa.func.coalesce(columns.quality, "").in_(sorted(SUSPICIOUS))
    if "review" not in columns:
        return found
    return sa.and_(found, sa.func.coalesce(columns.review, "") != "approved")


def _beyond(
    place: Place, by: tuple[str, sa.ColumnElement[Any]], *others: tuple[str, sa.ColumnElement[Any]]
) -> sa.ColumnElement[bool]:
    """Return the condition for rows after a place. Not a comparison of tuples, for which MariaDB uses no index."""
    name, column = by
    value = getattr(place, name)
    if value is None:
        value = _LAST if name == "row_number" else ""
    further: sa.ColumnElement[bool] = column > value
    return sa.and_(column >= value, sa.or_(further, _beyond(place, *others))) if others else further


def _place_of(row: dict[str, Any]) -> Place:
    return Place(*(row[name] for name in Place.__slots__))
