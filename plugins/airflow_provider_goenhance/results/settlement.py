# SPDX-License-Identifier: Apache-2.0
"""Settle unknown submits in the results table: check the rows and move them, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from .budgets import give_back
from .database import IN_LIST
from .resolution import Billed, NotBilled, ResolutionStep
from .swap import Swap
from .transition_sql import update


def settle(connection: sa.Connection, swaps: sa.Table, steps: Sequence[ResolutionStep]) -> list[Swap]:
    """
    Take the steps where the rows allow it.

    What a submit that was not billed has reserved in the budgets is given back. The transaction may run twice: a row
    that a step has moved already counts as moved by it.

    :return: the rows that the steps moved, as they are now
    """
    give_back(connection, swaps, [step for step in steps if isinstance(step, NotBilled)])
    update(connection, swaps, steps)
    by_id = {step.swap_id: step for step in steps}
    return [swap for swap in _rows(connection, swaps, list(by_id)) if _is_settled(swap, by_id[swap.swap_id])]


def owner_of_job(connection: sa.Connection, swaps: sa.Table, img_uuid: str) -> Swap | None:
    """Return a row that has, or had, a job."""
    c = swaps.c
    query = (
        sa.select(swaps)
        .where(sa.or_(c.img_uuid == img_uuid, c.former_uuids.contains(img_uuid, autoescape=True)))
        # The row that paid for it, rather than one that adopted it.
        .order_by(c.attempts.desc(), c.planned_at)
    )
    rows = (Swap.from_row(dict(row)) for row in connection.execute(query).mappings())
    # A part of another UUID matches too.
    return next((row for row in rows if img_uuid in [row.img_uuid, *(row.former_uuids or "").split()]), None)


def _is_settled(swap: Swap, step: ResolutionStep) -> bool:
    same_time = swap.resolved_at is not None and abs((swap.resolved_at - step.at).total_seconds()) < 1
    written = step.rule.writes
    same_job = not isinstance(step, Billed) or swap.img_uuid == step.img_uuid
    return same_time and same_job and swap.resolution == written["resolution"]


def _rows(connection: sa.Connection, swaps: sa.Table, ids: Sequence[str]) -> list[Swap]:
    found: list[dict[str, Any]] = []
    for start in range(0, len(ids), IN_LIST):
        query = sa.select(swaps).where(swaps.c.swap_id.in_(ids[start : start + IN_LIST]))
        found += [dict(row) for row in connection.execute(query).mappings()]
    return [Swap.from_row(row) for row in found]
