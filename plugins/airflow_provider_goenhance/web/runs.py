# SPDX-License-Identifier: Apache-2.0
"""The runs, of all Dags that the user may see or of one of them: how each stands, and what it cost."""

from __future__ import annotations

from typing import Annotated

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import HTMLResponse

from ..results.page_runs import RunEntry, dags_with_rows
from ..results.plan import RunKey
from .budget_view import caps_of_runs
from .figures import runs_with_rows, tally_of
from .permissions import ViewerDep
from .rendering import render
from .run_view import RunView, count_runs, states_of, view_of
from .tables import results

router = APIRouter()

#: Runs on a page.
MOST_RUNS = 20
#: Seconds for which one request counts rows.
COUNT_SECONDS = 0.15


@router.get("/runs")
def runs(
    viewer: ViewerDep,
    dag_id: str | None = None,
    after_dag: str | None = None,
    after_run: Annotated[str | None, Query(max_length=250)] = None,
    fragment: bool = False,
) -> HTMLResponse:
    """Show the runs, the latest first; ``fragment`` asks for the list alone, which the script puts into the page."""
    if dag_id is not None and not viewer.may("GET", DagAccessEntity.TASK_INSTANCE, dag_id):
        raise HTTPException(403, "Your role does not let you see the task instances of this Dag.")
    with results() as database:
        dag_ids = [dag_id] if dag_id is not None else viewer.readable(dags_with_rows(database))
        entries = runs_with_rows(database, tuple(dag_ids))
        begin = _position(entries, RunKey(after_dag or dag_id or "", after_run or ""))
        shown = entries[begin : begin + MOST_RUNS]
        tallies = [(entry, tally_of(database, entry.key)) for entry in shown]
        count_runs(tallies, COUNT_SECONDS)
    states = states_of(entry.key for entry in shown)
    caps = caps_of_runs({entry.key: tally.tasks for entry, tally in tallies})
    views = [
        view_of(entry.key, entry.planned_at, states.get(entry.key), tally, caps.get(entry.key))
        for entry, tally in tallies
    ]
    html = render(
        "runs_list.html" if fragment else "runs.html",
        dag_id=dag_id,
        runs=views,
        total=len(entries),
        first=not begin,
        after=shown[-1].key if begin + MOST_RUNS < len(entries) else None,
        refresh=_refresh(views),
        here={"dag_id": dag_id, "after_dag": after_dag, "after_run": after_run},
    )
    return HTMLResponse(html)


def _position(entries: list[RunEntry], after: RunKey) -> int:
    """Return the index of the first run after one; 0 if that one is not there."""
    return next((index + 1 for index, entry in enumerate(entries) if entry.key == after), 0)


def _refresh(views: list[RunView]) -> int | None:
    """Return after how many milliseconds the list is worth another look; ``None`` if nothing changes."""
    if any(not view.figures.complete for view in views):
        return 300
    return 5000 if any(view.going_on for view in views) else None
