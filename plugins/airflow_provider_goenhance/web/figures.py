# SPDX-License-Identifier: Apache-2.0
"""The tallies of the runs that somebody looks at, shared by all requests of this process."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

from ..results.database import ResultsDatabase
from ..results.label_values import label_values, labels_to_filter_by
from ..results.page_runs import RunEntry, runs_of
from ..results.plan import RunKey
from ..results.search_indexes import SearchIndexes, search_indexes
from ..results.swap import Swap
from ..results.tally import Tally, Zone

#: Columns, beside state and reason, that rows are counted and filtered by.
COUNTED = ("quality", "review")
#: Runs whose counts are kept.
MOST_TALLIES = 200
#: Seconds for which a list of runs and a look at the indexes serve.
RUNS_SECONDS, INDEX_SECONDS = 5.0, 60.0

T = TypeVar("T")

_lock = threading.Lock()
_tallies: OrderedDict[Any, Tally] = OrderedDict()
_looks: dict[Any, tuple[float, Any]] = {}


def counted_columns(database: ResultsDatabase) -> tuple[str, ...]:
    """Return the columns, beside state and reason, that rows are counted by."""
    return tuple(name for name in COUNTED if name in database.swaps.c)


def tally_of(database: ResultsDatabase, key: RunKey) -> Tally:
    """Return the tally of a run by state, reason and the other columns that are counted."""
    names = ("status", "error_code", *counted_columns(database))
    return _kept((database.url, database.swaps, key), lambda: Tally(database, key, names), database)


def label_tally_of(database: ResultsDatabase, key: RunKey, label: str) -> Tally:
    """Return the tally of a run by the value of a label."""

    def make() -> Tally:
        return Tally(database, key, ("status", "label"), {"label": label_values(database, label)})

    return _kept((database.url, database.swaps, key, label), make, database)


def forget(rows: Iterable[Swap]) -> None:
    """Count the batches of some rows again at the next look, because an action has changed these rows."""
    changed: dict[RunKey, set[Zone]] = {}
    for row in rows:
        zones = changed.setdefault(RunKey(row.dag_id, row.run_id), set())
        zones |= {Zone(row.task_id, row.batch), Zone(row.task_id, None)}
    with _lock:
        for tally in _tallies.values():
            tally.forget(changed.get(tally.key, ()))


def _kept(name: Any, make: Any, database: ResultsDatabase) -> Tally:
    with _lock:
        found = _tallies.pop(name, None)
        if found is None or not found.reads(database):
            found = make()
        _tallies[name] = found
        while len(_tallies) > MOST_TALLIES:
            _tallies.popitem(last=False)
        return found


def runs_with_rows(database: ResultsDatabase, dag_ids: tuple[str, ...]) -> list[RunEntry]:
    """Return the runs of some Dags, the latest first."""
    name = ("runs", database.url, database.swaps, dag_ids)
    return _looked(name, RUNS_SECONDS, lambda: runs_of(database, dag_ids))


def indexes_of(database: ResultsDatabase) -> SearchIndexes:
    """Return the indexes that a search can use."""
    return _looked(("indexes", database.url, database.swaps), INDEX_SECONDS, lambda: search_indexes(database))


def _looked(name: Any, seconds: float, look: Callable[[], T]) -> T:
    now = time.monotonic()
    with _lock:
        at, known = _looks.get(name, (0.0, None))
    if known is not None and now - at < seconds:
        return cast(T, known)
    found = look()
    with _lock:
        if len(_looks) > MOST_TALLIES:
            _looks.clear()
        _looks[name] = (now, found)
    return found


def labels_of(database: ResultsDatabase, key: RunKey) -> list[str]:
    """Return the labels of a run that are worth a filter."""
    name = ("labels", database.url, database.swaps, key)
    return _looked(name, INDEX_SECONDS, lambda: labels_to_filter_by(database, key))
