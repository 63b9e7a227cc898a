# SPDX-License-Identifier: Apache-2.0
"""
The jobs that an account has under way, counted in the database for all tasks that share the results table.

Each task instance has one row beside the leases. It is written before the first POST, stays while the task waits or is
deferred, and expires by itself. Only accounts with a limit of their jobs have such rows.

Invariants:

* A task submits no more jobs than were counted for it before.
* The jobs of all live rows add up to no more than the limit, unless the limit was lowered meanwhile.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from .allotment import Demand, allot
from .database import ResultsDatabase
from .lease_rows import Holder
from .leases import AccountLeases, database_now

#: A task that waits for room keeps its place for this many seconds after it has looked.
PLACE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Count:
    """
    The jobs of one task instance.

    :param holder: the task instance
    :param jobs: jobs that it may have under way
    :param wanted: jobs that it could have under way
    :param since: when it joined the queue; the earlier one is served first
    """

    holder: Holder
    jobs: int
    wanted: int
    since: dt.datetime

    @property
    def place(self) -> tuple[dt.datetime, str]:
        """Its place in the queue."""
        return self.since, self.holder.owner


def job_holder(dag_id: str, run_id: str, task_key: str) -> Holder:
    """
    Return who the jobs of a task instance are counted for: the same for every execution of it.

    :param task_key: name of the task instance within its run
    """
    digest = hashlib.sha256(json.dumps([dag_id, run_id, task_key]).encode()).hexdigest()
    return Holder(f"jobs of {digest[:40]}", dag_id, run_id)


def more_jobs(limit: int, mine: Count, others: Sequence[Count]) -> int:
    """
    Return how many more jobs a task may submit: what is free of its fair share.

    What is free goes to the task that has waited longest first: the others leave it its share.
    """
    demands = [
        Demand(count.holder.owner, (count.holder.dag_id, count.holder.run_id), count.wanted, since)
        for since, count in enumerate(sorted([mine, *others], key=lambda each: each.place))
    ]
    shares = allot(limit, demands)
    free = limit - mine.jobs - sum(other.jobs for other in others)
    promised = sum(
        max(0, shares[other.holder.owner] - other.jobs) for other in others if other.place < mine.place
    )
    return max(0, min(shares[mine.holder.owner] - mine.jobs, free - promised))


class JobCounts:
    """
    The jobs under way of one account.

    :param database: the database of the results table
    :param account: fingerprint of the account
    """

    def __init__(self, database: ResultsDatabase, account: str) -> None:
        self._database = database
        self._account = account
        self._table = database.shared.leases
        self._leases = AccountLeases(database, account, post_seconds=0)

    def reserve(self, holder: Holder, *, jobs: int, more: int, limit: int, seconds: float) -> int:
        """
        Return how many more jobs a task may submit now, and count them.

        :param jobs: jobs that it has under way
        :param more: jobs that it would submit
        :param limit: the account's limit
        :param seconds: after this time the row expires
        """
        return self._database.run(
            lambda connection: self._reserve(connection, holder, jobs, more, limit, seconds)
        )

    def record(self, holder: Holder, *, jobs: int, more: int = 0, seconds: float) -> None:
        """
        Count the jobs that a task has under way, no more and no less.

        :param more: jobs that it will submit later
        """
        self._database.run(lambda connection: self._record(connection, holder, jobs, more, seconds))

    def release(self, ended: Mapping[Holder, int]) -> None:
        """Count jobs no longer that another task has seen end."""
        self._database.run(lambda connection: self._release(connection, ended))

    def _reserve(
        self, connection: sa.Connection, holder: Holder, jobs: int, more: int, limit: int, seconds: float
    ) -> int:
        self._leases.lock(connection)
        now = database_now(connection)
        counts = self._live(connection, now)
        before = next((count for count in counts if count.holder.owner == holder.owner), None)
        # One that has had jobs goes to the end of the queue: the tasks take turns where there is not room for all.
        since = before.since if before and not before.jobs else now
        mine = Count(holder, jobs, jobs + more, since)
        granted = more_jobs(limit, mine, [count for count in counts if count is not before])
        self._write(connection, replace(mine, jobs=jobs + granted), now, seconds)
        return granted

    def _record(
        self, connection: sa.Connection, holder: Holder, jobs: int, more: int, seconds: float
    ) -> None:
        self._leases.lock(connection)
        now = database_now(connection)
        before = next((c for c in self._live(connection, now) if c.holder.owner == holder.owner), None)
        self._write(
            connection, Count(holder, jobs, jobs + more, before.since if before else now), now, seconds
        )

    def _release(self, connection: sa.Connection, ended: Mapping[Holder, int]) -> None:
        self._leases.lock(connection)
        c = self._table.c
        for holder, jobs in ended.items():
            connection.execute(
                sa.update(self._table)
                .where(c.account == self._account, c.owner == holder.owner, c.jobs >= jobs)
                .values(jobs=c.jobs - jobs, wanted=c.wanted - jobs)
            )

    def _write(self, connection: sa.Connection, count: Count, now: dt.datetime, seconds: float) -> None:
        """Replace the row of a task, and delete those that have expired."""
        c = self._table.c
        gone = sa.or_(c.owner == count.holder.owner, c.expires_at <= now)
        connection.execute(
            sa.delete(self._table).where(c.account == self._account, c.jobs.is_not(None), gone)
        )
        if not count.wanted:
            return
        values: dict[str, Any] = {
            "account": self._account,
            "owner": count.holder.owner,
            "dag_id": count.holder.dag_id,
            "run_id": count.holder.run_id,
            "slots": 0,
            "wanted": count.wanted,
            "jobs": count.jobs,
            "since": count.since,
            "expires_at": now + dt.timedelta(seconds=seconds if count.jobs else PLACE_SECONDS),
        }
        connection.execute(sa.insert(self._table).values(**values))

    def _live(self, connection: sa.Connection, now: dt.datetime) -> list[Count]:
        c = self._table.c
        query = sa.select(c.owner, c.dag_id, c.run_id, c.jobs, c.wanted, c.since).where(
            c.account == self._account, c.jobs.is_not(None), c.expires_at > now
        )
        return [
            Count(Holder(row.owner, row.dag_id, row.run_id), row.jobs, row.wanted, row.since)
            for row in connection.execute(query)
        ]
