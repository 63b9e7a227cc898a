# SPDX-License-Identifier: Apache-2.0
"""Approve and reject pictures."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException
from pydantic import Field

from ...execution.messages import next_steps
from ...execution.review import MAX_NOTE, ReviewError, review_pictures
from ...results.ledger import Ledger
from ...results.recovery import Policies
from ...results.row_version import version_of
from ...results.states import Review
from ...results.swap import Swap
from ..figures import forget
from ..permissions import ViewerDep, may_review, same_origin
from .chosen_rows import Chosen, rows_of_dag, with_ledger

router = APIRouter()


class Verdict(Chosen):
    """
    What a person says about some pictures.

    :param review: ``null`` undoes an earlier review
    """

    review: Review | None
    note: Annotated[str | None, Field(max_length=MAX_NOTE)] = None


@router.post("/actions/review", dependencies=[may_review, same_origin])
def review(dag_id: str, verdict: Verdict, viewer: ViewerDep) -> list[dict[str, Any]]:
    """Approve or reject the pictures of some rows, or undo that; return the rows as they are now."""

    def work(ledger: Ledger) -> list[Swap]:
        rows_of_dag(ledger, dag_id, verdict.swap_ids)
        return review_pictures(
            ledger, verdict.swap_ids, verdict.review, by=viewer.name, note=verdict.note, seen=verdict.rows
        )

    try:
        rows = with_ledger(work)
    except ReviewError as error:
        raise HTTPException(409, str(error)) from None
    forget(rows)
    return [_shown(row) for row in rows]


def _shown(row: Swap) -> dict[str, Any]:
    return {
        "swap_id": row.swap_id,
        "version": version_of(row),
        "review": row.review,
        "reviewed_by": row.reviewed_by,
        "reviewed_at": row.reviewed_at.isoformat() if row.reviewed_at else None,
        "review_note": row.review_note,
        "next_steps": next_steps(row, Policies()),
    }
