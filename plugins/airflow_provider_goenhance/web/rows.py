# SPDX-License-Identifier: Apache-2.0
"""The rows of a run or of a task: counts of all of them as filters, a page of them as a table or as pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import HTMLResponse

from ..results.page_rows import PROBLEMS_FIRST
from ..results.page_runs import RunEntry
from ..results.plan import RunKey
from ..results.run_compare import changes_since
from ..results.states import Status
from .budget_view import caps_of_runs
from .figures import runs_with_rows, tally_of
from .permissions import ViewerDep, may_see
from .rendering import render
from .row_query import RowQuery, row_query
from .row_reading import facets_of, read_page, search_help
from .row_view import detail_of, row_view
from .run_view import RunView, states_of, view_of
from .tables import results, row_of

router = APIRouter(dependencies=[may_see])

#: Seconds for which one request counts rows.
COUNT_SECONDS = 0.1
#: The same for one that shows rows too.
FIRST_SECONDS = 0.03
#: The orders that a page has, with what the form calls them.
ORDERS = (("manifest", "manifest order"), ("problems", "problems first"), ("pair", "pair id"))
QueryDep = Annotated[RowQuery, Depends(row_query)]
#: What the script may ask for alone.
_TEMPLATES = {"figures": "figures.html", "rows": "rows_list.html"}


@router.get("/swaps")
def swaps(viewer: ViewerDep, query: QueryDep, fragment: str | None = None) -> HTMLResponse:
    """Show rows; ``fragment`` asks for the ``figures`` or the ``rows`` alone, which the script puts into the page."""
    with results() as database:
        tally = tally_of(database, query.key)
        if fragment != "rows":
            # Most is counted by the small requests of the page.
            tally.advance(COUNT_SECONDS if fragment == "figures" else FIRST_SECONDS)
        facets = facets_of(database, query, tally) if fragment != "rows" else None
        page = read_page(database, query, tally) if fragment != "figures" else None
        before = _run_before(runs_with_rows(database, (query.key.dag_id,)), query.key)
        search = search_help(database, query)
        earlier = None
        if before is not None and fragment != "rows":
            then = tally_of(database, before.key)
            if tally.complete and not then.complete:
                then.advance(FIRST_SECONDS)
            earlier = view_of(before.key, before.planned_at, None, then)
    state = states_of([query.key]).get(query.key)
    run = view_of(query.key, None, state, tally, caps_of_runs({query.key: tally.tasks}).get(query.key))
    html = render(
        _TEMPLATES.get(fragment or "", "rows.html"),
        query=query,
        run=run,
        part=facets.part if facets else run.figures,
        facets=facets,
        page=page,
        rows=[row_view(swap) for swap in page.rows] if page else [],
        before=earlier,
        rights=viewer.rights(query.key.dag_id),
        refresh=_refresh(run),
        differences=_differences(run, earlier),
        search=search,
        orders=ORDERS,
    )
    return HTMLResponse(html)


@router.get("/swap")
def swap(viewer: ViewerDep, dag_id: str, swap_id: str, fragment: bool = False) -> HTMLResponse:
    """Show one row with all that is known about it; ``fragment`` asks for the part that the larger view shows."""
    found = row_of(dag_id, swap_id)
    if found is None:
        raise HTTPException(
            404, "The row does not exist. Rows may have been deleted since the link was made."
        )
    html = render(
        "row_detail.html" if fragment else "row.html",
        row=row_view(found),
        detail=detail_of(found),
        rights=viewer.rights(dag_id),
    )
    return HTMLResponse(html)


@router.get("/changes")
def changes(query: QueryDep) -> HTMLResponse:
    """Show the pairs of a run whose state is another than in the run before."""
    with results() as database:
        before = _run_before(runs_with_rows(database, (query.key.dag_id,)), query.key)
        found = changes_since(database, query.key, before.key, query.limit, query.after) if before else None
    html = render(
        "changes.html",
        query=query,
        before=before,
        found=found,
        changes=[(row_view(change.swap), change.before) for change in found.changes] if found else [],
    )
    return HTMLResponse(html)


def _run_before(entries: list[RunEntry], key: RunKey) -> RunEntry | None:
    """Return the run of the same Dag that was planned before this one."""
    place = next((index for index, entry in enumerate(entries) if entry.key == key), None)
    return entries[place + 1] if place is not None and place + 1 < len(entries) else None


def _differences(run: RunView, before: RunView | None) -> str:
    """Return by how many rows each state differs from the run before, once both are counted: ``(failed +3)``."""
    if before is None or not (run.figures.complete and before.figures.complete):
        return ""
    now, then = _pictures_as_one(run.figures.counts), _pictures_as_one(before.figures.counts)
    changed = [
        (status, now[status] - then[status]) for status in PROBLEMS_FIRST if now[status] != then[status]
    ]
    return f" ({', '.join(f'{status} {by:+,}' for status, by in changed)})" if changed else ""


def _pictures_as_one(counts: Mapping[Status, int]) -> Counter[Status]:
    """Return rows by state; a reused picture counts like a new one."""
    found = Counter(counts)
    found[Status.SUCCEEDED] += found.pop(Status.REUSED, 0)
    return found


def _refresh(run: RunView) -> int | None:
    """Return after how many milliseconds the figures are worth another look; ``None`` if nothing changes."""
    figures = run.figures
    if figures.rows and not figures.complete:
        return 300
    if run.going_on:
        return 3000
    # The last rows of a run that has just ended may have been counted before they were finished.
    return 15_000 if figures.done < figures.rows else None
