# SPDX-License-Identifier: Apache-2.0
"""The contact sheet that a report task has stored."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException
from fastapi.responses import HTMLResponse

from ..exceptions import CollectError
from ..pictures.names import folder_for, sheet_name_for
from ..pictures.storage import read_picture
from ..results.database import ResultsDatabase
from ..results.plan import RunKey
from ..results.run_rows import RunRows
from ..results.states import Status
from ..settings import default_storage
from .permissions import may_see
from .tables import results

router = APIRouter(dependencies=[may_see])

#: The sheet is read from a storage that others may write to; its pictures and its style are embedded.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'self'; sandbox"
}


@router.get("/contact-sheet")
def contact_sheet(dag_id: str, run_id: str, task_id: str) -> HTMLResponse:
    """Return the contact sheet that a report task of the run has stored."""
    name = sheet_name_for(dag_id, task_id)
    with results() as database:
        folders = _folders_of(database, RunKey(dag_id, run_id))
    for folder in folders:
        try:
            return HTMLResponse(read_picture(f"{folder}/{name}").decode(), headers=_HEADERS)
        except (CollectError, UnicodeDecodeError):
            continue
    raise HTTPException(
        404,
        "The contact sheet of this run was not found. The log of the report task and its XCom contact_sheet name "
        "its location.",
    )


def _folders_of(database: ResultsDatabase, key: RunKey) -> list[str]:
    """Return the folders that may hold a run's pictures: those of its rows, then the default storage."""
    rows = RunRows(database, key)
    if not rows.exists():
        return []
    kept = RunRows(database, key, statuses=[Status.SUCCEEDED]).some_results()
    own = {uri.rpartition("/")[0] for uri in kept}
    return [*sorted(own), f"{default_storage().rstrip('/')}/{folder_for(key.run_id)}"]
