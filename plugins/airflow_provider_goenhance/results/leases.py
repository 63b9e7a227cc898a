# SPDX-License-Identifier: Apache-2.0
"""
The limits of an account, held in the database for all tasks and workers that share the results table.

Each execution that sends has a lease: a row that says how many POSTs it may have under way. Leases expire by
themselves, so a killed worker blocks its share for a limited time only. Turns on the wire are given out by the
database's clock. Every change locks the account's row first, and nothing else is locked with it.

Invariants:

* The slots of all live leases add up to no more than the limit, unless the limit was lowered meanwhile.
* A lease never records fewer slots than its owner may have POSTs under way: a smaller share is announced first, and
  recorded once the owner has reduced itself to it.
"""

from __future__ import annotations

import datetime as dt
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from .allotment import Demand, allot
from .clock import database_time
from .database import ResultsDatabase
from .lease_rows import LONGEST_ACCOUNT_PAUSE, LOWEST_PACE, AccountPace, Holder, Lease, LeaseRow, Request

#: Seconds that an owner may use its lease without renewing it.
VALID_SECONDS = 30.0
#: A lease whose figures have not changed is written again after this many seconds.
REWRITE_SECONDS = 10.0
#: Seconds that the slots of an execution stay taken once the next try of its task has begun: GoEnhance may still work
#: on requests whose connection broke. An execution that is alive after all renews its lease sooner than that.
ORPHAN_SECONDS = 5.0
#: A run gives its place in the queue to runs that got nothing after this many seconds.
ROTATE_SECONDS = 60.0
#: Turns are this much farther apart than the rate asks for, because no wait ends exactly on time.
MARGIN = 1.02


class AccountLeases:
    """
    Leases and turns of one account.

    :param database: the database of the results table
    :param account: fingerprint of the account
    :param post_seconds: the longest time that a POST can be under way: its slot stays taken that long
    """

    def __init__(self, database: ResultsDatabase, account: str, *, post_seconds: float) -> None:
        self._database = database
        self._account = account
        # An owner starts no POST later than this before its lease expires.
        self._seconds = post_seconds + VALID_SECONDS
        self._leases = database.shared.leases
        self._accounts = database.shared.accounts
        self._valid_until: dict[str, float] = {}

    # -- concurrency -------------------------------------------------------------------------------------------

    def renew(self, holder: Holder, request: Request) -> Lease:
        """
        Return the share of an execution now, and write it where it has changed or would expire soon.

        Most calls only read: a thousand tasks that wait for their share do not wait for each other's commits.
        """
        found = self._database.run_read(lambda connection: self._look(connection, holder, request))
        if found is not None:
            return found
        return self._database.run(lambda connection: self._renew(connection, holder, request))

    def release(self, holder: Holder) -> None:
        """End a lease whose owner has no POST under way any more."""
        self._database.run(lambda connection: self._release(connection, holder))
        self._valid_until.pop(holder.owner, None)

    def _release(self, connection: sa.Connection, holder: Holder) -> None:
        self.lock(connection)
        self._delete(connection, holder, database_now(connection))

    def _delete(self, connection: sa.Connection, holder: Holder, now: dt.datetime) -> None:
        """Delete the lease of an execution, and those that have expired."""
        c = self._leases.c
        gone = sa.or_(c.expires_at <= now, c.owner == holder.owner)
        connection.execute(sa.delete(self._leases).where(c.account == self._account, c.jobs.is_(None), gone))

    def _look(self, connection: sa.Connection, holder: Holder, request: Request) -> Lease | None:
        """Return the lease if nothing would have to be written."""
        valid_until = self._valid_until.get(holder.owner, 0.0)
        if time.monotonic() > valid_until - VALID_SECONDS + REWRITE_SECONDS:
            return None
        now, pace = database_now(connection), self._read_pace(connection) or AccountPace()
        rows = self._live(connection, now)
        mine = next((row for row in rows if row.owner == holder.owner), None)
        others = [row for row in rows if row.owner != holder.owner]
        slots, recorded, since = _share(holder, request, pace.at(now), mine, others, now)
        if mine is None or (recorded, since) != (mine.slots, mine.since):
            return None
        if (request.wanted != mine.wanted and others) or self._is_silent(mine, now):
            return None
        silent = self._silent(others, now)
        return Lease(slots, recorded, pace.paused_seconds(now), pace.at(now), valid_until, *silent)

    def _renew(self, connection: sa.Connection, holder: Holder, request: Request) -> Lease:
        asked_at = time.monotonic()
        pace = self.lock(connection)
        now = database_now(connection)
        rows = self._live(connection, now)
        mine = next((row for row in rows if row.owner == holder.owner), None)
        others = [row for row in rows if row.owner != holder.owner]
        slots, recorded, since = _share(holder, request, pace.at(now), mine, others, now)
        values = {
            "dag_id": holder.dag_id,
            "run_id": holder.run_id,
            "slots": recorded,
            "wanted": request.wanted,
            "since": since,
            "expires_at": now + dt.timedelta(seconds=self._seconds),
        }
        if mine is None:
            self._delete(connection, holder, now)
            key = {"account": self._account, "owner": holder.owner}
            connection.execute(sa.insert(self._leases).values(**key, **values))
            self._shorten(connection, [row.owner for row in others if holder.replaces(row)], now)
        else:
            c = self._leases.c
            where = (c.account == self._account, c.owner == holder.owner)
            connection.execute(sa.update(self._leases).where(*where).values(**values))
        valid_until = asked_at + VALID_SECONDS
        self._valid_until[holder.owner] = valid_until
        silent = self._silent(others, now)
        return Lease(slots, recorded, pace.paused_seconds(now), pace.at(now), valid_until, *silent)

    def _shorten(self, connection: sa.Connection, owners: Sequence[str], now: dt.datetime) -> None:
        """Let leases expire soon."""
        if not owners:
            return
        c = self._leases.c
        soon = now + dt.timedelta(seconds=ORPHAN_SECONDS)
        connection.execute(
            sa.update(self._leases)
            .where(c.account == self._account, c.owner.in_(owners), c.expires_at > soon)
            .values(expires_at=soon)
        )

    def _is_silent(self, lease: LeaseRow, now: dt.datetime) -> bool:
        """Return whether a lease was not renewed when it should have been, or was replaced."""
        return (lease.expires_at - now).total_seconds() < self._seconds - 2 * REWRITE_SECONDS

    def _silent(self, others: Sequence[LeaseRow], now: dt.datetime) -> tuple[int, float]:
        """Return the slots of those who do not renew their leases, and when the last of them will be free."""
        silent = [row for row in others if row.slots and self._is_silent(row, now)]
        seconds = [(row.expires_at - now).total_seconds() for row in silent]
        return sum(row.slots for row in silent), max(seconds, default=0.0)

    def _live(self, connection: sa.Connection, now: dt.datetime) -> list[LeaseRow]:
        c = self._leases.c
        query = sa.select(c.owner, c.dag_id, c.run_id, c.slots, c.wanted, c.since, c.expires_at).where(
            c.account == self._account, c.jobs.is_(None), c.expires_at > now
        )
        rows = [
            LeaseRow(row.owner, (row.dag_id, row.run_id), row.slots, row.wanted, row.since, row.expires_at)
            for row in connection.execute(query)
        ]
        # One that no longer reports keeps what it has, but no place in the queue: it could not take its share.
        return [
            replace(row, wanted=min(row.wanted, row.slots)) if self._is_silent(row, now) else row
            for row in rows
        ]

    # -- rate --------------------------------------------------------------------------------------------------

    def take_turns(self, count: int, rate: float, *, lead: float, most_ahead: int) -> list[float]:
        """
        Reserve turns on the wire, and return when they are, by ``time.monotonic``.

        :param count: number of turns
        :param rate: the account's POSTs per second
        :param lead: the first turn is no sooner than this, seconds: what comes before the POST takes that long
        :param most_ahead: turns that can be reserved at once by all; more means that the clock was set back
        """
        return self._database.run(
            lambda connection: self._take_turns(connection, count, rate, lead, most_ahead)
        )

    def _take_turns(
        self, connection: sa.Connection, count: int, rate: float, lead: float, most_ahead: int
    ) -> list[float]:
        pace = self.lock(connection)
        now = database_now(connection)
        # Read after the database's time: a turn is never sooner than the database means it, whatever the network does.
        here = time.monotonic()
        interval = MARGIN / (rate * pace.at(now))
        paused = pace.paused_seconds(now)
        queued = (pace.next_turn_at - now).total_seconds() if pace.next_turn_at else 0.0
        first = max(lead, paused, min(queued, paused + most_ahead * interval))
        after = now + dt.timedelta(seconds=first + count * interval)
        self._write(connection, next_turn_at=after)
        return [here + first + number * interval for number in range(count)]

    # -- 429 ---------------------------------------------------------------------------------------------------

    def slow_down(self, seconds: float, *, sent_before: float = 0.0) -> None:
        """
        Pause the account after a 429, and halve its pace.

        :param seconds: length of the pause
        :param sent_before: seconds since the refused POST was sent; one that was sent before the last slowdown ended
            does not halve the pace again
        """
        self._database.run(lambda connection: self._slow_down(connection, seconds, sent_before))

    def _slow_down(self, connection: sa.Connection, seconds: float, sent_before: float) -> None:
        pace = self.lock(connection)
        now = database_now(connection)
        seconds = min(max(0.0, seconds), LONGEST_ACCOUNT_PAUSE)
        until = now + dt.timedelta(seconds=max(seconds, pace.paused_seconds(now)))
        values: dict[str, Any] = {"paused_until": until}
        sent_at = now - dt.timedelta(seconds=sent_before)
        if pace.pace_since is None or sent_at > pace.pace_since:
            values["pace"] = max(LOWEST_PACE, pace.at(now) / 2)
            values["pace_since"] = until
        elif until > pace.pace_since:
            values["pace_since"] = until
        self._write(connection, **values)

    # -- the account's row -------------------------------------------------------------------------------------

    def lock(self, connection: sa.Connection) -> AccountPace:
        """Lock the account's row, which is created the first time, and return it."""
        found = self._read_pace(connection, lock=True)
        if found is None:
            connection.execute(sa.insert(self._accounts).values(account=self._account))
        return found or AccountPace()

    def _read_pace(self, connection: sa.Connection, *, lock: bool = False) -> AccountPace | None:
        c = self._accounts.c
        query = sa.select(c.next_turn_at, c.paused_until, c.pace, c.pace_since).where(
            c.account == self._account
        )
        row = connection.execute(query.with_for_update() if lock else query).one_or_none()
        return None if row is None else AccountPace(*row)

    def _write(self, connection: sa.Connection, **values: Any) -> None:
        accounts = self._accounts
        connection.execute(sa.update(accounts).where(accounts.c.account == self._account).values(**values))


def database_now(connection: sa.Connection) -> dt.datetime:
    """Return the database's time, read by a statement of its own: one that waits for a lock may have read it before."""
    found: dt.datetime = connection.execute(sa.select(database_time(sa.literal(0.0, sa.Float)))).scalar_one()
    return found


def _share(
    holder: Holder,
    request: Request,
    pace: float,
    mine: LeaseRow | None,
    others: Sequence[LeaseRow],
    now: dt.datetime,
) -> tuple[int, int, dt.datetime]:
    """Return the slots of an execution, those to record for it, and its place in the queue."""
    limit = max(1, math.floor(request.limit * pace))
    run = (holder.dag_id, holder.run_id)
    since = _since(mine, run, others, now)
    demands = [Demand(row.owner, row.run, row.wanted, row.since.timestamp()) for row in others]
    demands.append(Demand(holder.owner, run, request.wanted, since.timestamp()))
    share = allot(limit, demands)[holder.owner]
    # What others still have is theirs until they have recorded less.
    free = max(0, limit - sum(row.slots for row in others))
    slots = min(share, free)
    return slots, max(slots, request.held), since


def _since(
    mine: LeaseRow | None, run: tuple[str, str], others: Sequence[LeaseRow], now: dt.datetime
) -> dt.datetime:
    """Return when an execution joined the queue: now, if another run has waited for a minute of its turn."""
    if mine is None:
        return now
    if mine.slots == 0 or (now - mine.since).total_seconds() < ROTATE_SECONDS:
        return mine.since
    served = {row.run for row in others if row.slots} | {run}
    starved = any(row.wanted for row in others if row.run not in served)
    return now if starved else mine.since
