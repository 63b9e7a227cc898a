# SPDX-License-Identifier: Apache-2.0
"""The page of a task: its rows, their state, and their pictures."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import PurePosixPath
from typing import Annotated, TypeVar
from urllib.parse import quote

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Query, Response
from fastapi.responses import HTMLResponse

from ..exceptions import CollectError, ResultsTableError
from ..hooks.results import open_ledger
from ..pictures.names import folder_for, sheet_name_for
from ..pictures.storage import read_picture
from ..results.ledger import Ledger, RunKey
from ..results.run_rows import Place, RunRows
from ..results.run_summary import summarize
from ..results.states import Status
from ..settings import default_storage
from .page import MEDIA_TYPES, render

log = logging.getLogger(__name__)

#: Pictures are untrusted: nothing in them may run, and only pictures are loaded from other hosts.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' http: https:; style-src 'unsafe-inline'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, no-store",
}
#: The sheet is read from a storage that others may write to; its pictures are embedded.
_SHEET_HEADERS = _HEADERS | {
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'none'; "
    "base-uri 'none'; sandbox"
}
#: Rows on one page.
MOST_ROWS = 200
#: Failures that the first page of a larger run names before its rows.
MOST_FAILURES = 20
FAILURES = (Status.FAILED, Status.UNKNOWN, Status.REJECTED, Status.HELD)

T = TypeVar("T")


def create_app() -> FastAPI:
    """Return the application that Airflow mounts under ``/goenhance``."""
    app = FastAPI(title="GoEnhance face swaps", docs_url=None, redoc_url=None, openapi_url=None)
    may_see = Depends(requires_access_dag("GET", DagAccessEntity.TASK_INSTANCE))

    # Plain `def`, because they read a database and a storage: FastAPI runs them in threads.
    @app.get("/swaps", dependencies=[may_see])
    def swaps(
        dag_id: str,
        run_id: str,
        task_id: str | None = None,
        map_index: int = -1,
        after: Annotated[str | None, Query(max_length=64)] = None,
    ) -> HTMLResponse:
        """Show the rows of a task, page by page, with source, reference and result side by side."""
        index = map_index if map_index >= 0 else None
        key = RunKey(dag_id, run_id)
        return HTMLResponse(
            _using(lambda ledger: _page(ledger, key, task_id, index, after)), headers=_HEADERS
        )

    @app.get("/picture", dependencies=[may_see])
    def picture(dag_id: str, swap_id: Annotated[str, Query(max_length=64)]) -> Response:
        """Return a stored picture of a Dag that the user may see."""
        found = _using(lambda ledger: ledger.by_ids([swap_id]))
        # The permission was checked for dag_id only: hide the pictures of other Dags.
        if not found or found[0].dag_id != dag_id or not found[0].result_uri:
            raise HTTPException(404, "The picture does not exist.")
        uri = found[0].result_uri
        try:
            data = read_picture(uri)
        except CollectError as error:
            log.warning("The picture of swap %s could not be read: %s", swap_id, error)
            raise HTTPException(404, "The picture is no longer in the storage.") from None
        suffix = PurePosixPath(uri).suffix.lower()
        if suffix in MEDIA_TYPES:
            return Response(data, media_type=MEDIA_TYPES[suffix], headers=_HEADERS)
        name = f"{found[0].swap_id}{suffix if suffix.isascii() else ''}"
        download = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"}
        return Response(data, media_type="application/octet-stream", headers=_HEADERS | download)

    @app.get("/contact-sheet", dependencies=[may_see])
    def contact_sheet(dag_id: str, run_id: str, task_id: str) -> HTMLResponse:
        """Return the contact sheet that a report task of the run has stored."""
        name = sheet_name_for(dag_id, task_id)
        for folder in _using(lambda ledger: _folders_of(ledger, RunKey(dag_id, run_id))):
            try:
                return HTMLResponse(read_picture(f"{folder}/{name}").decode(), headers=_SHEET_HEADERS)
            except (CollectError, UnicodeDecodeError):
                continue
        raise HTTPException(
            404,
            "The contact sheet of this run was not found. The log of the report task and its XCom contact_sheet name "
            "its location.",
        )

    return app


def _page(ledger: Ledger, key: RunKey, task_id: str | None, index: int | None, after: str | None) -> str:
    """
    Return the page that begins after a row.

    :param index: only the rows of this mapped task
    :param after: the row's ``swap_id``; one of another run begins at the start
    """
    rows = partial(RunRows, ledger.database, key, task_id=task_id, map_index=index)
    before = (
        [swap for swap in ledger.by_ids([after]) if RunKey(swap.dag_id, swap.run_id) == key] if after else []
    )
    # One more than is shown says whether another page follows.
    found = rows().page(MOST_ROWS + 1, Place.of(before[0]) if before else None)
    shown = found[:MOST_ROWS]
    counts = summarize(rows()).counts
    large = sum(counts.values()) > MOST_ROWS
    failures = rows(statuses=FAILURES).page(MOST_FAILURES) if large and not before else []
    return render(
        shown,
        counts,
        key,
        task_id,
        index=index,
        failures=failures,
        first=not before,
        last=len(found) == len(shown),
    )


def _folders_of(ledger: Ledger, key: RunKey) -> list[str]:
    """Return the folders that may hold a run's pictures: those of its rows, then the default storage."""
    rows = RunRows(ledger.database, key)
    if not rows.exists():
        return []
    kept = RunRows(ledger.database, key, statuses=[Status.SUCCEEDED]).some_results()
    own = {uri.rpartition("/")[0] for uri in kept}
    return [*sorted(own), f"{default_storage().rstrip('/')}/{folder_for(key.run_id)}"]


def _using(work: Callable[[Ledger], T]) -> T:
    try:
        with open_ledger() as ledger:
            return work(ledger)
    except ResultsTableError as error:
        raise HTTPException(503, str(error)) from None
