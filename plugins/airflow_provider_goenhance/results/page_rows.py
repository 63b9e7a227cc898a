# SPDX-License-Identifier: Apache-2.0
"""
Read the rows of a run for a page: filtered, sorted, searched, and never more than a page of them.

A page begins after a place, not at an offset, so the last page of a million rows costs what the first one does. Rows of
a filter are read from the zones that have them, which a :class:`.tally.Tally` knows. Where it does not know yet, or a
text is searched that is in no index, reading stops after a fraction of a second, and the next page goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import sqlalchemy as sa

from .database import ResultsDatabase
from .label_values import label_value_of, label_values
from .page_places import LAST, PairPlace, ZonePlace
from .plan import RunKey
from .states import Status
from .swap import Swap
from .tally import Tally, Zone, list_zones, of_zones, place_of

Order = Literal["manifest", "problems", "pair"]
#: The order of states in which problems come first.
PROBLEMS_FIRST = (
    Status.UNKNOWN,
    Status.FAILED,
    Status.HELD,
    Status.REJECTED,
    Status.SUBMITTING,
    Status.SUBMITTED,
    Status.PLANNED,
    Status.SUCCEEDED,
    Status.REUSED,
)
#: Seconds after which a page is returned although it is not full.
READ_SECONDS = 0.15
#: A query that took less than this reads twice as many zones the next time, seconds.
QUICK = 0.03
ZONES_AT_FIRST, MOST_ZONES = 2, 64
#: Rows in the order of their pair ids that are filtered at a time.
PAIRS_AT_ONCE = 1000
_HIGHEST = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class Filter:
    """
    Which rows of a run are shown.

    :param statuses: rows in one of these states; empty: in any
    :param error_code: rows with this reason
    :param columns: rows with these values of other columns that are counted, such as ``quality``
    :param label: rows with this value of a label, as (name, value)
    :param task_id: rows of this task
    :param map_index: rows of this mapped task
    :param starts: rows whose pair id begins with this text, or one of whose URLs does if it is the start of a URL
    """

    statuses: tuple[Status, ...] = ()
    error_code: str | None = None
    columns: tuple[tuple[str, str], ...] = ()
    label: tuple[str, str] | None = None
    task_id: str | None = None
    map_index: int | None = None
    starts: str = ""

    @property
    def by_url(self) -> bool:
        """Return whether URLs are searched."""
        return "://" in self.starts

    def keeps(self, row: Mapping[str, Any]) -> bool:
        """Return whether what is counted by says that a row may be shown."""
        return (
            (not self.statuses or row["status"] in self.statuses)
            and (self.error_code is None or row["error_code"] == self.error_code)
            and all(row.get(name) == value for name, value in self.columns)
        )


@dataclass(frozen=True, slots=True)
class Page:
    """
    Some rows.

    :param rows: in the order that was asked for
    :param following: the place at which the next page begins, as a text; ``None`` after the last one
    :param cut: whether it has fewer rows than asked for because reading stopped after a while
    """

    rows: list[Swap]
    following: str | None
    cut: bool = False


class PageRows:
    """
    Some rows of a run, page by page.

    :param wanted: which rows
    :param tally: what was counted so far by the columns that the filter may name
    :param labels: what was counted so far by the label that the filter names
    :param by_pair: whether the index over pair ids is there
    :param seconds: after which a page is returned although it is not full
    """

    def __init__(
        self,
        database: ResultsDatabase,
        key: RunKey,
        wanted: Filter,
        *,
        tally: Tally | None = None,
        labels: Tally | None = None,
        by_pair: bool = True,
        seconds: float = READ_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._key = key
        self._wanted = wanted
        self._tally = tally
        self._labels = labels
        self._by_pair = by_pair
        self._seconds = seconds
        self._clock = clock

    def page(self, limit: int, order: Order = "manifest", after: str | None = None) -> Page:
        """
        Return a page.

        :param limit: maximum number of rows
        :param order: a search in the index of pair ids has their order, whatever is asked for
        :param after: where it begins, from the page before; another text begins at the start
        """
        wanted = self._wanted
        if self._by_pair and (order == "pair" or (wanted.starts and not wanted.by_url)):
            return self._in_order_of_pairs(limit, PairPlace.read(after))
        phases: Sequence[tuple[Status, ...]] = [wanted.statuses]
        if order == "problems":
            phases = [
                (status,) for status in PROBLEMS_FIRST if not wanted.statuses or status in wanted.statuses
            ]
        return self._zone_by_zone(limit, phases, ZonePlace.read(after))

    # -- zone by zone ------------------------------------------------------------------------------------------

    def _zone_by_zone(
        self, limit: int, phases: Sequence[tuple[Status, ...]], after: ZonePlace | None
    ) -> Page:
        """Return a page in the order of the zones; one phase after the other, each with rows in some states."""
        end = self._clock() + self._seconds
        found: list[tuple[int, Swap]] = []
        for phase, zones, begin in self._parts(phases, after, partial(_missing, found, limit)):
            rows = self._read(zones, phases[phase], begin, _missing(found, limit))
            found += [(phase, swap) for swap in rows]
            if len(found) > limit:
                return Page([swap for _, swap in found[:limit]], _place(*found[limit - 1]).text())
            if self._clock() >= end:
                return Page([swap for _, swap in found], ZonePlace(phase, zones[-1]).text(), cut=True)
        return Page([swap for _, swap in found], None)

    def _parts(
        self, phases: Sequence[tuple[Status, ...]], after: ZonePlace | None, missing: Callable[[], int]
    ) -> Iterator[tuple[int, list[Zone], ZonePlace | None]]:
        """Yield what is read together: the phase, the zones, and the place in the first of them to begin after."""
        first = after.phase if after is not None else 0
        for phase, statuses in enumerate(phases[first:], first):
            begin = after if after is not None and phase == first else None
            for zones in self._some_zones(statuses, begin, missing):
                inside = begin is not None and begin.zone == zones[0]
                yield phase, zones, begin if inside else None

    def _some_zones(
        self, statuses: tuple[Status, ...], begin: ZonePlace | None, missing: Callable[[], int]
    ) -> Iterator[list[Zone]]:
        """
        Yield zones of one task to read together.

        :param begin: where the page begins
        :param missing: returns how many rows the page still lacks
        """
        zones = self._zones(statuses)
        if begin is not None:
            here = place_of(begin.zone)
            if begin.row is not None and begin.zone in {zone for zone, _ in zones}:
                yield [begin.zone]
            zones = [(zone, n) for zone, n in zones if place_of(zone) > here]
        most, start = ZONES_AT_FIRST, 0
        while start < len(zones):
            some = _together(zones[start : start + most], missing())
            start += len(some)
            began = self._clock()
            yield some
            if len(some) == most and self._clock() - began < QUICK:
                most = min(MOST_ZONES, most * 2)

    def _zones(self, statuses: tuple[Status, ...]) -> list[tuple[Zone, int | None]]:
        """Return the zones that may have rows, in their order."""
        wanted = self._wanted
        some = Filter(statuses, wanted.error_code, wanted.columns)
        zones = self._tally.zones(some.keeps) if self._tally is not None else []
        if self._tally is None or self._tally.share == 0:
            zones = [(zone, None) for zone in sorted(list_zones(self._database, self._key), key=place_of)]
        labelled = self._labelled()
        return [
            (zone, rows)
            for zone, rows in zones
            if wanted.task_id in {None, zone.task_id}
            and (wanted.map_index is None or zone.batch in {None, wanted.map_index})
            and (labelled is None or zone in labelled)
        ]

    def _labelled(self) -> set[Zone] | None:
        """Return the zones that have rows with the label of the filter; ``None`` if nobody knows, or there is none."""
        label = self._wanted.label
        if label is None or self._labels is None or not self._labels.complete:
            return None
        return {zone for zone, _ in self._labels.zones(lambda group: group["label"] == label[1])}

    def _read(
        self, zones: list[Zone], statuses: tuple[Status, ...], begin: ZonePlace | None, limit: int
    ) -> list[Swap]:
        c = self._database.swaps.c
        number = sa.func.coalesce(c.row_number, LAST)
        where = [*of_zones(c, self._key, zones), c.superseded_at.is_(None), *self._conditions(statuses)]
        if begin is not None and begin.row is not None:
            row, pair, swap = begin.row
            further = sa.or_(
                number > row,
                sa.and_(
                    number == row, sa.or_(c.pair_id > pair, sa.and_(c.pair_id == pair, c.swap_id > swap))
                ),
            )
            where += [number >= row, further]
        if self._wanted.map_index is not None and zones[0].batch is None:
            where.append(c.map_index == self._wanted.map_index)
        query = (
            sa.select(self._database.swaps)
            .where(*where)
            .order_by(c.batch, number, c.pair_id, c.swap_id)
            .limit(limit)
        )
        return [Swap.from_row(row) for row in self._database.read(query)]

    def _conditions(self, statuses: tuple[Status, ...]) -> Iterator[sa.ColumnElement[bool]]:
        c = self._database.swaps.c
        wanted = self._wanted
        if statuses:
            yield c.status.in_(statuses)
        if wanted.error_code is not None:
            yield c.error_code == wanted.error_code
        for name, value in wanted.columns:
            yield c[name] == value
        if wanted.label is not None:
            name, value = wanted.label
            yield label_values(self._database, name) == value
        if wanted.starts:
            columns = (c.source_img, c.reference_img) if wanted.by_url else (c.pair_id,)
            yield sa.or_(*(column.startswith(wanted.starts, autoescape=True) for column in columns))

    # -- in the order of the pair ids ----------------------------------------------------------------------------

    def _in_order_of_pairs(self, limit: int, after: PairPlace | None) -> Page:
        """Return a page in the order of the index over pair ids; other filters are applied to what it finds."""
        end = self._clock() + self._seconds
        plain = self._wanted == Filter(starts=self._wanted.starts) and not self._wanted.by_url
        at_once = limit + 1 if plain else PAIRS_AT_ONCE
        found: list[PairPlace] = []
        while True:
            rows = self._pairs(after, at_once)
            found += [PairPlace(row["pair_id"], row["swap_id"]) for row in rows if plain or self._keeps(row)]
            if len(found) > limit:
                return Page(self._whole(found[:limit]), found[limit - 1].text())
            if len(rows) < at_once:
                return Page(self._whole(found), None)
            after = PairPlace(rows[-1]["pair_id"], rows[-1]["swap_id"])
            if self._clock() >= end:
                return Page(self._whole(found), after.text(), cut=True)

    def _pairs(self, after: PairPlace | None, limit: int) -> list[dict[str, Any]]:
        """Return what decides about the next rows in the order of the index."""
        database, wanted = self._database, self._wanted
        c = database.swaps.c
        pair = sa.collate(c.pair_id, "C") if database.engine.dialect.name == "postgresql" else c.pair_id
        # SQLite, which has no statistics, would read and sort the run by the index that begins with the Dag.
        dag = c.dag_id.op("||")("") if database.engine.dialect.name == "sqlite" else c.dag_id
        where = [dag == self._key.dag_id, c.run_id == self._key.run_id, c.superseded_at.is_(None)]
        if wanted.starts and not wanted.by_url:
            where += [pair >= wanted.starts, pair < wanted.starts + _HIGHEST]
        if after is not None:
            beyond = sa.or_(pair > after.pair_id, sa.and_(pair == after.pair_id, c.swap_id > after.swap_id))
            where += [pair >= after.pair_id, beyond]
        names = ["swap_id", "pair_id", "status", "error_code", "task_id", "map_index", "batch"]
        names += [name for name, _ in wanted.columns] + (["labels"] if wanted.label else [])
        names += ["source_img", "reference_img"] if wanted.by_url else []
        query = sa.select(*(c[name] for name in names)).where(*where).order_by(pair, c.swap_id).limit(limit)
        return database.read(query)

    def _keeps(self, row: Mapping[str, Any]) -> bool:
        """Return whether a row passes the filter."""
        wanted = self._wanted
        if not wanted.keeps(row) or wanted.task_id not in {None, row["task_id"]}:
            return False
        if wanted.map_index is not None and wanted.map_index not in {row["batch"], row["map_index"]}:
            return False
        if wanted.label is not None and label_value_of(row["labels"], wanted.label[0]) != wanted.label[1]:
            return False
        urls = (row["source_img"], row["reference_img"]) if wanted.by_url else ()
        return not urls or any(url.startswith(wanted.starts) for url in urls)

    def _whole(self, places: Sequence[PairPlace]) -> list[Swap]:
        c = self._database.swaps.c
        if not places:
            return []
        query = sa.select(self._database.swaps).where(c.swap_id.in_([place.swap_id for place in places]))
        by_id = {row["swap_id"]: Swap.from_row(row) for row in self._database.read(query)}
        return [by_id[place.swap_id] for place in places if place.swap_id in by_id]


def _together(zones: Sequence[tuple[Zone, int | None]], missing: int) -> list[Zone]:
    """Return the first zones, of one task, that have as many rows as a page lacks."""
    first, rows = zones[0][0], 0
    some: list[Zone] = []
    for zone, n in zones:
        if zone.task_id != first.task_id or rows >= missing or (some and zone.batch is None):
            break
        some.append(zone)
        rows += n or 0
    return some


def _missing(found: list[tuple[int, Swap]], limit: int) -> int:
    """Return how many rows a page lacks, and one more, which says whether another page follows."""
    return limit + 1 - len(found)


def _place(phase: int, swap: Swap) -> ZonePlace:
    number = LAST if swap.row_number is None else swap.row_number
    return ZonePlace(phase, Zone(swap.task_id, swap.batch), (number, swap.pair_id, swap.swap_id))
