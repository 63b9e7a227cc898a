# SPDX-License-Identifier: Apache-2.0
"""Find the rows whose pictures are old, and record that the pictures were deleted."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import sqlalchemy as sa

from .erasure_transitions import PictureDeleted
from .key_lists import among
from .states import Status
from .swap import Swap
from .transition_sql import update

if TYPE_CHECKING:
    from .database import ResultsDatabase

#: Rows whose pictures are deleted at a time.
SLICE_ROWS = 500
_WITH_PICTURE = (Status.SUCCEEDED, Status.REUSED)


def old_pictures(database: ResultsDatabase, before: dt.datetime) -> Iterator[list[Swap]]:
    """
    Yield the rows whose pictures were kept before a moment, in slices, each with the rows that reuse its pictures.

    However often a picture is reused, its age counts from the job that made it.
    """
    c = database.swaps.c
    last = ""
    while True:
        query = (
            sa.select(database.swaps)
            .where(
                c.swap_id > last,
                c.status.in_(_WITH_PICTURE),
                c.result_uri.is_not(None),
                c.finished_at < before,
            )
            .order_by(c.swap_id)
            .limit(SLICE_ROWS)
        )
        rows = [Swap.from_row(row) for row in database.read(query)]
        if not rows:
            return
        last = rows[-1].swap_id
        yield [*rows, *_reusing(database, rows)]


def _reusing(database: ResultsDatabase, rows: Sequence[Swap]) -> Iterator[Swap]:
    """Yield the other rows that reuse the pictures of some rows, or marked copies of them."""
    c = database.swaps.c
    ids = {row.swap_id for row in rows}
    pairs = sorted({row.pair_fingerprint for row in rows})
    for condition in among(database.url.get_backend_name(), c.pair_fingerprint, pairs):
        query = sa.select(database.swaps).where(
            condition, c.status == Status.REUSED, c.result_uri.is_not(None)
        )
        for row in map(Swap.from_row, database.read(query)):
            if row.reused_from in ids and row.swap_id not in ids:
                yield row


def record_deleted(database: ResultsDatabase, rows: Sequence[Swap]) -> None:
    """Record that the pictures of some rows were deleted, where they are still the same."""
    steps = [PictureDeleted(row.swap_id, row.result_uri) for row in rows if row.result_uri]
    database.run(lambda connection: update(connection, database.swaps, steps))
