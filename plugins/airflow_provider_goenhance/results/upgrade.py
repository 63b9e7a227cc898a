# SPDX-License-Identifier: Apache-2.0
"""Bring the rows of an earlier release up to date, so that a later run still finds them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from .account_tables import account_tables, insert_or_leave
from .swap import pair_fingerprint

log = logging.getLogger(__name__)

#: Rows in one transaction.
BATCH_ROWS = 1000
#: The column that the release brought whose fingerprints leave out what signs a URL: a table without it is older.
MARKER = "source_key"


def renew_fingerprints(
    run: Callable[[Callable[[sa.Connection], str | None]], str | None], swaps: sa.Table
) -> None:
    """
    Write the fingerprints of rows whose release took signed URLs as they were.

    Many short transactions, each of which may run twice: other tasks go on meanwhile, and an upgrade that was cut is
    repeated from the start.

    :param run: runs some work in a write transaction, as :meth:`.database.ResultsDatabase.run`
    """
    last: str | None = ""
    while last is not None:
        after = last
        last = run(lambda connection: _renew_some(connection, swaps, after))  # noqa: B023  it is called at once


def _renew_some(connection: sa.Connection, swaps: sa.Table, after: str) -> str | None:
    """Write the fingerprints of the next rows; return the last row's key, ``None`` when there are no more."""
    c = swaps.c
    query = (
        sa.select(c.swap_id, c.source_img, c.reference_img, c.pair_fingerprint)
        .where(c.swap_id > after)
        .order_by(c.swap_id)
        .limit(BATCH_ROWS)
    )
    rows = connection.execute(query).all()
    changed: list[dict[str, Any]] = [
        {"key": row.swap_id, "fingerprint": fingerprint}
        for row in rows
        if (fingerprint := pair_fingerprint(row.source_img, row.reference_img)) != row.pair_fingerprint
    ]
    if changed:
        update = (
            sa.update(swaps)
            .where(c.swap_id == sa.bindparam("key"))
            .values(pair_fingerprint=sa.bindparam("fingerprint"))
        )
        connection.execute(update, changed)
        log.info("Renewed the pair_fingerprint of %d rows of an earlier release.", len(changed))
    return rows[-1].swap_id if rows else None


def add_pair_keys(connection: sa.Connection, swaps: sa.Table) -> None:
    """
    Give each pair that an earlier release has sent its key, with the row that claimed it last.

    Without it a row that was planned before the upgrade would be sent whatever other rows have paid for since, and
    nobody would wait for a submit that is under way, see :mod:`.pair_keys`. Keys that are there already stay.
    """
    pairs, c = account_tables(swaps.name, swaps.schema).pairs, swaps.c
    latest_first = sa.func.row_number().over(
        partition_by=(c.account, c.pair_fingerprint),
        order_by=(sa.func.coalesce(c.claimed_at, c.submitted_at, c.planned_at).desc(), c.swap_id.desc()),
    )
    ranked = (
        sa.select(c.account, c.pair_fingerprint, c.swap_id, latest_first.label("place"))
        .where(c.account.is_not(None), c.attempts > 0)
        .subquery()
    )
    latest = (
        sa.select(ranked.c.account, ranked.c.pair_fingerprint, ranked.c.swap_id, sa.literal(1))
        .where(ranked.c.place == 1)
        # In the order of the claims, so that no two transactions wait for each other.
        .order_by(ranked.c.account, ranked.c.pair_fingerprint)
    )
    columns = ["account", "pair_fingerprint", "swap_id", "claims"]
    connection.execute(insert_or_leave(connection, pairs).from_select(columns, latest))
