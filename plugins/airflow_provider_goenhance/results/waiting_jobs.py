# SPDX-License-Identifier: Apache-2.0
"""The jobs that a task waits for, read from the results table by where its rows are."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from .states import Status

if TYPE_CHECKING:
    from .database import ResultsDatabase


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsOf:
    """
    Where the rows of a task are. ``None`` is any value.

    :param task_id: their task; without it, the rows of all tasks
    :param batch: number of their planned batch
    :param map_index: map index of their task, -1 if it is not mapped; for rows that were not planned as a batch
    :param account: fingerprint of the account that paid for their jobs
    :param submitted_after: seconds since the epoch
    :param submitted_before: seconds since the epoch
    """

    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    batch: int | None = None
    map_index: int | None = None
    account: str | None = None
    submitted_after: float | None = None
    submitted_before: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what is set, as plain values."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class WaitingJobs:
    """
    The jobs of some rows.

    :param img_uuids: of the rows that are ``submitted``, in the order of the manifest
    :param known: whether the table has rows there at all, in whichever state
    """

    img_uuids: list[str]
    known: bool


def read_waiting_jobs(database: ResultsDatabase, rows: RowsOf) -> WaitingJobs:
    """
    Read the jobs of the rows that are ``submitted``: nothing but their UUIDs.

    :raises ResultsTableError: when the results table cannot be used
    """
    c = database.swaps.c
    there = _there(database, rows)
    waits = [c.status == Status.SUBMITTED, c.img_uuid.is_not(None)]
    if rows.account is not None:
        waits.append(c.account == rows.account)
    if rows.submitted_after is not None:
        waits.append(c.submitted_at >= _moment(rows.submitted_after))
    if rows.submitted_before is not None:
        waits.append(c.submitted_at < _moment(rows.submitted_before))
    query = sa.select(c.img_uuid).where(*there, *waits).order_by(c.row_number, c.pair_id)

    def read(connection: sa.Connection) -> WaitingJobs:
        found = list(dict.fromkeys(connection.execute(query).scalars()))
        known = bool(found) or bool(connection.execute(sa.select(sa.exists().where(*there))).scalar())
        return WaitingJobs(found, known)

    return database.run_read(read)


def has_rows(database: ResultsDatabase, rows: RowsOf) -> bool:
    """Return whether there is a row that counts, in whichever state."""
    query = sa.select(sa.exists().where(*_there(database, rows), database.swaps.c.superseded_at.is_(None)))
    return bool(database.run_read(lambda connection: connection.execute(query).scalar()))


def _there(database: ResultsDatabase, rows: RowsOf) -> list[sa.ColumnElement[bool]]:
    c = database.swaps.c
    named = (
        (c.dag_id, rows.dag_id),
        (c.run_id, rows.run_id),
        (c.task_id, rows.task_id),
        (c.batch, rows.batch),
    )
    there: list[sa.ColumnElement[bool]] = [column == value for column, value in named if value is not None]
    if rows.map_index is None:
        return there
    unmapped = rows.map_index < 0
    return [*there, c.batch.is_(None), c.map_index.is_(None) if unmapped else c.map_index == rows.map_index]


def _moment(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)
