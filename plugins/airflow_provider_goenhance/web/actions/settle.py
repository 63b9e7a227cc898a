# SPDX-License-Identifier: Apache-2.0
"""Settle submits whose outcome is unknown, as `airflow goenhance resolve` does."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException
from pydantic import Field

from ...exceptions import GoEnhanceError
from ...execution.messages import next_steps
from ...execution.settle import MAX_UUID, ResolutionError, Selection, confirm_job, resolve_unknown
from ...hooks.goenhance import GoEnhanceHook
from ...results.ledger import Ledger
from ...results.recovery import Policies
from ...results.resolution import Resolution
from ...results.row_version import changes_since, version_of
from ...results.swap import Swap
from ..figures import forget
from ..permissions import ViewerDep, may_edit, same_origin
from .chosen_rows import Chosen, rows_of_dag, with_ledger

router = APIRouter()

MAX_NOTE = 2000


class Settlement(Chosen):
    """
    What a person knows of some submits.

    :param img_uuid: the job of a billed submit
    :param check: ask GoEnhance for that job first
    """

    resolution: Resolution
    img_uuid: Annotated[str | None, Field(max_length=MAX_UUID)] = None
    note: Annotated[str | None, Field(max_length=MAX_NOTE)] = None
    check: bool = True


@router.post("/actions/settle", dependencies=[may_edit, same_origin])
def settle(dag_id: str, said: Settlement, viewer: ViewerDep) -> list[dict[str, Any]]:
    """Settle the unknown submits of some rows; return the rows as they are now."""

    def work(ledger: Ledger) -> list[Swap]:
        rows = rows_of_dag(ledger, dag_id, said.swap_ids)
        if changed := changes_since(rows, said.rows):
            raise ResolutionError(changed)
        if said.resolution is Resolution.BILLED and said.img_uuid and said.check:
            _confirm(rows, said.img_uuid.strip())
        return resolve_unknown(
            ledger,
            Selection(swap_ids=said.swap_ids),
            said.resolution,
            by=viewer.name,
            img_uuid=said.img_uuid,
            note=said.note,
            seen=said.rows,
        )

    try:
        rows = with_ledger(work)
    except ResolutionError as error:
        raise HTTPException(409, str(error)) from None
    forget(rows)
    return [_shown(row) for row in rows]


def _confirm(rows: list[Swap], img_uuid: str) -> None:
    """
    Ask GoEnhance for a job before it is recorded.

    :raises ResolutionError: when it cannot be asked, or does not know the job
    """
    hook = GoEnhanceHook()
    try:
        account = hook.account()
    except (GoEnhanceError, ValueError) as error:
        raise ResolutionError(
            f"GoEnhance cannot be asked for the job: {error} Nothing was changed."
        ) from None
    confirm_job(rows, img_uuid, account, hook.get_job)


def _shown(row: Swap) -> dict[str, Any]:
    return {
        "swap_id": row.swap_id,
        "version": version_of(row),
        "status": str(row.status),
        "img_uuid": row.img_uuid,
        "resolution": row.resolution,
        "resolved_by": row.resolved_by,
        "message": row.error_message,
        "next_steps": next_steps(row, Policies()),
    }
