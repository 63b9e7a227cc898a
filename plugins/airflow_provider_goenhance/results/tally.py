# SPDX-License-Identifier: Apache-2.0
"""
Count the rows of a run little by little: each step reads as many batches as fit into a fraction of a second.

The state of a row is in no index, so counting a million rows takes seconds. A page cannot wait for that, nor repeat it
every few seconds while a run goes on. A tally counts batch by batch, in the order of the index, and keeps the figures
of each: a later step counts those again that may have changed. As it knows which batch has which rows, it also says
where the rows of a filter are.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import sqlalchemy as sa

from ..quality_codes import SUSPICIOUS
from .database import ResultsDatabase
from .plan import RunKey
from .states import TERMINAL, Status

#: Seconds after which a batch is counted again: with jobs or submits under way, waiting, finished.
ACTIVE_SECONDS, WAITING_SECONDS, FINISHED_SECONDS = 2.0, 10.0, 600.0
#: A step that took less or more than this reads twice or half as many batches the next time, seconds.
QUICK, SLOW = 0.02, 0.08
#: The most batches in one query: where they are not in memory, each takes long.
MOST_AT_ONCE = 16
#: The rate of a run that goes on is that of the last seconds.
RATE_SECONDS = 120.0
_ACTIVE = frozenset({Status.SUBMITTING, Status.SUBMITTED})


class Zone(NamedTuple):
    """A task's batch, or its rows that are in no batch: the smallest part of a run that the index finds."""

    task_id: str | None
    batch: int | None


@dataclass(slots=True)
class Cell:
    """The figures of some rows that have everything in common that is counted."""

    rows: int = 0
    attempts: int = 0
    cost: int | None = None
    began: dt.datetime | None = None
    ended: dt.datetime | None = None

    def add(self, other: Cell) -> None:
        """Add the figures of other rows."""
        self.rows += other.rows
        self.attempts += other.attempts
        if other.cost is not None:
            self.cost = (self.cost or 0) + other.cost
        self.began = min(filter(None, (self.began, other.began)), default=None)
        self.ended = max(filter(None, (self.ended, other.ended)), default=None)


#: What rows are counted by: their values of :attr:`Tally.names`.
Group = tuple[Any, ...]


@dataclass(slots=True)
class _Counted:
    """A zone as it was counted."""

    groups: dict[Group, Cell] = field(default_factory=dict)
    at: float = 0.0
    stale_after: float = FINISHED_SECONDS


class Tally:
    """
    The counts of a run. It may be used by several threads; one of them counts at a time.

    :param names: the columns that rows are counted by; the first one is ``status``
    :param expressions: what is counted by instead of a column, by name
    :param clock: returns seconds, like :func:`time.monotonic`
    """

    def __init__(
        self,
        database: ResultsDatabase,
        key: RunKey,
        names: Sequence[str] = ("status", "error_code"),
        expressions: Mapping[str, sa.ColumnElement[Any]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.key = key
        self.names = tuple(names)
        self.database = database
        given = expressions or {}
        self.by = [given.get(name, database.swaps.c.get(name)).label(name) for name in names]  # type: ignore[union-attr]
        self._clock = clock
        self._lock = threading.Lock()
        self._zones: dict[Zone, _Counted | None] = {}
        self._listed_at: float | None = None
        self._at_once = 1
        self._done: deque[tuple[float, int]] = deque()

    def advance(self, seconds: float) -> None:
        """Count for about so long, what is not counted yet first; return at once if another thread is counting."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            end = self._clock() + seconds
            self._list_zones()
            for zones in self._slices():
                began = self._clock()
                self._count(zones)
                took = self._clock() - began
                self._at_once = max(1, self._at_once // 2) if took > SLOW else self._at_once
                self._at_once = min(MOST_AT_ONCE, self._at_once * 2) if took < QUICK else self._at_once
                if self._clock() >= end:
                    break
            self._sample()
        finally:
            self._lock.release()

    def reads(self, database: ResultsDatabase) -> bool:
        """Return whether it counts the rows of this database, and not of one that was open before."""
        return self.database is database

    def forget(self, zones: Iterable[Zone]) -> None:
        """Count some zones again in the next step, because rows of them were changed; the figures stay until then."""
        for zone in zones:
            if (counted := self._zones.get(zone)) is not None:
                counted.stale_after = 0.0

    @property
    def complete(self) -> bool:
        """Whether all rows have been counted."""
        return self._listed_at is not None and all(
            counted is not None for counted in list(self._zones.values())
        )

    @property
    def tasks(self) -> frozenset[str]:
        """The tasks that have rows."""
        return frozenset(zone.task_id for zone in list(self._zones) if zone.task_id is not None)

    @property
    def share(self) -> float:
        """How much of the run has been counted, 0 to 1."""
        zones = list(self._zones.values())
        return sum(counted is not None for counted in zones) / len(zones) if zones else float(self.complete)

    def zones(
        self, keeps: Callable[[Mapping[str, Any]], bool] | None = None
    ) -> list[tuple[Zone, int | None]]:
        """
        Return where rows are, in the order of the run's pages.

        :param keeps: says for a group whether its rows are looked for
        :return: the zones that may have such rows, each with their number; ``None`` where it is not known
        """
        found: list[tuple[Zone, int | None]] = []
        for zone, counted in list(self._zones.items()):
            if counted is None or counted.stale_after < FINISHED_SECONDS:
                # It has not been counted, or has changed since.
                found.append((zone, None))
                continue
            rows = sum(
                cell.rows
                for group, cell in list(counted.groups.items())
                if keeps is None or keeps(dict(zip(self.names, group, strict=True)))
            )
            if rows:
                found.append((zone, rows))
        return sorted(found, key=lambda entry: place_of(entry[0]))

    def groups(self, keeps: Callable[[Zone], bool] | None = None) -> dict[Group, Cell]:
        """
        Return the figures so far.

        :param keeps: only of these zones
        """
        found: dict[Group, Cell] = {}
        for zone, counted in list(self._zones.items()):
            if counted is not None and (keeps is None or keeps(zone)):
                for group, cell in list(counted.groups.items()):
                    found.setdefault(group, Cell()).add(cell)
        return found

    def rate(self) -> float | None:
        """Return how many rows were finished per second lately; ``None`` if nobody knows yet."""
        done = list(self._done)
        if len(done) < 2:
            return None
        (began, before), (now, after) = done[0], done[-1]
        return (after - before) / (now - began) if now > began and after > before else None

    def _list_zones(self) -> None:
        now = self._clock()
        if self._listed_at is not None and now - self._listed_at < ACTIVE_SECONDS:
            return
        for zone in list_zones(self.database, self.key):
            self._zones.setdefault(zone, None)
        self._listed_at = now

    def _slices(self) -> Iterator[list[Zone]]:
        """Yield zones to count, some at a time that follow one another, those first that were never counted."""
        new = [zone for zone, counted in self._zones.items() if counted is None]
        yield from self._together(sorted(new, key=place_of))
        now = self._clock()
        stale = [
            (counted.stale_after, counted.at, zone)
            for zone, counted in self._zones.items()
            if counted is not None and now - counted.at >= counted.stale_after
        ]
        stale.sort(key=lambda entry: (entry[0], entry[1], place_of(entry[2])))
        yield from self._together([zone for _, _, zone in stale])

    def _together(self, zones: Iterable[Zone]) -> Iterator[list[Zone]]:
        waiting = list(zones)
        while waiting:
            first = waiting[0]
            most = 1 if first.batch is None else self._at_once
            some = [
                zone for zone in waiting[:most] if zone.task_id == first.task_id and zone.batch is not None
            ]
            some = some or [first]
            yield some
            waiting = waiting[len(some) :]

    def _count(self, zones: list[Zone]) -> None:
        now = self._clock()
        where = of_zones(self.database.swaps.c, self.key, zones)
        fresh = {zone: _Counted(at=now) for zone in zones}
        for batch, group, cell in _counted_groups(self.database, self.by, where):
            fresh[Zone(zones[0].task_id, batch)].groups[group] = cell
        for counted in fresh.values():
            statuses = {group[0] for group in counted.groups}
            if statuses & _ACTIVE:
                counted.stale_after = ACTIVE_SECONDS
            elif statuses - TERMINAL:
                counted.stale_after = WAITING_SECONDS
        self._zones |= fresh

    def _sample(self) -> None:
        """Note how many rows are finished, for the rate."""
        now = self._clock()
        if not self.complete or (self._done and now - self._done[-1][0] < ACTIVE_SECONDS):
            return
        finished = sum(cell.rows for group, cell in self.groups().items() if group[0] in TERMINAL)
        self._done.append((now, finished))
        while now - self._done[0][0] > RATE_SECONDS:
            self._done.popleft()


def place_of(zone: Zone) -> tuple[Any, ...]:
    """Return the key that sorts zones as the pages of a run have them: what is in no batch is last."""
    return (zone.batch is None, zone.task_id or "", zone.batch or 0)


def of_zones(c: Any, key: RunKey, zones: Sequence[Zone]) -> list[sa.ColumnElement[bool]]:
    """Return the condition for the rows of some zones of one task: batches, or the rows that are in none."""
    first = zones[0]
    batches = [zone.batch for zone in zones if zone.batch is not None]
    if not batches:
        among: sa.ColumnElement[bool] = c.batch.is_(None)
    elif batches[-1] - batches[0] == len(batches) - 1:
        among = c.batch.between(batches[0], batches[-1])
    else:
        among = c.batch.in_(batches)
    task = c.task_id.is_(None) if first.task_id is None else c.task_id == first.task_id
    return [c.dag_id == key.dag_id, c.run_id == key.run_id, task, among]


def list_zones(database: ResultsDatabase, key: RunKey) -> list[Zone]:
    """Return the zones of a run, by looks into the index: a few for each task, however many rows there are."""
    c = database.swaps.c
    of_run = (c.dag_id == key.dag_id, c.run_id == key.run_id)

    def work(connection: sa.Connection) -> list[Zone]:
        tasks: list[str | None] = []
        further: tuple[sa.ColumnElement[bool], ...] = ()
        while True:
            task = connection.scalar(sa.select(sa.func.min(c.task_id)).where(*of_run, *further))
            if task is None:
                break
            tasks.append(task)
            further = (c.task_id > task,)
        if connection.scalar(sa.select(c.swap_id).where(*of_run, c.task_id.is_(None)).limit(1)):
            tasks.append(None)
        found: list[Zone] = []
        for task in tasks:
            of_task = (*of_run, c.task_id.is_(None) if task is None else c.task_id == task)
            # One by one: of both in one query, databases read all rows between.
            first = connection.scalar(sa.select(sa.func.min(c.batch)).where(*of_task))
            last = connection.scalar(sa.select(sa.func.max(c.batch)).where(*of_task))
            if first is not None:
                found += [Zone(task, batch) for batch in range(first, last + 1)]
            if connection.scalar(sa.select(c.swap_id).where(*of_task, c.batch.is_(None)).limit(1)):
                found.append(Zone(task, None))
        return found

    return database.run_read(work)


@dataclass(frozen=True, slots=True)
class Figures:
    """
    A run, or a part of it, in figures.

    :param counts: rows in each state
    :param reasons: rows by state and error code
    :param others: rows by the value of each other column that is counted
    :param suspicious: rows by what is suspicious about their pictures, that nobody has reviewed
    :param attempts: submits that may have been accepted, and so paid for
    :param cost: credits as GoEnhance reported them
    :param began: the first claim for a submit
    :param ended: when the last row was finished
    :param share: how much of the run has been counted, 0 to 1
    """

    counts: Mapping[Status, int]
    reasons: Mapping[tuple[Status, str], int]
    others: Mapping[str, Mapping[str, int]]
    suspicious: Mapping[str, int]
    attempts: int
    cost: int | None
    began: dt.datetime | None
    ended: dt.datetime | None
    share: float

    @property
    def rows(self) -> int:
        """Return how many rows there are."""
        return sum(self.counts.values())

    @property
    def done(self) -> int:
        """Return how many rows are finished."""
        return sum(rows for status, rows in self.counts.items() if status in TERMINAL)

    @property
    def reason_counts(self) -> dict[str, int]:
        """Return rows by error code, whatever their state, the most frequent first."""
        found: Counter[str] = Counter()
        for (_, code), rows in self.reasons.items():
            found[code] += rows
        return dict(found.most_common())

    @property
    def complete(self) -> bool:
        """Return whether all rows have been counted."""
        return self.share >= 1


def figures_of(tally: Tally, keeps: Callable[[Zone], bool] | None = None) -> Figures:
    """
    Return what a tally has counted so far.

    :param keeps: only of these zones
    """
    return _figures(tally.names, tally.groups(keeps), tally.share)


def figures_of_task(tally: Tally, task_id: str, map_index: int) -> Figures:
    """Return the figures of a mapped task, counted now: it has a batch, or rows of its own that are in none."""
    c = tally.database.swaps.c
    groups: dict[Group, Cell] = {}
    own = {Zone(task_id, map_index): (), Zone(task_id, None): (c.map_index == map_index,)}
    for zone, also in own.items():
        for _, group, cell in _counted_groups(
            tally.database, tally.by, [*of_zones(c, tally.key, [zone]), *also]
        ):
            groups.setdefault(group, Cell()).add(cell)
    return _figures(tally.names, groups, 1.0)


def _counted_groups(
    database: ResultsDatabase, by: Sequence[sa.ColumnElement[Any]], where: Iterable[sa.ColumnElement[bool]]
) -> Iterator[tuple[int | None, Group, Cell]]:
    """Yield the groups of some rows with their batch and their figures."""
    c = database.swaps.c
    query = (
        sa.select(
            c.batch,
            *by,
            sa.func.count().label("n_rows"),
            sa.func.sum(c.attempts).label("n_attempts"),
            sa.func.sum(c.cost).label("n_cost"),
            sa.func.min(c.claimed_at).label("began"),
            sa.func.max(c.finished_at).label("ended"),
        )
        .where(*where, c.superseded_at.is_(None))
        .group_by(c.batch, *by)
    )
    for row in database.read(query):
        batch, *group, rows, attempts, cost, began, ended = row.values()
        figures = Cell(int(rows), int(attempts or 0), None if cost is None else int(cost), began, ended)
        yield batch, tuple(group), figures


def _figures(names: Sequence[str], groups: Mapping[Group, Cell], share: float) -> Figures:
    counts: Counter[Status] = Counter()
    reasons: Counter[tuple[Status, str]] = Counter()
    others: dict[str, Counter[str]] = {name: Counter() for name in names[2:]}
    suspicious: Counter[str] = Counter()
    total = Cell()
    for (status, code, *rest), cell in groups.items():
        counts[Status(status)] += cell.rows
        if code:
            reasons[Status(status), code] += cell.rows
        for name, value in zip(names[2:], rest, strict=True):
            if value is not None:
                others[name][str(value)] += cell.rows
        known = dict(zip(names[2:], rest, strict=True))
        if known.get("quality") in SUSPICIOUS and not known.get("review"):
            suspicious[str(known["quality"])] += cell.rows
        total.add(cell)
    return Figures(
        counts=counts,
        reasons=reasons,
        others=others,
        suspicious=suspicious,
        attempts=total.attempts,
        cost=total.cost,
        began=total.began,
        ended=total.ended,
        share=share,
    )
