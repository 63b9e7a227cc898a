# SPDX-License-Identifier: Apache-2.0
"""Approve or reject pictures, on the word of a person who has looked at them."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..results.key_lists import among
from ..results.review_transitions import Reviewed
from ..results.row_version import changes_since
from ..results.states import Review
from ..results.transition_sql import update
from .messages import pluralize

if TYPE_CHECKING:
    import sqlalchemy as sa

    from ..results.ledger import Ledger
    from ..results.swap import Swap

log = logging.getLogger(__name__)

#: Rows that an error names.
NAMED_ROWS = 5
#: Length of the column.
MAX_NAME = 250
MAX_NOTE = 2000


class ReviewError(ValueError):
    """Pictures cannot be reviewed in this way. Nothing was changed."""


def review_pictures(
    ledger: Ledger,
    swap_ids: Sequence[str],
    review: Review | str | None,
    *,
    by: str,
    note: str | None = None,
    seen: Mapping[str, str] | None = None,
) -> list[Swap]:
    """
    Approve or reject the pictures of some rows, or undo an earlier review: all of them, or none.

    A review is of the picture of a job. It is recorded on every row of the pair with that job, in all runs: a rejected
    picture stays in storage, but no other run reuses it, and the pair is ``held`` until a run with ``reuse="never"``
    pays for another one.

    :param review: ``approved``, ``rejected``, or ``None`` to undo
    :param by: who says so; stored with the row
    :param note: what the person says besides; stored with the row
    :param seen: ``swap_id`` -> version (:func:`~..results.row_version.version_of`) of each row as the person saw it; a
        row with another picture or review since then is refused. Default: what is there now is reviewed
    :return: the named rows as they are now, in the order of their ids as given
    :raises ReviewError: when a row does not exist, has no picture, is not as it was seen, or is changed by somebody
        else at the same moment; nothing is changed
    """
    wanted = _review(review)
    by, note = by.strip()[:MAX_NAME], ((note or "").strip() or None)
    if not by:
        raise ReviewError("by must name who reviews the picture; got an empty text.")
    if note and len(note) > MAX_NOTE:
        raise ReviewError(f"note must have at most {MAX_NOTE} characters; got {len(note)}.")
    rows = _with_pictures(ledger, list(dict.fromkeys(swap_ids)))
    if seen is not None and (changed := changes_since(rows, seen)):
        raise ReviewError(changed)
    at = dt.datetime.now(dt.UTC).replace(microsecond=0)
    reviewer, reviewed_at, note = (None, None, None) if wanted is None else (by, at, note)
    steps = [
        Reviewed(
            row["swap_id"],
            row["img_uuid"],
            wanted,
            reviewer,
            reviewed_at,
            note,
            seen_review=row["review"],
            seen_reviewed_at=row["reviewed_at"],
        )
        for row in _rows_of_jobs(ledger, rows)
    ]

    def work(connection: sa.Connection) -> None:
        update(connection, ledger.swaps, steps)
        _refuse_half(rows, _reviews(connection, ledger, [row.swap_id for row in rows]), (wanted, reviewer))

    ledger.database.run(work)
    now = ledger.by_ids([row.swap_id for row in rows])
    log.info(
        "%s %s %s: %s.",
        by,
        _DONE[wanted],
        pluralize(len(now), "picture"),
        ", ".join(f"{row.swap_id} ({row.label} of run {row.run_id} of Dag {row.dag_id})" for row in now),
    )
    return now


_DONE = {Review.APPROVED: "approved", Review.REJECTED: "rejected", None: "undid the review of"}


def _review(value: Review | str | None) -> Review | None:
    if value is None:
        return None
    try:
        return Review(value)
    except ValueError:
        known = ", ".join(map(repr, map(str, Review)))
        raise ReviewError(f"review must be {known}, or null to undo; got {str(value)!r}.") from None


def _with_pictures(ledger: Ledger, ids: Sequence[str]) -> list[Swap]:
    if not ids:
        raise ReviewError("No picture is selected: name at least one swap_id.")
    rows = ledger.by_ids(ids)
    missing = set(ids) - {row.swap_id for row in rows}
    if missing:
        raise ReviewError(
            f"The results table ({ledger.database.name}) has no row {', '.join(sorted(missing)[:NAMED_ROWS])}."
        )
    without = [row for row in rows if not row.result_uri or not row.img_uuid]
    if without:
        raise ReviewError(f"{_named(without)} has no picture to review. Nothing was changed.")
    return rows


def _rows_of_jobs(ledger: Ledger, rows: Sequence[Swap]) -> list[Mapping[str, Any]]:
    """Return job and review of the rows, and of all that reuse their pictures, or wait for the same jobs."""
    import sqlalchemy as sa

    c = ledger.swaps.c
    jobs = {(row.pair_fingerprint, row.img_uuid) for row in rows}
    named = {row.swap_id: row.to_row() for row in rows}
    found: dict[str, Mapping[str, Any]] = {}
    pairs = sorted({row.pair_fingerprint for row in rows})
    for condition in among(ledger.database.url.get_backend_name(), c.pair_fingerprint, pairs):
        query = sa.select(c.swap_id, c.pair_fingerprint, c.img_uuid, c.review, c.reviewed_at).where(
            condition, c.img_uuid.is_not(None)
        )
        found |= {
            row["swap_id"]: row
            for row in ledger.database.read(query)
            if (row["pair_fingerprint"], row["img_uuid"]) in jobs
        }
    # Of the named ones what was read first, which is what was compared with what the person saw.
    return list((found | named).values())


def _reviews(
    connection: sa.Connection, ledger: Ledger, ids: Sequence[str]
) -> dict[str, tuple[str | None, str | None]]:
    """Return the reviews of some rows, and whose they are."""
    import sqlalchemy as sa

    c = ledger.swaps.c
    found: dict[str, tuple[str | None, str | None]] = {}
    for condition in among(ledger.database.url.get_backend_name(), c.swap_id, ids):
        query = sa.select(c.swap_id, c.review, c.reviewed_by).where(condition)
        found |= {row.swap_id: (row.review, row.reviewed_by) for row in connection.execute(query)}
    return found


def _refuse_half(
    rows: Sequence[Swap],
    reviews: Mapping[str, tuple[str | None, str | None]],
    said: tuple[str | None, str | None],
) -> None:
    """Raise an error if rows have moved since they were read; the transaction is rolled back then."""
    moved = [row for row in rows if reviews.get(row.swap_id) != said]
    if moved:
        raise ReviewError(
            f"{_named(moved)} changed at the same moment. Nothing was changed: look at the picture again."
        )


def _named(rows: Sequence[Swap]) -> str:
    names = "; ".join(f"{row.label} of run {row.run_id!r}" for row in rows[:NAMED_ROWS])
    return names + (f"; and {len(rows) - NAMED_ROWS} more" if len(rows) > NAMED_ROWS else "")
