# SPDX-License-Identifier: Apache-2.0
"""The results table as the page reads it: one engine for the life of the API server, opened again if it moves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import HTTPException

from ..exceptions import ResultsTableError
from ..hooks.results import open_results
from ..results.database import ResultsDatabase
from ..results.ledger import Ledger
from ..results.swap import Swap

_lock = threading.Lock()
_open: list[ResultsDatabase] = []


@contextmanager
def results() -> Iterator[ResultsDatabase]:
    """
    Yield the database of the results table: that of the connection ``goenhance_results``.

    :raises HTTPException: 503 when it cannot be used, with the reason
    """
    try:
        yield _current()
    except ResultsTableError as error:
        raise HTTPException(503, str(error)) from None


def _current() -> ResultsDatabase:
    """Return the database that is open, if the connection still names it."""
    named = open_results()
    with _lock:
        if _open and _same(_open[0], named):
            return _open[0]
        for old in _open:
            old.close()
        _open[:] = [named]
    return named


def _same(one: ResultsDatabase, other: ResultsDatabase) -> bool:
    return one.url == other.url and one.swaps is other.swaps


def row_of(dag_id: str, swap_id: str) -> Swap | None:
    """
    Return a row of a Dag, ``None`` if there is none.

    :param dag_id: for which the user's permission was checked: a row of another Dag is as good as not there
    """
    if not swap_id.isprintable() or len(swap_id) > 64:
        return None
    with results() as database:
        found = Ledger(database).by_ids([swap_id])
    return next((swap for swap in found if swap.dag_id == dag_id), None)
