# SPDX-License-Identifier: Apache-2.0
"""Download the rows of a run as CSV, its failures as a manifest, or some pictures as a ZIP file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form, HTTPException, Query
from fastapi.responses import StreamingResponse

from ...execution.export import csv_chunks
from ...execution.failures import STATUSES, open_failures
from ...execution.past_runs import read_statuses, rows_of
from ...execution.picture_zip import zip_chunks
from ...hooks.results import open_ledger
from ...pictures.names import folder_for
from ...pictures.storage import read_picture
from ...results.ledger import Ledger, RunKey
from ...results.run_rows import RunRows
from ...results.states import Review
from ...results.swap import Swap
from ..permissions import may_see, same_origin
from .chosen_rows import SwapIds, rows_of_dag, with_ledger

router = APIRouter()

#: Bytes of ``failures.csv`` that are sent together.
_PIECE = 64 * 1024
_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-store"}


# Plain `def`, because they read a database and a storage: FastAPI runs them, and what they yield, in threads.
@router.get("/actions/rows.csv", dependencies=[may_see])
def rows_csv(
    dag_id: str, run_id: str, statuses: Annotated[str | None, Query(max_length=200)] = None
) -> StreamingResponse:
    """Return the rows of a run as CSV."""
    key = RunKey(dag_id, run_id)
    try:
        choice = read_statuses(statuses) if statuses else None
    except ValueError as error:
        raise HTTPException(422, str(error)) from None
    # Before the answer begins, so that a table that cannot be used is an error and not a file that is cut off.
    with_ledger(lambda ledger: RunRows(ledger.database, key).exists())

    def chunks() -> Iterator[bytes]:
        with open_ledger() as ledger:
            rows = rows_of(ledger, key, choice) if choice else RunRows(ledger.database, key)
            yield from csv_chunks(rows)

    return _download(chunks(), f"rows-{folder_for(run_id)}.csv", "text/csv; charset=utf-8")


@router.get("/actions/failures.csv", dependencies=[may_see])
def failures_csv(dag_id: str, run_id: str) -> StreamingResponse:
    """Return the rows without a good picture, to be corrected and fed back as a manifest."""
    key = RunKey(dag_id, run_id)

    def work(ledger: Ledger) -> Iterator[bytes]:
        rows = RunRows(ledger.database, key, statuses=STATUSES, or_reviews=[Review.REJECTED], counted=True)
        _, file = open_failures(rows, key)

        def chunks() -> Iterator[bytes]:
            with file:
                while piece := file.read(_PIECE):
                    yield piece

        return chunks()

    return _download(with_ledger(work), f"failures-{folder_for(run_id)}.csv", "text/csv; charset=utf-8")


@router.post("/actions/pictures.zip", dependencies=[may_see, same_origin])
def pictures_zip(dag_id: str, swap_ids: Annotated[SwapIds, Form()]) -> StreamingResponse:
    """Return the pictures of some rows as a ZIP file; for a form, because a page cannot save what a script fetches."""

    def work(ledger: Ledger) -> list[Swap]:
        return [row for row in rows_of_dag(ledger, dag_id, swap_ids) if row.result_uri]

    rows = with_ledger(work)
    if not rows:
        raise HTTPException(409, "None of the selected rows has a picture.")
    return _download(zip_chunks(rows, read_picture), "pictures.zip", "application/zip")


def _download(chunks: Iterator[bytes], name: str, media_type: str) -> StreamingResponse:
    disposition = f"attachment; filename*=UTF-8''{quote(name, safe='')}"
    return StreamingResponse(
        chunks, media_type=media_type, headers=_HEADERS | {"Content-Disposition": disposition}
    )
