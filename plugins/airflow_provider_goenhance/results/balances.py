# SPDX-License-Identifier: Apache-2.0
"""The credit balances of an account as they were read, and the submits that may have changed them."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from .database import ResultsDatabase
from .plan import RunKey
from .states import Status

#: When a balance was read.
Moment = Literal["plan", "report", "reconcile"]


@dataclass(frozen=True, slots=True)
class Reading:
    """A credit balance as it was read."""

    balance: int
    read_at: dt.datetime
    moment: str
    dag_id: str | None = None
    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class Charges:
    """
    Some rows of an account that are alike in what they may have cost.

    :param own: whether they belong to the run that is looked at
    :param early: whether they were claimed before the first of the two balances was read
    :param ended: whether they had ended when the second one was read
    :param cost: credits that GoEnhance reported for each, ``None`` where it did not
    :param attempts: POSTs of each that may have been accepted
    :param rows: how many rows there are
    """

    own: bool
    early: bool
    ended: bool
    status: Status
    has_job: bool
    error_code: str | None
    cost: int | None
    attempts: int
    rows: int


class Balances:
    """
    Reads and writes the balances of an account, and reads its submits.

    :param account: fingerprint of the account
    """

    def __init__(self, database: ResultsDatabase, account: str) -> None:
        self._database = database
        self._account = account
        self._balances = database.shared.balances
        self._swaps = database.swaps

    def record(self, key: RunKey | None, moment: Moment, balance: int) -> Reading:
        """Store a balance that was read just now."""
        reading = Reading(
            balance, dt.datetime.now(dt.UTC), moment, key.dag_id if key else None, key.run_id if key else None
        )
        values = {
            "reading_id": str(uuid.uuid4()),
            "account": self._account,
            "moment": moment,
            "balance": balance,
            "read_at": reading.read_at,
            "dag_id": reading.dag_id,
            "run_id": reading.run_id,
        }
        c = self._balances.c
        stored = sa.select(c.reading_id).where(c.reading_id == values["reading_id"])

        def work(connection: sa.Connection) -> None:
            if connection.execute(stored).first() is None:
                connection.execute(sa.insert(self._balances).values(**values))

        self._database.run(work)
        return reading

    def readings(self, *, key: RunKey | None = None, moment: Moment | None = None) -> list[Reading]:
        """Return the balances of the account, or of one of its runs, the oldest first."""
        c = self._balances.c
        query = sa.select(c.balance, c.read_at, c.moment, c.dag_id, c.run_id).where(
            c.account == self._account
        )
        if key is not None:
            query = query.where(c.dag_id == key.dag_id, c.run_id == key.run_id)
        if moment is not None:
            query = query.where(c.moment == moment)
        return [Reading(**row) for row in self._database.read(query.order_by(c.read_at))]

    def in_flight(self, job_seconds: float) -> int:
        """
        Return how many rows of the account, of any run, are being submitted or have a job that may still run.

        :param job_seconds: how long a job may run; a row that no task has waited for since then is not counted
        """
        c = self._swaps.c
        oldest = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=job_seconds)
        running = sa.and_(c.status == Status.SUBMITTED, c.submitted_at >= oldest)
        query = sa.select(sa.func.count().label("n")).where(
            c.account == self._account, sa.or_(c.status == Status.SUBMITTING, running)
        )
        return int(self._database.read(query)[0]["n"])

    def charges(
        self, key: RunKey, since: dt.datetime, until: dt.datetime, job_seconds: float
    ) -> list[Charges]:
        """
        Return the rows whose submits may have changed the balance between two readings.

        :param since: when the first balance was read
        :param until: when the second one was read
        :param job_seconds: how long a job may run: it may be charged for when it ends
        """
        c = self._swaps.c
        own = sa.case((sa.and_(c.dag_id == key.dag_id, c.run_id == key.run_id), 1), else_=0)
        # Rows that were sent, and then reused or adopted what another row has: their own submits may be charged.
        given_up = c.claimed_by.is_(None)
        early = sa.case((sa.or_(c.claimed_at < since, given_up), 1), else_=0)
        ended = sa.case((c.finished_at <= until, 1), else_=0)
        has_job = sa.case((sa.and_(c.img_uuid.is_not(None), sa.not_(given_up)), 1), else_=0)
        columns = (own, early, ended, c.status, has_job, c.error_code, c.cost, c.attempts)
        names = ("own", "early", "ended", "status", "has_job", "error_code", "cost", "attempts")
        query = (
            sa.select(*(column.label(name) for column, name in zip(columns, names, strict=True)))
            .where(
                c.account == self._account,
                c.attempts > 0,
                c.claimed_at >= since - dt.timedelta(seconds=job_seconds),
                c.claimed_at <= until,
                sa.not_(sa.and_(c.status == Status.SUCCEEDED, c.finished_at < since)),
            )
            .subquery()
        )
        grouped = sa.select(*query.c, sa.func.count().label("rows")).group_by(*query.c)
        return [_charges(row) for row in self._database.read(grouped)]

    def runs_with_unknown(self) -> list[RunKey]:
        """Return the runs that have submits whose outcome is unknown."""
        c = self._swaps.c
        query = (
            sa.select(c.dag_id, c.run_id)
            .where(c.account == self._account, c.status == Status.UNKNOWN)
            .group_by(c.dag_id, c.run_id)
            .order_by(sa.func.min(c.claimed_at))
        )
        return [RunKey(**row) for row in self._database.read(query)]


def _charges(row: dict[str, Any]) -> Charges:
    return Charges(
        **{
            **row,
            "own": bool(row["own"]),
            "early": bool(row["early"]),
            "ended": bool(row["ended"]),
            "has_job": bool(row["has_job"]),
            "status": Status(row["status"]),
        }
    )


def earliest_after(readings: Sequence[Reading], moment: dt.datetime) -> Reading | None:
    """Return the first balance that was read after a moment."""
    return next((reading for reading in readings if reading.read_at > moment), None)
