# SPDX-License-Identifier: Apache-2.0
"""The rows that a request names: only those of the Dag for which the user's permission was checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

from fastapi import HTTPException
from pydantic import BaseModel, ConfigDict, Field

from ...exceptions import ResultsTableError
from ...hooks.results import open_ledger
from ...results.ledger import Ledger
from ...results.row_version import MAX_VERSION
from ...results.swap import Swap

#: Rows of one request.
MOST_ROWS = 1000

T = TypeVar("T")

SwapId = Annotated[str, Field(min_length=1, max_length=36, pattern=r"^[\w-]+$")]
Version = Annotated[str, Field(max_length=MAX_VERSION)]
SwapIds = Annotated[list[SwapId], Field(min_length=1, max_length=MOST_ROWS)]


class Chosen(BaseModel):
    """
    Some rows, as a person saw them.

    :param rows: primary key -> version of the row (:func:`~...results.row_version.version_of`) as the page showed it: a
        page may be old, and what was decided about one submit or picture must not be done to the next one
    """

    model_config = ConfigDict(extra="forbid")

    rows: Annotated[dict[SwapId, Version], Field(min_length=1, max_length=MOST_ROWS)]

    @property
    def swap_ids(self) -> list[str]:
        """Return the primary keys."""
        return list(self.rows)


def with_ledger(work: Callable[[Ledger], T]) -> T:
    """
    Return what some work with the results table returns.

    :raises HTTPException: 503 when the table cannot be used
    """
    try:
        with open_ledger() as ledger:
            return work(ledger)
    except ResultsTableError as error:
        raise HTTPException(503, str(error)) from None


def rows_of_dag(
    ledger: Ledger, dag_id: str, swap_ids: Sequence[str], *, run_id: str | None = None
) -> list[Swap]:
    """
    Return the rows that a request names.

    :param dag_id: the Dag that the user may act on
    :param run_id: the run that they must be of
    :raises HTTPException: 404 if one of them does not exist, or is of another Dag or run: which one, nobody learns
    """
    rows = [
        row
        for row in ledger.by_ids(list(dict.fromkeys(swap_ids)))
        if row.dag_id == dag_id and run_id in {None, row.run_id}
    ]
    if len(rows) < len(set(swap_ids)):
        where = f"Run {run_id!r} of Dag {dag_id!r}" if run_id else f"Dag {dag_id!r}"
        raise HTTPException(404, f"{where} does not have all of the selected rows. Reload the page.")
    return rows
