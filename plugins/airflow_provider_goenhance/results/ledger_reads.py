# SPDX-License-Identifier: Apache-2.0
"""Read the rows of the results table: those of a task, of some pairs, and what earlier runs have done with a pair."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ..exceptions import ErrorCode, JobFailedError
from .clock import database_time
from .key_lists import among, read_in_one_process
from .reuse import DECIDING
from .states import Review, Status
from .swap import Swap

if TYPE_CHECKING:
    from .database import ResultsDatabase
    from .plan import RunKey


class LedgerReads:
    """
    Reads rows.

    :param database: where the results table is
    """

    def __init__(self, database: ResultsDatabase) -> None:
        self.database = database
        self.swaps = database.swaps

    def of_run(
        self,
        key: RunKey,
        *,
        task_id: str | None = None,
        batch: int | None = None,
        map_index: int | None = None,
        statuses: Iterable[Status] | None = None,
        counted: bool = False,
    ) -> list[Swap]:
        """
        Return the rows of one batch of a run, or others that are few, in the manifest's order.

        A run may have a million rows, which take gigabytes: :class:`.run_rows.RunRows` reads them in bounded memory.

        :param counted: without the rows that a later plan of the run no longer held
        """
        query = self._whole_rows().where(*self._of(key))
        if counted:
            query = query.where(self.swaps.c.superseded_at.is_(None))
        if task_id is not None:
            query = query.where(self.swaps.c.task_id == task_id)
        if batch is not None:
            query = query.where(self.swaps.c.batch == batch)
        if map_index is not None:
            query = query.where(self.swaps.c.map_index == map_index)
        if statuses is not None:
            query = query.where(self.swaps.c.status.in_(list(statuses)))
        return self._read(query.order_by(self.swaps.c.row_number, self.swaps.c.pair_id))

    def by_ids(self, swap_ids: Sequence[str]) -> list[Swap]:
        """Return rows by primary key, in the order asked for; missing ones are left out."""
        found: dict[str, Swap] = {}
        for condition in self._among(self.swaps.c.swap_id, swap_ids):
            found |= {swap.swap_id: swap for swap in self._read(self._whole_rows().where(condition))}
        return [found[swap_id] for swap_id in swap_ids if swap_id in found]

    def waiting(self, *, older_than: dt.datetime | None = None, key: RunKey | None = None) -> list[Swap]:
        """
        Return the rows of any run that wait to be collected: paid for, and their picture is not kept yet.

        :param older_than: only rows submitted before this moment
        :param key: only rows of this run
        """
        c = self.swaps.c
        collectable = sa.and_(
            c.status.in_([Status.SUBMITTED, Status.SUCCEEDED, Status.FAILED]),
            sa.or_(c.error_code.is_(None), c.error_code != JobFailedError.error_code),
        )
        query = sa.select(self.swaps).where(
            c.img_uuid.is_not(None), c.result_uri.is_(None), c.picture_deleted_at.is_(None), collectable
        )
        if key is not None:
            query = query.where(*self._of(key))
        if older_than is not None:
            query = query.where(c.submitted_at < older_than)
        query = query.order_by(c.submitted_at, c.row_number, c.pair_id)
        return [Swap.from_row(row) for row in self.database.read(query)]

    def counts(self, key: RunKey, *, task_id: str | None = None) -> dict[Status, int]:
        """Return how many rows of a run are in each state; states without rows are 0. Superseded rows do not count."""
        query = sa.select(self.swaps.c.status, sa.func.count().label("n")).where(
            *self._of(key), self.swaps.c.superseded_at.is_(None)
        )
        if task_id is not None:
            query = query.where(self.swaps.c.task_id == task_id)
        found = {row["status"]: row["n"] for row in self.database.read(query.group_by(self.swaps.c.status))}
        return {status: int(found.get(status, 0)) for status in Status}

    def unpaid_pairs(self, key: RunKey, *, task_id: str) -> int:
        """Return how many pairs of a task were not sent yet: planned, or held for a budget."""
        c = self.swaps.c
        over_budget = sa.and_(c.status == Status.HELD, c.error_code == ErrorCode.BUDGET_REACHED)
        # Not COUNT(DISTINCT ...), for which PostgreSQL sorts.
        pairs = (
            sa.select(c.pair_fingerprint)
            .where(
                *self._of(key),
                c.task_id == task_id,
                c.superseded_at.is_(None),
                sa.or_(c.status == Status.PLANNED, over_budget),
            )
            .distinct()
            .subquery()
        )
        return int(
            self.database.read(sa.select(sa.func.count().label("pairs")).select_from(pairs))[0]["pairs"]
        )

    def _whole_rows(self) -> sa.Select[Any]:
        return sa.select(*(self.swaps.c[name] for name in Swap.names()))

    def _read(self, query: sa.Select[Any], names: tuple[str, ...] | None = None) -> list[Swap]:
        """Return the rows of a query for whole rows, or for the columns of these names."""
        return self.database.run_read(
            lambda connection: [Swap.of_values(row, names) for row in connection.execute(query).fetchall()]
        )

    def _read_by_keys(self, query: sa.Select[Any], names: tuple[str, ...]) -> list[Swap]:
        """Return the rows of a query for some columns, which looks for a list of keys."""

        def work(connection: sa.Connection) -> list[Swap]:
            read_in_one_process(connection)
            return [Swap.of_values(row, names) for row in connection.execute(query).fetchall()]

        return self.database.run_read(work)

    def _among(self, column: sa.Column[Any], keys: Iterable[str]) -> Iterator[sa.ColumnElement[bool]]:
        return among(self.database.url.get_backend_name(), column, keys)

    def _of(self, key: RunKey) -> tuple[sa.ColumnElement[bool], ...]:
        return (self.swaps.c.dag_id == key.dag_id, self.swaps.c.run_id == key.run_id)

    def now(self) -> dt.datetime:
        """Return the time by the database's clock, by which claims expire."""
        (row,) = self.database.read(sa.select(database_time(sa.literal(0.0, sa.Float)).label("now")))
        found: dt.datetime = row["now"]
        return found

    def has_rows(self, key: RunKey, *, task_id: str) -> bool:
        """Return whether a task of a run has rows."""
        query = (
            sa.select(self.swaps.c.swap_id)
            .where(*self._of(key), self.swaps.c.task_id == task_id)
            # In the order of the index: without it, PostgreSQL may read all runs before this one.
            .order_by(self.swaps.c.batch)
            .limit(1)
        )
        return bool(self.database.read(query))

    def existing(self, swap_ids: Iterable[str]) -> set[str]:
        """Return which primary keys there are."""
        return {
            row["swap_id"]
            for condition in self._among(self.swaps.c.swap_id, swap_ids)
            for row in self.database.read(sa.select(self.swaps.c.swap_id).where(condition))
        }

    def batches(self, key: RunKey, *, task_id: str) -> list[dict[str, Any]]:
        """Return of each batch of a task: ``batch``, ``pairs``, ``first_row``, ``last_row``, and one ``pair_id``."""
        c = self.swaps.c
        query = (
            sa.select(
                c.batch,
                sa.func.count().label("pairs"),
                sa.func.min(c.row_number).label("first_row"),
                sa.func.max(c.row_number).label("last_row"),
                sa.func.min(c.pair_id).label("pair_id"),
            )
            .where(*self._of(key), c.task_id == task_id, c.batch.is_not(None))
            .group_by(c.batch)
            .order_by(c.batch)
        )
        return self.database.read(query)

    def links_before(self, key: RunKey, task_id: str, pair_ids: Sequence[str]) -> list[Swap]:
        """
        Return the rows that some pairs had last time: in this run, or else in the one before it.

        The run before is the one whose id sorts before: Airflow's run ids begin with their kind and date, and the
        table's index finds it at once, however many runs there were.
        """
        c = self.swaps.c
        last = sa.select(sa.func.max(c.run_id).label("run_id")).where(
            c.dag_id == key.dag_id, c.run_id < key.run_id
        )
        runs = [key.run_id, *(row["run_id"] for row in self.database.read(last) if row["run_id"])]
        found: list[Swap] = []
        for condition in self._among(c.pair_id, pair_ids):
            query = (
                sa.select(self.swaps)
                .where(c.dag_id == key.dag_id, c.run_id.in_(runs), c.task_id == task_id, condition)
                .order_by(c.run_id.desc(), c.planned_at.desc())
            )
            found += [Swap.from_row(row) for row in self.database.read(query)]
        return found

    def earlier(self, fingerprints: Iterable[str], account: str, *, whole: bool = True) -> list[Swap]:
        """
        Return the rows of any run that decide what a new run does with some pairs, in the order they were planned.

        These are, for each pair and one account, the latest row with a kept picture, the latest whose picture was
        deleted, the latest whose picture a reviewer rejected, the latest other row with a job, and the latest whose
        submit may have become a job, unless that was settled; and the latest that was erased, of whichever account.
        However long the history is, no more is read.

        :param fingerprints: of the pairs, see :func:`.swap.pair_fingerprint`
        :param account: fingerprint of the account that would pay
        :param whole: whether all columns are read, or only those that decide, see :data:`.reuse.DECIDING`
        """
        c = self.swaps.c
        columns = [column for column in c if whole or column.name in DECIDING]
        kind = sa.case(
            (c.erased_at.is_not(None), "gone"),
            (c.picture_deleted_at.is_not(None), "deleted"),
            (c.review == Review.REJECTED, "rejected"),
            (sa.and_(c.status == Status.SUCCEEDED, c.result_uri.is_not(None)), "picture"),
            (c.img_uuid.is_not(None), "job"),
            else_="unknown",
        )
        latest_first = sa.func.row_number().over(
            partition_by=(c.pair_fingerprint, kind), order_by=(c.planned_at.desc(), c.swap_id.desc())
        )
        found: list[Swap] = []
        for condition in self._among(c.pair_fingerprint, fingerprints):
            ranked = (
                sa.select(*columns, latest_first.label("place"))
                .where(
                    condition,
                    sa.or_(
                        sa.and_(
                            c.account == account,
                            c.status != Status.REUSED,
                            sa.or_(c.img_uuid.is_not(None), c.status == Status.UNKNOWN),
                        ),
                        c.erased_at.is_not(None),
                    ),
                )
                .subquery()
            )
            query = (
                sa.select(*(ranked.c[column.name] for column in columns))
                .where(ranked.c.place == 1)
                .order_by(ranked.c.planned_at, ranked.c.swap_id)
            )
            found += self._read_by_keys(query, tuple(column.name for column in columns))
        return found
