# SPDX-License-Identifier: Apache-2.0
"""Read a page of rows, and the counts of the whole run that serve as filters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ..results.database import ResultsDatabase
from ..results.label_values import label_value_of
from ..results.ledger import Ledger
from ..results.page_rows import Filter, Page, PageRows
from ..results.search_indexes import ids_with
from ..results.swap import Swap
from ..results.tally import Figures, Tally, Zone, figures_of, figures_of_task
from .figures import counted_columns, indexes_of, label_tally_of, labels_of
from .row_query import RowQuery, without_search

#: Seconds for which one request counts rows by a label.
LABEL_SECONDS = 0.04
#: A trigram has three characters.
SHORTEST_PART = 3


@dataclass(frozen=True, slots=True)
class Facets:
    """
    The counts of a run, or of a task of it, by what a page can filter.

    :param part: the figures of the rows that the page is about
    :param labels: the values of each label that has few, with their rows; empty as long as they are counted
    """

    part: Figures
    labels: Mapping[str, Mapping[str, int]]


def facets_of(database: ResultsDatabase, query: RowQuery, tally: Tally) -> Facets:
    """Return the counts by state, reason, other columns and labels."""
    keeps = _zones_of(query.wanted)
    names = labels_of(database, query.key)
    labels: dict[str, Mapping[str, int]] = {}
    for name in names:
        counted = label_tally_of(database, query.key, name)
        if tally.complete and not counted.complete:
            # One after the other: the states come first.
            counted.advance(LABEL_SECONDS / len(names))
        values: Counter[str] = Counter()
        for (_, value), cell in counted.groups(keeps).items():
            if value is not None:
                values[str(value)] += cell.rows
        labels[name] = dict(values.most_common(20)) if counted.complete else {}
    if query.wanted.task_id is not None and query.wanted.map_index is not None:
        return Facets(figures_of_task(tally, query.wanted.task_id, query.wanted.map_index), labels)
    return Facets(figures_of(tally, keeps), labels)


def read_page(database: ResultsDatabase, query: RowQuery, tally: Tally) -> Page:
    """Return the rows of a page; columns that the table does not have yet filter nothing."""
    indexes = indexes_of(database)
    known = counted_columns(database)
    wanted = replace(
        query.wanted, columns=tuple(column for column in query.wanted.columns if column[0] in known)
    )
    if indexes.by_parts and len(query.search) >= SHORTEST_PART:
        ids = ids_with(database, query.key, query.search, indexes.by_parts)
        if ids is not None:
            return _found(database, query, ids)
    labels = label_tally_of(database, query.key, wanted.label[0]) if wanted.label else None
    rows = PageRows(database, query.key, wanted, tally=tally, labels=labels, by_pair=indexes.by_pair)
    return rows.page(query.limit, query.order, query.after)


@dataclass(frozen=True, slots=True)
class SearchHelp:
    """
    What a search finds.

    :param placeholder: said in the empty field
    :param searched: said about a text that was searched
    """

    placeholder: str
    searched: str


def search_help(database: ResultsDatabase, query: RowQuery) -> SearchHelp:
    """Return what a search finds, with the indexes that the table has."""
    if indexes_of(database).by_parts:
        return SearchHelp("Part of a pair id or address", f"with “{query.search}” in them")
    what = "one of whose addresses begins" if query.wanted.by_url else "whose pair id begins"
    return SearchHelp("Start of a pair id or address", f"Rows {what} with “{query.search}”")


def _found(database: ResultsDatabase, query: RowQuery, ids: list[str]) -> Page:
    """Return the rows that an index over parts of texts has found; there are few."""
    wanted = without_search(query)
    found = sorted(Ledger(database).by_ids(ids), key=lambda swap: (swap.pair_id, swap.swap_id))
    kept = [swap for swap in found if swap.superseded_at is None and _keeps(wanted, swap)]
    begin = next((index + 1 for index, swap in enumerate(kept) if swap.swap_id == query.after), 0)
    shown = kept[begin : begin + query.limit]
    return Page(shown, shown[-1].swap_id if begin + query.limit < len(kept) else None)


def _keeps(wanted: Filter, swap: Swap) -> bool:
    """Return whether a row passes the filter."""
    if not wanted.keeps(swap.to_row()) or not _zones_of(wanted)(Zone(swap.task_id, swap.batch)):
        return False
    if wanted.map_index is not None and wanted.map_index not in {swap.batch, swap.map_index}:
        return False
    return wanted.label is None or label_value_of(swap.labels, wanted.label[0]) == wanted.label[1]


def _zones_of(wanted: Filter) -> Callable[[Zone], bool]:
    """Return the function that says whether a zone is of the task that is asked for."""

    def keeps(zone: Zone) -> bool:
        if wanted.task_id is not None and zone.task_id != wanted.task_id:
            return False
        return wanted.map_index is None or zone.batch in {None, wanted.map_index}

    return keeps
