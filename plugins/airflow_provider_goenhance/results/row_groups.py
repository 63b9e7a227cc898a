# SPDX-License-Identifier: Apache-2.0
"""Count rows that are alike in all that decides what becomes of them: few groups, however many rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import sqlalchemy as sa

from .run_rows import RunRows
from .states import Status
from .swap import Swap

#: Columns of which only matters whether they have a value.
_SET_OR_NOT = ("img_uuid", "result_uri", "reused_from", "claimed_by")
_VALUES = ("status", "error_code", "attempts", "max_tries", "review")


class RowGroup(NamedTuple):
    """
    Some rows that every decision treats alike.

    :param example: a row that stands for them; columns that no decision reads are blank
    :param rows: how many there are
    """

    example: Swap
    rows: int


def groups_of(rows: RunRows, *, by_task: bool = False) -> Iterator[RowGroup]:
    """
    Yield the groups of some rows.

    :param by_task: whether rows of two task instances are two groups
    """
    c = rows.database.swaps.c
    values = [*(("task_id", "map_index") if by_task else ()), *_VALUES]
    columns = [c[name] for name in values]
    columns += [sa.case((c[name].is_(None), 0), else_=1).label(name) for name in _SET_OR_NOT]
    inner = rows.select(*columns).subquery()
    query = sa.select(*inner.c, sa.func.count().label("row_count")).group_by(*inner.c)
    for number, found in enumerate(rows.database.read(query)):
        row_count = found.pop("row_count")
        known = {name: (f"{name} {number}" if found.pop(name) else None) for name in _SET_OR_NOT}
        yield RowGroup(_example(**found, **known), int(row_count))


def account_of(rows: RunRows) -> str | None:
    """Return the fingerprint of an account that some rows were sent for, ``None`` if none was sent."""
    query = rows.select(sa.func.max(rows.database.swaps.c.account).label("account"))
    found: str | None = rows.database.read(query)[0]["account"]
    return found


def _example(**columns: object) -> Swap:
    blank = dict.fromkeys(
        ("swap_id", "dag_id", "run_id", "pair_id", "source_img", "reference_img", "pair_fingerprint"), ""
    )
    return Swap.from_row({**blank, **columns, "status": Status(str(columns["status"]))})
