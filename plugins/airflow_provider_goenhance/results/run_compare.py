# SPDX-License-Identifier: Apache-2.0
"""Compare a run with an earlier one: the pairs whose state is another now, zone by zone and page by page."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from .database import ResultsDatabase
from .page_places import LAST, ZonePlace
from .plan import RunKey
from .states import Status
from .swap import Swap
from .tally import Zone, list_zones, of_zones, place_of

#: Seconds after which a page is returned although it is not full.
READ_SECONDS = 0.15


@dataclass(frozen=True, slots=True)
class Change:
    """
    A pair whose state is another than in the run before.

    :param swap: its row now
    :param before: its state then; ``None``: that run did not have it
    """

    swap: Swap
    before: Status | None


@dataclass(frozen=True, slots=True)
class Changes:
    """
    A page of changes.

    :param following: the place at which the next page begins; ``None`` after the last one
    :param cut: whether there are fewer than asked for because reading stopped after a while
    """

    changes: list[Change]
    following: str | None
    cut: bool = False


def changes_since(
    database: ResultsDatabase,
    key: RunKey,
    before: RunKey,
    limit: int,
    after: str | None = None,
    *,
    seconds: float = READ_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> Changes:
    """
    Return pairs of a run whose state is another than in an earlier run. A reused picture counts like a new one.

    :param limit: maximum number of pairs
    :param after: where the page begins, from the page before
    """
    end = clock() + seconds
    begin = ZonePlace.read(after)
    found: list[Change] = []
    for zone in sorted(list_zones(database, key), key=place_of):
        if begin is not None and (
            place_of(zone) < place_of(begin.zone) or (zone == begin.zone and begin.row is None)
        ):
            continue
        inside = begin.row if begin is not None and begin.zone == zone else None
        found += _changes_in(database, key, before, zone, inside, limit + 1 - len(found))
        if len(found) > limit:
            last = found[limit - 1].swap
            number = LAST if last.row_number is None else last.row_number
            return Changes(
                found[:limit],
                ZonePlace(0, Zone(last.task_id, last.batch), (number, last.pair_id, last.swap_id)).text(),
            )
        if clock() >= end:
            return Changes(found, ZonePlace(0, zone).text(), cut=True)
    return Changes(found, None)


def _changes_in(
    database: ResultsDatabase,
    key: RunKey,
    before: RunKey,
    zone: Zone,
    inside: tuple[int, str, str] | None,
    limit: int,
) -> list[Change]:
    swaps = database.swaps
    c, old = swaps.c, swaps.alias("old")
    number = sa.func.coalesce(c.row_number, LAST)
    run: tuple[sa.ColumnElement[Any], ...] = old.c.dag_id, old.c.run_id
    if database.url.get_backend_name() == "sqlite":
        # Not by the index of runs: SQLite would read the whole earlier run for each row.
        run = run[0].concat(""), run[1].concat("")
    same_pair = sa.and_(
        old.c.pair_fingerprint == c.pair_fingerprint,
        run[0] == before.dag_id,
        run[1] == before.run_id,
        old.c.pair_id == c.pair_id,
        old.c.superseded_at.is_(None),
    )
    where: list[sa.ColumnElement[bool]] = [*of_zones(c, key, [zone]), c.superseded_at.is_(None)]
    where.append(sa.or_(old.c.status.is_(None), _kind(old.c.status) != _kind(c.status)))
    if inside is not None:
        place: list[Any] = [number, c.pair_id, c.swap_id]
        row, pair, swap = inside
        where.append(
            sa.or_(
                place[0] > row,
                sa.and_(place[0] == row, sa.or_(place[1] > pair, sa.and_(place[1] == pair, place[2] > swap))),
            )
        )
    query = (
        sa.select(swaps, old.c.status.label("status_before"))
        .select_from(swaps.outerjoin(old, same_pair))
        .where(*where)
        .order_by(number, c.pair_id, c.swap_id)
        .limit(limit)
    )
    return [
        Change(Swap.from_row(row), Status(row["status_before"]) if row["status_before"] else None)
        for row in database.read(query)
    ]


def _kind(status: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """Return the state, the same one for a new and for a reused picture."""
    return sa.case((status == Status.REUSED, sa.literal(str(Status.SUCCEEDED))), else_=status)
